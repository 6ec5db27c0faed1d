"""What aggregations are called, which hops their windows have, and what is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest

from feast_assets import (
    Aggregation,
    Array,
    BatchFeatureView,
    Entity,
    Field,
    FileSource,
    Float64,
    Int32,
    Int64,
    PushSource,
    StreamFeatureView,
    String,
    UnixTimestamp,
)
from feast_assets.definitions.aggregation import Function, hop_of
from feast_assets.definitions.definition_hash import definition_hash
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.errors import DefinitionError, NotSupportedError

USER = Entity(name="user", join_keys=["user_id"])
SOURCE = FileSource(name="purchases", path="purchases.parquet", timestamp_field="ts")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def view(*aggregations: Aggregation, **changes: object) -> BatchFeatureView:
    return BatchFeatureView(
        **{"name": "v", "entities": [USER], "source": SOURCE, "aggregations": aggregations, **changes}
    )


def test_names_and_defaults_are_feasts() -> None:
    of = Aggregation("amount", "sum", HOUR)
    assert (of.column, of.function, of.time_window, of.slide_interval, of.name) == ("amount", "sum", HOUR, HOUR, "")
    assert of.resolved_name(of.time_window) == "sum_amount_3600s"
    assert of.resolved_name() == "sum_amount"
    assert Aggregation("amount", "sum", HOUR, name="spent").resolved_name(HOUR) == "spent"
    assert Aggregation() == Aggregation("", "", None, None, None)
    assert Aggregation("a", "sum", HOUR) != Aggregation("a", "sum", DAY)


@pytest.mark.parametrize(
    ("window", "slide", "tiling", "hop"),
    [
        (HOUR, None, None, timedelta(minutes=5)),
        (3 * HOUR, None, None, timedelta(minutes=15)),
        (7 * DAY, None, None, timedelta(hours=6)),
        (12 * HOUR, None, None, HOUR),
        (DAY, None, None, HOUR),
        (12 * DAY, None, None, DAY),
        (730 * DAY, None, None, DAY),
        (13 * DAY + HOUR, None, None, HOUR),
        (timedelta(minutes=90), None, None, timedelta(minutes=5)),
        (timedelta(minutes=5), None, None, timedelta(seconds=10)),
        (timedelta(seconds=7), None, None, timedelta(seconds=1)),
        (DAY, None, timedelta(minutes=30), timedelta(minutes=30)),
        (DAY, 2 * HOUR, timedelta(minutes=30), 2 * HOUR),
        (DAY, DAY, timedelta(minutes=30), timedelta(minutes=30)),
    ],
)
def test_the_hop_follows_from_slide_tiling_or_length(window, slide, tiling, hop) -> None:
    assert hop_of(Aggregation("a", "sum", window, slide), tiling) == hop


@pytest.mark.parametrize(
    ("function", "dtype", "result"),
    [
        ("sum", Int32, Int64),
        ("sum", Float64, Float64),
        ("mean", Int64, Float64),
        ("count", String, Int64),
        ("min", UnixTimestamp, UnixTimestamp),
        ("last", String, String),
        ("last_5", String, Array(String)),
        ("approx_percentile_99.9", Int64, Float64),
    ],
)
def test_the_type_of_a_feature_follows_from_function_and_column(function, dtype, result) -> None:
    assert Function.named(function, "v").result_type("a", dtype, "v") == result


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([Aggregation("a", "sum")], DefinitionError, "needs a time_window"),
        ([Aggregation("", "sum", HOUR)], DefinitionError, "needs a column and a function"),
        ([Aggregation("a", "summ", HOUR)], NotSupportedError, r"'summ' is not supported. Did you mean 'sum'\?"),
        ([Aggregation("a", "last_0", HOUR)], NotSupportedError, "'last_0' is not supported"),
        ([Aggregation("a", "top_9999", HOUR)], NotSupportedError, "too large"),
        ([Aggregation("a", "sum", timedelta(seconds=1.5))], DefinitionError, "whole seconds"),
        ([Aggregation("a", "sum", timedelta(0), HOUR)], DefinitionError, "whole seconds"),
        ([Aggregation("a", "sum", timedelta(days=10**8))], DefinitionError, "at most 3,652,058 days"),
        ([Aggregation("a", "sum", HOUR, 2 * HOUR)], DefinitionError, "must be a multiple of its hop"),
        ([Aggregation("a", "sum", HOUR, timedelta(minutes=7))], DefinitionError, "must be a multiple of its hop"),
        ([Aggregation("a", "sum", HOUR), Aggregation("a", "sum", HOUR)], DefinitionError, "two of its aggregations"),
        (["sum"], DefinitionError, "must be a list of Aggregation, found 'sum'"),
    ],
)
def test_wrong_aggregations_are_refused_with_what_would_be_right(given, error, message) -> None:
    with pytest.raises(error, match=message):
        view(*given)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": None}, "aggregations need a source"),
        ({"partitions": None}, "need partitions"),
        ({"tiling_hop_size": HOUR}, "must be a multiple of its hop"),
        ({"ttl": timedelta(minutes=30)}, "shorter than its longest window"),
        ({"schema": [Field(name="b", dtype=Int64)]}, "'b' of its schema is neither"),
        ({"aggregations": None, "tiling_hop_size": HOUR}, "tiling_hop_size is for views with aggregations"),
    ],
)
def test_what_does_not_go_with_aggregations_is_refused(changes, message) -> None:
    with pytest.raises(DefinitionError, match=message):
        view(**{"aggregations": [Aggregation("a", "sum", HOUR)], **changes})


def test_the_schema_may_declare_columns_and_features() -> None:
    fields = [Field(name="user_id", dtype=Int64), Field(name="a", dtype=Int64), Field(name="s", dtype=Int64)]
    declared = view(Aggregation("a", "sum", HOUR, name="s"), Aggregation("a", "max", HOUR), schema=fields)
    declared.complete_aggregates(declared.aggregated_columns, "v")
    assert [(f.name, f.dtype) for f in declared.features] == [("s", Int64), ("max_a_3600s", Int64)]
    wrong = view(Aggregation("a", "sum", HOUR, name="s"), schema=[Field(name="s", dtype=Float64)])
    with pytest.raises(DefinitionError, match="declared Float64, but its aggregation makes Int64"):
        wrong.complete_aggregates([Field(name="a", dtype=Int64)], "v")


def test_a_view_with_aggregations_is_stored_and_read_back() -> None:
    made = view(Aggregation("a", "sum", HOUR, timedelta(minutes=10)), tiling_hop_size=timedelta(minutes=5))
    made.complete_aggregates([Field(name="a", dtype=Int64)], "v")
    again = FeatureView.from_spec(made.to_spec())
    assert again == made
    assert isinstance(again, BatchFeatureView)
    assert again.aggregates == made.aggregates
    assert definition_hash(again) == definition_hash(made)


def test_other_windows_are_another_definition() -> None:
    hashes = set()
    for window in (HOUR, 2 * HOUR):
        made = view(Aggregation("a", "sum", window, name="s"))
        made.complete_aggregates([Field(name="a", dtype=Int64)], "v")
        hashes.add(definition_hash(made))
    assert len(hashes) == 2


def test_a_stream_view_takes_feasts_arguments() -> None:
    made = StreamFeatureView(
        name="v",
        entities=[USER],
        source=PushSource(name="live", batch_source=SOURCE),
        aggregations=[Aggregation("a", "sum", HOUR)],
        timestamp_field="ts",
        enable_tiling=True,
        tiling_hop_size=timedelta(minutes=10),
    )
    assert hop_of(made.aggregations[0], made.tiling_hop_size) == timedelta(minutes=10)
