"""How figures are written."""

from __future__ import annotations

from benchmarks.results import Figure


def told(figure: Figure | None, unit: str) -> str:
    """Returns a measured value as tables have it."""
    if figure is None:
        return ""
    if figure.stopped == "memory" and unit != "MiB":
        return "out of memory"
    return ("> " if figure.stopped else "") + value(figure.value, unit)


def value(number: float, unit: str) -> str:
    """Returns a number with its unit; seconds below one as milliseconds."""
    if unit == "s":
        if number < 1:
            return f"{number * 1e3:.3g} ms" if number < 0.1 else f"{number * 1e3:.0f} ms"
        return f"{number:.1f} s" if number < 10 else f"{number:,.0f} s"
    if unit == "MiB":
        return f"{number:,.0f} MiB"
    return f"{number:,.0f}/s" if unit == "/s" else f"{plain(number)} {unit}"


def plain(number: float) -> str:
    """Returns three digits, or all that are before the point; never an exponent."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def rounded(number: float) -> str:
    """Returns a large number of which three digits count."""
    return f"{float(f'{number:.3g}'):,.0f}"


def times(ratio: float) -> str:
    """Returns how many times."""
    return f"{ratio:,.0f}x" if ratio >= 10 else f"{ratio:.2g}x" if ratio >= 2 else f"{ratio:.2f}x"


def short(number: float) -> str:
    """Returns a number as the axes of pictures have it: 1k, 100k, 50M."""
    for least, suffix in ((1e6, "M"), (1e3, "k")):
        if number >= least:
            return f"{number / least:.10g}{suffix}"
    return f"{number:.10g}"


def span(numbers: list[float]) -> str:
    """Returns the least and the greatest, or the only one."""
    least, most = min(numbers), max(numbers)
    return plain(least) if least == most else f"{plain(least)} to {plain(most)}"
