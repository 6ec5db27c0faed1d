"""Requests whose answers are compared with those of Feast's server, and the rows that they read."""

from __future__ import annotations

ROWS = {
    "driver_id": [1, 2, 3],
    "trips": [10, -20, 9007199254740993],
    "few": [1, 2, 3],
    "rate": [0.1, 0.5, 16777216.0],
    "exact": [0.1, 1e300, -2.5],
    "city": ["Köln", 'a"b\\c\n', ""],
    "active": [True, False, True],
    "since": [1704067200, 0, 1],
    "marks": [[1, 2], [3], [4, 5, 6]],
    "shares": [[0.5], [0.1, 0.2], [1.0]],
    "words": [["a", "ü"], ["b"], ["c", "d"]],
    "event_timestamp": ["2024-01-01T00:00:00.000000", "2024-01-01T12:00:00.250000", "2024-01-02T00:00:00.123456"],
}
OTHER_ROWS = {"driver_id": [1], "trips": [7], "event_timestamp": ["2024-01-01T00:00:00"]}

_STATS = ("trips", "few", "rate", "exact", "city", "active", "since", "marks", "shares", "words")
_READ = "/get-online-features"


def _features(*names: str, **rest: object) -> dict[str, object]:
    return {"features": [f"stats:{name}" for name in names], "entities": {"driver_id": [1]}, **rest}


PAIRS: dict[str, tuple[str, str, object]] = {
    "push": ("POST", "/push", {"push_source_name": "live", "df": ROWS, "to": "online"}),
    "write": ("POST", "/write-to-online-store", {"feature_view_name": "other", "df": OTHER_ROWS}),
    "all types": ("POST", _READ, _features(*_STATS, entities={"driver_id": [1, 2, 3]})),
    "missing entity": ("POST", _READ, _features("trips", "city", entities={"driver_id": [1, 99]})),
    "repeated entity": ("POST", _READ, _features("trips", entities={"driver_id": [2, 2, 1]})),
    "full names": ("POST", _READ, _features("trips", "city", full_feature_names=True)),
    "two views": (
        "POST",
        _READ,
        {"features": ["stats:trips", "other:trips"], "entities": {"driver_id": [1]}, "full_feature_names": True},
    ),
    "on demand": (
        "POST",
        _READ,
        {"features": ["totals:total", "stats:city"], "entities": {"driver_id": [1, 3], "bonus": [1.0, 2.0]}},
    ),
    "service": ("POST", _READ, {"feature_service": "service", "entities": {"driver_id": [1], "bonus": [0.5]}}),
    "service before features": (
        "POST",
        _READ,
        {"feature_service": "service", "features": ["other:trips"], "entities": {"driver_id": [1], "bonus": [0.5]}},
    ),
    "unneeded column": ("POST", _READ, _features("trips", entities={"driver_id": [1], "color": ["red"]})),
    "key as text": ("POST", _READ, _features("trips", entities={"driver_id": ["1"]})),
    "no entities": ("POST", _READ, _features("trips", entities={"driver_id": []})),
    "unknown key of the body": ("POST", _READ, _features("trips", colour="red")),
    "unknown view": ("POST", _READ, {"features": ["nope:trips"], "entities": {"driver_id": [1]}}),
    "unknown feature": ("POST", _READ, _features("nope")),
    "unknown service": ("POST", _READ, {"feature_service": "nope", "entities": {"driver_id": [1]}}),
    "no features": ("POST", _READ, {"features": [], "entities": {"driver_id": [1]}}),
    "bad reference": ("POST", _READ, {"features": ["stats"], "entities": {"driver_id": [1]}}),
    "colliding names": ("POST", _READ, {"features": ["stats:trips", "other:trips"], "entities": {"driver_id": [1]}}),
    "missing key": ("POST", _READ, _features("trips", entities={"customer_id": [1]})),
    "missing request data": ("POST", _READ, {"features": ["totals:total"], "entities": {"driver_id": [1]}}),
    "ragged": ("POST", _READ, _features("trips", entities={"driver_id": [1, 2], "bonus": [1]})),
    "key of another type": ("POST", _READ, _features("trips", entities={"driver_id": ["one"]})),
    "without entities": ("POST", _READ, {"features": ["stats:trips"]}),
    "entities of another type": ("POST", _READ, _features("trips", entities={"driver_id": 1})),
    "not an object": ("POST", _READ, [1, 2]),
    "unknown push source": ("POST", "/push", {"push_source_name": "nope", "df": ROWS}),
    "push to nowhere": ("POST", "/push", {"push_source_name": "live", "df": ROWS, "to": "nowhere"}),
    "push without a column": ("POST", "/push", {"push_source_name": "live", "df": {"driver_id": [1]}}),
    "write to an unknown view": ("POST", "/write-to-online-store", {"feature_view_name": "nope", "df": OTHER_ROWS}),
    "write ragged": (
        "POST",
        "/write-to-online-store",
        {"feature_view_name": "other", "df": {**OTHER_ROWS, "trips": [1, 2]}},
    ),
    "materialize": ("POST", "/materialize", {"start_ts": "2024-01-01T00:00:00", "end_ts": "2024-01-02T00:00:00"}),
    "materialize incrementally": (
        "POST",
        "/materialize-incremental",
        {"end_ts": "2024-01-03T00:00:00", "feature_views": ["other"]},
    ),
    "materialize an unknown view": (
        "POST",
        "/materialize",
        {"start_ts": "2024-01-01T00:00:00", "end_ts": "2024-01-02T00:00:00", "feature_views": ["nope"]},
    ),
    "materialize without dates": ("POST", "/materialize", {}),
    "materialize backwards": (
        "POST",
        "/materialize",
        {"start_ts": "2024-01-02T00:00:00", "end_ts": "2024-01-01T00:00:00"},
    ),
    "materialize at no date": ("POST", "/materialize-incremental", {"end_ts": "yesterday-ish"}),
    "materialize without an end": ("POST", "/materialize-incremental", {}),
    "health": ("GET", "/health", None),
    "unknown path": ("GET", "/nope", None),
    "wrong method": ("GET", "/push", None),
}
