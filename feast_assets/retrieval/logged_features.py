"""Logs of served features: what they hold, and the rows that an answer makes.

A log of a feature service has, in the order of its views, their join keys (the request's values of on-demand views),
and of each feature ``view__feature``, ``view__feature__timestamp`` (when the value was valid) and
``view__feature__status`` (Feast's code); then when and on which day it was served, and a text for the request.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from feast_assets.definitions.entity import DUMMY_JOIN_KEY
from feast_assets.definitions.feature_logging import (
    LOG_DATE_FIELD,
    LOG_TIMESTAMP_FIELD,
    REQUEST_ID_FIELD,
    LoggingConfig,
)
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.spec import as_utc
from feast_assets.errors import InputError, SourceError, suggest
from feast_assets.types import FeastType, Int32, String, UnixTimestamp

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_assets.registry.snapshot import RegistrySnapshot
    from feast_assets.retrieval.online import OnlinePlan
    from feast_assets.retrieval.response import OnlineResponse, ResponseColumn


@dataclass(frozen=True, slots=True)
class LogColumns:
    """The columns of one service's log.

    Attributes:
        service: its name.
        given: join keys and values of requests.
        features: ``view__feature`` -> the feature's type.
        types: all columns in order, but the day, which is a date.
    """

    service: str
    given: Mapping[str, FeastType]
    features: Mapping[str, FeastType]
    types: Mapping[str, FeastType]

    @classmethod
    def of(cls, snapshot: RegistrySnapshot, service: FeatureService) -> LogColumns:
        """Returns the columns of the log of a registered service."""
        given: dict[str, FeastType] = {}
        features: dict[str, FeastType] = {}
        types: dict[str, FeastType] = {}
        for projection in service.feature_view_projections:
            view = snapshot.view(projection.name)
            keys: dict[str, FeastType] = {}
            if isinstance(view, OnDemandFeatureView):
                keys = {f.name: f.dtype for source in view.source_request_sources.values() for f in source.schema}
            elif isinstance(view, FeatureView):
                columns = [f for f in view.entity_columns if f.name != DUMMY_JOIN_KEY]
                keys = {projection.join_key_map.get(f.name, f.name): f.dtype for f in columns}
            given |= keys
            types |= keys
            for feature in projection.features:
                name = f"{projection.name_to_use()}__{feature.name}"
                features[name] = feature.dtype
                types |= {name: feature.dtype, _timestamp(name): UnixTimestamp, _status(name): Int32}
        types |= {LOG_TIMESTAMP_FIELD: UnixTimestamp, REQUEST_ID_FIELD: String}
        return cls(service.name, given, features, types)

    @property
    def schema(self) -> pa.Schema:
        """The columns as files hold them."""
        import pyarrow as pa

        from feast_assets.types.arrow import to_arrow_type

        fields = [pa.field(name, to_arrow_type(dtype)) for name, dtype in self.types.items()]
        fields.insert(len(fields) - 1, pa.field(LOG_DATE_FIELD, pa.date32()))
        return pa.schema(fields)

    def checked(self, logs: pa.Table) -> pa.Table:
        """Returns logs that a caller hands in, with the columns of the log in their order and types.

        The day is taken from the time. The request's text may be missing; each row then is a request of its own.

        Raises:
            InputError: a column is missing or not of the log, or a row has no time.
            SourceError: a column is of another type.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        from feast_assets.types.arrow import cast_column

        subject = f"Logs of feature service {self.service!r}"
        names = self.schema.names
        if REQUEST_ID_FIELD not in logs.column_names:
            ids = pa.array([uuid.uuid4().hex for _ in range(len(logs))], pa.string())
            logs = logs.append_column(REQUEST_ID_FIELD, ids)
        missing = [name for name in names if name not in logs.column_names and name != LOG_DATE_FIELD]
        unknown = [name for name in logs.column_names if name not in names]
        if missing:
            raise InputError(f"{subject} need a column {missing[0]!r}. {suggest(missing[0], unknown)}")
        if unknown:
            raise InputError(f"{subject} have no column {unknown[0]!r}. {suggest(unknown[0], names)}")
        columns = {
            name: cast_column(logs.column(name), dtype, subject=f"{subject}: column {name!r}")
            for name, dtype in self.types.items()
        }
        times = columns[LOG_TIMESTAMP_FIELD]
        if times.null_count:
            raise InputError(f"{subject}: column {LOG_TIMESTAMP_FIELD!r} is null in {times.null_count} rows.")
        columns[LOG_DATE_FIELD] = pc.cast(times, pa.date32())
        return pa.table([columns[name] for name in names], schema=self.schema)


class FeatureLogger:
    """Makes log rows of what a feature service answers.

    Args:
        plan: of the service; its answers are what is logged.
        columns: of the service's log.
        config: says what share of requests is logged.
    """

    def __init__(self, plan: OnlinePlan, columns: LogColumns, config: LoggingConfig):
        self._columns = columns
        self._config = config
        request = plan.request
        outputs = {stored.reference.replace(":", "__", 1): stored.name for stored in request.stored}
        outputs |= {computed.reference.replace(":", "__", 1): computed.name for computed in request.computed}
        self._outputs = {name: outputs[name] for name in columns.features}

    def is_chosen(self) -> bool:
        """Draws whether a request is logged."""
        return self._config.draws()

    def rows(self, response: OnlineResponse, moment: datetime | None = None, request_id: str = "") -> pa.Table:
        """Returns the log rows of an answer, one for each of its rows.

        Args:
            response: what the service answered, with full feature names or without.
            moment: when; naive is UTC. Now when left out.
            request_id: tells requests apart; drawn when left out.

        Raises:
            InputError: the answer is not the service's.
        """
        import pyarrow as pa

        from feast_assets.types.arrow import TIMESTAMP, cast_column

        answered = {column.name: column for column in response.columns}
        count = len(response)
        if not self._columns.given.keys() <= response.shape.given_names or not all(
            name in answered or output in answered for name, output in self._outputs.items()
        ):
            raise InputError(f"The response is no answer of feature service {self._columns.service!r}.")
        at = datetime.now(UTC) if moment is None else as_utc(moment)
        columns: dict[str, object] = {
            LOG_TIMESTAMP_FIELD: pa.array([at] * count, TIMESTAMP),
            LOG_DATE_FIELD: pa.array([at.date()] * count, pa.date32()),
            REQUEST_ID_FIELD: pa.array([request_id or uuid.uuid4().hex] * count, pa.string()),
        }
        for name, dtype in self._columns.given.items():
            columns[name] = cast_column(response.given(name), dtype, subject=f"Column {name!r}")
        for name, output in self._outputs.items():
            column = answered.get(name) or answered[output]
            columns[name] = column.values.to_arrow()
            columns[_timestamp(name)] = _times(column, count)
            columns[_status(name)] = pa.array(column.statuses, pa.int32())
        schema = self._columns.schema
        return pa.table([columns[name] for name in schema.names], schema=schema)


def _times(column: ResponseColumn, count: int) -> pa.Array:
    """Returns when the values were valid; null where there is no row, and for computed features."""
    import pyarrow as pa

    from feast_assets.types.arrow import TIMESTAMP

    times = column.event_timestamps
    return pa.array([None] * count if times is None else [time or None for time in times], TIMESTAMP)


def _timestamp(feature: str) -> str:
    return f"{feature}__timestamp"


def _status(feature: str) -> str:
    return f"{feature}__status"


def unreadable_logs(path: object, error: Exception) -> SourceError:
    """Returns the error of logs that cannot be read."""
    from feast_assets.errors import printable

    return SourceError(f"Logs at {path} cannot be read as Parquet: {printable(error)}")
