"""Every error a user can meet.

The tree; a caller catches as high as its decision goes::

    FeastError                                 Feast's root, so code that catches it goes on working
    FeastAssetsError (FeastError)
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
    │   ├── IdentityProviderError              who the caller is cannot be found out now
    │   └── UnfinishedPushError                a push that was interrupted and will be completed
    ├── UnauthenticatedError (PermissionError) a caller without a valid token
    └── NotSupportedError (NotImplementedError)

Names that end in ``Exception`` are Feast's own, kept because users catch them. Those that only Feast raises are in
`feast_assets.feast_errors`, and can be imported from here too.
"""

from __future__ import annotations

import difflib
import importlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from grpc import StatusCode

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


class FeastError(Exception):
    """Feast's root of its errors.

    Class attributes:
        http_status: what a feature server answers. Errors of the caller are 4xx.
        grpc_status: the same for gRPC, the name of a ``grpc.StatusCode``.
    """

    http_status: ClassVar[int] = 500
    grpc_status: ClassVar[str] = "INTERNAL"

    def http_status_code(self) -> int:
        """Returns the HTTP status that a feature server answers."""
        return self.http_status

    def grpc_status_code(self) -> StatusCode:
        """Returns the gRPC status that a feature server answers. Needs the package ``grpcio``."""
        from grpc import StatusCode

        return StatusCode[self.grpc_status]

    def to_error_detail(self) -> str:
        """Returns the error as JSON text with ``module``, ``class`` and ``message``, which Feast's clients read.

        They raise the class that it names. So it is the nearest one that Feast has.
        """
        return json.dumps({"module": "feast.errors", "class": self.class_in_feast, "message": str(self)})

    @property
    def class_in_feast(self) -> str:
        """The name of the nearest class that Feast has."""
        return next(cls.__name__ for cls in type(self).__mro__ if _is_feasts(cls))

    @staticmethod
    def from_error_detail(detail: str) -> FeastError | None:
        """Returns the error that `to_error_detail` described, here or in Feast; None for any other text.

        Only classes of this module are made, whatever module the text names. Attributes other than the message are not
        set.
        """
        try:
            described = json.loads(detail)
            name, message = described["class"], described["message"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        if not isinstance(name, str) or not isinstance(message, str):
            return None
        cls = globals().get(name) or _feasts_own().get(name)
        if not (isinstance(cls, type) and issubclass(cls, FeastError)):
            return None
        error = cls.__new__(cls)
        error.args = (presentable(message),)
        return error


def _is_feasts(cls: type) -> bool:
    return cls.__name__ in _IN_FEAST or cls.__name__ in _feasts_own()


def _feasts_own() -> Mapping[str, Any]:
    """Returns the errors that only Feast raises, by name; their module is loaded when it is needed."""
    errors: Mapping[str, Any] = importlib.import_module("feast_assets.feast_errors").ERRORS
    return errors


class FeastAssetsError(FeastError):
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

    http_status = 400
    grpc_status = "INVALID_ARGUMENT"


class ConfigError(FeastAssetsError, ValueError):
    """``feature_store.yaml`` (or a ``RepoConfig``) is wrong."""


class FeastProviderNotImplementedError(ConfigError):
    """``provider`` names none that is supported."""


class FeastRegistryNotSetError(ConfigError):
    """``registry`` is there, and empty."""


FeastConfigError = ConfigError
"""Feast's name of the same."""


class StoredFormatError(ConfigError):
    """A store has a format that this version of the package does not read: a newer version wrote it."""


class RepositoryError(FeastAssetsError, ImportError):
    """A definition file of the feature repository does not import."""


class MissingPackageError(FeastAssetsError, ImportError):
    """A package that an extra of this one brings is not installed."""


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

    http_status = 400
    grpc_status = "INVALID_ARGUMENT"


class StoreUnavailableError(FeastAssetsError, ConnectionError):
    """A store cannot be reached, or refuses to write (down, read-only, disk full)."""

    http_status = 503
    grpc_status = "UNAVAILABLE"


class SourceHeldError(StoreUnavailableError):
    """A data source cannot be opened, because a process that writes to it has it open."""


class IdentityProviderError(StoreUnavailableError):
    """An identity provider, or the Kubernetes API, cannot be reached, or does not answer as it should."""


class UnauthenticatedError(FeastAssetsError, PermissionError):
    """A caller gave no token, or one that is not valid. The message, which goes to the caller, does not say why.

    Attributes:
        reason: what is wrong with the token, for the server's log; no part of it.
    """

    http_status = 401
    grpc_status = "UNAUTHENTICATED"

    def __init__(self, message: str, reason: str = ""):
        self.reason = reason or message
        super().__init__(message)


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

    http_status = 503
    grpc_status = "UNAVAILABLE"

    def __init__(self, schema_ids: Iterable[int], subject: str):
        self.schema_ids = frozenset(schema_ids)
        shown = ", ".join(f"{schema_id:#010x}" for schema_id in sorted(self.schema_ids))
        super().__init__(
            f"{subject}: the online store holds rows of unknown schema {shown}. Refresh the registry; "
            "if that does not help, the rows were written under another registry."
        )


class NotSupportedError(FeastAssetsError, NotImplementedError):
    """Something that this version does not do."""

    http_status = 501
    grpc_status = "UNIMPLEMENTED"


class TransformationError(FeastAssetsError, ValueError):
    """A user's transformation failed, or returned something that its schema does not allow."""


class MaterializationError(FeastAssetsError, RuntimeError):
    """Several views could not be materialized; the others were.

    Attributes:
        failed: the error of each view by its name.
    """

    def __init__(self, failed: Mapping[str, FeastAssetsError]):
        self.failed = dict(failed)
        problems = " ".join(f"[{name}] {error}" for name, error in self.failed.items())
        super().__init__(f"{len(self.failed)} feature views could not be materialized: {problems}")


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

    http_status = 422
    grpc_status = "FAILED_PRECONDITION"

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

    http_status = 409
    grpc_status = "ABORTED"


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

    http_status = 404
    grpc_status = "NOT_FOUND"

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


class FeatureViewVersionNotFound(FeastObjectNotFoundException):
    kind = "version"

    def __init__(self, name: str, version: str, project: str | None = None):
        self.name = name
        self.project = project
        where = f" in project {project!r}" if project else ""
        FeastAssetsError.__init__(self, f"Feature view {shown(name)} has no version {version}{where}.")


class OnDemandFeatureViewNotFoundException(FeatureViewNotFoundException):
    kind = "on-demand feature view"


class FeatureServiceNotFoundException(FeastObjectNotFoundException):
    kind = "feature service"


class DataSourceObjectNotFoundException(FeastObjectNotFoundException):
    kind = "data source"


class PushSourceNotFoundException(FeastObjectNotFoundException):
    kind = "push source"
    http_status = 422  # as Feast's server answers


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


class FeatureViewPinConflict(DefinitionError):
    """A view is put back to a version, and changed at the same time."""

    def __init__(self, name: str, version: str):
        super().__init__(
            f"Feature view {name!r} cannot be put back to {version}: its definition has been modified as well, and is "
            "none of its versions. Change only version=, or leave that out to register the new definition."
        )


class FeatureNameCollisionError(InputError):
    """Two requested features would have the same column name."""


class InvalidFeaturesParameterType(InputError, TypeError):
    """``features`` is neither a list of references nor a feature service."""


class FeastEntityDFMissingColumnsError(InputError):
    """The entity dataframe lacks join keys or request columns."""


class EntityTimestampInferenceException(InputError):
    """The entity dataframe has no, or more than one, datetime column."""


class EntityDFNotDateTime(InputError):
    """The entity dataframe's event timestamp column is not a datetime."""


class EntitySQLEmptyResults(InputError):
    """The entity query returned no rows."""


class RequestDataNotFoundInEntityDfException(InputError, FeastObjectNotFoundException):
    """A request field of an on-demand view is not a column of the entity dataframe."""

    http_status = 404
    grpc_status = "NOT_FOUND"

    def __init__(self, *message: object):
        FeastAssetsError.__init__(self, *message)


class RequestDataNotFoundInEntityRowsException(InputError, FeastObjectNotFoundException):
    """A request field of an on-demand view is not in the entity rows."""

    http_status = 404
    grpc_status = "NOT_FOUND"

    def __init__(self, *message: object):
        FeastAssetsError.__init__(self, *message)


class MissingJoinKeyError(InputError, KeyError):
    """Entity rows lack a join key."""

    __str__ = Exception.__str__  # KeyError would print the message quoted


class RetrievalTimeoutError(FeastAssetsError, TimeoutError):
    """A retrieval took longer than its caller allowed."""

    http_status = 504
    grpc_status = "DEADLINE_EXCEEDED"

    def __init__(self, seconds: float):
        super().__init__(f"The retrieval took longer than its timeout of {seconds} seconds, and was given up.")


class ValidationFailed(FeastAssetsError, ValueError):
    """Rows of a retrieval are not as the validation reference says.

    Attributes:
        report: what is wrong, a `feast_assets.definitions.validation_reference.ValidationReport`.
    """

    def __init__(self, validation_report: Any):
        self.report = validation_report
        failures = list(validation_report.errors)
        problems = "; ".join(shown(each) for each in failures[:_SHOWN])
        more = f"; and {len(failures) - _SHOWN} more" if len(failures) > _SHOWN else ""
        super().__init__(f"The rows differ from the validation reference: {problems}{more}.")

    @property
    def validation_report(self) -> Any:
        """Feast's older name of `report`."""
        return self.report


class FeastJoinKeysDuringMaterialization(SourceError):
    """A source lacks a view's join key columns."""


class SavedDatasetLocationAlreadyExists(InputError):
    """The storage of a saved dataset is not empty."""


class DataFrameSerializationError(InputError):
    """Rows that were handed in cannot be read as a table."""


_IN_FEAST = frozenset(
    (
        "ConflictingFeatureViewNames",
        "DataFrameSerializationError",
        "DataSourceObjectNotFoundException",
        "DataSourceRepeatNamesException",
        "EntityDFNotDateTime",
        "EntityNotFoundException",
        "EntitySQLEmptyResults",
        "EntityTimestampInferenceException",
        "FeastEntityDFMissingColumnsError",
        "FeastError",
        "FeastJoinKeysDuringMaterialization",
        "FeastObjectNotFoundException",
        "FeastProviderNotImplementedError",
        "FeastRegistryNotSetError",
        "FeatureNameCollisionError",
        "FeatureServiceNotFoundException",
        "FeatureViewNotFoundException",
        "InvalidFeaturesParameterType",
        "OnDemandFeatureViewNotFoundException",
        "ProjectObjectNotFoundException",
        "PushSourceNotFoundException",
        "RegistryInferenceFailure",
        "RequestDataNotFoundInEntityDfException",
        "RequestDataNotFoundInEntityRowsException",
        "SavedDatasetLocationAlreadyExists",
        "SavedDatasetNotFound",
        "SpecifiedFeaturesNotPresentError",
    )
)
"""The classes of this module that Feast has too."""


def __getattr__(name: str) -> Any:
    """Returns an error that only Feast raises. Raises ImportError for Feast's other names, with what to do instead."""
    from feast_assets.feast_names import refuse_name

    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _feasts_own():
        return _feasts_own()[name]
    refuse_name(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
