"""Sources without rows are no error: header-only CSV, and folders and globs whose first file is still to come."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_assets import CsvFormat, FeatureStore, FileSource, PushSource
from feast_assets.errors import InputError, RegistryInferenceFailure, SourceError
from tests.compute.small_project import DRIVER, SCHEMA, START, SmallProject, hours

ROWS = [{"driver_id": 1, "trips": 7, "city": "Bergen", "ts": hours(1)}]
SPINE = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [hours(2), hours(2)]})


@pytest.fixture
def project(tmp_path: Path) -> SmallProject:
    return SmallProject(tmp_path)


def _historical(store: FeatureStore) -> list[int | None]:
    return store.get_historical_features(SPINE, ["stats:trips", "stats:city"]).to_arrow()["trips"].to_pylist()


def _csv(path: str = "stats.csv") -> FileSource:
    return FileSource(name="stats_file", path=path, timestamp_field="ts", file_format=CsvFormat())


class TestHeaderOnlyCsv:
    @pytest.mark.parametrize("text", ["driver_id,trips,city,ts\n", "driver_id,trips,city,ts"])
    def test_has_no_rows_and_is_no_error(self, project: SmallProject, text: str) -> None:
        (project.root / "stats.csv").write_text(text)
        project.apply(source=_csv(), partitions=None)
        project.store.materialize_incremental(hours(48))
        assert project.online("trips", drivers=[1]) == {"trips": [None]}
        assert _historical(project.store) == [None, None]

    def test_rows_that_come_later_are_read(self, project: SmallProject) -> None:
        file = project.root / "stats.csv"
        file.write_text("driver_id,trips,city,ts\n")
        project.apply(source=_csv())
        project.store.materialize_incremental(hours(48))
        file.write_text("driver_id,trips,city,ts\n1,7,Bergen,2024-01-01T01:00:00Z\n")
        project.store.materialize_incremental(hours(48))
        assert project.online(drivers=[1]) == {"trips": [7], "city": ["Bergen"]}
        assert _historical(project.store) == [7, None]

    def test_a_column_without_values_beside_others_can_be_a_number(self, project: SmallProject) -> None:
        (project.root / "stats.csv").write_text("driver_id,trips,city,ts\n1,,Bergen,2024-01-01T01:00:00Z\n")
        project.apply(source=_csv())
        project.store.materialize_incremental(hours(48))
        assert project.online(drivers=[1]) == {"trips": [None], "city": ["Bergen"]}

    def test_a_column_of_texts_is_still_no_number(self, project: SmallProject) -> None:
        (project.root / "stats.csv").write_text("driver_id,trips,city,ts\n1,many,Bergen,2024-01-01T01:00:00Z\n")
        with pytest.raises(SourceError, match="'trips' is declared Int64"):
            project.apply(source=_csv())

    def test_a_missing_column_is_still_named(self, project: SmallProject) -> None:
        (project.root / "stats.csv").write_text("driver_id,city,ts\n")
        with pytest.raises(SourceError, match="field 'trips' is not a column"):
            project.apply(source=_csv())


@pytest.mark.parametrize("path", ["stats/", "stats/*.parquet"])
class TestWithoutFiles:
    def _source(self, path: str) -> FileSource:
        return FileSource(name="stats_file", path=path, timestamp_field="ts")

    def test_can_be_applied_and_has_no_rows(self, project: SmallProject, path: str) -> None:
        project.apply(source=self._source(path))
        project.store.materialize_incremental(hours(48))
        assert project.online("trips", drivers=[1]) == {"trips": [None]}
        assert _historical(project.store) == [None, None]

    def test_the_first_file_is_read(self, project: SmallProject, path: str) -> None:
        project.apply(source=self._source(path))
        project.store.materialize_incremental(hours(48))
        (project.root / "stats").mkdir()
        pq.write_table(pa.Table.from_pylist(ROWS, SCHEMA), project.root / "stats" / "first.parquet")
        project.store.materialize_incremental(hours(48))
        assert project.online(drivers=[1]) == {"trips": [7], "city": ["Bergen"]}
        assert _historical(project.store) == [7, None]

    def test_a_first_file_of_other_columns_is_named(self, project: SmallProject, path: str) -> None:
        project.apply(source=self._source(path))
        (project.root / "stats").mkdir()
        pq.write_table(pa.table({"driver_id": [1]}), project.root / "stats" / "first.parquet")
        with pytest.raises(SourceError, match="has no column 'ts'"):
            project.store.materialize_incremental(hours(48))

    def test_a_push_makes_the_first_file(self, project: SmallProject, path: str) -> None:
        source = PushSource(name="live", batch_source=self._source(path))
        project.apply(source=source)
        from feast_assets import PushMode

        with pytest.raises(InputError, match="lack 'trips'"):
            project.store.push("live", pd.DataFrame(ROWS).drop(columns="trips"), to=PushMode.OFFLINE)
        project.store.push("live", pd.DataFrame(ROWS), to=PushMode.ONLINE_AND_OFFLINE)
        assert project.online(drivers=[1]) == {"trips": [7], "city": ["Bergen"]}
        assert _historical(project.store) == [7, None]

    def test_what_would_have_to_be_inferred_is_asked_for(self, project: SmallProject, path: str) -> None:
        with pytest.raises(SourceError, match="there are no files yet.*Declare"):
            project.apply(source=self._source(path), schema=[])
        with pytest.raises((SourceError, RegistryInferenceFailure), match="Declare"):
            project.apply(source=FileSource(name="stats_file", path=path))


def test_the_grid_of_a_source_without_files_starts_with_its_first_rows(project: SmallProject) -> None:
    from feast_assets import Partitions

    source = FileSource(name="stats_file", path="stats/", timestamp_field="ts")
    project.apply(source=source, partitions=Partitions("daily"))
    assert project.store.get_feature_view("stats").partitions == Partitions("daily")
    (project.root / "stats").mkdir()
    pq.write_table(pa.Table.from_pylist(ROWS, SCHEMA), project.root / "stats" / "first.parquet")
    project.store.apply([DRIVER, project.view(source=source, partitions=Partitions("daily"))])
    assert project.store.get_feature_view("stats").partitions == Partitions("daily", START)
    project.store.materialize_incremental(START + timedelta(days=2))
    assert project.online("trips", drivers=[1]) == {"trips": [7]}
