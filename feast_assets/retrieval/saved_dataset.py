"""Reads training sets that were written down."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from feast_assets.definitions.saved_dataset import SavedDataset, SavedDatasetFileStorage, SavedDatasetStorage
from feast_assets.errors import NotSupportedError, SourceError, printable, shown
from feast_assets.offline_stores.files.source_files import local_path

if TYPE_CHECKING:
    import pyarrow as pa


def dataset_path(storage: SavedDatasetStorage | None, root: Path) -> Path:
    """Returns the file of a saved dataset.

    Args:
        root: the feature repository, where relative paths start from.

    Raises:
        NotSupportedError: the storage is no local file.
    """
    if not isinstance(storage, SavedDatasetFileStorage):
        raise NotSupportedError(f"Saved datasets are kept in SavedDatasetFileStorage, not {shown(storage)}.")
    path = local_path(storage.path, root)
    if path is None:
        raise NotSupportedError(f"Saved datasets are kept in local files, not at {storage.path!r}.")
    return Path(path)


def read_saved_dataset(dataset: SavedDataset, root: Path) -> pa.Table:
    """Returns the rows as they were saved, in their order.

    Args:
        root: the feature repository.

    Raises:
        SourceError: the file is gone or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = dataset_path(dataset.storage, root)
    try:
        # Not read_table, which would take folders of the path (such as day=1) for columns.
        return pq.ParquetFile(path).read()
    except FileNotFoundError:
        raise SourceError(f"Saved dataset {dataset.name!r}: its file {path} does not exist. Was it moved?") from None
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            f"Saved dataset {dataset.name!r}: its file {path} cannot be read: {printable(error)}"
        ) from error
