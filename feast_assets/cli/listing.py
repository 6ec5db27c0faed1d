"""Groups of commands that show registered objects: ``<kind> list`` and ``<kind> describe NAME``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from feast_assets.cli.lifecycle import delete_project, disable, enable, list_versions, set_state
from feast_assets.cli.output import output_option, print_json, print_records
from feast_assets.cli.session import Session, pass_session

if TYPE_CHECKING:
    from feast_assets.definitions.base import Definition
    from feast_assets.definitions.entity import Entity
    from feast_assets.definitions.feature_service import FeatureService
    from feast_assets.definitions.feature_view import FeatureView
    from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
    from feast_assets.definitions.view import BaseFeatureView
    from feast_assets.feature_store import FeatureStore

Columns = dict[str, Callable[[Any], object]]


@dataclass(frozen=True, slots=True)
class ListedKind:
    """One kind of object on the command line.

    Attributes:
        command: the group's name, ``feature-views``.
        noun: the word for one object.
        example: a name for the help text.
        find: (store, tags) -> the objects.
        get: (store, name) -> the object.
        columns: header of a column -> what it shows of an object.
        details: (store, name) -> what describe shows beyond the definition.
    """

    command: str
    noun: str
    example: str
    find: Callable[[FeatureStore, dict[str, str] | None], Sequence[Definition]]
    get: Callable[[FeatureStore, str], Definition]
    columns: Columns
    details: Callable[[FeatureStore, str], dict[str, object]] = lambda store, name: {}


def _tags_callback(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, str] | None:
    tags = {}
    for text in texts:
        # A key such as feast.io/role:fare may hold a colon itself; a value may not.
        key, colon, value = text.rpartition(":")
        if not colon or not key:
            raise click.BadParameter(f"{text!r} is not KEY:VALUE, such as team:pricing.")
        tags[key] = value
    return tags or None


tags_option = click.option(
    "--tags",
    multiple=True,
    metavar="KEY:VALUE",
    callback=_tags_callback,
    help="Only those with this tag; may be repeated, then all must match.",
)


def kind_group(kind: ListedKind) -> click.Group:
    """Returns the group of a kind, with ``list`` and ``describe``."""
    command, plural = kind.command, kind.command.replace("-", " ").replace("on demand", "on-demand")
    group = click.Group(command, help=f"Shows registered {plural}.\n\n{_example(f'{command} list')}")

    @group.command("list", help=f"Lists {plural} by name.\n\n{_example(f'{command} list --tags team:pricing')}")
    @tags_option
    @output_option
    @pass_session
    def list_objects(session: Session, tags: dict[str, str] | None, output: str) -> None:
        objects = kind.find(session.store(), tags)
        print_records(list(kind.columns), [[show(o) for show in kind.columns.values()] for o in objects], output)

    @group.command(
        "describe",
        help=f"Shows one {kind.noun} in full, with times in UTC.\n\n{_example(f'{command} describe {kind.example}')}",
    )
    @click.argument("name")
    @_describe_output
    @pass_session
    def describe_object(session: Session, name: str, output: str) -> None:
        store = session.store()
        print_description(kind.get(store, name), kind.details(store, name), output)

    return group


_describe_output = click.option(
    "-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True, help="The output format."
)


def print_description(definition: Definition, details: dict[str, object], output: str) -> None:
    """Prints a definition in readable form, and what else is known of it."""
    from feast_assets.cli.readable import readable_definition

    data = {**readable_definition(definition), **details}
    if output == "json":
        print_json(data)
    else:
        from feast_assets.cli.yaml_text import yaml_text

        click.echo(yaml_text(data))


def _example(command: str) -> str:
    return f"\b\nExample:\n  feast-assets {command}"


def _materialized(store: FeatureStore, name: str) -> dict[str, object]:
    from feast_assets.types.json import iso_text

    spans = [{"start": iso_text(s), "end": iso_text(e)} for s, e in store.materialization_intervals(name)]
    return {"materialized": spans} if spans else {}


def _views_with_on_demand(store: FeatureStore, tags: dict[str, str] | None) -> list[BaseFeatureView]:
    return [*store.list_feature_views(tags=tags), *store.list_on_demand_feature_views(tags=tags)]


def _find_view(store: FeatureStore, name: str) -> Definition:
    from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView

    view = store.snapshot().view(name)
    return view if isinstance(view, OnDemandFeatureView) else store.get_feature_view(name)


def _view_details(store: FeatureStore, name: str) -> dict[str, object]:
    from feast_assets.definitions.feature_view import FeatureView

    return _materialized(store, name) if isinstance(store.snapshot().view(name), FeatureView) else {}


def _value_type(entity: Entity) -> str:
    return str(entity.value_type.name)


def _entities_of(view: FeatureView | OnDemandFeatureView) -> list[str]:
    return list(view.entities)


def _ttl(view: object) -> str | None:
    ttl = getattr(view, "ttl", None)
    return str(ttl) if ttl else None


def _feature_names(service: FeatureService) -> list[str]:
    return [f"{p.name_to_use()}:{f.name}" for p in service.feature_view_projections for f in p.features]


def _location(source: Any) -> str | None:
    return getattr(source, "path", None) or (
        source.batch_source.name if getattr(source, "batch_source", None) else None
    )


def _name(definition: Definition) -> str:
    return str(definition.name)


def _description(definition: Definition) -> str:
    return str(definition.description)


def _tags(definition: Definition) -> dict[str, str]:
    return dict(definition.tags)


def _class(definition: object) -> str:
    return type(definition).__name__


def _features(view: BaseFeatureView) -> list[str]:
    return [f.name for f in view.features]


KINDS = (
    ListedKind(
        "entities",
        "entity",
        "driver",
        lambda store, tags: store.list_entities(tags=tags),
        lambda store, name: store.get_entity(name),
        {
            "NAME": _name,
            "JOIN KEY": lambda e: e.join_key,
            "TYPE": _value_type,
            "DESCRIPTION": _description,
            "TAGS": _tags,
        },
    ),
    ListedKind(
        "data-sources",
        "data source",
        "driver_stats_source",
        lambda store, tags: store.list_data_sources(tags=tags),
        lambda store, name: store.get_data_source(name),
        {
            "NAME": _name,
            "CLASS": _class,
            "FROM": _location,
            "TIMESTAMP": lambda s: s.timestamp_field or None,
            "TAGS": _tags,
        },
    ),
    ListedKind(
        "feature-views",
        "feature view",
        "driver_stats",
        _views_with_on_demand,
        _find_view,
        {
            "NAME": _name,
            "ENTITIES": _entities_of,
            "TYPE": _class,
            "TTL": _ttl,
            "ONLINE": lambda v: getattr(v, "online", None),
            "ENABLED": lambda v: v.enabled,
        },
        _view_details,
    ),
    ListedKind(
        "on-demand-feature-views",
        "on-demand feature view",
        "fare_estimate",
        lambda store, tags: store.list_on_demand_feature_views(tags=tags),
        lambda store, name: store.get_on_demand_feature_view(name),
        {
            "NAME": _name,
            "MODE": lambda v: v.mode.value,
            "SOURCES": lambda v: [s.name for s in (*v.source_projections, *v.request_sources)],
            "FEATURES": _features,
        },
    ),
    ListedKind(
        "stream-feature-views",
        "stream feature view",
        "driver_trips_live",
        lambda store, tags: store.list_stream_feature_views(tags=tags),
        lambda store, name: store.get_stream_feature_view(name),
        {
            "NAME": _name,
            "ENTITIES": _entities_of,
            "SOURCE": lambda v: v.source.name,
            "TTL": _ttl,
            "ONLINE": lambda v: v.online,
            "ENABLED": lambda v: v.enabled,
        },
        _view_details,
    ),
    ListedKind(
        "label-views",
        "label view",
        "driver_reviews",
        lambda store, tags: store.list_label_views(tags=tags),
        lambda store, name: store.get_label_view(name),
        {
            "NAME": _name,
            "ENTITIES": _entities_of,
            "FEATURES": _features,
            "CONFLICT POLICY": lambda v: v.conflict_policy.value,
        },
    ),
    ListedKind(
        "feature-services",
        "feature service",
        "trip_pricing_v1",
        lambda store, tags: store.list_feature_services(tags=tags),
        lambda store, name: store.get_feature_service(name),
        {"NAME": _name, "FEATURES": _feature_names},
    ),
    ListedKind(
        "saved-datasets",
        "saved dataset",
        "training_2026_01",
        lambda store, tags: store.list_saved_datasets(tags=tags),
        lambda store, name: store.snapshot().saved_dataset(name),
        {
            "NAME": _name,
            "PATH": lambda d: getattr(d.storage, "path", None),
            "FEATURES": lambda d: list(d.features),
            "TAGS": _tags,
        },
    ),
    ListedKind(
        "validation-references",
        "validation reference",
        "january_2026",
        lambda store, tags: store.list_validation_references(tags=tags),
        lambda store, name: store.snapshot().validation_reference(name),
        {
            "NAME": _name,
            "SAVED DATASET": lambda r: r.dataset_name,
            "PROFILER": lambda r: r.profiler_path,
            "TAGS": _tags,
        },
    ),
    ListedKind(
        "projects",
        "project",
        "my_project",
        lambda store, tags: store.list_projects(tags=tags),
        lambda store, name: store.get_project(name),
        {"NAME": _name, "DESCRIPTION": _description, "TAGS": _tags, "OWNER": lambda p: p.owner},
    ),
)


@click.group(help=f"Shows registered features.\n\n{_example('features list')}")
def features() -> None: ...


@features.command(
    "list", help=f"Lists features of all views with their types.\n\n{_example('features list --output json')}"
)
@tags_option
@output_option
@pass_session
def list_features(session: Session, tags: dict[str, str] | None, output: str) -> None:
    views = session.store().list_all_feature_views(tags=tags)
    rows = [[f.name, v.name, str(f.dtype), f.description] for v in views for f in v.features]
    print_records(["FEATURE", "FEATURE VIEW", "TYPE", "DESCRIPTION"], rows, output)


@features.command(
    "describe", help=f"Shows a feature in each view that has it.\n\n{_example('features describe trips_today')}"
)
@click.argument("name")
@_describe_output
@pass_session
def describe_feature(session: Session, name: str, output: str) -> None:
    from feast_assets.cli.readable import readable_spec
    from feast_assets.errors import FeastObjectNotFoundException

    views = session.store().list_all_feature_views()
    described = [{"feature_view": v.name, **readable_spec(f)} for v in views for f in v.features if f.name == name]
    if not described:
        raise FeastObjectNotFoundException(name, known=[f.name for v in views for f in v.features])
    if output == "json":
        print_json(described)
    else:
        from feast_assets.cli.yaml_text import yaml_text

        click.echo(yaml_text(described))


def _with_verbs(group: click.Group) -> click.Group:
    verbs = {"feature-views": [list_versions, enable, disable, set_state], "projects": [delete_project]}
    for command in verbs.get(str(group.name), []):
        group.add_command(command)
    return group


GROUPS: tuple[click.Group, ...] = (*(_with_verbs(kind_group(kind)) for kind in KINDS), features)
