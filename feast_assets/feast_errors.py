"""Exceptions of Feast that nothing here raises, with Feast's names, bases and arguments.

Code that catches one of them, or raises it in a store of its own, runs unchanged. They are imported from
`feast_assets.errors`.
"""

from __future__ import annotations

from collections.abc import Mapping

from feast_assets.errors import FeastAssetsError, FeastObjectNotFoundException


class _NotFound(FeastObjectNotFoundException):
    def __init__(self, message: str):
        FeastAssetsError.__init__(self, message)


# --- definitions


class DataSourceNotFoundException(FeastAssetsError):
    """The table of a data source does not exist."""

    def __init__(self, path: str):
        super().__init__(f"There is no table at {path!r}.")


class DataSourceNoNameException(FeastAssetsError):
    """A data source has neither a name nor a table."""

    def __init__(self) -> None:
        super().__init__("A data source needs a name, or a table whose name it takes.")


class FeatureViewMissingDuringFeatureServiceInference(FeastAssetsError):
    """A feature service names a view that does not exist."""

    def __init__(self, feature_view_name: str, feature_service_name: str):
        super().__init__(
            f"Feature service {feature_service_name!r} names view {feature_view_name!r}, which does not exist."
        )


class InvalidEntityType(FeastAssetsError):
    """The entity dataframe is neither a DataFrame nor a query."""

    def __init__(self, entity_type: type):
        super().__init__(f"The entity dataframe must be a DataFrame or a query, not {entity_type}.")


class FeastInvalidInfraObjectType(FeastAssetsError):
    """An object of the infrastructure is of no known type."""

    def __init__(self) -> None:
        super().__init__("The type of an infrastructure object is not known.")


# --- versions of views


class VersionedOnlineReadNotSupported(FeastAssetsError):
    """An online store cannot read a certain version of a view."""

    def __init__(self, store_name: str, version: int):
        super().__init__(f"The online store {store_name} cannot read version {version} of a view.")


class ConcurrentVersionConflict(FeastAssetsError):
    """Two processes made the same version of a view."""

    def __init__(self, msg: str):
        super().__init__(msg)


# --- settings and classes named by them


class FeastProviderLoginError(FeastAssetsError):
    """The user is not logged in with a cloud provider."""


class FeastFeatureServerTypeInvalidError(FeastAssetsError):
    """A feature server has no such type."""

    def __init__(self, feature_server_type: str):
        super().__init__(f"There is no feature server of type {feature_server_type!r}.")


class FeastRegistryTypeInvalidError(FeastAssetsError):
    """A registry has no such type."""

    def __init__(self, registry_type: str):
        super().__init__(f"There is no registry of type {registry_type!r}.")


class FeastModuleImportError(FeastAssetsError):
    """The module of a class named in the settings cannot be imported."""

    def __init__(self, module_name: str, class_name: str):
        super().__init__(f"The module {module_name!r} of class {class_name!r} cannot be imported.")


class FeastClassImportError(FeastAssetsError):
    """A module lacks a class named in the settings."""

    def __init__(self, module_name: str, class_name: str):
        super().__init__(f"The module {module_name!r} has no class {class_name!r}.")


class FeastExtrasDependencyImportError(FeastAssetsError):
    """A package is not installed."""

    def __init__(self, extras_type: str, nested_error: str):
        super().__init__(f"{nested_error}; it is part of the extra {extras_type!r}.")


class FeastOfflineStoreUnsupportedDataSource(FeastAssetsError):
    """An offline store cannot read a kind of data source."""

    def __init__(self, offline_store_name: str, data_source_name: str):
        super().__init__(f"The offline store {offline_store_name!r} cannot read {data_source_name!r}.")


class FeastOnlineStoreUnsupportedDataSource(FeastAssetsError):
    """An online store cannot take a kind of data source."""

    def __init__(self, online_store_name: str, data_source_name: str):
        super().__init__(f"The online store {online_store_name!r} cannot take {data_source_name!r}.")


class FeastOfflineStoreInvalidName(FeastAssetsError):
    """The class of an offline store has a name that Feast does not take."""

    def __init__(self, offline_store_class_name: str):
        super().__init__(f"The name of class {offline_store_class_name!r} must end in OfflineStore.")


class FeastOnlineStoreInvalidName(FeastAssetsError):
    """The class of an online store has a name that Feast does not take."""

    def __init__(self, online_store_class_name: str):
        super().__init__(f"The name of class {online_store_class_name!r} must end in OnlineStore.")


class FeastInvalidAuthConfigClass(FeastAssetsError):
    """The class of authorization settings has a name that Feast does not take."""

    def __init__(self, auth_config_class_name: str):
        super().__init__(f"The name of class {auth_config_class_name!r} must end in AuthConfig.")


class FeastInvalidBaseClass(FeastAssetsError):
    """A class named in the settings lacks a base class."""

    def __init__(self, class_name: str, class_type: str):
        super().__init__(f"Class {class_name!r} must have the base class {class_type!r}.")


class DockerDaemonNotRunning(FeastAssetsError):
    """Docker cannot be reached."""

    def __init__(self) -> None:
        super().__init__("The Docker daemon cannot be reached; start it.")


# --- registry


class S3RegistryBucketNotExist(_NotFound):
    """The bucket of a registry does not exist."""

    def __init__(self, bucket: str):
        super().__init__(f"There is no S3 bucket {bucket!r} for the registry.")


class S3RegistryBucketForbiddenAccess(_NotFound):
    """The bucket of a registry may not be read."""

    def __init__(self, bucket: str):
        super().__init__(f"The S3 bucket {bucket!r} of the registry may not be read.")


class ValidationReferenceNotFound(FeastObjectNotFoundException):
    """There is no such validation reference."""

    kind = "validation reference"


class PermissionNotFoundException(FeastAssetsError):
    """There is no such permission."""

    def __init__(self, name: str, project: str):
        super().__init__(f"There is no permission {name!r} in project {project!r}.")


class PermissionObjectNotFoundException(FeastObjectNotFoundException):
    """There is no such permission."""

    kind = "permission"


class ProjectNotFoundException(FeastAssetsError):
    """There is no such project."""

    def __init__(self, project: str):
        super().__init__(f"There is no project {project!r} in the registry.")


class ReadOnlyRegistryException(FeastAssetsError):
    """A registry cannot be written to."""

    def __init__(self) -> None:
        super().__init__("The registry is read-only.")


# --- queries of warehouses


class BigQueryJobStillRunning(FeastAssetsError):
    """A job of BigQuery has not ended."""

    def __init__(self, job_id: str):
        super().__init__(f"The BigQuery job {job_id!r} is still running.")


class BigQueryJobCancelled(FeastAssetsError):
    """A job of BigQuery was cancelled."""

    def __init__(self, job_id: str):
        super().__init__(f"The BigQuery job {job_id!r} was cancelled.")


class RedshiftCredentialsError(FeastAssetsError):
    """Redshift refused the credentials."""

    def __init__(self) -> None:
        super().__init__("Redshift refused the credentials.")


class RedshiftQueryError(FeastAssetsError):
    """A query of Redshift failed."""

    def __init__(self, details: str):
        super().__init__(f"A Redshift query failed: {details}")


class RedshiftTableNameTooLong(FeastAssetsError):
    """A table name is longer than Redshift takes."""

    def __init__(self, table_name: str):
        super().__init__(f"The table name {table_name!r} has {len(table_name)} characters; Redshift takes 127.")


class SnowflakeCredentialsError(FeastAssetsError):
    """Snowflake refused the credentials."""

    def __init__(self) -> None:
        super().__init__("Snowflake refused the credentials.")


class SnowflakeIncompleteConfig(FeastAssetsError):
    """A setting of Snowflake is missing."""

    def __init__(self, e: KeyError):
        super().__init__(f"The setting {e} of Snowflake is missing.")


class SnowflakeQueryError(FeastAssetsError):
    """A query of Snowflake failed."""

    def __init__(self, details: str):
        super().__init__(f"A Snowflake query failed: {details}")


class SnowflakeQueryUnknownError(FeastAssetsError):
    """A query of Snowflake failed, and it is not known why."""

    def __init__(self, query: str):
        super().__init__(f"A Snowflake query failed: {query}")


class ZeroRowsQueryResult(FeastAssetsError):
    """A query gave no rows."""

    def __init__(self, query: str):
        super().__init__(f"The query gave no rows: {query}")


class ZeroColumnQueryResult(FeastAssetsError):
    """A query gave no columns."""

    def __init__(self, query: str):
        super().__init__(f"The query gave no columns: {query}")


# --- permissions


class FeastPermissionError(FeastAssetsError, PermissionError):
    """The caller may not do this."""

    http_status = 403
    grpc_status = "PERMISSION_DENIED"

    def __init__(self, details: str):
        super().__init__(f"Not permitted: {details}")


ERRORS: Mapping[str, type[FeastAssetsError]] = {
    name: value
    for name, value in dict(globals()).items()
    if isinstance(value, type)
    and issubclass(value, FeastAssetsError)
    and value.__module__ == __name__
    and name[0] != "_"
}
"""All of them by name."""
