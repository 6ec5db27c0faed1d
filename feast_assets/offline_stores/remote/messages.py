"""What the remote offline store and an offline server say to each other.

A call is an Arrow Flight action or exchange: a `Command` with arguments, perhaps a stream of rows, and back a message
or a stream of rows. Definitions travel in their stored form, which holds no code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from feast_assets.definitions.field import Field
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.spec import Spec
from feast_assets.definitions.transformation import Transformation
from feast_assets.offline_stores.base import History
from feast_assets.offline_stores.parts import Part
from feast_assets.offline_stores.profile import ColumnProfile
from feast_assets.offline_stores.spine import PointInTimeJoin

MESSAGE_FORMAT = 1
"""It grows when an older client or server would misread the messages."""

LAST = b"feast-assets:last"
"""The metadata that ends a stream of rows. A stream that breaks off lacks it, and counts for nothing."""

SpecData = dict[str, Any]


class Command(msgspec.Struct):
    """What a client asks for.

    Attributes:
        feast_assets_format: see `MESSAGE_FORMAT`.
        method: the name of a method.
        arguments: its arguments, a message of its own.
    """

    feast_assets_format: int
    method: str
    arguments: msgspec.Raw


class HistoryMessage(msgspec.Struct):
    """A `History`, with its transformation named and not carried: the server has the function from its repository."""

    view: str
    sources: list[SpecData]
    join_keys: list[SpecData]
    features: list[SpecData]
    timestamp_field: str
    created_timestamp_column: str
    transformation: SpecData | None
    lookback_micros: int
    declared: list[str]
    others: list[SpecData]
    kept: bool
    all_columns: bool
    only: list[Part] | None

    @classmethod
    def of(cls, history: History) -> HistoryMessage:
        """Returns a history as a message."""
        transformation = history.transformation
        return cls(
            history.view,
            specs(history.sources),
            specs(history.join_keys),
            specs(history.features),
            history.timestamp_field,
            history.created_timestamp_column,
            None if transformation is None else transformation.to_spec(),
            history.lookback // timedelta(microseconds=1),
            list(history.declared),
            specs(history.others),
            history.kept,
            history.all_columns,
            None if history.only is None else list(history.only),
        )

    def history(self) -> History:
        """Returns the history; its transformation, if it has one, lacks its function."""
        return History(
            view=self.view,
            sources=tuple(map(DataSource.from_spec, self.sources)),
            join_keys=tuple(map(Field.from_spec, self.join_keys)),
            features=tuple(map(Field.from_spec, self.features)),
            timestamp_field=self.timestamp_field,
            created_timestamp_column=self.created_timestamp_column,
            transformation=None if self.transformation is None else Transformation.from_spec(self.transformation),
            lookback=timedelta(microseconds=self.lookback_micros),
            declared=tuple(self.declared),
            others=tuple(map(Field.from_spec, self.others)),
            kept=self.kept,
            all_columns=self.all_columns,
            only=None if self.only is None else tuple(self.only),
        )


class JoinMessage(msgspec.Struct):
    """A `PointInTimeJoin`."""

    history: HistoryMessage
    columns: dict[str, str]
    join_keys: dict[str, str]
    ttl_micros: int | None

    @classmethod
    def of(cls, join: PointInTimeJoin) -> JoinMessage:
        """Returns a join as a message."""
        ttl = None if join.ttl is None else join.ttl // timedelta(microseconds=1)
        return cls(HistoryMessage.of(join.history), dict(join.columns), dict(join.join_keys), ttl)


class OfSource(msgspec.Struct):
    """Of methods that take a source."""

    source: SpecData


class JoinArguments(msgspec.Struct):
    """Of ``join``, whose rows are the spine."""

    joins: list[JoinMessage]
    filter_by_created_timestamp: bool


class WindowsArguments(msgspec.Struct):
    """Of methods that take a history and windows.

    Attributes:
        starts, ends: of the windows, in UTC microseconds.
    """

    history: HistoryMessage
    starts: list[int]
    ends: list[int]


class GridArguments(msgspec.Struct):
    """Of ``survey-grid``.

    Attributes:
        start, end: the span, in UTC microseconds.
    """

    history: HistoryMessage
    grid: SpecData
    start: int
    end: int


class HistoryArguments(msgspec.Struct):
    """Of methods that take nothing but a history."""

    history: HistoryMessage


class ReplaceArguments(msgspec.Struct):
    """Of ``replace``, whose rows are those to keep."""

    source: SpecData
    history: HistoryMessage
    starts: list[int]
    ends: list[int]


class PartsArguments(msgspec.Struct):
    """Of ``parts``."""

    source: SpecData
    extents: bool


class ReadPartsArguments(msgspec.Struct):
    """Of ``read-alone`` and ``read-together``."""

    history: HistoryMessage
    source: SpecData
    parts: list[Part]


class SummarizeArguments(msgspec.Struct):
    """Of ``summarize-parts``."""

    history: HistoryMessage
    source: SpecData
    parts: list[Part]
    beside: list[Part]
    grid: SpecData | None


class QueryArguments(msgspec.Struct):
    """Of ``read-query``. Which sources may be read, the server decides."""

    sql: str


class TextsArguments(msgspec.Struct):
    """Of ``check-texts``.

    Attributes:
        declared: fields with the names and types of columns.
    """

    source: SpecData
    declared: list[SpecData]


class OnceArguments(msgspec.Struct):
    """Of ``write-once`` and ``has-written``, with rows."""

    source: SpecData
    key: str


class StatisticsMessage(msgspec.Struct):
    """Statistics of windows; `feast_assets.offline_stores.statistics_columns.StatisticsColumns`.

    Attributes:
        numbers: little-endian 64-bit integers.
        null_times: see `feast_assets.offline_stores.base.Survey`.
    """

    numbers: list[bytes]
    fingerprints: list[bytes]
    null_times: int


class ProfileMessage(msgspec.Struct):
    """A `feast_assets.offline_stores.profile.WindowProfile`."""

    start: int
    end: int
    rows: int
    entities: int
    columns: dict[str, ColumnProfile]


class SummariesMessage(msgspec.Struct):
    """A `feast_assets.offline_stores.part_summaries.PartSummaries`.

    Attributes:
        columns: little-endian 64-bit integers.
    """

    columns: list[bytes]
    null_times: list[int]


class Moment(msgspec.Struct):
    """A moment in UTC microseconds; None for none."""

    micros: int | None


def specs(definitions: Sequence[Spec]) -> list[SpecData]:
    """Returns definitions in their stored form."""
    return [definition.to_spec() for definition in definitions]


def plain_profile(profile: ColumnProfile) -> ColumnProfile:
    """Returns a profile whose mappings can be sent."""
    return ColumnProfile(
        profile.nulls,
        profile.minimum,
        profile.mean,
        profile.maximum,
        profile.histogram,
        _plain(profile.top_values),
        _plain(profile.broken),
    )


def _plain(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: int(count) for name, count in counts.items()}
