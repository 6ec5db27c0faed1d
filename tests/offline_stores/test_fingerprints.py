"""Fingerprints that are compared in blocks equal those that are made one by one, whatever is known of them."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets.offline_stores import fingerprints as module
from feast_assets.offline_stores.fingerprints import Fingerprints, KnownFingerprints

_NUMBERS = st.integers(-(2**63), 2**63 - 1)
_HALF = st.integers(0, 2**40)
_SUMS = st.lists(st.tuples(st.sampled_from([0, 0, 1, 2, 70]), _HALF, _HALF, _NUMBERS), min_size=1, max_size=40)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FEW", 0)
    monkeypatch.setattr(module, "_BLOCK_BITS", 2)


def one_by_one(sums: list[tuple[int, int, int, int]], quote: str = "") -> list[bytes]:
    texts = [f"{quote}{n}:{(high << 32) + low:x}:{mix % 2**64:x}{quote}" for n, low, high, mix in sums]
    return [
        sha256(text.encode()).hexdigest()[:32].encode() if row[0] else b""
        for row, text in zip(sums, texts, strict=True)
    ]


def of(sums: list[tuple[int, int, int, int]], known: KnownFingerprints | None = None, quote: str = "") -> Fingerprints:
    return Fingerprints(np.array(sums, np.int64), np.arange(len(sums)) - 7, quote, known)


@settings(deadline=None)
@given(_SUMS, st.sampled_from(["", '"']))
def test_they_are_the_hashes_of_the_numbers(sums: list[tuple[int, int, int, int]], quote: str) -> None:
    made = of(sums, quote=quote)
    assert made.values.tolist() == one_by_one(sums, quote)
    assert [made.text(i) for i in range(len(made))] == one_by_one(sums, quote)
    assert made[np.arange(len(sums)) % 2 == 0].values.tolist() == one_by_one(sums[::2], quote)


@settings(deadline=None)
@given(st.lists(_SUMS, min_size=1, max_size=4), st.data())
def test_differences_are_told_whatever_is_known(
    states: list[list[tuple[int, int, int, int]]], data: st.DataObject
) -> None:
    """Rows, records and what is known go through several states; each comparison is right in all of them."""
    kept = b""
    for sums in states:
        recorded = one_by_one(sums)
        for place in data.draw(st.lists(st.integers(0, len(sums) - 1), max_size=3)):
            recorded[place] = data.draw(st.sampled_from([b"", b"other", b"f" * 32, *one_by_one(sums)]))
        others = np.array(recorded, np.bytes_) if any(recorded) else np.zeros(len(sums), "S1")
        known = KnownFingerprints.of(kept)
        saved: list[bytes] = []
        known.save = saved.append
        for _ in range(2):
            differ = of(sums, known).differ_from(others)
            expected = [made != record for made, record in zip(one_by_one(sums), recorded, strict=True)]
            assert differ.tolist() == expected
        kept = saved[-1] if saved else kept


def test_what_is_known_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = [(1, i, 2 * i, 3 * i) for i in range(40)]
    saved: list[bytes] = []
    assert not of(sums, KnownFingerprints(save=saved.append)).differ_from(np.array(one_by_one(sums))).any()
    assert len(saved) == 1
    made: list[int] = []
    make = module._made
    monkeypatch.setattr(module, "_made", lambda rows, quote: (made.append(len(rows)), make(rows, quote))[1])
    known = KnownFingerprints.of(saved[0])
    assert not of(sums, known).differ_from(np.array(one_by_one(sums))).any()
    assert made == []
    changed = [*sums[:20], (1, 7, 7, 7), *sums[21:]]
    assert np.flatnonzero(of(changed, known).differ_from(np.array(one_by_one(sums)))).tolist() == [20]
    assert sum(made) <= 4


def test_a_quote_is_part_of_what_is_known() -> None:
    sums = [(1, i, i, i) for i in range(9)]
    known = KnownFingerprints()
    of(sums, known).differ_from(np.array(one_by_one(sums)))
    assert of(sums, known, '"').differ_from(np.array(one_by_one(sums))).all()


def test_damage_costs_no_more_than_time() -> None:
    sums = [(1, i, i, i) for i in range(9)]
    saved: list[bytes] = []
    of(sums, KnownFingerprints(save=saved.append)).differ_from(np.array(one_by_one(sums)))
    whole = saved[0]
    assert KnownFingerprints.of(whole).known
    for damaged in (b"", whole[:7], whole[:-1], whole[:-16], whole[:-1] + b"x", b"FAFQ" + whole[4:]):
        assert KnownFingerprints.of(damaged).known == {}


def test_several_are_put_one_after_the_other() -> None:
    sums = [(1, i, i, i) for i in range(9)]
    none = np.zeros(3, "S1")
    both = Fingerprints.concatenated([of(sums), none])
    assert isinstance(both, Fingerprints)
    assert both.values.tolist() == [*one_by_one(sums), b"", b"", b""]
    made = Fingerprints.concatenated([of(sums), np.array([b"abc"])])
    assert isinstance(made, np.ndarray)
    assert made.tolist() == [*one_by_one(sums), b"abc"]
    assert np.asarray(Fingerprints.concatenated([none, none])).tolist() == [b""] * 6
