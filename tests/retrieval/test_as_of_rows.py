"""Putting rows of several views together, compared with a search through all rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets.offline_stores.base import CREATED_TIMESTAMP, EVENT_TIMESTAMP
from feast_assets.retrieval.as_of_rows import as_of_rows

START = datetime(2024, 1, 1, tzinfo=UTC)
KEYS = [["driver", "city"], ["city"], [], ["driver", "city"]]

numbers = st.integers(0, 4)
rows_of_view = st.lists(
    st.fixed_dictionaries(
        {
            "driver": st.one_of(st.none(), st.integers(1, 3)),
            "city": st.sampled_from(["a", "b"]),
            "event": numbers,
            "created": st.one_of(st.none(), numbers),
            "value": st.one_of(st.none(), st.integers(0, 99)),
        }
    ),
    max_size=8,
)


def table(rows, keys):
    def times(name):
        values = [None if row[name] is None else START + timedelta(hours=row[name]) for row in rows]
        return pa.array(values, pa.timestamp("us", "UTC"))

    types = {"driver": pa.int64(), "city": pa.string()}
    columns = {key: pa.array([row[key] for row in rows], types[key]) for key in keys}
    columns["value"] = pa.array([row["value"] for row in rows], pa.int64())
    return pa.table(columns | {EVENT_TIMESTAMP: times("event"), CREATED_TIMESTAMP: times("created")})


def newest(rows, keys, pair, ttl):
    """The values that may be found for an entity and a time: all of the rows that tie for the newest."""
    fitting = [
        row
        for row in rows
        if all(row[key] is not None and row[key] == pair[key] for key in keys)
        and row["event"] <= pair["event"]
        and (ttl is None or row["event"] >= pair["event"] - ttl)
    ]

    def age(row):
        return row["event"], -1 if row["created"] is None else row["created"]

    best = max(map(age, fitting), default=None)
    return {row["value"] for row in fitting if age(row) == best} or {None}


@settings(max_examples=150, deadline=None)
@given(st.lists(rows_of_view, min_size=4, max_size=4), st.lists(st.one_of(st.none(), numbers), min_size=4, max_size=4))
def test_each_pair_gets_the_newest_row_of_each_view(views, ttls):
    ttls = [ttl or None for ttl in ttls]
    joined = as_of_rows(
        [table(rows, keys) for rows, keys in zip(views, KEYS, strict=True)],
        KEYS,
        [None if ttl is None else timedelta(hours=ttl) for ttl in ttls],
        [0, 3],
        [[f"{n}"] for n in range(4)],
    ).to_pylist()

    wanted = {
        (row["driver"], row["city"], row["event"]) for n in (0, 3) for row in views[n] if row["driver"] is not None
    }
    found = [(row["driver"], row["city"], (row[EVENT_TIMESTAMP] - START) // timedelta(hours=1)) for row in joined]
    assert sorted(found) == sorted(wanted)
    for row, (driver, city, event) in zip(joined, found, strict=True):
        pair = {"driver": driver, "city": city, "event": event}
        for n, (rows, keys) in enumerate(zip(views, KEYS, strict=True)):
            assert row[f"{n}"] in newest(rows, keys, pair, ttls[n])
