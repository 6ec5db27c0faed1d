"""On-demand views that are kept in the online store: whether one is, and the rows that a caller hands in for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feast_assets.definitions.stored_on_demand_view import EVENT_TIME, StoredOnDemandView
from feast_assets.errors import InputError
from feast_assets.registry.snapshot import RegistrySnapshot

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_assets.repository.user_functions import UserFunctions


def materializable_view(snapshot: RegistrySnapshot, name: str) -> StoredOnDemandView:
    """Returns what is stored of an on-demand view, of which materialization can make rows.

    Raises:
        InputError: nothing is stored of it, or history does not say what.
    """
    stored = snapshot.stored_on_demand_view(name)
    if stored is None:
        raise InputError(
            f"{name!r} is an on-demand feature view without write_to_online_store=True: it is computed when it is "
            "read, never materialized."
        )
    if not stored.enabled:
        raise InputError(f"On-demand feature view {name!r} is disabled; enable it, or leave it out.")
    if stored.why_not_materialized:
        raise InputError(
            f"On-demand feature view {name!r} cannot be materialized: {stored.why_not_materialized}. Write its rows "
            "with write_to_online_store."
        )
    return stored


def stored_rows(
    snapshot: RegistrySnapshot,
    name: str,
    rows: pa.Table,
    call: str,
    functions: UserFunctions,
    transform_on_write: bool,
) -> pa.Table:
    """Returns rows that are handed in for an on-demand view as its online table takes them.

    Args:
        rows: what its function takes, with the join keys; without ``transform_on_write`` its features.
        call: names the call in errors.
        transform_on_write: whether the function makes the rows.

    Raises:
        InputError: the view is not stored, or the rows do not fit.
        TransformationError: the function failed.
    """
    from feast_assets.retrieval.stored_rows import StoredViewRows, moments_of_now

    stored = snapshot.stored_on_demand_view(name)
    if stored is None:
        raise InputError(
            f"{call}: {name!r} is an on-demand feature view without write_to_online_store=True: it is computed when it "
            "is read, and its rows are not stored. Write to the feature views that it reads."
        )
    if not len(rows):
        return rows
    if transform_on_write:
        view = functions.attach(stored)
        assert isinstance(view, StoredOnDemandView)
        return StoredViewRows(view, functions.of(view.on_demand)).of_handed_in(rows, call)
    if stored.event_time in rows.column_names:
        return rows
    if EVENT_TIME in rows.column_names:
        return rows.append_column(stored.event_time, rows.column(EVENT_TIME))
    return rows.append_column(stored.event_time, moments_of_now(len(rows)))
