"""Every error a user can meet.

The tree; a caller catches as high as its decision goes::

    FeastAssetsError
    ├── DefinitionError (ValueError)           what was declared cannot be right
    ├── ConfigError (ValueError)               feature_store.yaml
    │   └── StoredFormatError                  data that another version of this package wrote
    ├── FeastObjectNotFoundException (LookupError)
    │   ├── EntityNotFoundException, FeatureViewNotFoundException, ...
    ├── SourceError (ValueError)               data that cannot be read as declared
    │   ├── SourceChangedError, ...
    ├── InputError (ValueError)                rows or arguments of a call
    ├── ComputeEngineError (RuntimeError)      a worker that ended without an answer
    ├── StoreUnavailableError (ConnectionError)
    │   └── UnfinishedPushError                a push that was interrupted and will be completed
    └── NotSupportedError (NotImplementedError)

Names that end in ``Exception`` are Feast's own, kept because users catch them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_SHOWN = 10
"""How many of many findings a message lists."""

_LONGEST_VALUE = 200
_LONGEST_REASON = 400
_LONGEST_MESSAGE = 8_000
_LONGEST_NAME_COMPARED = 200

# What no terminal or log should be sent: control characters other than line breaks and tabs, halves of surrogate
# pairs, which cannot be encoded, and marks that turn the direction of writing or break lines unseen.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


def shown(value: object, longest: int = _LONGEST_VALUE) -> str:
    """Returns a value for a message: its ``repr``, cut if it is long. Never fails."""
    try:
        if isinstance(value, (str, bytes, bytearray)) and len(value) > longest:
            return f"{value[:longest]!r}... ({len(value)} {'characters' if isinstance(value, str) else 'bytes'})"
        text = repr(value)
    except Exception:  # noqa: BLE001 - a value's own repr may fail, by its depth or by what it does
        return f"<{type(value).__name__}>"
    return text if len(text) <= longest else f"{text[:longest]}..."


def reason_of(error: BaseException) -> str:
    """Returns an error of Python, numpy or Arrow as the reason why a value cannot be read; cut if it is long."""
    if isinstance(error, RecursionError):
        return "it is nested too deep."
    if isinstance(error, UnicodeEncodeError):
        return "it is not Unicode: surrogates are not allowed."
    if isinstance(error, OverflowError) and "int too" in str(error):
        return "an integer does not fit 64 bits."
    return printable(str(error) or f"{type(error).__name__}.", _LONGEST_REASON)


def suggest(name: str, known: Iterable[str]) -> str:
    """Returns the end of a message: the most similar known name, or all known names."""
    names = sorted(set(known))
    if not names:
        return "There are none."
    comparable = isinstance(name, str) and len(name) <= _LONGEST_NAME_COMPARED
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6) if comparable else []
    if near:
        return f"Did you mean {shown(near[0])}?"
    listed = ", ".join(shown(n) for n in names[:10])
    return f"Known: {listed}{', ...' if len(names) > 10 else ''}."


def printable(error: object, limit: int = 600) -> str:
    """Returns the message of another library's error as one line of bounded length.

    Such messages may quote damaged data. White space becomes one space, and unprintable characters become escapes such
    as ``\\x0e``.

    Args:
        error: the error, or its text.
        limit: the maximum length, in characters.
    """
    text = " ".join(str(error)[: 20 * limit].split())
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return text if len(text) <= limit else f"{text[: limit - 4]} ..."


class FeastAssetsError(Exception):
    """The root of every error that this package raises on purpose.

    Its message can always be printed and encoded, and has a bounded length, whatever the input: the middle of a longer
    message is left out, since its beginning names the object and its end the remedy.
    """

    def __init__(self, *args: object, **keywords: object):
        super().__init__(*(presentable(arg) if isinstance(arg, str) else arg for arg in args), **keywords)


def presentable(message: str) -> str:
    """Returns a text that can be printed and encoded, of bounded length, with its line breaks and tabs."""
    if len(message) > _LONGEST_MESSAGE:
        half = _LONGEST_MESSAGE // 2
        left_out = len(message) - 2 * half
        message = f"{message[:half]}... ({left_out} characters left out) ...{message[-half:]}"
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), message)


class DefinitionError(FeastAssetsError, ValueError):
    """A definition contradicts itself, or another definition."""


class ConfigError(FeastAssetsError, ValueError):
    """``feature_store.yaml`` (or a ``RepoConfig``) is wrong."""


class StoredFormatError(ConfigError):
    """A store has a format that this version of the package does not read: a newer version wrote it."""


class RepositoryError(FeastAssetsError, ImportError):
    """A definition file of the feature repository does not import."""


class SourceError(FeastAssetsError, ValueError):
    """A data source cannot be read as its definition says."""


class SourceWithoutFilesError(SourceError):
    """A data source has no files yet, so only what is declared is known."""


class SourceAbsentError(SourceWithoutFilesError):
    """The file or table that a data source names is not there, or not yet."""


class SourceChangedError(SourceError):
    """Files of a data source were replaced, changed or removed while they were read; reading again may succeed."""


class InputError(FeastAssetsError, ValueError):
    """The rows or arguments of a call cannot be used."""


class StoreUnavailableError(FeastAssetsError, ConnectionError):
    """A store cannot be reached, or refuses to write (down, read-only, disk full)."""


class SourceHeldError(StoreUnavailableError):
    """A data source cannot be opened, because a process that writes to it has it open."""


class UnfinishedPushError(StoreUnavailableError):
    """A push failed half-way. Its rows are kept in the registry, and the next use of the feature store completes it.

    Attributes:
        push_id: as `FeatureStore.list_unfinished_pushes` shows it until the push is complete.
    """

    def __init__(self, push_id: str, call: str, error: Exception):
        self.push_id = push_id
        super().__init__(
            f"{call} was interrupted: {str(error).rstrip('.')}. Its rows are noted in the registry, and the next use "
            "of the feature store that can reach the stores completes it. The same push may also be repeated; each row "
            "is stored once."
        )


class OnlineRowError(FeastAssetsError, ValueError):
    """A row in the online store is damaged, or was not written by this package."""


class ForeignValueWarning(UserWarning):
    """A value under a row's key in the online store is damaged, or was not written by this package.

    It counts as missing: reads go on without it, and the next newer row overwrites it.
    """


class UnknownRowSchemaError(OnlineRowError):
    """Rows in the online store name schemas that the reader was not given; a newer registry may know them.

    Attributes:
        schema_ids: the ids that are not known.
    """

    def __init__(self, schema_ids: Iterable[int], subject: str):
        self.schema_ids = frozenset(schema_ids)
        shown = ", ".join(f"{schema_id:#010x}" for schema_id in sorted(self.schema_ids))
        super().__init__(
            f"{subject}: the online store holds rows of unknown schema {shown}. Refresh the registry; "
            "if that does not help, the rows were written under another registry."
        )


class NotSupportedError(FeastAssetsError, NotImplementedError):
    """Something that this version does not do."""


class TransformationError(FeastAssetsError, ValueError):
    """A user's transformation failed, or returned something that its schema does not allow."""


class MaterializationError(FeastAssetsError, RuntimeError):
    """Several views could not be materialized; the others were.

    Attributes:
        failed: the error of each view by its name.
    """

    def __init__(self, failed: Mapping[str, FeastAssetsError]):
        self.failed = dict(failed)
        told = " ".join(f"[{name}] {error}" for name, error in self.failed.items())
        super().__init__(f"{len(self.failed)} feature views could not be materialized: {told}")


class ComputeEngineError(FeastAssetsError, RuntimeError):
    """A compute engine failed: a worker ended without an answer, or an unexpected error was raised.

    Windows that may not have been written stay unsettled, so the next run writes them again.
    """


class BrokenChecksError(FeastAssetsError, ValueError):
    """Rows of some windows break checks of their fields. Those windows were not written; the others were.

    Attributes:
        view: the view's name.
        broken: the broken rules, with the windows; each a `feast_assets.compute.validation.BrokenRule`.
        result: of the other windows, a `feast_assets.compute.results.MaterializationResult`.
    """

    def __init__(self, view: str, broken: Sequence[Any], result: Any):
        self.view = view
        self.broken = tuple(broken)
        self.result = result
        refused = len({each.window for each in self.broken})
        shown = "; ".join(str(each) for each in self.broken[:_SHOWN])
        more = f"; and {len(self.broken) - _SHOWN} more" if len(self.broken) > _SHOWN else ""
        super().__init__(
            f"Feature view {view!r}: {refused} {'window breaks' if refused == 1 else 'windows break'} what its fields "
            f"declare, and {'was' if refused == 1 else 'were'} not written: {shown}{more}. Correct the source, change "
            "the checks, or declare enable_validation=False to write them anyway."
        )


class ConcurrentApplyError(FeastAssetsError, RuntimeError):
    """Another process changed the registry at the same time; this call changed nothing."""


class NotAppliedError(FeastAssetsError, RuntimeError):
    """A view's declaration differs from the registered one, so it is not clear what should be materialized.

    Attributes:
        name: the view's.
    """

    def __init__(self, name: str, subject: str):
        self.name = name
        super().__init__(
            f"Feature view {name!r} {subject}. Apply the repository first: run its apply job, or `feast-assets apply`."
        )


# --- definitions, by Feast's names


class ConflictingFeatureViewNames(DefinitionError):
    """Two views of one project have the same name, letter case aside."""


class DataSourceRepeatNamesException(DefinitionError):
    """Two data sources of one project have the same name, letter case aside."""


class RegistryInferenceFailure(DefinitionError):
    """A schema or timestamp column was left out and cannot be inferred."""


class SpecifiedFeaturesNotPresentError(DefinitionError):
    """An on-demand view does not return the features that it declares."""


# --- not found


class FeastObjectNotFoundException(FeastAssetsError, LookupError):
    """An object is not in the registry.

    Attributes:
        name: the name asked for.
    """

    kind = "object"

    def __init__(self, name: str, project: str | None = None, known: Iterable[str] = ()):
        self.name = name
        self.project = project
        where = f" in project {project!r}" if project else ""
        super().__init__(f"There is no {self.kind} {shown(name)}{where}. {suggest(name, known)}")


class EntityNotFoundException(FeastObjectNotFoundException):
    kind = "entity"


class FeatureViewNotFoundException(FeastObjectNotFoundException):
    kind = "feature view"


class OnDemandFeatureViewNotFoundException(FeatureViewNotFoundException):
    kind = "on-demand feature view"


class FeatureServiceNotFoundException(FeastObjectNotFoundException):
    kind = "feature service"


class DataSourceObjectNotFoundException(FeastObjectNotFoundException):
    kind = "data source"


class PushSourceNotFoundException(FeastObjectNotFoundException):
    kind = "push source"


class ProjectObjectNotFoundException(FeastObjectNotFoundException):
    kind = "project"


class SavedDatasetNotFound(FeastObjectNotFoundException):
    kind = "saved dataset"


class FeatureNotFoundError(FeastObjectNotFoundException, KeyError):
    """A view has no such feature."""

    kind = "feature"
    __str__ = Exception.__str__  # KeyError would print the message quoted

    def __init__(self, name: str, view: str, known: Iterable[str] = ()):
        self.name = name
        self.view = view
        FeastAssetsError.__init__(self, f"Feature view {view!r} has no feature {shown(name)}. {suggest(name, known)}")


# --- retrieval, by Feast's names


class FeatureNameCollisionError(InputError):
    """Two requested features would have the same column name."""


class InvalidFeaturesParameterType(InputError):
    """``features`` is neither a list of references nor a feature service."""


class FeastEntityDFMissingColumnsError(InputError):
    """The entity dataframe lacks join keys or request columns."""


class EntityTimestampInferenceException(InputError):
    """The entity dataframe has no, or more than one, datetime column."""


class EntityDFNotDateTime(InputError):
    """The entity dataframe's event timestamp column is not a datetime."""


class EntitySQLEmptyResults(InputError):
    """The entity query returned no rows."""


class RequestDataNotFoundInEntityDfException(InputError):
    """A request field of an on-demand view is not a column of the entity dataframe."""


class RequestDataNotFoundInEntityRowsException(InputError):
    """A request field of an on-demand view is not in the entity rows."""


class MissingJoinKeyError(InputError, KeyError):
    """Entity rows lack a join key."""

    __str__ = Exception.__str__  # KeyError would print the message quoted


class FeastJoinKeysDuringMaterialization(SourceError):
    """A source lacks a view's join key columns."""


class SavedDatasetLocationAlreadyExists(InputError):
    """The storage of a saved dataset is not empty."""


class DataFrameSerializationError(InputError):
    """Rows that were handed in cannot be read as a table."""


def __getattr__(name: str) -> Any:
    """Raises ImportError for Feast's other exceptions, which this package never raises."""
    from feast_assets.feast_names import refuse_name

    refuse_name(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
