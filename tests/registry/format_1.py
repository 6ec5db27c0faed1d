"""Turns a registry into what versions with format 1 wrote, which had a row in the ledger for each window."""

from __future__ import annotations

from feast_assets.definitions.spec import to_micros
from feast_assets.registry.base import LedgerEntry
from feast_assets.registry.sql.schema import META, NUMBER, SEGMENTS
from feast_assets.registry.sql.store import SqlRegistry

_TABLE = (
    'CREATE TABLE feast_assets_ledger (project {key} NOT NULL, "view" {key} NOT NULL, window_start BIGINT NOT NULL, '
    "window_end BIGINT NOT NULL, fingerprint TEXT NOT NULL, version BIGINT NOT NULL, definition_hash TEXT NOT NULL, "
    '"rows" BIGINT NOT NULL, written BIGINT NOT NULL, "at" BIGINT NOT NULL, run_id TEXT NOT NULL, '
    'claim TEXT NOT NULL, mark BIGINT DEFAULT 0 NOT NULL, PRIMARY KEY (project, "view", window_start, window_end))'
)
_INSERT = (
    "INSERT INTO feast_assets_ledger VALUES (:project, :view, :window_start, :window_end, :fingerprint, :version, "
    ":definition_hash, :rows, :written, :at, :run_id, :claim, :mark)"
)


def turn_into_format_1(registry: SqlRegistry, *views: str, has_marks: bool = True) -> list[LedgerEntry]:
    """Rewrites the ledger of some views; returns the entries as they then are.

    Args:
        has_marks: whether the earlier version knew of marks.
    """
    entries = [entry for view in views for entry in registry.ledger(view)]
    key = "VARCHAR(100)" if registry._config.is_mysql else "TEXT"
    with registry._writing() as writing:
        each = writing.transaction.each
        each(_TABLE.format(key=key), [{}])
        each(_INSERT, [{"project": registry.project, **_row(entry)} for entry in entries])
        each(f"DROP TABLE {SEGMENTS}", [{}])
        each(f"UPDATE {META} SET value = '1' WHERE \"key\" = '{NUMBER}'", [{}])
        if not has_marks:
            each("DROP TABLE feast_assets_marks", [{}])
            each("ALTER TABLE feast_assets_ledger DROP COLUMN mark", [{}])
    registry.close()
    return entries


def _row(entry: LedgerEntry) -> dict[str, str | int]:
    return {
        "view": entry.view,
        "window_start": to_micros(entry.window.start),
        "window_end": to_micros(entry.window.end),
        "fingerprint": entry.fingerprint,
        "version": entry.version,
        "definition_hash": entry.definition_hash,
        "rows": entry.rows,
        "written": entry.written,
        "at": to_micros(entry.at),
        "run_id": entry.run_id,
        "claim": "" if entry.settled else entry.doubt or "token",
        "mark": entry.mark,
    }
