"""The audit of one view: compares what is served now with what history says is known now.

A sample of the view's entities, from history and from the online store, is read online, through the same plan as any
request, and joined point in time at the same moment. Where values differ, the ledger, the source's present fingerprints
and the version in the stored row tell why.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from feast_assets.audit.causes import EntriesByTime, Evidence, Known
from feast_assets.audit.report import AuditReport, Mismatch, ViewAudit
from feast_assets.compute.source_statistics import SourceStatistics, Statistics
from feast_assets.compute.table_mark import TableMark
from feast_assets.compute.view_stores import history_read
from feast_assets.definitions.entity import DUMMY_FIELD
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.spec import from_micros
from feast_assets.definitions.window import ALWAYS, Window, outside, until
from feast_assets.offline_stores.base import EVENT_TIMESTAMP, OfflineStore, history_of
from feast_assets.offline_stores.spine import PointInTimeJoin, Spine
from feast_assets.online_stores.abilities import CanEvict, CanExpire, CanHoldForeignValues, CanSample
from feast_assets.online_stores.base import OnlineRead, OnlineStore
from feast_assets.online_stores.rows.decoded_keys import decode_keys, readable_keys
from feast_assets.online_stores.rows.keys import encode_keys
from feast_assets.registry.base import LedgerEntry, Registry
from feast_assets.retrieval.response import STATUS_NAMES
from feast_assets.types import FeastType
from feast_assets.types.json import to_json_value, to_json_values

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from feast_assets.retrieval.online import OnlinePlan

_WINDOWS_READ = 8
"""Windows of a view that entities are taken from."""
_ROW_NUMBER = "__row"
_LAST_DIGITS = 1e-12
_ONLINE_SHARE = 4
"""One entity of so many is taken from the online store, which may serve what history does not know any more."""


def audit(views: Sequence[ViewAuditor], at: datetime) -> AuditReport:
    """Returns the report of auditing some views as of one moment."""
    audits: list[ViewAudit] = []
    mismatches: list[Mismatch] = []
    for auditor in sorted(views, key=lambda a: a.view.name):
        of_view = auditor.run(at)
        mismatches += of_view
        values = auditor.entities * len(auditor.view.features)
        audits.append(
            ViewAudit(
                auditor.view.name,
                auditor.entities,
                values,
                dict(Counter(m.cause for m in of_view)),
                online_sampled=isinstance(auditor.online_store, CanSample),
            )
        )
    return AuditReport(at, tuple(audits), tuple(mismatches))


@dataclass
class ViewAuditor:
    """Audits one view; a new one is made for each audit.

    Args:
        view: with its transformation's function attached.
        plan: reads all features of the view, in its order.
        sample: at most so many entities are compared.
        seed: which; the same seed takes the same ones of the same history.

    Attributes:
        entities: how many were compared.
    """

    project: str
    view: FeatureView
    plan: OnlinePlan
    registry: Registry
    offline_store: OfflineStore
    online_store: OnlineStore
    sample: int
    seed: int
    entities: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._history = history_of(self.view)
        self._keys = self._history.join_keys
        self._table = self.view.online_table(self.project)
        self._mark = TableMark(self.view, self._table, self.registry, self.online_store, sets_up=False)
        self._ledger = self._mark.read_ledger()

    def run(self, at: datetime) -> list[Mismatch]:
        """Returns what differs, by entity and feature."""
        entities = self._sampled(at)
        self.entities = len(entities) if self._keys else 1
        if not self.entities:
            return []
        offline = self._offline(entities, at)
        rows: Any = {f.name: entities.column(f.name).to_pylist() for f in self._keys} or [{}]
        response = self.plan.read(self.online_store, rows, now=at)
        columns = [column for column in response.columns if column.event_timestamps is not None]
        online = [column.values.to_arrow() for column in columns]
        differing = [self._differing(served, known) for served, known in zip(online, offline, strict=True)]
        indices = sorted({index for column in differing for index in column})
        if not indices:
            return []
        taken = entities.take(indices) if self._keys else entities
        evidence = dict(zip(indices, self._evidence(taken, at), strict=True))
        known = self._known(list(evidence.values()), at)
        keys = {f.name: to_json_values(entities.column(f.name).to_pylist()) for f in self._keys}
        return [
            Mismatch(
                feature_view=self.view.name,
                entity={name: column[index] for name, column in keys.items()},
                feature=feature.name,
                online=to_json_value(online[n][index].as_py()),
                offline=to_json_value(offline[n][index].as_py()),
                status=STATUS_NAMES[columns[n].statuses[index]],
                online_event_timestamp=evidence[index].online_event,
                offline_event_timestamp=evidence[index].offline_event,
                cause=evidence[index].cause(known),
            )
            for index in indices
            for n, feature in enumerate(self.view.features)
            if index in differing[n]
        ]

    def _differing(self, online: pa.Array, offline: pa.ChunkedArray) -> set[int]:
        """Returns the entities of which a feature differs.

        Floats that are computed of windows are added up in another order on each side, so their last digits may differ.
        """
        import pyarrow as pa

        differing = differing_rows(online, offline)
        if not differing or self._history.aggregates is None or not pa.types.is_floating(online.type):
            return differing
        known = offline.to_pylist()
        scale = max((abs(value) for value in known if value is not None and math.isfinite(value)), default=0.0)

        def is_close(row: int) -> bool:
            one, other = online[row].as_py(), known[row]
            if one is None or other is None:
                return False
            return math.isclose(one, other, rel_tol=_LAST_DIGITS, abs_tol=scale * _LAST_DIGITS)

        return {row for row in differing if not is_close(row)}

    # --- which entities

    def _sampled(self, at: datetime) -> pa.Table:
        """Returns the join keys of some entities, each once."""
        import numpy as np
        import pyarrow as pa

        names = [f.name for f in self._keys]
        if not names:
            return pa.table({})
        random = np.random.default_rng(self.seed)
        windows = windows_to_sample(self._ledger.entries(), at, random)
        stored = self._stored(self.sample // _ONLINE_SHARE)
        quota = math.ceil((self.sample - len(stored)) / min(len(windows), _WINDOWS_READ))
        bare = self._history.with_features([])
        tables = [
            some_rows(self.offline_store.latest(bare, [window]).read_all().select(names), quota, random)
            for window in windows[:_WINDOWS_READ]
        ]
        tables.insert(0, stored.select(names).cast(tables[0].schema))
        distinct = pa.concat_tables(tables).group_by(names, use_threads=False).aggregate([])
        return distinct.select(names).slice(0, self.sample)

    def _stored(self, count: int) -> pa.Table:
        """Returns the join keys of at most so many entities that the online store holds; none if it cannot sample."""
        store = self.online_store
        keys = store.sample_keys(self._table, count, self.seed) if isinstance(store, CanSample) else []
        fields = sorted(self._keys)
        names, types = [f.name for f in fields], [f.dtype for f in fields]
        # What somebody else put under the table's prefix is no key of an entity.
        return decode_keys(names, types, readable_keys(names, types, keys))

    # --- what history says

    def _offline(self, entities: pa.Table, at: datetime) -> list[pa.ChunkedArray]:
        """Returns the features at a moment."""
        import pyarrow as pa

        moments = pa.array([at] * self.entities, pa.timestamp("us", "UTC"))
        keyed = {f"k{i}": entities.column(f.name) for i, f in enumerate(self._keys)}
        spine = Spine(pa.table({EVENT_TIMESTAMP: moments, **keyed}))
        columns = {f.name: f"f{i}" for i, f in enumerate(self.view.features)}
        keys = {f.name: f"k{i}" for i, f in enumerate(self._keys)}
        join = PointInTimeJoin(self._history, columns, keys, self.view.ttl)
        joined = self.offline_store.join(spine, [join]).read_all()
        return [joined.column(name) for name in columns.values()]

    def _offline_events(self, entities: pa.Table, at: datetime) -> list[datetime | None]:
        """Returns the event times of the rows that count in history at a moment; None where there is none."""
        import pyarrow as pa

        start = ALWAYS.start if not self.view.ttl else at - min(self.view.ttl, at - ALWAYS.start)
        history = self._history.with_features([])
        newest = self.offline_store.latest(history, [Window(start, until(at))], entities).read_all()
        names = [f.name for f in self._keys]
        if not names:
            return newest.column(EVENT_TIMESTAMP).to_pylist() or [None]
        numbered = entities.append_column(_ROW_NUMBER, pa.array(range(len(entities))))
        joined = numbered.join(newest, names, join_type="left outer").sort_by(_ROW_NUMBER)
        events: list[datetime | None] = joined.column(EVENT_TIMESTAMP).to_pylist()
        return events

    # --- why

    @property
    def _statistics(self) -> Statistics:
        history = history_read(self.view)
        return SourceStatistics(self.offline_store, self.registry, history, self.view.partitions).for_windows()

    def _evidence(self, entities: pa.Table, at: datetime) -> list[Evidence]:
        fields = sorted(self._keys) or [DUMMY_FIELD]
        types: list[FeastType] = [f.dtype for f in fields]
        columns: list[object] = [entities.column(f.name) for f in fields] if self._keys else [[""]]
        keys = encode_keys([f.name for f in fields], types, columns)
        store, table = self.online_store, self._table
        (stored,) = store.get_many([OnlineRead(table, keys)])
        foreign = store.foreign(table, keys) if isinstance(store, CanHoldForeignValues) else {}
        damaged = {index: reason for index, key in enumerate(keys) if (reason := foreign.get(key))}
        damaged |= self.plan.unreadable(stored)
        for index, reason in damaged.items():
            store.foreign_values.warn(table, keys[index], reason)
        stored = stored.without(damaged)
        return [
            Evidence(None, 0, offline_event, damaged=index in damaged)
            if payload is None
            else Evidence(from_micros(int(event)), version, offline_event)
            for index, (event, version, payload, offline_event) in enumerate(
                zip(
                    stored.event_timestamps,
                    stored.versions,
                    stored.payloads,
                    self._offline_events(entities, at),
                    strict=True,
                )
            )
        ]

    def _known(self, evidence: Sequence[Evidence], at: datetime) -> Known:
        entries = EntriesByTime(self._ledger.entries())
        events = {event for each in evidence for event in (each.online_event, each.offline_event)}
        involved: dict[Window, LedgerEntry] = {
            entry.window: entry for entry in map(entries.at, events) if entry is not None
        }
        now = self._statistics.survey(sorted(involved)).windows if involved else []
        return Known(
            at=at,
            entries=entries,
            changed={s.window for s in now if s.fingerprint != involved[s.window].fingerprint},
            definition_hash=self._mark.definition_hash,
            ttl=self.view.ttl or None,
            key_ttl=self.online_store.key_ttl if isinstance(self.online_store, CanExpire) else None,
            evicts=isinstance(self.online_store, CanEvict) and bool(self.online_store.evicts()),
        )


def windows_to_sample(ledger: Sequence[LedgerEntry], at: datetime, random: np.random.Generator) -> list[Window]:
    """Returns windows of a ledger and the gaps between them, which together cover all time up to a moment.

    They are in random order, but for the newest window that holds rows, and what comes after the last window: these are
    the first.
    """
    span = Window(ALWAYS.start, until(at))
    held = sorted((cut, entry.rows) for entry in ledger if (cut := entry.window.cut_to(span)) is not None)
    gaps = outside([span], [window for window, _ in held])
    newest = [window for window, rows in held if rows][-1:]
    first = [*newest, *(gap for gap in gaps[-1:] if gap.end == span.end)]
    others = [window for window in (*(window for window, _ in held), *gaps) if window not in first]
    return [*first, *(others[i] for i in random.permutation(len(others)))]


def some_rows(rows: pa.Table, count: int, random: np.random.Generator) -> pa.Table:
    """Returns at most so many rows, chosen at random."""
    if len(rows) <= count:
        return rows
    # A store gives rows in no special order, so the choice needs one to be the same the next time.
    ordered = rows.sort_by([(name, "ascending") for name in rows.column_names])
    return ordered.take(random.choice(len(ordered), count, replace=False))


def differing_rows(online: pa.Array, offline: pa.ChunkedArray) -> set[int]:
    """Returns the rows, counted from 0, in which two columns differ. NaN equals NaN, and null equals null."""
    import pyarrow as pa

    if pa.chunked_array([online]).equals(offline):
        return set()
    pairs = zip(online.to_pylist(), offline.to_pylist(), strict=True)
    # NaN is not equal to itself, and may be anywhere in nested values; its text is.
    return {index for index, (one, other) in enumerate(pairs) if one != other and repr(one) != repr(other)}
