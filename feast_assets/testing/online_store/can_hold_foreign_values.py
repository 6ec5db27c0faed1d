"""`CanHoldForeignValues`: stored values that cannot be rows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from feast_assets.errors import ForeignValueWarning
from feast_assets.online_stores.abilities import CanHoldForeignValues, CanReplace
from feast_assets.online_stores.base import OnlineStore
from feast_assets.testing.online_store.fixtures import StoreFixtures
from feast_assets.testing.online_store.rows import INT64_MAX, Row, assert_counts, encoded, read_rows


class OpenStore(OnlineStore, CanHoldForeignValues):
    """For annotations."""


class CanHoldForeignValuesConformance(StoreFixtures):
    """Subclass this beside `OnlineStoreConformance` for a store with `CanHoldForeignValues`."""

    @pytest.mark.parametrize(
        "foreign",
        [
            (5, 5, b""),
            (5, 5, b"\xffid"),
            (5, 2**56, b"an id and more"),
            (INT64_MAX, 5, b"an id and more"),
            (INT64_MAX, INT64_MAX, b"id"),
        ],
    )
    def test_a_row_of_the_codec_overwrites_what_the_codec_cannot_have_made(
        self, store: OpenStore, foreign: tuple[int, int, bytes]
    ) -> None:
        """However new its times seem to be."""
        event, version, payload = foreign
        held: list[Row] = [(b"k%03d" % i, event, 5, version, payload) for i in range(3)]
        sound: Row = (b"sound", 5, 5, 5, b"an id and more")
        store.put_many("t", [encoded([*held, sound])])
        row = (4, 0, 1, b"an id and more")
        rows = replace(encoded([(key, *row) for key in (b"k000", b"k001", b"sound")]), of_codec=True)
        if isinstance(store, CanReplace):
            assert set(store.put_existing("t", [rows]).absent) == {b"k000", b"k001"}
        with pytest.warns(ForeignValueWarning, match="k001") as warned:
            put = store.put_many("t", [rows])
        assert {"sound" in str(w.message) or "k002" in str(w.message) for w in warned} == {False}
        assert_counts(put, 2, 1)
        assert read_rows(store, "t", [b"k000", b"k001", b"sound"]) == [row, row, sound[1:]]

    def test_any_payload_is_a_row_where_the_codec_is_not_named(self, store: OpenStore) -> None:
        store.put_many("t", [encoded([(b"k", INT64_MAX, 0, 0, b"")])])
        put = store.put_many("t", [encoded([(b"k", 4, 0, 0, b"x")])])
        assert_counts(put, 0, 1)
        assert store.foreign("t", [b"k", b"not there"]) == {}
        assert store.foreign("never set up", [b"k"]) == {}
