"""Apply: what need not be made again is not, and nothing else differs for it; what that costs."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    FileSource,
    OnDemandFeatureView,
    RepoConfig,
)
from feast_assets.definitions.base import Definition
from feast_assets.definitions.field import Field
from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.spec import Spec
from feast_assets.errors import SourceError
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.registry.base import Changes
from feast_assets.registry.sql.sqlite_file import SqliteTransaction
from feast_assets.registry.sql.store import SqlRegistry
from feast_assets.repository.loading import RepoContents
from feast_assets.types import Float64, Int32, Int64, ValueType

_START = datetime(2024, 1, 1, tzinfo=UTC)


def store_in(root: Path) -> FeatureStore:
    online = {"type": "sqlite", "path": "online.db"}
    return FeatureStore(root, RepoConfig(project="shop", registry="registry.db", online_store=online))


def write(root: Path, name: str, columns: tuple[str, ...] = ("fare",), days: tuple[int, ...] = (0, 1)) -> None:
    data = {"driver_id": pa.array(range(len(days)), pa.int64())}
    data["at"] = pa.array([_START + timedelta(days=d) for d in days], pa.timestamp("us", "UTC"))
    data |= {c: pa.array([1.0] * len(days), pa.float64()) for c in columns}
    file = root / f"{name}.parquet"
    file.unlink(missing_ok=True)
    pq.write_table(pa.table(data), file)


def driver(value_type: ValueType = ValueType.INT64) -> Entity:
    return Entity(name="driver", join_keys=["driver_id"], value_type=value_type)


def view(name: str, features: tuple[str, ...] = ("fare",), description: str = "") -> FeatureView:
    return FeatureView(
        name=name,
        entities=[driver()],
        source=FileSource(name=f"{name}_rows", path=f"{name}.parquet", timestamp_field="at"),
        schema=[Field(name=f, dtype=Float64) for f in features] or None,
        description=description,
    )


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the offline store was asked for the columns of a source, or for its oldest event."""
    found: Counter[str] = Counter()
    schema, oldest = DuckDBOfflineStore.schema, DuckDBOfflineStore.oldest_event

    def noting_schema(self: DuckDBOfflineStore, source: Any) -> pa.Schema:
        found[source.name] += 1
        return schema(self, source)

    def noting_oldest(self: DuckDBOfflineStore, history: Any) -> datetime | None:
        found[f"oldest of {history.view}"] += 1
        return oldest(self, history)

    monkeypatch.setattr(DuckDBOfflineStore, "schema", noting_schema)
    monkeypatch.setattr(DuckDBOfflineStore, "oldest_event", noting_oldest)
    return found


# --- what is opened


def test_only_what_changed_is_looked_into_again(tmp_path: Path, opened: Counter[str]) -> None:
    names = [f"v{i}" for i in range(4)]
    for name in names:
        write(tmp_path, name)
    views = {name: view(name) for name in names}
    store_in(tmp_path).apply([driver(), *views.values()])
    assert opened == {**{f"{n}_rows": 1 for n in names}, **{f"oldest of {n}": 1 for n in names}}
    opened.clear()
    store = store_in(tmp_path)  # as another process
    store.apply([driver(), *(view(name) for name in names)])
    assert (opened, store.registry.revision()) == ({}, 1)
    store.apply([driver(), *(view(n, description="paid" if n == "v2" else "") for n in names)])
    assert (opened, store.registry.revision()) == ({}, 2), "what is said of a view is no matter of its source"
    assert store.get_feature_view("v2").description == "paid"
    store.apply(view("v3", description="paid"))
    assert (opened, store.registry.revision()) == ({}, 3)
    store.apply([driver(), *(view(n, description="paid" if n == "v2" else "") for n in names)])
    assert (opened, store.registry.revision()) == ({}, 4)
    write(tmp_path, "v1", days=(0, 1, 2))
    for _ in range(2):
        store.apply([driver(), *(view(n, description="paid" if n == "v2" else "") for n in names)])
        assert (opened, store.registry.revision()) == ({"v1_rows": 1}, 4)
    with pytest.raises(SourceError, match="'tip' is not a column"):
        store.apply(view("v3", features=("fare", "tip")))
    assert opened["v3_rows"] == 1


def test_sources_of_one_file_are_opened_once(tmp_path: Path, opened: Counter[str]) -> None:
    write(tmp_path, "rows")
    views = []
    for i in range(5):
        source = FileSource(name=f"s{i}", path="rows.parquet", timestamp_field="at", description=f"the {i}th")
        views.append(FeatureView(name=f"v{i}", entities=[driver()], source=source))
    store_in(tmp_path).apply([driver(), *views])
    assert sum(n for name, n in opened.items() if not name.startswith("oldest")) == 1


def test_a_source_whose_state_nobody_can_tell_is_always_looked_into(
    tmp_path: Path, opened: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "v")
    monkeypatch.setattr(DuckDBOfflineStore, "parts", lambda self, source, *, extents=False: None)
    store = store_in(tmp_path)
    for times in (1, 2):
        store.apply([driver(), view("v")])
        assert opened["v_rows"] == times


# --- what is noticed anyway


def test_a_column_that_is_gone_is_noticed_though_nothing_declared_changed(tmp_path: Path) -> None:
    write(tmp_path, "v")
    store_in(tmp_path).apply([driver(), view("v")])
    write(tmp_path, "v", columns=("price",))
    with pytest.raises(SourceError, match="'fare' is not a column of data source 'v_rows'"):
        store_in(tmp_path).apply([driver(), view("v")])


def test_what_was_inferred_follows_the_source(tmp_path: Path) -> None:
    write(tmp_path, "v")
    store = store_in(tmp_path)
    store.apply([driver(), view("v", features=())])
    write(tmp_path, "v", columns=("fare", "tip"))
    store.apply([driver(), view("v", features=())])
    assert [f.name for f in store.get_feature_view("v").features] == ["fare", "tip"]


def test_an_entity_that_changes_changes_its_views(tmp_path: Path) -> None:
    write(tmp_path, "v")
    store = store_in(tmp_path)
    undecided = FeatureView(
        name="v",
        entities=[Entity(name="driver", join_keys=["driver_id"])],
        source=view("v").batch_source,
        schema=[Field(name="fare", dtype=Float64)],
    )
    store.apply([Entity(name="driver", join_keys=["driver_id"]), undecided])
    assert [f.dtype for f in store.get_feature_view("v").entity_columns] == [Int64]
    store.apply([driver(ValueType.INT32), undecided])
    assert [f.dtype for f in store.get_feature_view("v").entity_columns] == [Int32]


def test_what_somebody_else_applied_in_between_is_put_back(tmp_path: Path) -> None:
    write(tmp_path, "v")
    ours, theirs = store_in(tmp_path), store_in(tmp_path)
    ours.apply([driver(), view("v")])
    theirs.apply([driver(), view("v", description="theirs")])
    ours.apply([driver(), view("v")])
    assert ours.get_feature_view("v").description == ""
    assert ours.registry.revision() == 3


def test_what_was_registered_in_between_by_one_who_remembers_nothing_is_put_back(tmp_path: Path) -> None:
    write(tmp_path, "v")
    objects = [driver(), view("v"), FeatureService(name="s", features=["v"])]
    store = store_in(tmp_path)
    store.apply(objects)
    theirs: list[Definition] = [store.get_feature_view("v"), store.get_feature_service("s")]
    for definition in theirs:
        definition.owner = "theirs"
    store.registry.commit(Changes(theirs))
    assert store.get_feature_service("s").owner == "theirs"
    store.apply(objects)
    assert [store.get_feature_view("v").owner, store.get_feature_service("s").owner] == ["", ""]


def test_rows_that_come_later_fix_the_start_of_the_grid(tmp_path: Path) -> None:
    write(tmp_path, "v", days=())
    store = store_in(tmp_path)
    store.apply([driver(), view("v")])
    assert store.get_feature_view("v").partitions == Partitions("daily")
    write(tmp_path, "v", days=(3,))
    store.apply([driver(), view("v")])
    assert store.get_feature_view("v").partitions == Partitions("daily", _START + timedelta(days=3))


_NAMES = ("a", "b")
_WAYS = ("whole", "without a", "without a and what uses it", "a alone", "service alone", "source of a by somebody else")
_STEP = st.one_of(
    st.tuples(st.just("way"), st.just(""), st.sampled_from(_WAYS)),
    st.tuples(st.just("way"), st.just(""), st.sampled_from(_WAYS)),
    st.tuples(st.just("chosen"), st.just(""), st.sampled_from(["a", "a:fare", "a:tip", "b"])),
    st.tuples(st.just("file"), st.sampled_from(_NAMES), st.sampled_from([("fare",), ("fare", "tip"), ("tip",)])),
    st.tuples(st.just("schema"), st.sampled_from(_NAMES), st.sampled_from([(), ("fare",), ("tip",)])),
    st.tuples(st.just("description"), st.sampled_from(_NAMES), st.sampled_from(["", "x"])),
    st.tuples(st.just("key"), st.just(""), st.sampled_from([ValueType.INT64, ValueType.UNKNOWN])),
    st.tuples(st.just("process"), st.just(""), st.just("")),
)


@settings(max_examples=12, deadline=None)
@given(steps=st.lists(_STEP, max_size=6))
def test_an_apply_that_remembers_does_what_one_that_forgets_does(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, Any]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        remembering = _outcomes(tmp_path_factory.mktemp("remembers"), steps)
        patch.setattr(SqlRegistry, "inputs", lambda self: {})
        assert remembering == _outcomes(tmp_path_factory.mktemp("forgets"), steps)


def _outcomes(root: Path, steps: list[tuple[str, str, Any]]) -> list[Any]:
    """Returns after each step what the registry holds, or why the apply failed."""
    said: dict[str, dict[str, Any]] = {name: {"schema": ("fare",), "description": ""} for name in _NAMES}
    key, store, way, chosen = ValueType.INT64, store_in(root), "whole", "a"
    outcomes: list[Any] = []
    for name in _NAMES:
        write(root, name)
    for kind, name, value in [("process", "", ""), *steps]:
        if kind == "file":
            write(root, name, value)
        elif kind == "key":
            key = value
        elif kind == "process":
            store = store_in(root)
        elif kind == "chosen":
            chosen = value
        elif kind == "way":
            way = value
        else:
            said[name][kind] = value
        views = [view(n, s["schema"], s["description"]) for n, s in said.items()]
        if "without a" in way:
            views = views[1:]
        doubled = OnDemandFeatureView(
            name="doubled", sources=[views[-1]], schema=[Field(name="y", dtype=Float64)], udf=lambda df: df
        )
        services = [FeatureService(name="all", features=[*views, doubled])]
        if way != "without a and what uses it":
            services.append(FeatureService(name="some", features=[chosen]))
        entity = Entity(name="driver", join_keys=["driver_id"], value_type=key)
        wanted = RepoContents([], [entity], [], views, [doubled], [], services)
        try:
            if way == "a alone":
                store.apply(views[0])
            elif way == "service alone":
                store.apply(services)
            elif way == "source of a by somebody else":
                source = view("a").batch_source
                assert source is not None
                source.tags = {"steps": str(len(outcomes))}
                store_in(root).apply(source)
            else:
                differences, infrastructure, tables = store.plan(wanted)
                outcomes.append([str(differences), len(list(differences)), str(infrastructure), len(tables)])
                store.apply_plan(store._plan(wanted.objects(), [], whole=True))
        except (ValueError, LookupError) as error:
            outcomes.append(str(error).replace(str(root), ""))
        outcomes.append([store.registry.revision(), *map(_said, store.registry.snapshot().objects())])
    return outcomes


def _said(definition: Definition) -> dict[str, Any]:
    return {k: v for k, v in definition.to_spec().items() if k != "online_generation"}


# --- what it costs


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that read the registry."""
    statements: list[str] = []
    query = SqliteTransaction.__call__

    def noting(self: SqliteTransaction, statement: str, **values: Any) -> Any:
        statements.append(statement)
        return query(self, statement, **values)

    monkeypatch.setattr(SqliteTransaction, "__call__", noting)
    return statements


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that write the registry, each once for all of its rows."""
    statements: list[str] = []
    each = SqliteTransaction.each

    def noting(self: SqliteTransaction, statement: str, rows: Any) -> None:
        statements.append(statement)
        each(self, statement, rows)

    monkeypatch.setattr(SqliteTransaction, "each", noting)
    return statements


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The definitions that were read from their stored form."""
    found: list[str] = []
    decode = Spec.from_spec.__func__  # type: ignore[attr-defined]

    def noting(cls: type[Spec], spec: Any) -> Any:
        found.append(f"{spec['kind']} {spec['name']}")
        return decode(cls, spec)

    monkeypatch.setattr(Spec, "from_spec", classmethod(noting))
    return found


def _many(count: int, description: str = "") -> list[Definition]:
    views = [
        FeatureView(
            name=f"v{i}",
            entities=[driver()],
            source=FileSource(name="rows", path="rows.parquet", timestamp_field="at"),
            schema=[Field(name="fare", dtype=Float64)],
            description=description,
        )
        for i in range(count)
    ]
    return [driver(), *views, *(FeatureService(name=f"s{i}", features=[v]) for i, v in enumerate(views))]


def test_statements_of_an_apply_do_not_grow_with_its_objects(
    tmp_path: Path, read: list[str], written: list[str]
) -> None:
    counts = []
    for count in (2, 30):
        root = tmp_path / str(count)
        root.mkdir()
        write(root, "rows")
        store = store_in(root)
        costs = []
        for objects in (_many(count), _many(count), _many(count, "x"), [view("rows")]):
            before = len(read), len(written)
            store.apply(objects)
            costs.append((len(read) - before[0], len(written) - before[1]))
        counts.append(costs)
    assert counts[0] == counts[1]
    assert counts[0][1] == (4, 0), "nothing to write, and no definitions read anew"
    assert max(w for _, w in counts[0][2:]) <= 10


def test_what_stands_is_not_read(tmp_path: Path, decoded: list[str]) -> None:
    write(tmp_path, "rows")
    few = {"Entity driver", "Project shop"}
    store_in(tmp_path).apply(_many(5))
    decoded.clear()
    store_in(tmp_path).apply(_many(5))
    assert set(decoded) == few
    decoded.clear()
    store = store_in(tmp_path)
    objects = _many(5)
    objects[2].description = "changed"
    store.apply(objects)
    assert set(decoded) == {*few, "FeatureView v1"}, "services take no descriptions from views"
    assert (store.registry.revision(), store.get_feature_view("v1").description) == (2, "changed")
    decoded.clear()
    store = store_in(tmp_path)
    store.apply([FeatureService(name="some", features=["v1", "v3:fare"])])
    assert set(decoded) == {*few, "FeatureView v1", "FeatureView v3"}
    decoded.clear()
    store_in(tmp_path).apply([FeatureService(name="some", features=["v1", "v3:fare"])])
    assert set(decoded) == few


def test_a_source_that_is_declared_by_itself_as_well_is_not_read_either(tmp_path: Path, decoded: list[str]) -> None:
    write(tmp_path, "v")
    for _ in range(2):
        decoded.clear()
        declared = view("v")
        assert declared.batch_source is not None
        store_in(tmp_path).apply([driver(), declared.batch_source, declared])
    assert set(decoded) == {"Entity driver", "Project shop"}


def test_what_another_version_remembered_is_made_again(tmp_path: Path, opened: Counter[str]) -> None:
    write(tmp_path, "v")
    store = store_in(tmp_path)
    objects = [driver(), view("v"), FeatureService(name="s", features=["v"])]
    store.apply(objects)
    remembered = dict(store.registry.inputs())
    for other in ("one:two:three", "[]", '["of another length"]'):
        store.registry.commit(Changes(inputs=dict.fromkeys(remembered, other)))
        opened.clear()
        store.apply(objects)
        assert (opened["v_rows"], store.registry.revision()) == (1, 1)
        assert store.registry.inputs() == remembered


def test_a_refresh_reads_only_what_changed(tmp_path: Path, read: list[str], decoded: list[str]) -> None:
    write(tmp_path, "rows")
    store, reader = store_in(tmp_path), store_in(tmp_path)
    store.apply(_many(20))
    before = reader.snapshot()
    assert [v.name for v in before.feature_views][:2] == ["v0", "v1"]
    read.clear()
    reader.get_entity("driver")
    assert len(read) == 1
    assert reader.snapshot() is before
    store.apply([view("rows"), *_many(1, "changed")])
    decoded.clear()
    assert {v.name: v.description for v in reader.list_feature_views()}["v0"] == "changed"
    assert sorted(decoded) == ["FeatureView rows", "FeatureView v0"]
    assert [o.to_spec() for o in reader.snapshot().objects()] == [
        o.to_spec() for o in store_in(tmp_path).snapshot().objects()
    ]


def test_resolving_a_reference_reads_one_view(tmp_path: Path, decoded: list[str]) -> None:
    write(tmp_path, "rows")
    store_in(tmp_path).apply(_many(20))
    decoded.clear()
    store_in(tmp_path).get_online_features(["v7:fare"], [{"driver_id": 1}]).to_dict()
    assert [d for d in decoded if d.startswith("FeatureView ")] == ["FeatureView v7"]
