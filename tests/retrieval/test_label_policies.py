"""Which label counts in history, compared with a look at every label; the policies as Feast has them: tests/compat."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from drivers import DAY, DRIVER, NOW, Project, snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets import (
    Array,
    ConflictPolicy,
    FeatureService,
    Field,
    FileSource,
    Float64,
    Int64,
    LabelView,
    OnDemandFeatureView,
    PushSource,
    String,
)
from feast_assets.errors import DefinitionError
from feast_assets.offline_stores.base import CREATED_TIMESTAMP, EVENT_TIMESTAMP, history_of, rows_schema
from feast_assets.offline_stores.spine import PointInTimeJoin, Spine
from feast_assets.retrieval import label_policies
from feast_assets.retrieval.label_policies import VOTED, labels_as_of

START = datetime(2024, 1, 1, tzinfo=UTC)
PRIORITIES = ["expert", "crowd"]
FEATURES = {"verdict": String, "score": Float64, "tags": Array(String), "labeler": String}


def labels(policy=ConflictPolicy.MAJORITY_VOTE, created="made", **changes):
    given = {
        "name": "labels",
        "entities": [DRIVER],
        "source": PushSource(
            name="pushed",
            batch_source=FileSource(
                name="labels_file", path="labels.parquet", timestamp_field="ts", created_timestamp_column=created
            ),
        ),
        "schema": [
            Field(name="driver_id", dtype=Int64),
            *(Field(name=name, dtype=dtype) for name, dtype in FEATURES.items()),
        ],
        "conflict_policy": policy,
        "labeler_priorities": PRIORITIES if policy is ConflictPolicy.LABELER_PRIORITY else None,
    }
    return LabelView(**{**given, **changes})


class Labels:
    """A store of history that holds some rows in memory."""

    def __init__(self, rows):
        self.rows = rows

    def scan(self, history, window):
        inside = [row for row in self.rows if window.start <= row[EVENT_TIMESTAMP] < window.end]
        return pa.Table.from_pylist(inside, rows_schema(history)).to_reader()


hours = st.integers(0, 6)
given_labels = st.lists(
    st.fixed_dictionaries(
        {
            "driver_id": st.integers(1, 2),
            "verdict": st.sampled_from(["good", "bad", None]),
            "score": st.sampled_from([0.0, -0.0, 1.5, float("nan"), None]),
            "tags": st.sampled_from([["a"], ["a", "b"], [], None]),
            "labeler": st.sampled_from([*PRIORITIES, "guest", None]),
            EVENT_TIMESTAMP: hours,
            CREATED_TIMESTAMP: st.one_of(st.none(), hours),
        }
    ),
    max_size=10,
)
moments = st.lists(st.tuples(st.sampled_from([1, 2, 3, None]), st.one_of(st.none(), hours)), max_size=6)


def at(hour):
    return None if hour is None else START + timedelta(hours=hour)


def seen_by(rows, moment, ttl, known_only):
    """The labels that a moment sees, from old to new, as groups of those that tie."""
    driver, hour = moment
    seen = [
        row
        for row in rows
        if None not in (driver, hour)
        and row["driver_id"] == driver
        and row[EVENT_TIMESTAMP] <= at(hour)
        and (ttl is None or row[EVENT_TIMESTAMP] >= at(hour) - ttl)
        and (not known_only or (row[CREATED_TIMESTAMP] is not None and row[CREATED_TIMESTAMP] <= at(hour)))
    ]
    return sorted(seen, key=age)


def age(row):
    return row[EVENT_TIMESTAMP], row[CREATED_TIMESTAMP] or START - DAY


def same(value):
    """A value such that equal ones are equal in Python; None for what is no vote."""
    if value is None or value != value:
        return None
    return tuple(value) if isinstance(value, list) else value


def possible(policy, seen, feature):
    """The values that may be the answer: of the newest labels that count, any."""
    if policy is ConflictPolicy.LABELER_PRIORITY:
        rank = min((PRIORITIES.index(r["labeler"]) if r["labeler"] in PRIORITIES else 9 for r in seen), default=9)
        seen = [r for r in seen if (PRIORITIES.index(r["labeler"]) if r["labeler"] in PRIORITIES else 9) == rank]
        return {same(row[feature]) for row in seen if age(row) == age(seen[-1])} or {None}
    votes = Counter(same(row[feature]) for row in seen if same(row[feature]) is not None)
    if feature == "labeler":
        return {VOTED} if votes else {None}
    first = {value for value, count in votes.items() if count == max(votes.values())}
    of_first = [row for row in seen if same(row[feature]) in first and first]
    return {same(row[feature]) for row in of_first if age(row) == age(of_first[-1])} or {None}


@settings(max_examples=150, deadline=None)
@given(
    given_labels,
    moments,
    st.sampled_from([None, timedelta(hours=2)]),
    st.booleans(),
    st.sampled_from([ConflictPolicy.MAJORITY_VOTE, ConflictPolicy.LABELER_PRIORITY]),
    st.sampled_from([1, 5, 4_000_000]),
    st.randoms(use_true_random=False),
)
def test_the_label_that_counts_is_found_by_looking_at_every_label(
    given_rows, asked, ttl, known_only, policy, at_once, order
):
    rows = [{**row, **{name: at(row[name]) for name in (EVENT_TIMESTAMP, CREATED_TIMESTAMP)}} for row in given_rows]
    view = labels(policy)
    history = history_of(view)
    spine = Spine(
        pa.table(
            {
                EVENT_TIMESTAMP: pa.array([at(hour) for _, hour in asked], pa.timestamp("us", "UTC")),
                "key_0": pa.array([driver for driver, _ in asked], pa.int64()),
            }
        )
    )
    wanted = ["labeler", "verdict", "score", "tags"]
    join = PointInTimeJoin(
        history.with_features(wanted), {name: f"out_{name}" for name in wanted}, {"driver_id": "key_0"}, ttl
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_policies, "_PAIRS", at_once)
        found = labels_as_of(Labels(rows), spine, view, join, history, known_only)
    order.shuffle(rows)
    again = labels_as_of(Labels(rows), spine, view, join, history, known_only)
    assert str(found.to_pydict()) == str(again.to_pydict()), "the order of rows does not decide"
    assert found.column_names == [f"out_{name}" for name in wanted]
    for number, moment in enumerate(asked):
        seen = seen_by(rows, moment, ttl, known_only)
        for name in wanted:
            value = same(found.column(f"out_{name}")[number].as_py())
            assert value in possible(policy, seen, name), (name, moment, seen)


ROWS = [
    {"driver_id": 1, "ts": NOW - 3 * DAY, "verdict": "good", "score": 1.0, "tags": ["a"], "labeler": "crowd"},
    {"driver_id": 1, "ts": NOW - 2 * DAY, "verdict": "good", "score": 2.0, "tags": ["a"], "labeler": "guest"},
    {"driver_id": 1, "ts": NOW - DAY, "verdict": "bad", "score": 3.0, "tags": ["b"], "labeler": "guest"},
    {"driver_id": 2, "ts": NOW, "verdict": "bad", "score": 4.0, "tags": [], "labeler": "expert"},
]


def asked(*rows):
    return pa.table(
        {
            "driver_id": [driver for driver, _ in rows],
            "event_timestamp": pa.array([moment for _, moment in rows], pa.timestamp("us", "UTC")),
        }
    )


@pytest.mark.parametrize(
    ("policy", "verdicts"),
    [
        (ConflictPolicy.LAST_WRITE_WINS, ["bad", "bad", "good", None]),
        (ConflictPolicy.LABELER_PRIORITY, ["bad", "good", "good", None]),
        (ConflictPolicy.MAJORITY_VOTE, ["bad", "good", "good", None]),
    ],
)
def test_history_follows_the_policy_beside_views_and_functions_that_read_labels(project: Project, policy, verdicts):
    view = labels(policy, created="")
    project.both(view, *ROWS)

    def shout(inputs):
        return {"loud": [None if v is None else v.upper() for v in inputs["verdict"]]}

    loud = OnDemandFeatureView(
        name="loud", sources=[view], schema=[Field(name="loud", dtype=String)], mode="python", udf=shout
    )
    rows = asked((2, NOW), (1, NOW), (1, NOW - 2 * DAY), (9, NOW))
    registry = snapshot(view, loud)
    got = project.job(rows, ["labels:verdict", "stats:trips", "loud:loud"], registry).to_arrow().to_pydict()
    assert got["verdict"] == verdicts
    assert got["loud"] == [v and v.upper() for v in verdicts]
    assert got["trips"] == [None] * 4
    service = FeatureService(name="model", features=[view[["verdict"]].with_name("judged")])
    assert project.job(rows, service, snapshot(view, service)).to_arrow()["verdict"].to_pylist() == verdicts
    online = project.read(["labels:verdict"], [{"driver_id": 1}, {"driver_id": 2}], registry).to_dict()
    assert online["verdict"] == ["bad", "bad"], "online the newest label counts"


def test_labels_older_than_the_ttl_have_no_vote(project: Project):
    view = labels(created="", ttl=2 * DAY)
    project.write(view, ROWS)
    rows = asked((1, NOW), (1, NOW - DAY), (1, NOW + 2 * DAY))
    got = project.job(rows, ["labels:verdict", "labels:labeler"], snapshot(view)).to_arrow().to_pydict()
    assert got["verdict"] == ["bad", "good", None]
    assert got["labeler"] == [VOTED, VOTED, None]


def test_a_range_of_dates_gives_each_entity_the_label_that_counts(project: Project):
    view = labels(created="")
    project.write(view, ROWS)
    job = project.job(None, ["labels:verdict"], snapshot(view), start_date=NOW - 9 * DAY, end_date=NOW)
    got = job.to_arrow().to_pydict()
    assert dict(zip(got["driver_id"], got["verdict"], strict=True)) == {1: "good", 2: "bad"}


def test_a_policy_is_stored_with_its_priorities():
    view = labels(ConflictPolicy.LABELER_PRIORITY)
    again = LabelView.from_spec(view.to_spec())
    assert (again.conflict_policy, again.labeler_priorities) == (ConflictPolicy.LABELER_PRIORITY, PRIORITIES)
    older = {name: value for name, value in view.to_spec().items() if name != "labeler_priorities"}
    assert LabelView.from_spec(older).newest_label_counts


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conflict_policy": "majority_vote"}, "must be one of ConflictPolicy.LAST_WRITE_WINS"),
        ({"labeler_field": 3}, "labeler_field must be the name of a field"),
        ({"labeler_priorities": "expert"}, "must be a list of labelers"),
        ({"labeler_priorities": ["a", "a"]}, "must be different texts"),
        ({"labeler_priorities": [1]}, "must be different texts"),
        ({"labeler_field": "labeller"}, "no field 'labeller'.*'labeler'"),
        ({"conflict_policy": ConflictPolicy.MAJORITY_VOTE, "labeler_priorities": ["a"]}, "only count with"),
    ],
)
def test_a_policy_that_cannot_be_followed_is_refused(changes, message):
    with pytest.raises(DefinitionError, match=message):
        labels(ConflictPolicy.LABELER_PRIORITY, **changes)


def test_priorities_left_out_are_warned_of_and_mean_the_newest(project: Project):
    with pytest.warns(UserWarning, match="without labeler_priorities"):
        view = labels(ConflictPolicy.LABELER_PRIORITY, created="", labeler_priorities=None)
    project.write(view, ROWS)
    job = project.job(asked((1, NOW)), ["labels:verdict"], snapshot(view))
    assert job.to_arrow()["verdict"].to_pylist() == ["bad"]


def test_history_of_a_view_without_labels_is_empty_of_them(project: Project):
    view = labels(created="")
    project.write(view, [])
    empty = asked((1, NOW)).slice(0, 0)
    for rows, expected in ((asked((1, NOW)), [None]), (empty, [])):
        got = project.job(rows, ["labels:verdict"], snapshot(view)).to_arrow()
        assert got["verdict"].to_pylist() == expected
        assert got.schema.field("verdict").type == pa.string()
