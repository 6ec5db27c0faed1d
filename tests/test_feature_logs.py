"""Logs of served features: what an answer makes of them, where they go, and comparing them with a saved dataset."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from feast_assets import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileLoggingDestination,
    FileSource,
    Float64,
    Int64,
    LoggingConfig,
    OnDemandFeatureView,
    RequestSource,
    SavedDatasetFileStorage,
    String,
    ValidationReference,
    ValueType,
)
from feast_assets.cli.main import cli
from feast_assets.definitions.validation_reference import Profile, Profiler, ValidationError, ValidationReport
from feast_assets.errors import (
    DefinitionError,
    InputError,
    NotSupportedError,
    RepositoryError,
    SourceError,
    ValidationFailed,
)
from feast_assets.feast_errors import ValidationReferenceNotFound

NOW = datetime.now(UTC).replace(microsecond=0)
START, END = NOW - timedelta(days=1), NOW + timedelta(days=1)
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
REQUEST = RequestSource(name="request", schema=[Field(name="bonus", dtype=Float64)])

FEASTS_COLUMNS = [
    *("chauffeur", "stats__trips", "stats__trips__timestamp", "stats__trips__status"),
    *("stats__city", "stats__city__timestamp", "stats__city__status"),
    *("bonus", "sums__total", "sums__total__timestamp", "sums__total__status"),
    *("__log_timestamp", "__log_date", "__request_id"),
]
"""What Feast's FeatureServiceLoggingSource.get_schema gives for the same service."""


class Report(ValidationReport):
    def __init__(self, largest: float, most: float):
        self.largest, self.most = largest, most

    @property
    def is_success(self) -> bool:
        return self.largest <= self.most

    @property
    def errors(self) -> list[ValidationError]:
        return [] if self.is_success else [ValidationError("largest", "stats__trips", observed_value=self.largest)]


class Most(Profile):
    def __init__(self, most: float):
        self.most = most

    def validate(self, dataset: pd.DataFrame) -> Report:
        return Report(float(dataset["stats__trips"].fillna(0).max()) if len(dataset) else 0.0, self.most)


class LargestTrips(Profiler):
    def analyze_dataset(self, dataset: pd.DataFrame) -> Most:
        return Most(float(dataset["stats__trips"].max()))


def add(inputs: dict[str, list[float | None]]) -> dict[str, list[float | None]]:
    return {"total": [None if t is None else t + b for t, b in zip(inputs["trips"], inputs["bonus"], strict=True)]}


def service_of(stats: FeatureView, sums: OnDemandFeatureView, **config: object) -> FeatureService:
    destination = FileLoggingDestination(path="logs", partition_by=["__log_date"])
    given = {"destination": destination, "sample_rate": 1.0, **config}
    return FeatureService(
        name="model",
        features=[stats[["trips", "city"]].with_join_key_map({"driver_id": "chauffeur"}), sums],
        logging_config=LoggingConfig(**given),  # type: ignore[arg-type]
    )


class Shop:
    """A store with one view, an on-demand view of it, and a service that is logged."""

    def __init__(self, root: Path):
        root.mkdir(exist_ok=True)
        self.root = root
        pq.write_table(
            pa.table({"driver_id": [1, 2], "trips": [5, 7], "city": ["Rome", None], "ts": [NOW, NOW]}),
            root / "stats.parquet",
        )
        (root / "feature_store.yaml").write_text("project: shop\nprovider: local\n", encoding="utf-8")
        source = FileSource(name="stats_file", path="stats.parquet", timestamp_field="ts")
        schema = [Field(name="trips", dtype=Int64), Field(name="city", dtype=String)]
        self.stats = FeatureView(name="stats", entities=[DRIVER], source=source, schema=schema)
        self.sums = OnDemandFeatureView(
            name="sums",
            sources=[self.stats, REQUEST],
            schema=[Field(name="total", dtype=Float64)],
            mode="python",
            udf=add,
        )
        self.store = FeatureStore(repo_path=root)
        self.service = service_of(self.stats, self.sums)
        self.store.apply([DRIVER, self.stats, self.sums, self.service])
        self.store.materialize(NOW - timedelta(days=1), NOW)

    def answer(self, *drivers: int, full: bool = False):
        rows = [{"driver_id": d, "chauffeur": d, "bonus": 0.5} for d in drivers]
        return self.store.get_online_features(self.service, rows, full_feature_names=full)

    def log(self, *drivers: int, full: bool = False) -> pa.Table:
        return self.store.feature_logger(self.service).rows(self.answer(*drivers, full=full), NOW, "r1")

    def logged(self) -> list[dict[str, object]]:
        return self.store._logs(self.service, START, END).to_arrow().to_pylist()

    def reference(self, profiler: Profiler | None = None) -> ValidationReference:
        asked = pd.DataFrame({"driver_id": [1], "chauffeur": [1], "bonus": [0.0], "event_timestamp": [NOW]})
        job = self.store.get_historical_features(asked, self.service, full_feature_names=True)
        self.store.create_saved_dataset(job, "good", SavedDatasetFileStorage("good.parquet"))
        return ValidationReference("as_good", "good", profiler or LargestTrips())


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "shop")


@pytest.mark.parametrize("full", [False, True])
def test_an_answer_makes_log_rows_with_feasts_columns(shop: Shop, full: bool) -> None:
    rows = shop.log(1, 2, 9, full=full)
    assert rows.column_names == FEASTS_COLUMNS
    first, second, third = rows.to_pylist()
    assert first == {
        "chauffeur": 1,
        "stats__trips": 5,
        "stats__trips__timestamp": NOW,
        "stats__trips__status": 1,
        "stats__city": "Rome",
        "stats__city__timestamp": NOW,
        "stats__city__status": 1,
        "bonus": 0.5,
        "sums__total": 5.5,
        "sums__total__timestamp": None,
        "sums__total__status": 1,
        "__log_timestamp": NOW,
        "__log_date": NOW.date(),
        "__request_id": "r1",
    }
    assert (second["stats__city"], second["stats__city__status"]) == (None, 2)
    assert (third["stats__trips"], third["stats__trips__timestamp"], third["stats__trips__status"]) == (None, None, 3)


def test_what_is_written_is_read_again_by_time(shop: Shop) -> None:
    yesterday = shop.store.feature_logger(shop.service).rows(shop.answer(2), NOW - timedelta(days=3))
    shop.store.write_logged_features(shop.log(1, 2), shop.service)
    shop.store.write_logged_features(yesterday, shop.service)
    shop.store.write_logged_features(shop.log(1).slice(0, 0), shop.service)
    assert [row["chauffeur"] for row in shop.logged()] == [1, 2]
    all_rows = shop.store._logs(shop.service, NOW - timedelta(days=9), END).to_arrow()
    assert all_rows.column_names == FEASTS_COLUMNS
    assert all_rows["chauffeur"].to_pylist() == [2, 1, 2], "from old to new"
    folders = {file.parent.name for file in (shop.root / "logs").rglob("*.parquet")}
    assert folders == {str(NOW.date()), str((NOW - timedelta(days=3)).date())}
    assert sorted(path.name for path in shop.root.iterdir() if path.name.startswith(".")) == []


def test_logs_come_from_files_too_and_gaps_are_filled(shop: Shop, tmp_path: Path) -> None:
    rows = shop.log(1, 2).drop_columns(["__log_date", "__request_id"])
    rows = rows.set_column(1, "stats__trips", rows["stats__trips"].cast(pa.int32()))
    (tmp_path / "given").mkdir()
    pq.write_table(rows, tmp_path / "given" / "part.parquet")
    shop.store.write_logged_features(tmp_path / "given", shop.service)
    logged = shop.logged()
    assert [row["__log_date"] for row in logged] == [NOW.date()] * 2
    assert len({row["__request_id"] for row in logged}) == 2


def test_a_feature_added_later_is_null_in_older_logs(shop: Shop) -> None:
    destination = FileLoggingDestination(path="logs")
    shop.service = service_of(shop.stats, shop.sums, destination=destination)
    shop.store.apply([shop.service])
    written = shop.root / "logs" / "old.parquet"
    written.parent.mkdir()
    pq.write_table(shop.log(1).drop_columns(["sums__total", "bonus"]), written)
    shop.store.write_logged_features(shop.log(2), shop.service)
    assert sorted((row["chauffeur"], row["sums__total"]) for row in shop.logged()) == [(1, None), (2, 7.5)]


def test_wrong_logs_write_nothing(shop: Shop) -> None:
    good, write = shop.log(1), shop.store.write_logged_features
    for logs, message in [
        (good.drop_columns(["stats__trips"]), "need a column 'stats__trips'"),
        (good.append_column("more", pa.array([1])), "have no column 'more'"),
        (good.drop_columns(["__log_timestamp"]), "need a column '__log_timestamp'"),
        (good.set_column(11, "__log_timestamp", pa.array([None], pa.timestamp("us", "UTC"))), "is null in 1 rows"),
        ([1], "must be an Arrow table"),
    ]:
        with pytest.raises(InputError, match=message):
            write(logs, shop.service)
    with pytest.raises(SourceError, match="column 'stats__trips'"):
        write(good.set_column(1, "stats__trips", pa.array(["five"])), shop.service)
    with pytest.raises(SourceError, match="cannot be read as Parquet"):
        write(shop.root / "nowhere", shop.service)
    with pytest.raises(InputError, match="must be a FeatureService"):
        write(good, "model")  # type: ignore[arg-type]
    assert not (shop.root / "logs").exists()


def test_only_a_service_with_a_destination_is_logged(shop: Shop) -> None:
    plain = FeatureService(name="plain", features=[shop.stats])
    shop.store.apply([plain])
    with pytest.raises(InputError, match="give it logging_config"):
        shop.store.write_logged_features(pa.table({}), plain)
    far = FeatureService(
        name="far", features=[shop.stats], logging_config=LoggingConfig(FileLoggingDestination(path="s3://logs/model"))
    )
    shop.store.apply([far])
    answer = shop.store.get_online_features(far, [{"driver_id": 1}])
    with pytest.raises(NotSupportedError, match="local folders only"):
        shop.store.write_logged_features(shop.store.feature_logger(far).rows(answer, NOW), far)
    with pytest.raises(InputError, match="answer of feature service 'far'"):
        shop.store.feature_logger(far).rows(shop.answer(1), NOW)
    split = service_of(shop.stats, shop.sums, destination=FileLoggingDestination(path="x", partition_by=["stats__cit"]))
    shop.store.apply([split])
    with pytest.raises(InputError, match="'stats__cit'.*'stats__city'"):
        shop.store.write_logged_features(shop.log(1), split)


def test_a_share_of_requests_is_chosen(shop: Shop) -> None:
    for rate, least, most in [(0.0, 0, 0), (1.0, 1000, 1000), (0.5, 350, 650)]:
        shop.store.apply([service_of(shop.stats, shop.sums, sample_rate=rate)])
        logger = shop.store.feature_logger(shop.service)
        assert least <= sum(logger.is_chosen() for _ in range(1000)) <= most


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: LoggingConfig(5),  # type: ignore[arg-type]
        lambda: LoggingConfig(FileLoggingDestination(path="x"), sample_rate=1.5),
        lambda: LoggingConfig(FileLoggingDestination(path="x"), sample_rate="1"),  # type: ignore[arg-type]
        lambda: FileLoggingDestination(path=""),
        lambda: FileLoggingDestination(path="x", partition_by="__log_date"),
        lambda: FileLoggingDestination(path="x", partition_by=["a", "a"]),
        lambda: FeatureService(name="s", features=["a"], logging_config=FileLoggingDestination(path="x")),
    ],
)
def test_a_wrong_destination_is_refused(wrong) -> None:
    with pytest.raises(DefinitionError):
        wrong()


def test_logs_are_compared_with_a_saved_dataset(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    reference = shop.reference()
    shop.store.write_logged_features(shop.log(1), shop.service)
    assert shop.store.validate_logged_features(shop.service, START, END, reference, cache_profile=False) is None
    assert capsys.readouterr().out == "1 rows were validated.\n"
    assert shop.store.list_validation_references() == []
    shop.store.validate_logged_features(shop.service, START, END, reference)
    assert shop.store.get_validation_reference("as_good").profile.validate(pd.DataFrame()).is_success
    shop.store.write_logged_features(shop.log(2), shop.service)
    with pytest.raises(ValidationFailed, match="largest"):
        shop.store.validate_logged_features(shop.service, START, END, reference)
    failure = shop.store.validate_logged_features(shop.service, START, END, reference, throw_exception=False)
    assert failure is not None
    assert failure.report.errors[0].observed_value == 7
    before = NOW - timedelta(days=1)
    assert shop.store.validate_logged_features(shop.service, before, before, reference) is None


def test_wrong_arguments_of_a_validation_are_refused(shop: Shop) -> None:
    reference, validate = shop.reference(), shop.store.validate_logged_features
    with pytest.raises(InputError, match="start .* is later than end"):
        validate(shop.service, END, START, reference)
    with pytest.raises(InputError, match="end must be a datetime"):
        validate(shop.service, START, date(2024, 1, 1), reference)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="must be a ValidationReference"):
        validate(shop.service, START, END, "as_good")  # type: ignore[arg-type]
    with pytest.raises(ValidationReferenceNotFound):
        shop.store.get_validation_reference("as_good")


REPOSITORY = """
from feast_assets import ValidationReference
from feast_assets.definitions.validation_reference import Profile, Profiler, ValidationError, ValidationReport

class Report(ValidationReport):
    def __init__(self, wrong): self.wrong = wrong
    is_success = property(lambda self: not self.wrong)
    errors = property(lambda self: [ValidationError("city", "stats__city", unexpected_count=self.wrong)])

class Cities(Profile):
    def __init__(self, known): self.known = known
    def validate(self, rows): return Report(int((~rows["stats__city"].isin(self.known)).sum()))

class CityProfiler(Profiler):
    def analyze_dataset(self, rows): return Cities(set(rows["stats__city"]))

as_good = ValidationReference("as_good", "good", CityProfiler(), tags={"team": "rides"})
"""


def test_the_command_line_takes_the_profiler_from_the_repository(shop: Shop) -> None:
    shop.reference()
    (shop.root / "references.py").write_text(REPOSITORY, encoding="utf-8")
    definitions = shop.store.registry.snapshot()
    shop.store.write_logged_features(shop.log(1), shop.service)
    runner, words = CliRunner(), ["-c", str(shop.root)]
    from feast_assets.repository.loading import load_repository

    shop.store.apply(load_repository(shop.root).validation_references)
    listed = runner.invoke(cli, [*words, "validation-references", "list", "--output", "json"])
    assert [row["name"] for row in json.loads(listed.stdout)] == ["as_good"], listed.output
    described = runner.invoke(cli, [*words, "validation-references", "describe", "as_good"])
    assert "references:CityProfiler" in described.output
    span = [START.isoformat(), END.isoformat()]
    run = [*words, "validate", "-f", "model", "-r", "as_good", *span]
    done = runner.invoke(cli, run)
    assert (done.exit_code, done.stdout) == (0, "1 rows were validated.\nValidation successful!\n"), done.output
    shop.store.write_logged_features(shop.log(2), shop.service)
    failed = runner.invoke(cli, run)
    assert failed.exit_code == 1
    assert json.loads(failed.stdout)[0]["unexpected_count"] == 1
    assert definitions.validation_references == []

    (shop.root / "references.py").unlink()
    again = FeatureStore(repo_path=shop.root)
    with pytest.raises(RepositoryError, match="put the ValidationReference at the top level"):
        again.get_validation_reference("as_good")


def test_references_stay_when_the_repository_does_not_declare_them(shop: Shop) -> None:
    shop.store.apply([shop.reference()])
    (shop.root / "definitions.py").write_text("from feast_assets import Entity\ne = Entity(name='e')\n")
    shop.store.apply_repository()
    assert [r.name for r in shop.store.list_validation_references()] == ["as_good"]
    assert shop.store.list_validation_references(tags={"team": "rides"}) == []
    shop.store.apply([], objects_to_delete=[shop.store.get_validation_reference("as_good")], partial=False)
    assert shop.store.list_validation_references() == []
