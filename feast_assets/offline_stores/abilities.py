"""What only some offline stores can do.

An ability is a base class that a store has or has not; it never has a method that raises. Callers ask by `isinstance`,
or by `Ability.of` where they cannot go on without. Each has its own suite in `feast_assets.testing`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from feast_assets.definitions.window import Window
from feast_assets.errors import NotSupportedError

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_assets.definitions.partitions import Partitions
    from feast_assets.definitions.sources.data_source import DataSource
    from feast_assets.definitions.transformation import TransformationMode
    from feast_assets.offline_stores.base import History, OfflineStore
    from feast_assets.offline_stores.part_summaries import PartSummaries
    from feast_assets.offline_stores.parts import Part, SourceParts
    from feast_assets.offline_stores.profile import WindowProfile
    from feast_assets.types.feast_type import FeastType


class Ability(ABC):
    """Something that an offline store may be able to do.

    Attributes:
        in_words: what such a store does, after "an offline store that".
    """

    in_words: ClassVar[str]

    @classmethod
    def of(cls, store: object, needed_by: str, remedy: str = "") -> Self:
        """Returns a store as one that has this ability.

        Args:
            needed_by: what needs the ability, as the subject of a sentence.
            remedy: what to do without it, as a sentence.

        Raises:
            NotSupportedError: it does not have it.
        """
        if isinstance(store, cls):
            return store
        problem = (
            f"{needed_by} needs an offline store that {cls.in_words} ({cls.__name__}); {type(store).__name__} does not."
        )
        raise NotSupportedError(f"{problem} {remedy}".rstrip())


class RunsTransformations(Ability):
    """A store whose verbs take histories with a transformation, whose rows a function computes from the sources.

    `OfflineStore.join`, `latest` and `scan` run the function over the rows of the sources, the lookback included, and
    return what counts of its result. `OfflineStore.statistics` does not run it: it describes the rows of the sources.
    Other stores are never given such a history.

    Attributes:
        modes: which functions it runs.
    """

    in_words = "runs transformations"
    modes: ClassVar[frozenset[TransformationMode]]


class QueriesGivenRows(Ability):
    """A store that runs the SQL of a transformation over rows that are handed in, as over those of a source."""

    in_words = "runs SQL over rows that are handed in"

    @abstractmethod
    def query_rows(self, rows: pa.Table, function: Callable[..., object], label: str) -> pa.Table:
        """Returns what the query of a transformation makes of rows.

        Args:
            rows: as the source's history has them.
            function: takes the name of a table, and returns the text of a query over it.
            label: names the transformation in messages.

        Raises:
            TransformationError: the function fails, or its query does, or would do more than read these rows.
        """


class AggregatesWindows(Ability):
    """A store that computes windows of time of histories with `History.aggregates`.

    `OfflineStore.join` returns for such a history the features of its windows. Other stores are never given one.

    Attributes:
        functions: the `feast_assets.definitions.aggregation.Function.kind` of the functions that it computes.
    """

    in_words = "aggregates windows of time"
    functions: ClassVar[frozenset[str]]

    @abstractmethod
    def tiles(self, history: History, oldest: Sequence[int], keys: pa.Table | None = None) -> list[pa.Table]:
        """Returns a table of tiles for each level: what the rows of each entity come to in each hop.

        Args:
            history: with `History.aggregates`, which has the levels.
            oldest: for each level the number of the first hop that counts: its start, divided by the length of a hop.
            keys: only these entities count, as in `OfflineStore.latest`; None for all.

        Returns:
            the join keys, ``hop`` (int64, the hop's number), ``newest`` (int64, the newest event time in UTC
            microseconds) and a column for each state of the level, in its order, named by `TileState.name`. Rows come
            in order of the keys, then of the hops. What is summed is int64 or float64; values without order, such as
            those of ``last_k``, are JSON text. Rows whose event times are in the future count in the hop after their
            own, so that none is served before its time.

        Raises:
            SourceError: a sum of integers does not fit into 64 bits.
        """

    @abstractmethod
    def tiles_to_keep(self, history: History, windows: Sequence[Window]) -> pa.RecordBatchReader:
        """Returns the tiles of all hops of some whole windows of the view's grid, as `History.tiles` describes them.

        Returns:
            the columns that `OfflineStore.scan` has of the kept tiles.
        """


class CanReplaceWindows(Ability):
    """A store that can replace some windows of a source; the results of transformed views are kept by it."""

    in_words = "replaces windows of a source"

    @abstractmethod
    def replace(
        self, source: DataSource, history: History, windows: Sequence[Window], rows: pa.RecordBatchReader
    ) -> None:
        """Makes the source hold, for each of the windows, just those of the rows that fall in it; all or nothing.

        Args:
            source: need not exist yet.
            history: how the rows were computed: names their columns.
            windows: that do not overlap. Other windows of the source stay as they are.
            rows: as `OfflineStore.scan` returns them.
        """


class CanProfile(Ability):
    """A store that can describe values, and count those that break a rule; validation needs it."""

    in_words = "profiles values"

    @abstractmethod
    def profile(self, history: History, windows: Sequence[Window]) -> list[WindowProfile]:
        """Returns for each window, in order, what the values of its rows look like and how many break a rule.

        The rules are those of the features' `Checks`. A transformation is run, once for all windows.

        Args:
            windows: none overlapping another.
        """


class TracksParts(Ability):
    """A store that knows the parts of a source, and can tell by them whether its rows may have changed.

    What follows from the parts is worked out in `feast_assets.offline_stores.source_changes`, for all stores alike.
    """

    in_words = "knows the parts of a source"

    @abstractmethod
    def parts(self, source: DataSource, *, extents: bool = False) -> SourceParts | None:
        """Returns what a source consists of at present, without reading its rows.

        Args:
            extents: whether event times are wanted too, where finding them takes more than listing the parts.

        Returns:
            None where the store cannot tell of this source. A source that is there without rows, and one that is not
            there, are different answers; see `SourceParts`.

        Raises:
            SourceError: a part is damaged, so that its event times cannot be found.
        """


class SummarizesParts(TracksParts):
    """A store that can read single parts of a source, and say what their rows contribute to windows.

    What it says is kept, so that an incremental run reads only parts that are new or have changed; see
    `feast_assets.compute.source_statistics`. The contributions of all parts add up to what `OfflineStore.survey_grid`
    says.
    """

    in_words = "summarizes single parts of a source"

    @abstractmethod
    def row_parts(self, source: DataSource) -> list[Part] | None:
        """Returns the parts among which the rows of a source are divided, without reading rows.

        Returns:
            None where the store cannot read single parts of this source, or it is not there. Where a part may have been
            changed, it has another `Part.identity`.
        """

    @abstractmethod
    def read_alone(self, history: History, source: DataSource, parts: Sequence[Part]) -> list[str]:
        """Returns for each part a text that tells how its values are read where it is read alone.

        Parts with equal texts are read in the same way, alone or together; others may have other types or columns.
        """

    @abstractmethod
    def read_together(self, history: History, source: DataSource, parts: Sequence[Part]) -> str:
        """Returns a text that tells how the values of some parts are read where they are read together.

        It is equal to that of `read_alone` where that is how each of them is read.
        """

    @abstractmethod
    def summarize_parts(
        self,
        history: History,
        source: DataSource,
        parts: Sequence[Part],
        beside: Sequence[Part],
        grid: Partitions | None,
    ) -> PartSummaries | None:
        """Returns what the rows of some parts contribute to the windows of a grid, of all time.

        Args:
            history: whose sources have this one among them. Its lookback counts.
            beside: parts that are read together with these, because they decide how values are read. They are not
                among the contributions.
            grid: whose windows are numbered as in `feast_assets.offline_stores.window_numbers`; None for one window, 0.

        Returns:
            None where it cannot be said in numbers: an event time is none that a datetime can hold.

        Raises:
            SourceError: a part is damaged or is not there any more.
        """


class ReadsQueries(Ability):
    """A store that can run a query that a caller gave as ``entity_df``."""

    in_words = "runs queries"

    @abstractmethod
    def read_query(self, sql: str, readable: Sequence[DataSource]) -> pa.Table:
        """Returns the rows of a query in the store's SQL.

        The query comes from a caller. It must not be able to do more than read, nor to read more than the project's
        data and what the store's settings permit.

        Args:
            readable: the project's data sources.

        Raises:
            InputError: it is not a query, fails, or would do more than read.
        """


class ReadsTexts(Ability):
    """A store that reads values which are stored as text, as in CSV files and in names of folders.

    `OfflineStore.schema` marks such columns with `feast_assets.types.arrow.stored_as_text`: what is declared decides
    their types.
    """

    in_words = "reads values that are stored as text"

    @abstractmethod
    def check_texts(self, source: DataSource, declared: Mapping[str, FeastType]) -> None:
        """Checks that values which are stored as text can be read as declared.

        Args:
            declared: types of columns, by their names after the source's field mapping.

        Raises:
            SourceError: a value cannot; the message names it, and what would be right.
        """


def check_texts(store: OfflineStore, source: DataSource, declared: Mapping[str, FeastType]) -> None:
    """Checks what `ReadsTexts.check_texts` does; in a store without that ability there is nothing to check."""
    if isinstance(store, ReadsTexts):
        store.check_texts(source, declared)


class WritesOnce(Ability):
    """A store that recognises rows that it has written before.

    A push that was killed half-way can be completed, and repeated, only in history that does. Of a store without this
    ability a repeated push appends its rows again.
    """

    in_words = "writes rows at most once"

    @abstractmethod
    def check_write(self, source: DataSource, rows: pa.Table) -> None:
        """Raises the error that `write_once` would raise because of the rows or the source's kind; writes nothing.

        Raises:
            InputError: the columns are not the source's own, or a value does not fit.
            NotSupportedError: the source cannot be appended to.
        """

    @abstractmethod
    def write_once(self, source: DataSource, rows: pa.Table, key: str) -> None:
        """Appends rows, whole or not at all, unless they have been written before under the same key.

        Several processes may do so at once; the rows are then there once. A store may recognise the key, or the rows:
        then it leaves out those that the source has already, equal in all columns.

        Args:
            rows: with the source's own columns.
            key: letters and digits that are the same for the same rows, and for these only.
        """

    @abstractmethod
    def has_written(self, source: DataSource, rows: pa.Table, key: str) -> bool:
        """Says whether `write_once` would find nothing to write; false where there is no such source."""


class AppendsRanges(Ability):
    """A store that remembers which stretches of a stream its sources hold.

    Several consumers may append what they have read of the same stream, and each may do so again after a crash: every
    message is there once.
    """

    in_words = "appends stretches of a stream once"

    @abstractmethod
    def takes_ranges(self, source: DataSource) -> bool:
        """Says whether a source is of a kind that stretches can be appended to."""

    @abstractmethod
    def covered_ranges(self, source: DataSource, stream: str, start: int, end: int) -> list[tuple[int, int]]:
        """Returns the stretches ``[start, end)`` of a stream that a source holds and that overlap a given one.

        Args:
            stream: letters, digits, dots, hyphens and underscores.
        """

    @abstractmethod
    def append_range(self, source: DataSource, stream: str, start: int, end: int, rows: pa.Table) -> bool:
        """Appends the rows of a stretch, whole or not at all; there may be none.

        Returns:
            whether they were appended. If the source has a stretch that begins at the start, or holds it, nothing is.

        Raises:
            InputError: the columns are not the source's own, or a value does not fit.
            NotSupportedError: the source cannot be appended to.
        """

    def compact_ranges(self, source: DataSource, stream: str, settled_seconds: float) -> int:
        """Puts stretches that are stored in small pieces together, where that makes reading faster.

        Args:
            settled_seconds: pieces that were written less than so long ago are left alone.

        Returns:
            how many pieces that makes less.
        """
        return 0
