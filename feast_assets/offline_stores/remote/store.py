"""The remote offline store: the one that an offline server has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from feast_assets.auth.client_tokens import ClientTokens, SendsTokens
from feast_assets.definitions.field import Field
from feast_assets.definitions.spec import from_micros, to_micros
from feast_assets.definitions.transformation import TransformationMode
from feast_assets.definitions.window import Window
from feast_assets.offline_stores.abilities import (
    CanProfile,
    CanReplaceWindows,
    ReadsQueries,
    ReadsTexts,
    RunsTransformations,
    SummarizesParts,
    WritesOnce,
)
from feast_assets.offline_stores.base import History, OfflineStore, Survey, WindowStatistics, rows_schema
from feast_assets.offline_stores.parts import Part, SourceParts
from feast_assets.offline_stores.profile import WindowProfile
from feast_assets.offline_stores.remote.config import RemoteOfflineStoreConfig
from feast_assets.offline_stores.remote.messages import (
    GridArguments,
    HistoryArguments,
    HistoryMessage,
    JoinArguments,
    JoinMessage,
    Moment,
    OfSource,
    OnceArguments,
    PartsArguments,
    ProfileMessage,
    QueryArguments,
    ReadPartsArguments,
    ReplaceArguments,
    StatisticsMessage,
    SummariesMessage,
    SummarizeArguments,
    TextsArguments,
    WindowsArguments,
    specs,
)
from feast_assets.offline_stores.spine import joined_schema

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_assets.definitions.partitions import Partitions
    from feast_assets.definitions.sources.data_source import DataSource
    from feast_assets.offline_stores.part_summaries import PartSummaries
    from feast_assets.offline_stores.remote.flight import FlightCaller
    from feast_assets.offline_stores.spine import PointInTimeJoin, Spine
    from feast_assets.offline_stores.statistics_columns import StatisticsColumns
    from feast_assets.types.feast_type import FeastType


class RemoteOfflineStore(
    OfflineStore,
    CanReplaceWindows,
    CanProfile,
    SummarizesParts,
    ReadsQueries,
    ReadsTexts,
    WritesOnce,
    RunsTransformations,
    SendsTokens,
):
    """History as an offline server's own store has it: each method is one call of that store.

    Relative paths start at the server's repository, and functions of transformations are those of the server's
    repository. Rows come and go as streams of batches. A call whose connection failed is made again, except `write` and
    `replace`. What the server's store cannot do it answers with `NotSupportedError`; of parts it says that it cannot
    tell.
    """

    config_class: ClassVar[type[RemoteOfflineStoreConfig]] = RemoteOfflineStoreConfig
    modes = frozenset(TransformationMode)

    def __init__(self, config: RemoteOfflineStoreConfig, root: Path):
        """Creates the store without connecting.

        Args:
            config: names the server.
            root: not used.
        """
        self._config = config
        self._tokens: ClientTokens | None = None
        self._opened: FlightCaller | None = None

    def send_tokens(self, tokens: ClientTokens) -> None:
        self._tokens = tokens

    def __repr__(self) -> str:
        return f"RemoteOfflineStore({self._config.location!r})"

    @property
    def _server(self) -> FlightCaller:
        if self._opened is None:
            from feast_assets.offline_stores.remote.flight import FlightCaller

            self._opened = FlightCaller(self._config, self._tokens)
        return self._opened

    def close(self) -> None:
        """Closes the connection. The store may be used again; it reconnects."""
        if self._opened is not None:
            self._opened.close()

    def schema(self, source: DataSource) -> pa.Schema:
        import pyarrow as pa

        content: bytes = self._server.ask("schema", OfSource(source.to_spec()), bytes)
        try:
            return pa.ipc.read_schema(pa.py_buffer(content))
        except pa.ArrowException as error:
            raise self._server.malformed(str(error)) from None

    def join(
        self, spine: Spine, joins: Sequence[PointInTimeJoin], *, filter_by_created_timestamp: bool = False
    ) -> pa.RecordBatchReader:
        arguments = JoinArguments([JoinMessage.of(join) for join in joins], filter_by_created_timestamp)
        return self._rows("join", arguments, joined_schema(joins), spine.table)

    def latest(self, history: History, windows: Sequence[Window], keys: pa.Table | None = None) -> pa.RecordBatchReader:
        method = "latest" if keys is None else "latest-of-keys"
        return self._rows(method, _windows(history, windows), rows_schema(history), keys)

    def scan(self, history: History, window: Window) -> pa.RecordBatchReader:
        return self._rows("scan", _windows(history, [window]), rows_schema(history))

    def statistics(self, history: History, windows: Sequence[Window]) -> list[WindowStatistics]:
        columns, _ = self._statistics("statistics", _windows(history, windows))
        return list(columns)

    def survey(self, history: History, windows: Sequence[Window]) -> Survey:
        return Survey(*self._statistics("survey", _windows(history, windows)))

    def survey_grid(self, history: History, grid: Partitions, span: Window) -> Survey:
        start, end = to_micros(span.start), to_micros(span.end)
        arguments = GridArguments(HistoryMessage.of(history), grid.to_spec(), start, end)
        return Survey(*self._statistics("survey-grid", arguments))

    def oldest_event(self, history: History) -> datetime | None:
        moment: Moment = self._server.ask("oldest-event", HistoryArguments(HistoryMessage.of(history)), Moment)
        return None if moment.micros is None else from_micros(moment.micros)

    def write(self, source: DataSource, rows: pa.Table) -> None:
        self._server.send("write", OfSource(source.to_spec()), rows, repeatable=False)

    def replace(
        self, source: DataSource, history: History, windows: Sequence[Window], rows: pa.RecordBatchReader
    ) -> None:
        from feast_assets.offline_stores.remote.columns import micros_of

        arguments = ReplaceArguments(source.to_spec(), HistoryMessage.of(history), *micros_of(windows))
        self._server.send("replace", arguments, rows, repeatable=False)

    def profile(self, history: History, windows: Sequence[Window]) -> list[WindowProfile]:
        profiles: list[ProfileMessage] = self._server.ask("profile", _windows(history, windows), list[ProfileMessage])
        return [
            WindowProfile(
                Window(from_micros(each.start), from_micros(each.end)), each.rows, each.entities, each.columns
            )
            for each in profiles
        ]

    def parts(self, source: DataSource, *, extents: bool = False) -> SourceParts | None:
        parts: SourceParts | None = self._server.ask(
            "parts", PartsArguments(source.to_spec(), extents), SourceParts | None
        )
        return parts

    def row_parts(self, source: DataSource) -> list[Part] | None:
        parts: list[Part] | None = self._server.ask("row-parts", OfSource(source.to_spec()), list[Part] | None)
        return parts

    def read_alone(self, history: History, source: DataSource, parts: Sequence[Part]) -> list[str]:
        texts: list[str] = self._server.ask("read-alone", _parts(history, source, parts), list[str])
        return texts

    def read_together(self, history: History, source: DataSource, parts: Sequence[Part]) -> str:
        text: str = self._server.ask("read-together", _parts(history, source, parts), str)
        return text

    def summarize_parts(
        self,
        history: History,
        source: DataSource,
        parts: Sequence[Part],
        beside: Sequence[Part],
        grid: Partitions | None,
    ) -> PartSummaries | None:
        from feast_assets.offline_stores.remote.columns import summaries_of_message

        arguments = SummarizeArguments(
            HistoryMessage.of(history),
            source.to_spec(),
            list(parts),
            list(beside),
            None if grid is None else grid.to_spec(),
        )
        message: SummariesMessage | None = self._server.ask("summarize-parts", arguments, SummariesMessage | None)
        try:
            return None if message is None else summaries_of_message(message)
        except ValueError as error:
            raise self._server.malformed(str(error)) from None

    def read_query(self, sql: str, readable: Sequence[DataSource]) -> pa.Table:
        """See `ReadsQueries.read_query`; what is readable, the server decides by its own project and settings."""
        return self._server.rows("read-query", QueryArguments(sql)).read_all()

    def check_texts(self, source: DataSource, declared: Mapping[str, FeastType]) -> None:
        fields = specs([Field(name=name, dtype=dtype) for name, dtype in declared.items()])
        self._server.ask("check-texts", TextsArguments(source.to_spec(), fields), None)

    def check_write(self, source: DataSource, rows: pa.Table) -> None:
        self._server.send("check-write", OfSource(source.to_spec()), rows, repeatable=True)

    def write_once(self, source: DataSource, rows: pa.Table, key: str) -> None:
        self._server.send("write-once", OnceArguments(source.to_spec(), key), rows, repeatable=True)

    def has_written(self, source: DataSource, rows: pa.Table, key: str) -> bool:
        return self._server.send("has-written", OnceArguments(source.to_spec(), key), rows, repeatable=True)

    def _rows(
        self, method: str, arguments: object, schema: pa.Schema, given: pa.Table | None = None
    ) -> pa.RecordBatchReader:
        reader = self._server.rows(method, arguments, given)
        if reader.schema != schema:
            columns = f"the columns {reader.schema.names} and not {schema.names}"
            reader.close()
            raise self._server.malformed(f"rows have {columns}, or these have other types")
        return reader

    def _statistics(self, method: str, arguments: object) -> tuple[StatisticsColumns, int]:
        from feast_assets.offline_stores.remote.columns import statistics_of_message

        message: StatisticsMessage = self._server.ask(method, arguments, StatisticsMessage)
        try:
            return statistics_of_message(message), message.null_times
        except ValueError as error:
            raise self._server.malformed(str(error)) from None


def _windows(history: History, windows: Sequence[Window]) -> WindowsArguments:
    from feast_assets.offline_stores.remote.columns import micros_of

    return WindowsArguments(HistoryMessage.of(history), *micros_of(windows))


def _parts(history: History, source: DataSource, parts: Sequence[Part]) -> ReadPartsArguments:
    return ReadPartsArguments(HistoryMessage.of(history), source.to_spec(), list(parts))
