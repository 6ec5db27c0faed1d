"""Training sets that can be made again: rows, with pins of everything that decided them.

The pins say which revision of the definitions was used, what the sources held of the time that could count, and what
the entity rows were. The same pins give the same bytes; where something differs, it can be said what.

A file is the same byte for byte because its rows are in an order that they decide themselves, and because a Parquet
writer puts no times into it. A view that is computed when it is read must be computed the same way twice: sums of
floats over several threads may not be, in their last digit. Keep the result of such a view.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from feast_assets.atomic_files import new_file
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.spec import as_utc
from feast_assets.definitions.window import ALWAYS, Window, until
from feast_assets.errors import InputError, SourceError, printable
from feast_assets.offline_stores.base import History, OfflineStore, history_of
from feast_assets.offline_stores.source_changes import history_state
from feast_assets.retrieval.entity_df import query_rows, to_table
from feast_assets.retrieval.historical import HistoricalRetrieval
from feast_assets.retrieval.references import resolve
from feast_assets.retrieval.spine import with_time
from feast_assets.stored_formats import TRAINING_SETS

if TYPE_CHECKING:
    import pyarrow as pa


_PINS = b"feast_assets.training_set"
_FORMAT = "format"
"""Key of the pins in stored form: the number of the format; left out, it is 1."""
_ROWS_PER_GROUP = 128 * 1024
_PACKAGES = ("feast-assets", "pyarrow")


@dataclass(frozen=True, slots=True)
class SourcePin:
    """What one view's history held of the time that could count.

    Attributes:
        view: the feature view that was read.
        sources: names of its data sources.
        start, end: event times that could count, ISO 8601 in UTC, the end exclusive: from the first entity row's time
            less the view's ttl to the last entity row's.
        rows: how many there were.
        fingerprint: of their content.
    """

    view: str
    sources: tuple[str, ...]
    start: str
    end: str
    rows: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class TrainingSetPins:
    """Everything that decides the rows of a training set.

    Attributes:
        registry_revision: of the definitions.
        features: references, ``view:feature``, in the order of the columns.
        entity_rows: how many there were.
        entity_fingerprint: of their content.
        sources: one for each view that was read, by its name.
        software: versions of what computes and writes.
    """

    project: str
    registry_revision: int
    features: tuple[str, ...]
    full_feature_names: bool
    entity_rows: int
    entity_fingerprint: str
    sources: tuple[SourcePin, ...]
    software: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Returns the pins as JSON-able data."""
        return cast(dict[str, Any], json.loads(json.dumps(asdict(self))))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TrainingSetPins:
        """Returns the pins that `to_dict` described.

        Raises:
            InputError: the data is nothing of the kind.
            StoredFormatError: a newer version of this package wrote it.
        """
        try:
            # Of format 1 the number is not written: the same pins must give the same bytes as ever.
            TRAINING_SETS.check(data.get(_FORMAT, 1), "The training set")
            data = {key: value for key, value in data.items() if key != _FORMAT}
            sources = tuple(SourcePin(**{**s, "sources": tuple(s["sources"])}) for s in data["sources"])
            return cls(**{**data, "features": tuple(data["features"]), "sources": sources})
        except (AttributeError, KeyError, TypeError) as error:
            raise InputError(f"These are not the pins of a training set: {error}.") from error

    def differences(self, now: TrainingSetPins) -> list[str]:
        """Returns what has changed since these pins, each as a sentence; none where the rows must be the same."""
        differences = []
        if self.registry_revision != now.registry_revision:
            differences.append(
                f"The definitions are of revision {now.registry_revision}, not {self.registry_revision}."
            )
        if (self.features, self.full_feature_names) != (now.features, now.full_feature_names):
            differences.append(
                f"Other features are asked for: {', '.join(now.features)}; before, {', '.join(self.features)}."
            )
        if self.entity_fingerprint != now.entity_fingerprint:
            differences.append(
                f"The entity rows are not the same: {now.entity_rows} rows, and before {self.entity_rows}."
            )
        before = {s.view: s for s in self.sources}
        for source in now.sources:
            pinned = before.get(source.view)
            if pinned is not None and pinned.fingerprint != source.fingerprint:
                differences.append(
                    f"Source {_quoted(source.sources)} of feature view {source.view!r} has changed between "
                    f"{source.start} and {source.end}: {source.rows} rows, and before {pinned.rows}."
                )
        for name, used in self.software.items():
            if now.software.get(name) != used:
                differences.append(f"{name} is {now.software.get(name)}, not {used}.")
        return differences


@dataclass(frozen=True)
class TrainingSet:
    """Entity rows with their features, ordered by time and then by the other given columns."""

    rows: pa.Table
    pins: TrainingSetPins

    def write(self, path: Path, *, sha256: str | None = None) -> str:
        """Writes a Parquet file that holds the pins too, whole or not at all; returns its sha256 (hex).

        Args:
            sha256: what it must be.

        Raises:
            SourceError: it is not what it must be; what was at the path stays.
            StoreUnavailableError: the file cannot be written.
        """
        import pyarrow.parquet as pq

        text = json.dumps(self.pins.to_dict(), sort_keys=True)
        with new_file(path, cannot_write="Cannot write training set") as temporary:
            pq.write_table(
                self.rows.replace_schema_metadata({_PINS: text.encode()}), temporary, row_group_size=_ROWS_PER_GROUP
            )
            digest = file_sha256(temporary)
            if sha256 not in (None, digest):
                raise SourceError(
                    f"{path.name} was made again from the same pins, but its bytes are not the same: a function, or a "
                    "sum of floats over several threads, gives other values each time. Keep the result of such a view."
                )
        return digest


def file_sha256(path: Path) -> str:
    """Returns the sha256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_pins(path: Path) -> TrainingSetPins:
    """Returns the pins of a training set's file.

    Raises:
        SourceError: there is no such file, or it is not a training set.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_schema(path).metadata or {}
    except FileNotFoundError:
        raise SourceError(f"There is no training set at {path}.") from None
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"The training set {path} cannot be read: {printable(error)}") from error
    if _PINS not in metadata:
        raise SourceError(f"{path} holds no pins of a training set.")
    return TrainingSetPins.from_dict(json.loads(metadata[_PINS]))


def build_training_set(
    retrieval: HistoricalRetrieval,
    entity_df: object,
    features: Sequence[str] | FeatureService,
    *,
    full_feature_names: bool = False,
) -> TrainingSet:
    """Returns the features of entities as they were known at given times, with pins.

    Args:
        retrieval: of the project; the revision of its definitions is pinned.
        entity_df: join keys and a time column: a DataFrame, an Arrow table, a dict of lists, or a query in the offline
            store's SQL.
        features, full_feature_names: as for `HistoricalRetrieval.job`.

    Raises:
        InputError: there are no entity rows.
        SourceError: a source was changed while it was read; nothing can be pinned.
        As `HistoricalRetrieval.job`.
    """
    snapshot, offline_store = retrieval.snapshot, retrieval.offline_store
    entities, time_column = _entity_rows(offline_store, entity_df, snapshot.data_sources)
    request = resolve(snapshot, features, full_feature_names=full_feature_names)
    views = {read.view.name: retrieval.functions.attach(read.view) for read in request.reads}
    histories = {name: history_of(view) for name, view in sorted(views.items())}
    before = {name: history_state(offline_store, history) for name, history in histories.items()}
    first, last = _bounds(entities, time_column)
    pins = TrainingSetPins(
        project=snapshot.project,
        registry_revision=snapshot.revision,
        features=tuple(output.reference for output in request.outputs),
        full_feature_names=full_feature_names,
        entity_rows=entities.num_rows,
        entity_fingerprint=_fingerprint(entities),
        sources=tuple(
            _pin(offline_store, history, _reach(views[name].ttl, first, last)) for name, history in histories.items()
        ),
        software={name: version(name) for name in sorted({*_PACKAGES, *offline_store.packages})},
    )
    rows = retrieval.job(entities, features, full_feature_names=full_feature_names).to_arrow().combine_chunks()
    for name, history in histories.items():
        if before[name].may_have_changed(history_state(offline_store, history)):
            raise SourceError(
                f"The source of feature view {name!r} was changed while the training set was made, so nobody could "
                "say what is in it. Nothing was written; make it again."
            )
    return TrainingSet(rows, pins)


def _entity_rows(offline_store: OfflineStore, entity_df: Any, readable: Sequence[DataSource]) -> tuple[pa.Table, str]:
    """Returns entity rows in an order that their content decides, and their time column.

    Args:
        readable: the data sources that a query may read.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    is_query = isinstance(entity_df, str)
    table = query_rows(offline_store, entity_df, readable) if is_query else to_table(entity_df)
    table, time_column = with_time(table.replace_schema_metadata(None))
    if not table.num_rows:
        raise InputError("There are no entity rows, so there is no training set.")
    # Nested and encoded values cannot be sorted by; rows that differ in those alone stay as they were given.
    unsortable = (pa.types.is_nested, pa.types.is_null, pa.types.is_dictionary)
    others = sorted(
        f.name for f in table.schema if f.name != time_column and not any(is_(f.type) for is_ in unsortable)
    )
    keys = [time_column, *others]
    order = pc.sort_indices(table, sort_keys=[(key, "ascending") for key in keys])
    return table.take(order).combine_chunks(), time_column


def _bounds(table: pa.Table, time_column: str) -> tuple[datetime, datetime]:
    import pyarrow.compute as pc

    bounds = pc.min_max(table.column(time_column)).as_py()
    return as_utc(bounds["min"]), as_utc(bounds["max"])


def _reach(ttl: timedelta | None, first: datetime, last: datetime) -> Window:
    """Returns the event times that can count for entity rows of some time."""
    oldest = max(ALWAYS.start, first - ttl) if ttl and first - ALWAYS.start > ttl else ALWAYS.start
    return Window(oldest, until(last))


def _pin(offline_store: OfflineStore, history: History, window: Window) -> SourcePin:
    (seen,) = offline_store.statistics(history, [window])
    return SourcePin(
        view=history.view,
        sources=tuple(source.name for source in history.sources),
        start=window.start.astimezone(UTC).isoformat(),
        end=window.end.astimezone(UTC).isoformat(),
        rows=seen.rows,
        fingerprint=seen.fingerprint,
    )


def _fingerprint(table: pa.Table) -> str:
    """Returns a hash of a table's rows and types, as Parquet has them: what lies behind nulls does not count."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=_ROWS_PER_GROUP)
    return hashlib.sha256(sink.getvalue()).hexdigest()


def _quoted(names: Sequence[str]) -> str:
    return " and ".join(repr(name) for name in names)
