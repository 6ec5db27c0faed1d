"""Logs of served features in folders of Parquet files."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from feast_assets.atomic_files import publish, writing
from feast_assets.definitions.feature_logging import LOG_TIMESTAMP_FIELD
from feast_assets.errors import InputError, SourceError, printable, suggest

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds


def write_logs(folder: Path, logs: pa.Table, partition_by: Sequence[str]) -> None:
    """Adds logs to a folder, as new files.

    Each file appears whole. There is one for each folder that the partition columns make; if the process is killed in
    between, some of them may be missing.

    Args:
        partition_by: columns that become folders, one level for each, named by the value.

    Raises:
        InputError: there is no such column, or it has nulls.
        StoreUnavailableError: the disk is full, or writing is not permitted.
    """
    import pyarrow.dataset as ds

    for name in partition_by:
        if name not in logs.column_names:
            raise InputError(f"partition_by: the logs have no column {name!r}. {suggest(name, logs.column_names)}")
        if logs.column(name).null_count:
            raise InputError(f"partition_by: column {name!r} of the logs has nulls, which name no folder.")
    if not len(logs):
        return
    written = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    try:
        with writing(folder):
            ds.write_dataset(
                logs,
                written,
                format="parquet",
                basename_template=f"{uuid.uuid4().hex}-{{i}}.parquet",
                partitioning=_partitioning(logs.schema, partition_by) if partition_by else None,
            )
            for file in sorted(written.rglob("*.parquet")):
                target = folder / file.relative_to(written)
                target.parent.mkdir(parents=True, exist_ok=True)
                publish(file, target)
    finally:
        shutil.rmtree(written, ignore_errors=True)


def read_logs(folder: Path, schema: pa.Schema, partition_by: Sequence[str], start: datetime, end: datetime) -> pa.Table:
    """Returns logs of a stretch of time, both ends included, from old to new.

    Args:
        schema: the columns wanted; null where a file lacks one.

    Raises:
        SourceError: a file cannot be read so.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds

    files = [str(file) for file in sorted(folder.rglob("*.parquet")) if file.is_file()]
    if not files:
        return schema.empty_table()
    time = ds.field(LOG_TIMESTAMP_FIELD)
    try:
        logs = ds.dataset(
            files,
            schema=schema,
            format="parquet",
            partitioning=_partitioning(schema, partition_by) if partition_by else None,
            partition_base_dir=str(folder),
        )
        return logs.to_table(filter=(time >= pa.scalar(start)) & (time <= pa.scalar(end))).sort_by(LOG_TIMESTAMP_FIELD)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"Logs at {folder} cannot be read: {printable(error)}") from error


def _partitioning(schema: pa.Schema, names: Sequence[str]) -> ds.Partitioning:
    import pyarrow as pa
    import pyarrow.dataset as ds

    return ds.partitioning(pa.schema([schema.field(name) for name in names]))
