"""What the figures were taken on."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

_FEAST_PACKAGES = ("feast", "duckdb", "pyarrow", "pandas", "numpy", "redis")
_VERSIONS = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def described() -> dict[str, str]:
    """Returns processor, memory and versions, as the document prints them."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ("duckdb", "pyarrow", "pandas", "numpy", "redis", "dagster")
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "packages": ", ".join(f"{name} {version(name)}" for name in packages),
    }


def commit_of(directory: Path) -> str:
    """Returns a checkout's commit, with a + where files differ from it; "" outside of one, or without git.

    Documents do not count: a run writes one itself.
    """
    try:
        commit = _said(["git", "-C", str(directory), "rev-parse", "--short", "HEAD"])
        changed = _said(["git", "-C", str(directory), "status", "--porcelain", "--", ".", ":!docs"])
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{commit}+" if changed else commit


def feast_versions(python: str) -> dict[str, str]:
    """Returns the versions of what Feast's environment has of the packages that matter.

    Args:
        python: its interpreter.
    """
    versions: dict[str, str] = json.loads(_said([python, "-c", _VERSIONS, *_FEAST_PACKAGES]))
    return versions


def _said(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
