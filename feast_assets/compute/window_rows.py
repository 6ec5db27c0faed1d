"""Online rows of views with aggregations: all tiles that an entity's windows need, in one row.

Such a row is always made whole, of what the source holds when it is read, and its version is the time just before that.
So the row with the newest version holds all that any other does, whichever windows of the view were run, in whatever
order or at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from feast_assets.compute.ledger_rows import concatenated
from feast_assets.compute.versions import of_windows, tiles_version
from feast_assets.definitions.window import WindowIndex
from feast_assets.offline_stores.abilities import AggregatesWindows, CanReplaceWindows
from feast_assets.offline_stores.base import EVENT_TIMESTAMP
from feast_assets.online_stores.abilities import CanReplace, RowStamps
from feast_assets.online_stores.base import NO_CREATED_TIME, EncodedRows, OnlineRead, OnlineStore

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from feast_assets.compute.engines.base import WindowDone, WindowTask
    from feast_assets.compute.engines.context import TaskContext
    from feast_assets.compute.view_stores import ViewStores
    from feast_assets.definitions.window import Window
    from feast_assets.online_stores.rows.tiles import TileLayout

_ENTITIES_AT_ONCE = 50_000


@dataclass(frozen=True)
class WindowRows:
    """Makes the online rows of one view."""

    stores: ViewStores

    @cached_property
    def _layout(self) -> TileLayout:
        from feast_assets.online_stores.rows.tiles import TileLayout

        aggregates = self.stores.made.aggregates
        assert aggregates is not None
        return TileLayout(aggregates)

    def of(self, entities: pa.Table, oldest_event: int, least_version: int) -> Iterator[EncodedRows]:
        """Yields the rows of some entities, as they are now; none for an entity without rows in its windows.

        Args:
            entities: the join keys, an entity each; one row without columns where the view has none.
            oldest_event: no entity's newest row is older, UTC microseconds.
            least_version: the versions are not smaller.
        """
        for start in range(0, max(entities.num_rows, 1), _ENTITIES_AT_ONCE):
            yield self._encoded(entities.slice(start, _ENTITIES_AT_ONCE), oldest_event, least_version)

    def _encoded(self, entities: pa.Table, oldest_event: int, least_version: int) -> EncodedRows:
        import numpy as np
        import pyarrow as pa

        from feast_assets.online_stores.rows.codec import encode_rows
        from feast_assets.online_stores.rows.tiles import TILES

        version = tiles_version(least_version)
        now = version
        history = self.stores.made
        layout = self._layout
        store = AggregatesWindows.of(self.stores.offline_store, f"Feature view {self.stores.view.name!r}")
        since = min(oldest_event, now)
        firsts = [(since - level.longest) // level.hop for level in layout.levels]
        tables = store.tiles(history, firsts, entities if history.join_keys else None)
        levels = [_LevelTiles.of(table, self.stores.rows.encode_keys(table)) for table in tables]
        keys = list(dict.fromkeys(key for level in levels for key in level.starts))
        newest = {key: max(level.newest[key] for level in levels if key in level.newest) for key in keys}
        packed = []
        for key in keys:
            counts, numbers, texts = [], [], []
            for level, of, fixed, without in zip(levels, layout.levels, layout.fixed, layout.texts, strict=True):
                first, end = level.starts.get(key, (0, 0))
                first += int(np.searchsorted(level.hops[first:end], (min(newest[key], now) - of.longest) // of.hop))
                counts.append(end - first)
                numbers.append(level.hops[first:end].tobytes())
                numbers += [level.numbers[state.name][first:end].tobytes() for state in fixed]
                texts += [b"[%b]" % b",".join(level.texts[state.name][first:end]) for state in without]
            packed.append(layout.pack(counts, numbers, texts))
        events = np.array([newest[key] for key in keys], np.int64)
        payloads = encode_rows(TILES, pa.table({TILES.fields[0][0]: pa.array(packed, pa.binary())}))
        return EncodedRows(
            keys,
            events,
            np.full(len(keys), NO_CREATED_TIME, np.int64),
            np.full(len(keys), version, np.int64),
            payloads,
            of_codec=True,
        )


@dataclass(frozen=True)
class _LevelTiles:
    """The tiles of one level, those of an entity following each other.

    Attributes:
        starts: of each entity, the first of its tiles and the first that is not.
        newest: of each entity, the newest event time.
        hops: the numbers of the hops.
        numbers: the states of eight bytes, by name.
        texts: the states without a fixed size, by name.
    """

    starts: Mapping[bytes, tuple[int, int]]
    newest: Mapping[bytes, int]
    hops: npt.NDArray[np.int64]
    numbers: Mapping[str, npt.NDArray[np.generic]]
    texts: Mapping[str, list[bytes]]

    @classmethod
    def of(cls, table: pa.Table, keys: Sequence[bytes]) -> _LevelTiles:
        import pyarrow as pa

        from feast_assets.types.arrow import whole_column
        from feast_assets.types.arrow_values import fixed_values

        def numbers(name: str) -> npt.NDArray[np.generic]:
            column = whole_column(table.column(name))
            return fixed_values(column, "<f8" if pa.types.is_floating(column.type) else "<i8")

        starts: dict[bytes, tuple[int, int]] = {}
        begin = 0
        for end in range(1, len(keys) + 1):
            if end == len(keys) or keys[end] != keys[begin]:
                starts[keys[begin]] = (begin, end)
                begin = end
        newest = numbers("newest")
        fixed, texts = {}, {}
        at = table.column_names.index("newest") + 1
        for name in table.column_names[at:]:
            column = table.column(name)
            if pa.types.is_string(column.type):
                texts[name] = [text.encode() for text in column.to_pylist()]
            else:
                fixed[name] = numbers(name)
        return cls(
            starts,
            {key: int(newest[first:end].max()) for key, (first, end) in starts.items()},
            fixed_values(whole_column(table.column("hop")), "<i8"),
            fixed,
            texts,
        )


def keep_tiles(stores: ViewStores, windows: Sequence[Window]) -> None:
    """Computes and keeps the tiles of all windows of the view's grid that some windows overlap.

    A window that is not over yet is not kept: its rows are still coming, and are read instead.
    """
    tiles, grid = stores.made.tiles, stores.view.partitions
    assert tiles is not None
    assert grid is not None
    now = datetime.now(UTC)
    whole = sorted({w for each in windows for w in grid.windows(each.start, each.end) if w.end <= now})
    if whole:
        subject = f"Keeping the tiles of feature view {stores.view.name!r}"
        rows = AggregatesWindows.of(stores.offline_store, subject).tiles_to_keep(stores.made, whole)
        CanReplaceWindows.of(stores.offline_store, subject).replace(tiles.sources[0], tiles, whole, rows)


def fill_windows(
    task: WindowTask, context: TaskContext, online_store: OnlineStore, batches: Iterable[pa.RecordBatch]
) -> WindowDone:
    """Puts the rows of all entities that have rows in a task's windows.

    Args:
        batches: the newest row of each of these entities in the windows.
    """
    import numpy as np
    import pyarrow as pa

    from feast_assets.compute.engines.base import WindowDone
    from feast_assets.types.arrow_values import fixed_values

    stores = context.stores
    index = WindowIndex(task.windows)
    entities = np.zeros(len(task.windows), dtype=np.int64)
    names = [f.name for f in stores.made.join_keys]
    # By place: an aggregated column may be a join key too, and then has the same name.
    read = [
        pa.record_batch([*batch.columns[: len(names)], batch.column(EVENT_TIMESTAMP)], [*names, EVENT_TIMESTAMP])
        for batch in batches
        if batch.num_rows
    ]
    if not read:
        return WindowDone(task.id, tuple(entities.tolist()))
    table = pa.Table.from_batches(read)
    events = fixed_values(table.column(EVENT_TIMESTAMP).combine_chunks(), "<i8")
    window = index.positions(events)
    entities += np.bincount(window[window >= 0], minlength=len(entities))
    rows = WindowRows(stores).of(table.select(names), int(events.min()), max(task.versions))
    put = online_store.put_many(stores.table, rows)
    return WindowDone(task.id, tuple(entities.tolist()), put.written, put.ignored, is_sure=bool((window >= 0).all()))


def remove_silent(stores: ViewStores, online_store: OnlineStore) -> None:
    """Removes the rows of entities that have had no row in the longest window since the view's last window began."""
    aggregates = stores.made.aggregates
    assert aggregates is not None
    if not isinstance(online_store, CanReplace):
        return
    held = stores.registry.ledger_columns(stores.view.name).held()
    if not len(held):
        return
    oldest = min(tiles_version(0), int(held.starts.max())) - aggregates.longest
    nothing = concatenated([])
    for some in online_store.scan(stores.table, -(2**63), oldest):
        if len(some):
            online_store.replace_many(stores.table, some, nothing)


def withdraw_from_windows(stores: ViewStores, online_store: OnlineStore, versions: Mapping[Window, int]) -> int:
    """Makes rows anew that hold tiles of windows whose present content lacks their entities; returns how many.

    Rows of entities that the present content has were put by the run, with a newer version.

    Args:
        versions: of the windows, under which their present content was put.
    """
    if not isinstance(online_store, CanReplace):
        return 0
    import numpy as np

    from feast_assets.online_stores.rows.tiles import WindowReader

    aggregates = stores.made.aggregates
    assert aggregates is not None
    reader = WindowReader(aggregates, [each.field.name for each in aggregates.features], stores.view.name)
    spans = [(window.start_micros, window.end_micros) for window in versions]
    start, below = min(begin for begin, _ in spans), max(versions.values())
    count = 0
    for some in online_store.scan(stores.table, start, 2**63 - 1, version_below=below):
        (stored,) = online_store.get_many([OnlineRead(stores.table, some.keys)])
        rows = reader.packed(stored)
        holding = [i for i, data in enumerate(rows) if data is not None and reader.has_tiles_in(data, spans)]
        holding = [i for i in holding if of_windows(some.versions[i : i + 1])[0]]
        if not holding:
            continue
        taken = np.array(holding, np.int64)
        held = RowStamps(
            [some.keys[i] for i in holding],
            some.event_timestamps[taken],
            some.created_timestamps[taken],
            some.versions[taken],
        )
        entities = stores.rows.decode_keys(held.keys)
        new = concatenated(list(WindowRows(stores).of(entities, start, below)))
        count += online_store.replace_many(stores.table, held, new)
    return count
