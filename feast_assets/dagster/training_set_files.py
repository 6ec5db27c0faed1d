"""Training sets as inputs of assets: files of `training_set_asset`, loaded as the type of a parameter's annotation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin
from urllib.parse import quote

import dagster as dg

from feast_assets.dagster.failures import told_first
from feast_assets.dagster.resources import FeatureStoreResource
from feast_assets.definitions.branches import FOLDER
from feast_assets.errors import ConfigError, InputError, SourceError, printable
from feast_assets.feature_store import FeatureStore

if TYPE_CHECKING:
    import pyarrow as pa

IO_MANAGER_KEY = "feast_training_set_io_manager"
"""The resource key of the IO manager that each training set brings along."""
FILE = "feast_assets/training_set_file"
"""Metadata of a training set's asset: its file; where it has partitions, the folder of their files."""
ALLOW_MISSING = "allow_missing_partitions"
"""Metadata of an input: whether partitions that were never made are left out. Dagster's own managers know it too."""

_POSSIBLE = "pyarrow.Table, pandas.DataFrame, polars.DataFrame, polars.LazyFrame or pathlib.Path"
_NAMED = 3


def training_set_path(store: FeatureStore, file: str, partition: str | None) -> Path:
    """Returns where a training set, or one partition of it, is kept.

    A deployment of a branch has files of its own, in a hidden folder beside those of production.

    Args:
        file: relative to the feature repository; with partitions the folder of their files.
        partition: its key; None where the training set has no partitions.
    """
    path = store.repo_path / file
    path = path.parent / FOLDER / store.project / path.name if store.config.deployment else path
    return path if partition is None else path / f"{quote(partition, safe=':| ')}.parquet"


class TrainingSetIOManager(dg.IOManager):
    """Loads training sets, and single partitions of them, as inputs of assets downstream.

    The parameter's annotation says as what: ``pyarrow.Table`` (also without an annotation), ``pandas.DataFrame``,
    ``polars.DataFrame``, ``polars.LazyFrame`` or ``pathlib.Path``. Where an input is several partitions, ``dict[str,
    pyarrow.Table]`` and its like give one of each, by partition key, and any of the types but a path gives all rows as
    one, in the order of the partitions; without an annotation, a dict.

    A partition that was never made is an error, unless the input has ``metadata={"allow_missing_partitions": True}``.

    `training_set_asset` brings it along. Another code location, which knows a training set as an `AssetSpec` with that
    asset's metadata, registers `training_set_io_manager` under a key of its choice.
    """

    def __init__(self, feature_store: FeatureStoreResource):
        self._feature_store = feature_store

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Does nothing for a training set, which has written its file itself: with its pins, and whole.

        Raises:
            dagster.Failure: another asset wants a value stored.
        """
        if obj is not None:
            raise dg.Failure(
                f"The IO manager of training sets stores nothing else; give asset {context.asset_key.to_user_string()} "
                "another io_manager_key.",
                allow_retries=False,
            )

    def load_input(self, context: dg.InputContext) -> Any:
        """Returns a training set as the type that the parameter's annotation says.

        Raises:
            dagster.Failure: a partition or the file is missing, is damaged, or cannot be loaded as that type.
        """
        with told_first():
            return self._loaded(context)

    def _loaded(self, context: dg.InputContext) -> object:
        name = context.asset_key.to_user_string()
        metadata = {} if context.upstream_output is None else context.upstream_output.definition_metadata or {}
        if FILE not in metadata:
            raise ConfigError(
                f"Asset {name} does not say where its training set is; make it by training_set_asset, or give its spec "
                f"that asset's metadata {FILE!r}."
            )
        store, file = self._feature_store.get_store(), str(metadata[FILE])
        kind = _without_none(context.dagster_type.typing_type)
        asked = f"Input {context.name!r}, the training set {name},"
        if not context.has_asset_partitions:
            path = training_set_path(store, file, None)
            if not path.exists():
                raise SourceError(f"The training set {name} was not made yet: there is no {path}. Materialize it.")
            return _reader(kind, asked)([path])
        paths = {key: training_set_path(store, file, key) for key in context.asset_partition_keys}
        there = {key: path for key, path in paths.items() if path.exists()}
        missing = [key for key in paths if key not in there]
        allowed = bool((context.definition_metadata or {}).get(ALLOW_MISSING))
        several = len(paths) > 1
        by_key = _is_dict(kind) or (several and kind is Any)
        if missing and not (allowed and (there or by_key)):
            remedy = "" if allowed else f", or give the input metadata={{{ALLOW_MISSING!r}: True}} to leave them out"
            raise SourceError(
                f"The training set {name} was not made yet for {_listed(missing)}. Materialize what is missing{remedy}."
            )
        if missing:
            context.log.warning(f"The training set {name} is read without {_listed(missing)}, not made yet.")
        if by_key:
            read = _reader((get_args(kind) or (Any, Any))[1], asked)
            return {key: read([path]) for key, path in there.items()}
        if several and kind is Path:
            raise InputError(f"{asked} is several partitions, each in a file of its own; annotate it dict[str, Path].")
        return _reader(kind, asked)(list(there.values()))


@dg.io_manager(required_resource_keys={"feature_store"})
def training_set_io_manager(context: dg.InitResourceContext) -> TrainingSetIOManager:
    """A `TrainingSetIOManager` of the resource ``feature_store``."""
    return TrainingSetIOManager(context.resources.feature_store)


def _reader(kind: object, asked: str) -> Callable[[Sequence[Path]], object]:
    """Returns what reads files as one value of a type.

    Raises:
        InputError: nothing can.
    """
    if kind is Any:
        return _table
    if kind is Path:
        return lambda paths: paths[0]
    # Types are recognised by name, so that no package is imported that the user's code does not use.
    read = _READERS.get(f"{str(getattr(kind, '__module__', '')).partition('.')[0]}.{getattr(kind, '__name__', '')}")
    if read is None:
        shown = getattr(kind, "__name__", kind)
        raise InputError(
            f"{asked} is annotated {shown}, and a training set cannot be loaded as that. Possible are {_POSSIBLE}, and "
            "for a training set with partitions a dict of these."
        )
    return read


def _table(paths: Sequence[Path]) -> pa.Table:
    """Returns the rows of files; those of one with the pins in the schema's metadata, as in the file.

    Raises:
        SourceError: a file cannot be read, or they have different columns.
    """
    import pyarrow as pa

    tables = {path: _of_file(path) for path in paths}
    first, *others = tables.values()
    if not others:
        return first
    for path, table in tables.items():
        if not table.schema.equals(first.schema):
            raise SourceError(
                f"{paths[0]} and {path} cannot be one table: they differ in {_differing(first.schema, table.schema)}. "
                "Materialize the older one again, or load a dict with a table of each."
            )
    return pa.concat_tables([table.replace_schema_metadata(None) for table in tables.values()])


def _differing(one: pa.Schema, other: pa.Schema) -> str:
    """Returns the columns that two schemas do not share, or have with different types."""
    names = list(dict.fromkeys([*one.names, *other.names]))
    types = {
        name: [str(s.field(name).type) if name in s.names else "no column" for s in (one, other)] for name in names
    }
    differing = [f"{name} ({' and '.join(both)})" for name, both in types.items() if both[0] != both[1]]
    return ", ".join(differing) or "the order of their columns"


def _of_file(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Not as a dataset: a folder named a=b would become a column.
        return pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"The training set {path} cannot be read: {printable(error)}") from error


def _polars(paths: Sequence[Path]) -> object:
    import polars

    return polars.from_arrow(_table(paths))


def _lazy_polars(paths: Sequence[Path]) -> object:
    import polars

    return polars.scan_parquet(list(paths))


_READERS: Mapping[str, Callable[[Sequence[Path]], object]] = {
    "pyarrow.Table": _table,
    "pandas.DataFrame": lambda paths: _table(paths).to_pandas(),
    "polars.DataFrame": _polars,
    "polars.LazyFrame": _lazy_polars,
}


def _is_dict(kind: object) -> bool:
    return kind is dict or get_origin(kind) is dict


def _without_none(kind: object) -> object:
    """Returns the type of an annotation that also allows None."""
    if get_origin(kind) in (Union, UnionType):
        types = [each for each in get_args(kind) if each is not NoneType]
        return types[0] if len(types) == 1 else kind
    return kind


def _listed(keys: Sequence[str]) -> str:
    named = ", ".join(repr(key) for key in keys[:_NAMED])
    more = len(keys) - _NAMED
    return f"partition{'s' if len(keys) > 1 else ''} {named}{f' and {more} more' if more > 0 else ''}"
