"""Every way in which this package's public surface is not Feast's, with the reason."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from compat.comparison import Difference


class Reason(enum.Enum):
    """Why something differs."""

    NOT_YET = "not yet"
    LOSS = "loss"
    LEAK = "leak"
    CRASH = "crash"
    UNSAFE = "unsafe"


@dataclass(frozen=True, slots=True)
class Deviation:
    """A row of the table.

    Attributes:
        title: what differs, for readers.
        subjects: patterns of the names that it is about, as `fnmatch` takes them.
        texts: patterns of the differences; any when left out.
        reason: why it differs.
        note: what to do instead, or what Feast was seen to do.
    """

    title: str
    subjects: str
    reason: Reason
    note: str
    texts: str = "*"

    def covers(self, difference: Difference) -> bool:
        """Whether a difference belongs to this row."""
        return any(fnmatchcase(difference.subject, pattern) for pattern in self.subjects.split()) and any(
            fnmatchcase(difference.text, pattern) for pattern in self.texts.split("|")
        )


_VIEWS = "*FeatureView. *LabelView."
_PROTOBUF = "*.to_proto *.from_proto *.proto_class *.to_proto_meta *.to_proto_spec *.to_registry_proto"

DEVIATIONS: Sequence[Deviation] = (
    Deviation(
        "Messages of protocol buffers",
        _PROTOBUF,
        Reason.NOT_YET,
        "Definitions are stored as JSON: `to_spec` and `from_spec`.",
    ),
    Deviation(
        "Answers made of protocol buffers",
        "online_response.OnlineResponse",
        Reason.NOT_YET,
        "`get_online_features` makes the answers; `to_json` gives what Feast's server sends.",
    ),
    Deviation(
        "Chunks, embeddings and vector stores",
        "BaseChunker BaseEmbedder ChunkingConfig DocEmbedder EmbeddingConfig EmbeddingProvider FeastVectorStore "
        "FilterTranslator MultiModalEmbedder SchemaTransformFn SentenceTransformersEmbeddingProvider TextChunker "
        "get_embedding_provider feature_store.FeatureStore.embedding_provider "
        "feature_store.FeatureStore.openai_search feature_store.FeatureStore.retrieve_online_documents*",
        Reason.NOT_YET,
        "Vectors are stored and served as arrays; there is no search for near ones.",
    ),
    Deviation("Notebooks to copy", "copy_demo_notebooks", Reason.NOT_YET, "`feast-assets init` writes an example."),
    Deviation(
        "Sources in warehouses",
        "infra.offline_stores.*_source.*Source infra.offline_stores.contrib.*Source",
        Reason.NOT_YET,
        "Export the table to Parquet, CSV or Delta and declare a `FileSource`.",
        "missing",
    ),
    Deviation(
        "Saved datasets and logs in warehouses",
        "infra.offline_stores.*Storage infra.offline_stores.*LoggingDestination",
        Reason.NOT_YET,
        "Use `SavedDatasetFileStorage` and `FileLoggingDestination`.",
        "missing",
    ),
    Deviation(
        "Hooks that Feast's offline stores call",
        "*.get_table_column_names_and_types *.get_table_query_string *.get_table_query_string_with_alias "
        "*.resolve_credentials *.source_datatype_to_feast_value_type *Source.source_type *Source.validate "
        "*.create_filesystem_and_path *.get_uri_for_file_path *.file_options *.timestamp_field_type "
        "data_source.DataSource",
        Reason.NOT_YET,
        "An offline store here has its own methods; see [Write a backend](write-a-backend.md).",
    ),
    Deviation(
        "Credentials kept elsewhere",
        "*.connection_ref",
        Reason.NOT_YET,
        "A source that is given a `connection_ref` is refused. Write secrets as `${VARIABLE}` in `feature_store.yaml`.",
    ),
    Deviation(
        "Engines of stream feature views",
        "*.stream_engine *StreamFeatureView.enable_tiling",
        Reason.NOT_YET,
        "A view with an engine is refused; its function is `view.transformation.udf`. Windows are always computed of "
        "tiles, whatever `enable_tiling` says.",
    ),
    Deviation(
        "Aggregations over the rows of a request",
        "*OnDemandFeatureView.aggregations",
        Reason.NOT_YET,
        "Aggregate in the on-demand view's function.",
    ),
    Deviation(
        "What only Feast's registries keep",
        "*.apply_user_metadata *.get_user_metadata *.get_project_metadata *.list_project_metadata *.get_infra "
        "*.update_infra *.proto *.to_dict *.deserialize_registry_values *.is_cache_valid "
        "*.serve_features_while_materializing",
        Reason.NOT_YET,
        "`feast-assets registry-dump` shows what is registered; online tables follow from it.",
    ),
    Deviation(
        "Changes of a registry that are kept back",
        "*.BaseRegistry.commit",
        Reason.LOSS,
        "Each change is whole at once. Feast loses one with `commit=False` if the process ends before `commit()`.",
    ),
    Deviation(
        "Parts of a view that Feast's engines read",
        "*.get_ttl_duration *.FeatureView.mode *.source_views *BatchFeatureView.batch_engine "
        "*.update_materialization_intervals *.annotation_config *.labeling_method "
        "base_feature_view.BaseFeatureView",
        Reason.NOT_YET,
        "`view.transformation` has mode, function and source text; the ledger has the intervals.",
    ),
    Deviation(
        "Calling an on-demand view by hand",
        "*.get_requested_odfvs *OnDemandFeatureView.infer_features *.transform_ibis",
        Reason.NOT_YET,
        "`transform_dict` and `transform_arrow` call the function; `apply` infers features.",
        "missing",
    ),
    Deviation(
        "Transformations that are called by hand",
        "transformation.base.Transformation transformation.base.Transformation.*",
        Reason.NOT_YET,
        "`transform`, `transform_singleton` and `transform_arrow` call the function; `apply` infers features.",
    ),
    Deviation(
        "Steps of applying a service",
        "feature_service.FeatureService.*",
        Reason.NOT_YET,
        "`FeatureStore.apply` does them.",
    ),
    Deviation(
        "What a projection keeps of its view",
        "feature_view_projection.FeatureViewProjection feature_view_projection.FeatureViewProjection.*",
        Reason.NOT_YET,
        "A projection has names, features and the map of join keys; the rest is asked of the view.",
    ),
    Deviation(
        "The class of the policy that is left out",
        "permissions.permission.Permission",
        Reason.NOT_YET,
        "`AllowAll` grants to everybody, as in Feast.",
        "policy defaults to*",
    ),
    Deviation(
        "Servers other than HTTP's",
        "feature_store.FeatureStore.serve_* *.get_feature_server_endpoint",
        Reason.NOT_YET,
        "`serve` is the [feature server of HTTP](serving.md).",
    ),
    Deviation(
        "When workers of the server are replaced",
        "feature_store.FeatureStore.serve",
        Reason.NOT_YET,
        "Left out, never; give `max_requests=1000` for what Feast does.",
        "max_requests defaults to*",
    ),
    Deviation(
        "Providers, MLflow and OpenLineage",
        "*FeatureStore.provider *FeatureStore.mlflow *FeatureStore.openlineage_emitter",
        Reason.NOT_YET,
        "`offline_store` and `online_store` are the stores; Dagster keeps lineage.",
    ),
    Deviation(
        "Sections of `RepoConfig` without effect",
        "repo_config.RepoConfig* repo_config.RegistryConfig",
        Reason.NOT_YET,
        "They may be given; each is warned of, once, and not kept. `registry` is a path, a URL or a mapping.",
    ),
    Deviation(
        "Table formats of lakes",
        "table_format.*",
        Reason.NOT_YET,
        "`DeltaFormat` is the one table format here; it has no options.",
    ),
    Deviation(
        "Subclassing Feast's results",
        "infra.offline_stores.offline_store.RetrievalJob repo_contents.RepoContents",
        Reason.NOT_YET,
        "They are made by `get_historical_features` and `load_repository`.",
    ),
    Deviation(
        "The format of a saved dataset, left out",
        "infra.offline_stores.file_source.SavedDatasetFileStorage",
        Reason.NOT_YET,
        "None means the same: Parquet.",
        "file_format defaults to*",
    ),
    Deviation(
        "Where a decorated batch view keeps its result",
        "batch_feature_view.batch_feature_view",
        Reason.NOT_YET,
        "A result is kept only where a `sink_source` says so.",
        "offline defaults to*",
    ),
    Deviation(
        "Arguments of errors",
        "errors.* repo_config.FeastConfigError",
        Reason.NOT_YET,
        "An error is made of its message, which names the object and what would be right.",
        "no parameter*|needs*",
    ),
    Deviation(
        "HTTP status of a caller's mistake",
        "errors.*",
        Reason.UNSAFE,
        "400 here. Feast answers 500 to a wrong request, as to a broken server: clients repeat it, and alarms go off.",
        "HTTP status 400, not 500",
    ),
    Deviation(
        "Checks of fields, left out",
        "*",
        Reason.UNSAFE,
        "Left out, `enable_validation` is true where fields declare `Checks`. With Feast's False, declared checks "
        "would not hold.",
        "enable_validation defaults to None, not False",
    ),
    Deviation(
        "Arguments that nobody knows",
        "feature_store.FeatureStore.push_async",
        Reason.LOSS,
        "A misspelt argument is an error. Feast takes it and does as if it were not there: a push meant for history "
        "(`too=PushMode.OFFLINE`) only reaches the online store.",
        "no [*][*]kwargs",
    ),
)
"""The table, of which `docs/feast-compatibility.md` is made. The first row that covers a difference is its row."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Something that is done differently on purpose.

    Attributes:
        title: what it is about.
        feast: what Feast was seen to do.
        here: what this package does.
        reason: why.
        calls: names of the wrong calls in `compat.error_scenarios` that raise something else here.
    """

    title: str
    feast: str
    here: str
    reason: Reason
    calls: tuple[str, ...] = ()


BEHAVIOURS: Sequence[Behaviour] = (
    Behaviour(
        "Rows that were corrected",
        "Where two rows have one entity and event time, its default offline store takes now one, now the other, "
        "although `created_timestamp_column` is declared.",
        "The row that was made last wins.",
        Reason.LOSS,
    ),
    Behaviour(
        "Entity rows whose features are older than the ttl",
        "Its default offline store leaves them out of the training set.",
        "Each row of `entity_df` is in the result, with nulls.",
        Reason.LOSS,
    ),
    Behaviour(
        "Training sets with label views of a `conflict_policy`",
        "The newest label counts under each policy, although its documentation says that training data follows it.",
        "History follows the policy as Feast's function `resolve_conflicts` defines it. Online, the newest counts.",
        Reason.LOSS,
    ),
    Behaviour(
        "The plan of an apply",
        "Every view is said to be updated, whether or not it changes, since the times of its source's registration "
        "differ; a service whose view loses a feature may be left out.",
        "What changes, and nothing else.",
        Reason.UNSAFE,
    ),
    Behaviour(
        "Two data sources of one name",
        "`apply` takes both, and keeps one of them.",
        "`DataSourceRepeatNamesException`",
        Reason.LOSS,
        ("apply: two sources of one name",),
    ),
    Behaviour(
        "`apply` of something that is no definition",
        "It is ignored.",
        "`InputError`",
        Reason.LOSS,
        ("apply: not a definition",),
    ),
    Behaviour(
        "An entity dataframe without a join key",
        "`KeyError` from deep inside, in its default offline store; `FeastEntityDFMissingColumnsError` in others.",
        "`FeastEntityDFMissingColumnsError`",
        Reason.CRASH,
        ("history: no join key",),
    ),
    Behaviour(
        "`features` that are neither a list nor a service, in history",
        "`AssertionError` from deep inside.",
        "`InvalidFeaturesParameterType`, as it is online",
        Reason.CRASH,
        ("history: features of a wrong type",),
    ),
    Behaviour(
        "Rows written online for a view that does not exist",
        "`KeyError` from deep inside.",
        "`FeatureViewNotFoundException`",
        Reason.CRASH,
        ("write online: unknown view",),
    ),
    Behaviour(
        "`required_tags` of a permission",
        "They are compared with an attribute that only permissions have, so a permission that requires tags applies to "
        "all objects.",
        "They are compared with the tags of the object.",
        Reason.UNSAFE,
    ),
    Behaviour(
        "Lists of which the caller may see nothing",
        "`FeastPermissionError`, unless a permission with name patterns is about objects of that class.",
        "What the caller may not see is left out.",
        Reason.CRASH,
    ),
    Behaviour(
        "Access tokens whose signature nobody verifies",
        "A token that Kubernetes does not know still gives the roles of the service account that it names. A token "
        "without a signature that names INTRA_COMMUNICATION_BASE64 may do everything.",
        "Both are refused with 401.",
        Reason.UNSAFE,
    ),
    Behaviour(
        "The issuer of an access token, where `issuer` is left out",
        "It is not verified.",
        "It must be the `issuer` of the discovery document.",
        Reason.UNSAFE,
    ),
    Behaviour(
        "Roles and groups of callers in Kubernetes",
        "A user has the roles of bindings in every namespace. A service account is also in all groups that are bound "
        "to anything in its namespace.",
        "Roles are those that are bound in the server's namespace, and groups those that Kubernetes says.",
        Reason.UNSAFE,
    ),
    Behaviour(
        "Logs for a service without a `logging_config`",
        "`AssertionError` from deep inside.",
        "`InputError`",
        Reason.CRASH,
        ("write logs: of a service without a destination",),
    ),
    Behaviour(
        "An empty `registry` setting",
        "`IsADirectoryError` from deep inside.",
        "`FeastRegistryNotSetError`",
        Reason.CRASH,
        ("config: no registry",),
    ),
)
"""What is done differently on purpose; the tests of compat/ show Feast's way and ours."""


def rows_of(differences: Iterable[Difference]) -> dict[Deviation | None, list[Difference]]:
    """Returns the differences of each row; of None, those that no row covers."""
    rows: dict[Deviation | None, list[Difference]] = {}
    for difference in differences:
        rows.setdefault(next((row for row in DEVIATIONS if row.covers(difference)), None), []).append(difference)
    return rows
