"""Columns that are stored as text: what is declared decides how they are read, and not what they look like today."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from decimal import Decimal as Number
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets import Entity, FeatureStore, FeatureView, RepoConfig
from feast_assets.definitions.field import Field
from feast_assets.definitions.sources.file_format import CsvFormat
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.window import ALWAYS
from feast_assets.errors import SourceError
from feast_assets.offline_stores.base import History
from feast_assets.offline_stores.duckdb import files as duckdb_files
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.offline_stores.spine import PointInTimeJoin
from feast_assets.testing.offline_store import joined
from feast_assets.types import (
    Array,
    Bool,
    Decimal,
    FeastType,
    Float32,
    Float64,
    Int32,
    Int64,
    Json,
    String,
    UnixTimestamp,
)
from feast_assets.types.arrow import is_stored_as_text

AT = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> DuckDBOfflineStore:
    return DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=2), tmp_path)


def history(path: str, dtype: FeastType, *, key: FeastType = Int64, **options: Any) -> History:
    src = FileSource(path=path, timestamp_field="at", **options)
    return History("v", (src,), (Field(name="id", dtype=key),), (Field(name="x", dtype=dtype),), "at")


def write_csv(path: Path, values: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("id,at,x\n" + "".join(f"{i},2024-01-01,{value}\n" for i, value in enumerate(values)))


def write_folders(path: Path, values: list[str]) -> None:
    for i, value in enumerate(values):
        (path / f"x={value}").mkdir(parents=True)
        pq.write_table(pa.table({"id": [i], "at": [AT]}), path / f"x={value}" / "rows.parquet")


def values(store: DuckDBOfflineStore, of: History) -> list[Any]:
    found = store.scan(of, ALWAYS).read_all().sort_by("id")["x"].to_pylist()
    newest = store.latest(of, [ALWAYS]).read_all().sort_by("id")
    asked = pa.table(
        {"id": newest["id"], "event_timestamp": pa.array([AT] * newest.num_rows, pa.timestamp("us", "UTC"))}
    )
    table = joined(store, asked, [PointInTimeJoin(of, {}, {})])
    assert found == newest["x"].to_pylist() == table["x"].to_pylist()
    assert store.statistics(of, [ALWAYS])[0].rows == len(found)
    return found


CASES: list[tuple[FeastType, list[str], list[Any]]] = [
    (String, ["123", "999"], ["123", "999"]),
    (String, ["007", "042"], ["007", "042"]),
    (String, ["true", "2024-01-01"], ["true", "2024-01-01"]),
    (String, ["12345678901234567890", "1.10"], ["12345678901234567890", "1.10"]),
    (Int64, ["5", "-7"], [5, -7]),
    (Int64, ["007", "+8"], [7, 8]),
    (Int64, ["9007199254740993", "1.0"], [9007199254740993, 1]),
    (Int64, ["1e3", "5.0"], [1000, 5]),
    (Int32, ["1", "2"], [1, 2]),
    (Float64, ["1", "2"], [1.0, 2.0]),
    (Float64, ["1.5", "-2e-3"], [1.5, -0.002]),
    (Float32, ["1.5", "2"], [1.5, 2.0]),
    (Bool, ["true", "False"], [True, False]),
    (Bool, ["1", "0"], [True, False]),
    (Decimal, ["1.10", "2.5"], ["1.10", "2.5"]),
    (UnixTimestamp, ["2024-01-01", "2024-01-02"], [AT, AT.replace(day=2)]),
    (Json, ["1", "2"], ["1", "2"]),
]


@pytest.mark.parametrize(("dtype", "texts", "expected"), CASES, ids=str)
@pytest.mark.parametrize("where", ["file", "zipped", "folder of files", "folder names"])
def test_texts_are_read_as_declared(
    store: DuckDBOfflineStore, tmp_path: Path, where: str, dtype: FeastType, texts: list[str], expected: list[Any]
) -> None:
    options: dict[str, Any] = {}
    path = {"file": "t.csv", "zipped": "t.csv.gz"}.get(where, "t")
    if where == "folder names":
        write_folders(tmp_path / "t", texts)
    elif where == "folder of files":
        # Each file by itself would be of another type.
        for i, text in enumerate(texts):
            write_csv(tmp_path / "t" / f"{i}.csv", [text])
            lines = (tmp_path / "t" / f"{i}.csv").read_text().replace("\n0,", f"\n{i},")
            (tmp_path / "t" / f"{i}.csv").write_text(lines)
        options = {"file_format": CsvFormat()}
    else:
        write_csv(tmp_path / "t.csv", texts)
        (tmp_path / "t.csv.gz").write_bytes(gzip.compress((tmp_path / "t.csv").read_bytes()))
    assert values(store, history(path, dtype, **options)) == expected


@pytest.mark.parametrize(
    ("dtype", "text"),
    [
        (Int64, "abc"),
        (Int64, "2.5"),
        (Int64, "9223372036854775808"),
        (Int64, "9007199254740993.5"),
        (Int64, "true"),
        (Float64, "1,5"),
        (Bool, "maybe"),
        (Bool, "2"),
    ],
    ids=str,
)
def test_a_value_that_does_not_fit_is_named_with_its_file_and_row(
    store: DuckDBOfflineStore, tmp_path: Path, dtype: FeastType, text: str
) -> None:
    write_csv(tmp_path / "t.csv", ["1", "0", f'"{text}"'])
    of = history("t.csv", dtype)
    for read in (
        lambda: store.scan(of, ALWAYS).read_all(),
        lambda: store.latest(of, [ALWAYS]).read_all(),
        lambda: store.statistics(of, [ALWAYS]),
        lambda: store.profile(of, [ALWAYS]),
        lambda: store.check_texts(of.sources[0], {"x": dtype}),
    ):
        with pytest.raises(SourceError) as caught:
            read()
        told = str(caught.value)
        assert f"column 'x' is declared {dtype}, but it holds '{text}' in row 3 of {tmp_path}/t.csv." in told
        assert "declare the column String" in told


def test_a_folder_whose_name_does_not_fit_is_named(store: DuckDBOfflineStore, tmp_path: Path) -> None:
    write_folders(tmp_path / "t", ["1", "abc"])
    with pytest.raises(SourceError, match=r"'x' is declared Int64, but there is a folder x=abc\. Rename"):
        store.scan(history("t", Int64), ALWAYS).read_all()
    assert values(store, history("t", String)) == ["1", "abc"]


@pytest.mark.parametrize(
    ("dtype", "text"), [(Decimal, "x"), (UnixTimestamp, "soon"), (Array(Int64), "nope"), (Int32, "3000000000")], ids=str
)
def test_other_values_that_do_not_fit_come_with_a_remedy_that_exists(
    store: DuckDBOfflineStore, tmp_path: Path, dtype: FeastType, text: str
) -> None:
    write_csv(tmp_path / "t.csv", [text])
    with pytest.raises(SourceError, match=r"t\.csv.*'x'.*declare the column String"):
        store.scan(history("t.csv", dtype), ALWAYS).read_all()


def test_control_characters_of_a_value_are_escaped(store: DuckDBOfflineStore, tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ["a\x01b" + "c" * 10_000])
    with pytest.raises(SourceError) as caught:
        store.scan(history("t.csv", Int64), ALWAYS).read_all()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("dtype", [String, Int64, Float64, Bool, Decimal, UnixTimestamp], ids=str)
@pytest.mark.parametrize("texts", [[], ["", ""]], ids=["header only", "all null"])
def test_nothing_fits_every_type(store: DuckDBOfflineStore, tmp_path: Path, dtype: FeastType, texts: list[str]) -> None:
    write_csv(tmp_path / "t.csv", texts)
    assert values(store, history("t.csv", dtype)) == [None] * len(texts)
    store.check_texts(FileSource(path="t.csv", timestamp_field="at"), {"x": dtype})


def test_keys_are_read_as_declared(store: DuckDBOfflineStore, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,at,x\n007,2024-01-01,1\n7,2024-01-01,2\n")
    found = store.latest(history("t.csv", Int64, key=String), [ALWAYS]).read_all()
    assert dict(zip(found["id"].to_pylist(), found["x"].to_pylist(), strict=True)) == {"007": 1, "7": 2}


def test_quoted_numbers_and_columns_in_another_order_are_read(store: DuckDBOfflineStore, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "a.csv").write_text('id,at,x\n"0","2024-01-01","5"\n')
    (tmp_path / "t" / "b.csv").write_text("more,x,at,id\nz,6,2024-01-01,1\n")
    assert values(store, history("t", Int64, file_format=CsvFormat())) == [5, 6]


def test_which_rows_win_does_not_depend_on_what_is_asked_for(store: DuckDBOfflineStore, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,at,x,y\n1,2024-01-01,9,a\n1,2024-01-01,10,b\n")
    both = (Field(name="x", dtype=Int64), Field(name="y", dtype=String))
    of = History("v", (FileSource(path="t.csv", timestamp_field="at"),), (Field(name="id", dtype=Int64),), both, "at")
    # As numbers 10 is the greater, as texts it is 9.
    assert store.latest(of, [ALWAYS]).read_all()["y"].to_pylist() == ["b"]
    assert store.latest(of.with_features(["y"]), [ALWAYS]).read_all()["y"].to_pylist() == ["b"]


def test_the_schema_says_which_columns_are_text_and_what_they_look_like(
    store: DuckDBOfflineStore, tmp_path: Path
) -> None:
    write_csv(tmp_path / "t.csv", ["1"])
    write_folders(tmp_path / "t", ["1"])
    found = store.schema(FileSource(path="t.csv", timestamp_field="at"))
    assert {f.name: (str(f.type), is_stored_as_text(f)) for f in found} == {
        "id": ("int64", True),
        "at": ("timestamp[us, tz=UTC]", True),
        "x": ("int64", True),
    }
    found = store.schema(FileSource(path="t", timestamp_field="at"))
    assert {f.name for f in found if is_stored_as_text(f)} == {"x"}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1)), max_size=6))
def test_texts_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str | None]
) -> None:
    root = tmp_path_factory.mktemp("texts")
    quoted = ["" if t is None else '"' + t.replace('"', '""') + '"' for t in texts]
    write_csv(root / "t.csv", quoted)
    store = DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=1), root)
    assert store.scan(history("t.csv", String), ALWAYS).read_all()["x"].to_pylist() == texts


class TestUris:
    """Files on other machines, which Arrow reads; here the other machine is this one."""

    @pytest.fixture(autouse=True)
    def local(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        local = pyarrow.fs.LocalFileSystem()
        path = f"{tmp_path}/"
        monkeypatch.setattr(
            duckdb_files, "_file_system", lambda files, source: (local, path + files.path[len("s3://") :])
        )

    @pytest.mark.parametrize(("dtype", "texts", "expected"), CASES, ids=str)
    @pytest.mark.parametrize("where", ["s3://t.csv", "s3://t"])
    def test_texts_are_read_as_declared(
        self,
        store: DuckDBOfflineStore,
        tmp_path: Path,
        where: str,
        dtype: FeastType,
        texts: list[str],
        expected: list[Any],
    ) -> None:
        (write_csv if where.endswith(".csv") else write_folders)(tmp_path / where.removeprefix("s3://"), texts)
        assert values(store, history(where, dtype)) == expected

    def test_missing_numbers_may_be_written_as_arrow_reads_them(
        self, store: DuckDBOfflineStore, tmp_path: Path
    ) -> None:
        write_csv(tmp_path / "t.csv", ["1", "NA", ""])
        assert values(store, history("s3://t.csv", Int64)) == [1, None, None]
        assert values(store, history("s3://t.csv", String)) == ["1", "NA", None]

    def test_a_value_that_does_not_fit_is_named(self, store: DuckDBOfflineStore, tmp_path: Path) -> None:
        write_csv(tmp_path / "t.csv", ["1", "two"])
        with pytest.raises(SourceError, match=r"s3://t\.csv.*column 'x' is declared Int64, but it holds 'two'\."):
            store.check_texts(FileSource(path="s3://t.csv", timestamp_field="at"), {"x": Int64})


class TestApply:
    """A project applies by what it declares."""

    @pytest.fixture
    def features(self, tmp_path: Path) -> Any:
        made = FeatureStore(
            tmp_path, RepoConfig(project="p", registry="registry.db", provider="local", online_store="sqlite")
        )
        yield made
        made.close()

    def _view(self, path: str, dtype: FeastType, key: FeastType = Int64) -> list[Any]:
        entity = Entity(name="thing", join_keys=["id"])
        schema = [Field(name="id", dtype=key), Field(name="x", dtype=dtype)]
        src = FileSource(path=path, timestamp_field="at")
        return [entity, FeatureView(name="v", entities=[entity], schema=schema, source=src)]

    @pytest.mark.parametrize(
        ("dtype", "texts", "expected"),
        [
            (String, ["123", "999"], ["123", "999"]),
            (String, ["true", "false"], ["true", "false"]),
            (String, ["2024-01-01", "2024-01-02"], ["2024-01-01", "2024-01-02"]),
            (Decimal, ["1.10", "2.5"], [Number("1.10"), Number("2.5")]),
            (Int64, ["007", "+8"], [7, 8]),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("stored", ["file", "folders"])
    def test_what_is_served_is_what_was_declared(
        self, features: Any, tmp_path: Path, stored: str, dtype: FeastType, texts: list[str], expected: list[Any]
    ) -> None:
        write = {"file": write_csv, "folders": write_folders}[stored]
        write(tmp_path / {"file": "t.csv", "folders": "t"}[stored], texts)
        features.apply(self._view({"file": "t.csv", "folders": "t"}[stored], dtype))
        features.materialize_incremental(AT.replace(month=2))
        assert features.get_online_features(["v:x"], {"id": [0, 1]}).to_dict()["x"] == expected
        assert not features.audit(["v"]).mismatches

    def test_it_goes_on_when_the_values_look_different(self, features: Any, tmp_path: Path) -> None:
        write_csv(tmp_path / "t.csv", ["abc"])
        features.apply(self._view("t.csv", String))
        write_csv(tmp_path / "t.csv", ["300"])
        features.materialize_incremental(AT.replace(month=2))
        assert features.get_online_features(["v:x"], {"id": [0]}).to_dict()["x"] == ["300"]

    def test_a_value_of_today_that_does_not_fit_is_refused(self, features: Any, tmp_path: Path) -> None:
        write_csv(tmp_path / "t.csv", ["1", "two"])
        with pytest.raises(
            SourceError, match=r"'x' is declared Int64, but it holds 'two' in row 2 of .*t\.csv.*column String"
        ):
            features.apply(self._view("t.csv", Int64))
        features.apply(self._view("t.csv", String, key=String))
