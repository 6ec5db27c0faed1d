"""What can be declared of a field's values, and how it is kept and shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal as PythonDecimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feast_assets import (
    Array,
    Bool,
    Checks,
    Decimal,
    Entity,
    FeatureView,
    Field,
    FileSource,
    Float64,
    Int64,
    LabelView,
    String,
    UnixTimestamp,
    on_demand_feature_view,
)
from feast_assets.definitions.definition_hash import definition_hash
from feast_assets.errors import DefinitionError

NOON = datetime(2024, 1, 1, 12)
DRIVER = Entity(name="driver", join_keys=["driver_id"])
SOURCE = FileSource(name="trips", path="trips.parquet", timestamp_field="at")


def view(checks: Checks | None = None, **changes) -> FeatureView:
    schema = [Field(name="driver_id", dtype=Int64), Field(name="fare", dtype=Float64, checks=checks)]
    return FeatureView(**{"name": "rides", "source": SOURCE, "entities": [DRIVER], "schema": schema, **changes})


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({}, "nothing is declared"),
        ({"minimum": 2, "maximum": 1}, "minimum 2 is above maximum 1"),
        ({"minimum": "a"}, "number or a datetime"),
        ({"minimum": True}, "number or a datetime"),
        ({"maximum": float("nan")}, "number or a datetime"),
        ({"maximum": float("inf")}, "finite"),
        ({"minimum": NOON, "maximum": 3}, "different kinds"),
        ({"max_null_share": 1.5}, "from 0 to 1"),
        ({"max_null_share": 0.1, "nullable": False}, "leave max_null_share out"),
        ({"allowed": []}, "at least one"),
        ({"allowed": "abc"}, "a list"),
        ({"allowed": [1.5]}, "not 1.5"),
        ({"nullable": "no"}, "True or False"),
        ({"unique": True, "severity": "fatal"}, "'error' or 'warn'"),
    ],
)
def test_rules_that_contradict_themselves_are_refused(rules, told):
    with pytest.raises(DefinitionError, match=told):
        Checks(**rules)


@pytest.mark.parametrize(
    ("dtype", "rules", "told"),
    [
        (String, {"minimum": 1}, "'x'.*minimum is for numbers.*String"),
        (Bool, {"maximum": 1}, "maximum is for numbers"),
        (Float64, {"minimum": NOON}, "must be a number"),
        (UnixTimestamp, {"minimum": 1}, "must be a datetime"),
        (Float64, {"allowed": [1]}, "allowed is for texts"),
        (String, {"allowed": [1]}, "values of String; got 1"),
        (Int64, {"allowed": [True]}, "values of Int64; got True"),
        (Bool, {"allowed": [1]}, "values of Bool"),
        (Array(Int64), {"unique": True}, "unique is for"),
    ],
)
def test_rules_that_a_type_cannot_break_are_refused(dtype, rules, told):
    with pytest.raises(DefinitionError, match=told):
        Field(name="x", dtype=dtype, checks=Checks(**rules))


def test_rules_of_every_type():
    fields = [
        Field(name="a", dtype=Int64, checks=Checks(minimum=0, maximum=2.5, allowed=[0, 1, 1], unique=True)),
        Field(name="b", dtype=Decimal, checks=Checks(minimum=PythonDecimal("0.5"))),
        Field(name="c", dtype=UnixTimestamp, checks=Checks(minimum=NOON, unique=True)),
        Field(name="d", dtype=Bool, checks=Checks(allowed=[True])),
        Field(name="e", dtype=Array(Int64), checks=Checks(nullable=False)),
        Field(name="f", dtype=String, checks=Checks(allowed=["x"], max_null_share=0, severity="warn")),
    ]
    assert fields[0].checks.rules == ["minimum", "maximum", "allowed", "unique"]
    assert (fields[0].checks.allowed, fields[1].checks.minimum) == ([0, 1], 0.5)
    assert fields[2].checks.minimum == NOON.replace(tzinfo=UTC)
    for field in fields:
        assert Field.from_spec(json.loads(json.dumps(field.to_spec()))) == field
    with pytest.raises(DefinitionError, match="checks must be Checks"):
        Field(name="x", dtype=Int64, checks={"minimum": 0})


@given(st.one_of(st.none(), st.integers()), st.one_of(st.none(), st.floats(0, 1)), st.booleans())
def test_what_is_stored_is_what_was_declared_and_no_more(minimum, share, unique):
    if minimum is None and share is None and not unique:
        return
    checks = Checks(minimum=minimum, max_null_share=share, unique=unique)
    declared = {
        n for n, v in (("minimum", minimum), ("max_null_share", share), ("unique", unique or None)) if v is not None
    }
    assert set(checks.to_spec()) == {"kind", *declared}
    found = Checks.from_spec(checks.to_spec())
    assert found == checks
    assert (found.nullable, found.allowed, found.severity) == (True, [], "error")


def test_fields_of_before_have_no_checks():
    spec = Field(name="a", dtype=Int64).to_spec()
    del spec["checks"]
    assert Field.from_spec(spec).checks is None


def test_checks_make_nothing_stale():
    assert definition_hash(view()) == definition_hash(view(Checks(minimum=0)))


def test_a_view_validates_where_checks_are_declared_unless_told_otherwise():
    assert view().enable_validation is False
    assert view(Checks(minimum=0)).enable_validation is True
    assert view(Checks(minimum=0), enable_validation=False).enable_validation is False
    assert view(enable_validation=True).enable_validation is True


def test_checks_that_nobody_would_look_at_are_refused():
    with pytest.raises(DefinitionError, match="'driver_id' declares checks.*join key"):
        view(schema=[Field(name="driver_id", dtype=Int64, checks=Checks(minimum=0)), Field(name="a", dtype=Int64)])
    checked = Field(name="a", dtype=Int64, checks=Checks(minimum=0))
    with pytest.raises(DefinitionError, match="pushed rows are not checked"):
        LabelView(name="labels", entities=[DRIVER], schema=[checked], source=SOURCE)
    with pytest.raises(DefinitionError, match="asked for is not checked"):

        @on_demand_feature_view(sources=[view(ttl=timedelta(0))], schema=[checked], mode="python")
        def computed(inputs):
            return inputs
