"""Will a flight leave late? A training set of the features, a model of it, and the model's answers for each day."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feast_assets.dagster import FeatureStoreResource, training_set_asset

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

SERVICE = "departure_delay"
PROJECT = "nyc_flights"
OWNERS = ["operations@example.com"]
LEAD = timedelta(hours=1)
"""How long before the scheduled departure a prediction is made; what was not known by then must not be used."""
WEEKS = dg.WeeklyPartitionsDefinition("2012-12-30", end_date="2013-12-29", timezone="UTC")
DAYS = dg.DailyPartitionsDefinition("2013-01-01", end_date="2014-01-01", timezone="UTC")
DATA = Path(__file__).resolve().parents[1] / "feature_repo" / "data"
MODEL = DATA / "models" / "lateness.json"
SCORES = DATA / "scores"
_GIVEN = ("event_timestamp", "origin", "carrier", "tailnum", "scheduled_hour", "late")
_HELD_OUT = 0.2


def flights_to_ask_about(start: datetime, end: datetime) -> str:
    """Returns a query for the flights that should leave between two times, an hour before, and whether they were late.

    A cancelled flight counts as late.
    """
    seconds = int(LEAD.total_seconds())
    return f"""
        SELECT
            scheduled_departure - INTERVAL {seconds} SECONDS AS event_timestamp,
            origin,
            carrier,
            tailnum,
            hour(scheduled_departure AT TIME ZONE 'America/New_York') AS scheduled_hour,
            coalesce(departure_delay > 15, true) AS late
        FROM 'data/flights/*.parquet'
        WHERE scheduled_departure >= '{start.astimezone(UTC)}' AND scheduled_departure < '{end.astimezone(UTC)}'
    """  # noqa: S608 - numbers and times alone are put in


def _flights_of_week(context: dg.AssetExecutionContext) -> str:
    window = context.partition_time_window
    return flights_to_ask_about(window.start, window.end)


late_departures = training_set_asset(
    name="late_departures",
    feature_service=SERVICE,
    entity_df=_flights_of_week,
    partitions_def=WEEKS,
    project=PROJECT,
    group_name="lateness",
    owners=OWNERS,
    # Any range of weeks is one run.
    backfill_policy=dg.BackfillPolicy.single_run(),
)


@dg.asset(
    # Weeks that were not made are left out; there are 52.
    ins={"late_departures": dg.AssetIn(metadata={"allow_missing_partitions": True})},
    group_name="lateness",
    kinds={"scikitlearn"},
    owners=OWNERS,
)
def lateness_model(late_departures: pa.Table) -> dg.MaterializeResult[None]:
    """A logistic regression of all weeks of late_departures that there are, written as JSON.

    How well it ranks flights is measured on the last fifth of them, which it is not trained on for that.
    """
    flights = late_departures.sort_by("event_timestamp")
    names = [name for name in flights.column_names if name not in _GIVEN]
    values, late = _numbers(flights, names), flights["late"].to_numpy()
    known = int(len(late) * (1 - _HELD_OUT))
    ranking = _fitted(values[:known], late[:known]).predict_proba(values[known:])[:, 1]
    fitted = _fitted(values, late)
    imputer, scaler, regression = (step for _, step in fitted.steps)
    written = {
        "features": names,
        "medians": imputer.statistics_.tolist(),
        "means": scaler.mean_.tolist(),
        "scales": scaler.scale_.tolist(),
        "coefficients": regression.coef_[0].tolist(),
        "intercept": float(regression.intercept_[0]),
        "trained_until": pc.max(flights["event_timestamp"]).as_py().isoformat(),
    }
    MODEL.parent.mkdir(exist_ok=True)
    MODEL.write_text(json.dumps(written, indent=1), encoding="utf-8")
    weights = zip(names, written["coefficients"], strict=True)
    lines = [f"| {name} | {weight:+.3f} |" for name, weight in sorted(weights, key=lambda pair: -abs(pair[1]))]
    return dg.MaterializeResult(
        metadata={
            "flights": len(late),
            "trained_until": written["trained_until"],
            "area_under_roc_curve": _ranked(late[known:], ranking),
            "weights": dg.MetadataValue.md("\n".join(["| feature | weight |", "|---|---|", *lines])),
        }
    )


@dg.asset(
    deps=[lateness_model, dg.AssetKey([PROJECT, "services", SERVICE])],
    partitions_def=DAYS,
    group_name="lateness",
    kinds={"parquet"},
    owners=OWNERS,
)
def lateness_scores(
    context: dg.AssetExecutionContext, feature_store: FeatureStoreResource
) -> dg.MaterializeResult[None]:
    """How likely each flight of a day was to leave late, from its features as they were known an hour before."""
    store = feature_store.get_store()
    window = context.partition_time_window
    entity_rows = flights_to_ask_about(window.start, window.end)
    flights = store.get_historical_features(entity_rows, store.get_feature_service(SERVICE)).to_arrow()
    model = json.loads(MODEL.read_text(encoding="utf-8"))
    likelihood = _likelihood(model, flights)
    SCORES.mkdir(exist_ok=True)
    columns = {name: flights[name] for name in _GIVEN} | {"likelihood": pa.array(likelihood)}
    file = SCORES / f"{context.partition_key}.parquet"
    pq.write_table(pa.table(columns), file.with_suffix(".tmp"))
    file.with_suffix(".tmp").replace(file)
    late = flights["late"].to_numpy()
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": flights.num_rows,
            "trained_before": datetime.fromisoformat(model["trained_until"]) < window.start,
            "expected_late": float(likelihood.mean()),
            "were_late": float(late.mean()),
            "area_under_roc_curve": _ranked(late, likelihood),
        }
    )


def _numbers(flights: pa.Table, names: list[str]) -> np.ndarray:
    """Returns columns as numbers, side by side; what is not known is NaN, and a boolean 0 or 1."""
    columns = [flights[name] for name in names]
    numbers = [c.cast(pa.int8()) if pa.types.is_boolean(c.type) else c for c in columns]
    return np.column_stack([c.cast(pa.float64()).to_numpy(zero_copy_only=False) for c in numbers])


def _fitted(values: np.ndarray, late: np.ndarray) -> "Pipeline":
    # Imported by the runs that need it: it takes a while, and loading the definitions does without.
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    steps = (SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression(max_iter=200))
    return make_pipeline(*steps).fit(values, late)


def _ranked(late: np.ndarray, likelihood: np.ndarray) -> float:
    """Returns the area under the ROC curve: how often a late flight is ranked above one that was not; 0.5 is chance."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(late, likelihood))


def _likelihood(model: dict[str, Any], flights: pa.Table) -> np.ndarray:
    """Returns what the model that was written says of each flight, from 0 to 1."""
    values = _numbers(flights, model["features"])
    filled = np.where(np.isnan(values), np.array(model["medians"]), values)
    scaled = (filled - np.array(model["means"])) / np.array(model["scales"])
    likelihood: np.ndarray = 1.0 / (1.0 + np.exp(-(scaled @ np.array(model["coefficients"]) + model["intercept"])))
    return likelihood
