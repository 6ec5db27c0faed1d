"""Feast's names and module paths: what they are here, and what is not here yet.

A Feast repository whose imports were rewritten from ``feast`` to ``feast_assets`` also imports from Feast's module
paths, such as ``feast_assets.infra.offline_stores.file_source``. `FeastModules` gives such a path a stand-in module
with the names of this package, so the import works; a name that is not here says so and what to do instead.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_PACKAGE = __name__.rpartition(".")[0]


def _words(text: str) -> list[str]:
    return text.split()


_MODULES = frozenset(
    _words("""
    aggregation api arrow_error_handler base_feature_view batch_feature_view chunker constants credentials
    data_format data_source dataframe dataset_job_manager dataset_utils dbt demos diff doc_embedder document_labeling
    dqm embedder entity feast_object feature feature_logging feature_server feature_server_utils
    feature_service feature_view feature_view_projection feature_view_utils field file_utils filter_models
    flags_helper image_utils importer inference infra labeling lineage lineage_server loaders mcp metrics mlflow
    mlflow_integration monitoring names nlp_test_data offline_server on_demand_feature_view online_response openlineage
    permissions project project_metadata proto_json proto_utils protos rag_retriever registry_server repo_config
    repo_contents repo_operations repo_upgrade rest_error_handler saved_dataset stream_feature_view table_format
    templates torch_wrapper transformation transformation_server type_map ui_server usage utils value_type vector_store
    vector_store_utils version version_utils wait
    """)
)
"""The top modules of Feast's package that are not modules of this one."""

_ELSEWHERE = {
    **dict.fromkeys(_words("EntityReference EntityRelation FeastObjectType"), "feast_assets.registry.lineage"),
    "BaseFeatureView": "feast_assets.definitions.view",
    "BaseRegistry": "feast_assets.registry.feast_verbs",
    "FEAST_VECTOR_TYPES": "feast_assets.types",
    "FeastConfigError": "feast_assets.errors",
    "FileFormat": "feast_assets.definitions.sources.file_format",
    "LoggingDestination": "feast_assets.definitions.feature_logging",
    **dict.fromkeys(
        _words("Profile Profiler ValidationError ValidationReport"), "feast_assets.definitions.validation_reference"
    ),
    "OnlineResponse": "feast_assets.retrieval.response",
    **dict.fromkeys(_words("ALL_ACTIONS AuthzedAction CRUD READ WRITE"), "feast_assets.definitions.authorized_action"),
    "Permission": "feast_assets.definitions.permission",
    **dict.fromkeys(
        _words("AllowAll CombinedGroupNamespacePolicy GroupBasedPolicy NamespaceBasedPolicy Policy RoleBasedPolicy"),
        "feast_assets.definitions.policy",
    ),
    "RegistryConfig": "feast_assets.settings.registry_config",
    "RegistryDiff": "feast_assets.apply.diff",
    "RepoContents": "feast_assets.repository.loading",
    "RetrievalJob": "feast_assets.retrieval.job",
    "RetrievalMetadata": "feast_assets.retrieval.job",
    "SavedDatasetStorage": "feast_assets.definitions.saved_dataset",
    "StreamFormat": "feast_assets.definitions.sources.stream_format",
    **dict.fromkeys(
        _words("AuthConfig KubernetesAuthConfig NoAuthConfig OidcAuthConfig OidcClientAuthConfig"),
        "feast_assets.auth.settings",
    ),
    "User": "feast_assets.auth.identity",
    "load_repo_config": "feast_assets.config",
}
"""Names that only Feast's module paths give; the package itself does not list them."""

_USE_FILES = "export the table to Parquet, CSV or Delta and declare a FileSource"
_VECTORS = "vector search is not here yet"
_REMEDIES: dict[str, str] = {
    **dict.fromkeys(
        _words("""
        AthenaSource BigQuerySource ChrononSource ClickhouseSource CouchbaseColumnarSource IcebergSource LanceSource
        MlflowDatasetSource MongoDBSource MsSqlServerSource OracleSource RaySource RedshiftSource SnowflakeSource
        SparkSource TrinoSource UnityCatalogSource
        """),
        _USE_FILES,
    ),
    **dict.fromkeys(
        _words("""
        SavedDatasetAthenaStorage SavedDatasetBigQueryStorage SavedDatasetClickhouseStorage
        SavedDatasetCouchbaseColumnarStorage SavedDatasetLanceStorage SavedDatasetPostgreSQLStorage
        SavedDatasetRedshiftStorage SavedDatasetSnowflakeStorage SavedDatasetSparkStorage SavedDatasetTrinoStorage
        """),
        "use SavedDatasetFileStorage",
    ),
    **dict.fromkeys(
        _words("""
        AthenaLoggingDestination BigQueryLoggingDestination CouchbaseColumnarLoggingDestination
        RedshiftLoggingDestination SnowflakeLoggingDestination
        """),
        "use FileLoggingDestination",
    ),
    **dict.fromkeys(
        _words("GEProfile GEProfiler GEValidationReport ge_profiler"),
        "make a Profiler of your own, or declare Field(checks=...)",
    ),
    **dict.fromkeys(
        _words("""
        BaseChunker BaseEmbedder ChunkingConfig DocEmbedder DocumentLabel EmbeddingConfig EmbeddingProvider
        FeastRAGRetriever FeastVectorStore FilterTranslator MultiModalEmbedder SchemaTransformFn
        SentenceTransformersEmbeddingProvider TextChunker get_embedding_provider
        """),
        _VECTORS,
    ),
    **dict.fromkeys(
        _words("HudiFormat IcebergFormat LanceFormat TableFormat TableFormatType"),
        "the only table format here is DeltaFormat",
    ),
    **dict.fromkeys(
        _words("""
        FlinkTransformation PandasTransformation PythonTransformation RayTransformation SQLTransformation
        SparkTransformation SubstraitTransformation TrinoTransformation
        """),
        "use Transformation(mode=...)",
    ),
    "copy_demo_notebooks": "`feast-assets init` writes an example",
}
"""User-facing names of Feast's that are not here, with what to do instead; "" where there is nothing."""


def names_not_here() -> frozenset[str]:
    """Returns the user-facing names of Feast's package that this one does not have."""
    return frozenset(_REMEDIES)


def is_feast_module(name: str) -> bool:
    """Whether Feast's package has a module of a name, as ``feast.types`` after ``import feast``."""
    return name in _MODULES or name in ("errors", "feature_store", "types")


def refuse_name(name: str) -> None:
    """Says of a name of Feast's that it is not here, and what to do instead.

    Raises:
        ImportError: the name is Feast's and is not here. Other names are let through.
    """
    if name in _REMEDIES:
        raise ImportError(f"{name} is in Feast, and not supported here yet; {_REMEDIES[name]}.", name=_PACKAGE)


class FeastModules(MetaPathFinder):
    """Finds stand-ins for Feast's module paths below this package; real modules come first."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        parts = fullname.split(".")
        if len(parts) < 2 or parts[0] != _PACKAGE or parts[1] not in _MODULES:
            return None
        return ModuleSpec(fullname, _StandIns(), is_package=True)

    @classmethod
    def install(cls) -> None:
        """Makes Feast's module paths importable, once in a process."""
        if not any(isinstance(finder, cls) for finder in sys.meta_path):
            sys.meta_path.append(cls())


class _StandIns(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is run: names are looked up when they are asked for."""


class _StandIn(ModuleType):
    """A module of Feast's that this package does not have, with this package's names.

    `feast_assets.on_demand_feature_view` is a decorator; in Feast it is a module that holds the decorator. Once that
    module was imported, Python puts it in the decorator's place. So a stand-in can be called like its namesake.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        package = sys.modules[_PACKAGE]
        if name in package._MODULE_OF:
            value = getattr(importlib.import_module(package._MODULE_OF[name]), name)
        elif name in _ELSEWHERE:
            value = getattr(importlib.import_module(_ELSEWHERE[name]), name)
        else:
            refuse_name(name)
            value = vars(importlib.import_module(f"{_PACKAGE}.errors")).get(name)
            if value is None:
                # Not an AttributeError, for which Python would go on to look for a module of that name.
                raise ImportError(
                    f"Cannot import {name!r}: Feast's module {self.__name__.replace(_PACKAGE, 'feast', 1)!r} is not "
                    f"here, and {_PACKAGE} has no public name {name!r}.",
                    name=self.__name__,
                )
        self.__dict__[name] = value
        return value

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        namesake = self.__name__.rpartition(".")[2]
        return getattr(self, namesake)(*arguments, **options)
