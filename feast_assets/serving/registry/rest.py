"""Feast's REST API of the registry: paths, parameters and bodies of its registry server, under ``/api/v1``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

import msgspec

from feast_assets.definitions.authorized_action import AuthzedAction
from feast_assets.definitions.base import Definition
from feast_assets.definitions.entity import DUMMY_ENTITY_NAME, Entity
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.label_view import LabelView
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.permission import Permission
from feast_assets.definitions.project import Project
from feast_assets.definitions.saved_dataset import SavedDataset
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.stored_on_demand_view import StoredOnDemandView
from feast_assets.definitions.view import BaseFeatureView
from feast_assets.errors import (
    FeastObjectNotFoundException,
    InputError,
    ProjectObjectNotFoundException,
    printable,
    shown,
)
from feast_assets.registry.snapshot import NOT_FOUND, RegistrySnapshot
from feast_assets.serving.failures import failure_of
from feast_assets.serving.registry import relationships
from feast_assets.serving.registry.feast_json import Json, definition_json, feature_json
from feast_assets.stored_formats import package_version

if TYPE_CHECKING:
    from feast_assets.feature_store import FeatureStore
    from feast_assets.serving.registry.methods import RegistryApi

PREFIX = "/api/v1/"
_MOST = 100
LAST_PAGE = 999_999_999


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of object that has paths of its own.

    Attributes:
        key: what lists call it.
        node: Feast's name of the type, for relationships.
        has: whether a definition is of the kind.
        object_type: of the error for a name that is not there.
    """

    key: str
    node: str
    has: Callable[[Definition], bool]
    object_type: str


def _is_view(definition: Definition) -> bool:
    return isinstance(definition, BaseFeatureView) and not isinstance(definition, StoredOnDemandView)


KINDS: Mapping[str, _Kind] = {
    "entities": _Kind(
        "entities", "entity", lambda d: isinstance(d, Entity) and d.name != DUMMY_ENTITY_NAME, Entity.object_type
    ),
    "data_sources": _Kind("dataSources", "dataSource", lambda d: isinstance(d, DataSource), DataSource.object_type),
    "feature_views": _Kind("featureViews", "featureView", _is_view, FeatureView.object_type),
    "label_views": _Kind("featureViews", "featureView", lambda d: isinstance(d, LabelView), LabelView.object_type),
    "feature_services": _Kind(
        "featureServices", "featureService", lambda d: isinstance(d, FeatureService), FeatureService.object_type
    ),
    "saved_datasets": _Kind(
        "savedDatasets", "savedDataset", lambda d: isinstance(d, SavedDataset), SavedDataset.object_type
    ),
    "permissions": _Kind("permissions", "permission", lambda d: isinstance(d, Permission), Permission.object_type),
}
"""First part of a path -> the kind of objects."""


class RestError(Exception):
    """A request that cannot be answered.

    Attributes:
        status: of HTTP.
        kind: Feast's name of the error.
    """

    def __init__(self, status: int, kind: str, detail: str):
        super().__init__(detail)
        self.status, self.kind = status, kind


class EntityRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``POST /entities``.

    Attributes:
        name, project, join_key, description, tags, owner: as of `Entity`.
        value_type: of Feast's body; refused unless it is empty.
    """

    name: str
    project: str
    join_key: str | None = None
    description: str | None = None
    tags: dict[str, str] | None = None
    owner: str | None = None
    value_type: str | int | None = None


class Parameters:
    """The query of a request."""

    def __init__(self, query: str):
        self._values = parse_qs(query, keep_blank_values=True)

    def text(self, name: str, default: str = "") -> str:
        """Returns a parameter."""
        return self._values.get(name, [default])[-1]

    def required(self, name: str) -> str:
        """Returns a parameter that must be there."""
        if name not in self._values:
            raise RestError(422, "RequestValidationError", f"The query parameter {name!r} is required.")
        return self.text(name)

    def flag(self, name: str, default: bool) -> bool:
        """Returns a truth value."""
        text = self.text(name).lower()
        if name not in self._values:
            return default
        if text in ("true", "1", "on", "yes", "t", "y"):
            return True
        if text in ("false", "0", "off", "no", "f", "n"):
            return False
        raise RestError(422, "RequestValidationError", f"The query parameter {name!r} must be true or false.")

    def number(self, name: str, default: int, most: int = LAST_PAGE) -> int:
        """Returns a positive number."""
        if name not in self._values:
            return default
        text = self.text(name)
        value = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
        if not 1 <= value <= most:
            raise RestError(422, "RequestValidationError", f"The query parameter {name!r} must be from 1 to {most}.")
        return value

    def tags(self) -> dict[str, str]:
        """Returns the pairs ``key:value`` of the parameter ``tags``."""
        tags = (tag.partition(":") for tag in self._values.get("tags", ()) if ":" in tag)
        return {key: value for key, _, value in tags}


def parts_of(path: str) -> list[str]:
    """Returns the parts of a path behind `PREFIX`."""
    return [unquote(part) for part in path.strip("/").split("/")]


def methods_of(parts: Sequence[str]) -> list[str]:
    """Returns the methods that a path answers; none for a path that there is not."""
    first, rest = parts[0], list(parts[1:])
    if first in KINDS:
        if not rest:
            return ["GET", "POST"] if first == "entities" else ["GET"]
        if rest == ["all"]:
            return ["GET"]
        return ["DELETE", "GET"] if len(rest) == 1 else []
    if (first, rest) == ("registry", ["refresh"]):
        return ["POST"]
    is_read = {
        "version": not rest,
        "projects": len(rest) < 2,
        "features": not rest or rest == ["all"] or len(rest) == 2,
        "lineage": rest == ["registry"],
    }
    return ["GET"] if is_read.get(first) else []


class RestApi:
    """Answers requests; all methods block."""

    def __init__(self, store: FeatureStore, registry: RegistryApi):
        self._store = store
        self._registry = registry

    def answer(self, method: str, path: str, query: str, body: bytes) -> tuple[int, object]:
        """Returns status and body of the answer to a request.

        Args:
            path: behind `PREFIX`.
        """
        try:
            return self._answered(method, parts_of(path), Parameters(query), body)
        except RestError as error:
            return error.status, {"status_code": error.status, "detail": str(error), "error_type": error.kind}
        except FeastObjectNotFoundException as error:
            kind = FeastObjectNotFoundException.__name__
            return 404, {"status_code": 404, "detail": str(error), "error_type": kind}
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            failure = failure_of(error)
            kind = type(error).__name__ if failure.status != 500 else "InternalServerError"
            return failure.status, {"status_code": failure.status, "detail": failure.message, "error_type": kind}

    def _answered(self, method: str, parts: list[str], asked: Parameters, body: bytes) -> tuple[int, object]:
        first, rest = parts[0], parts[1:]
        if (method, first) == ("POST", "registry") and rest == ["refresh"]:
            self._registry.newest(self._store.project)
            return 200, None
        if method == "GET" and first == "version" and not rest:
            return 200, {"version": package_version()}
        if method == "GET" and first == "projects":
            return 200, self._projects(rest, asked)
        if method == "GET" and first == "features":
            return 200, self._features(rest, asked)
        if method == "GET" and parts == ["lineage", "registry"]:
            return 200, self._lineage(asked)
        if first in KINDS:
            kind = KINDS[first]
            if method == "GET" and not rest:
                return 200, self._list(first, asked)
            if method == "GET" and rest == ["all"]:
                return 200, self._all(kind, asked)
            if method == "GET" and len(rest) == 1:
                return 200, self._one(kind, rest[0], asked)
            if method == "DELETE" and len(rest) == 1 and rest != ["all"]:
                return 200, self._delete(kind, rest[0], asked.required("project"))
            if method == "POST" and first == "entities" and not rest:
                return 201, self._apply_entity(body)
        if not methods_of(parts):
            raise RestError(404, "HTTPException", "Not Found")
        if method == "POST" and first in KINDS and not rest:
            raise RestError(
                405,
                "HTTPException",
                f"{first} are not created by REST here; declare them in a repository and apply it, perhaps with a "
                "registry of the type remote.",
            )
        raise RestError(405, "HTTPException", "Method Not Allowed")

    # --- reading

    def _snapshot(self, project: str) -> RegistrySnapshot:
        return self._registry.newest(project)

    def _seen(self, snapshot: RegistrySnapshot, kind: _Kind) -> list[Definition]:
        """Returns the objects of a kind that the caller may see, by name."""
        of_kind = [each for each in snapshot.shared() if kind.has(each)]
        access = self._registry.access(snapshot.project)
        permitted = access.permitted(snapshot, of_kind, AuthzedAction.DESCRIBE)
        return sorted(permitted, key=lambda definition: definition.name)

    def _seen_edges(self, snapshot: RegistrySnapshot) -> list[relationships.Edge]:
        """Returns what is used by what, among the objects that the caller may see."""
        edges = relationships.direct(snapshot)
        if self._registry.access(snapshot.project).is_open:
            return edges
        hidden: set[relationships.Node] = set()
        for kind in KINDS.values():
            seen = {definition.name for definition in self._seen(snapshot, kind)}
            hidden |= {(kind.node, d.name) for d in snapshot.shared() if kind.has(d) and d.name not in seen}
        return [edge for edge in edges if hidden.isdisjoint(edge)]

    def _list(self, path: str, asked: Parameters) -> Json:
        kind = KINDS[path]
        project = asked.required("project")
        _check_flags(asked)
        snapshot = self._snapshot(project)
        tags = asked.tags()
        definitions = [d for d in self._seen(snapshot, kind) if tags.items() <= d.tags.items()]
        if path == "feature_views":
            service = asked.text("feature_service")
            if service:
                self._found(snapshot, KINDS["feature_services"], service, AuthzedAction.DESCRIBE)
                projections = snapshot.feature_service(service).feature_view_projections
                definitions = [view for view in definitions if view.name in {p.name for p in projections}]
            definitions = _filtered(definitions, asked)
        items = [definition_json(definition, snapshot) for definition in definitions]
        page, limit = asked.number("page", 0), asked.number("limit", 0, _MOST)
        chosen, pagination = _page(_sorted(items, asked), page, limit)
        answer: Json = {kind.key: chosen, "pagination": pagination}
        if asked.flag("include_relationships", False):
            edges = self._seen_edges(snapshot)
            names = [_name_of(item) for item in chosen]
            answer["relationships"] = {name: relationships.of_object(edges, (kind.node, name)) for name in names}
        return answer

    def _all(self, kind: _Kind, asked: Parameters) -> Json:
        _check_flags(asked)
        items: list[Json] = []
        related: Json = {}
        with_relationships = asked.flag("include_relationships", False)
        for project in self._project_names():
            snapshot = self._snapshot(project)
            seen = self._seen(snapshot, kind)
            items += [{**definition_json(definition, snapshot), "project": project} for definition in seen]
            edges = self._seen_edges(snapshot) if with_relationships else []
            for definition in seen if with_relationships else ():
                related[definition.name] = relationships.of_object(edges, (kind.node, definition.name))
        page, limit = asked.number("page", 1), asked.number("limit", 50, _MOST)
        chosen, pagination = _page(_sorted(items, asked), page, limit)
        answer: Json = {kind.key: chosen, "pagination": pagination}
        if with_relationships:
            answer["relationships"] = related
        return answer

    def _one(self, kind: _Kind, name: str, asked: Parameters) -> Json:
        project = asked.required("project")
        _check_flags(asked)
        snapshot = self._snapshot(project)
        definition = self._found(snapshot, kind, name, AuthzedAction.DESCRIBE)
        answer = definition_json(definition, snapshot)
        if asked.flag("include_relationships", False):
            answer["relationships"] = relationships.of_object(self._seen_edges(snapshot), (kind.node, name))
        return answer

    def _found(self, snapshot: RegistrySnapshot, kind: _Kind, name: str, action: AuthzedAction) -> Definition:
        of_kind = {each.name: each for each in snapshot.shared() if kind.has(each)}
        if name not in of_kind:
            error = NOT_FOUND.get(kind.object_type, FeastObjectNotFoundException)
            raise error(name, snapshot.project, [each.name for each in self._seen(snapshot, kind)])
        self._registry.access(snapshot.project).check(snapshot, [of_kind[name]], action)
        return of_kind[name]

    def _project_names(self) -> list[str]:
        return [project.name for project in self._seen_projects()]

    def _seen_projects(self) -> list[Project]:
        own = self._store.project
        projects = self._registry.registry(own).projects()
        return self._registry.access(own).permitted(self._snapshot(own), projects, AuthzedAction.DESCRIBE)

    def _projects(self, rest: list[str], asked: Parameters) -> Json:
        _check_flags(asked)
        projects = {project.name: project for project in self._seen_projects()}
        snapshot = self._snapshot(self._store.project)
        if len(rest) == 1:
            if rest[0] not in projects:
                raise ProjectObjectNotFoundException(rest[0], None, projects)
            return definition_json(projects[rest[0]], snapshot)
        if rest:
            raise RestError(404, "HTTPException", "Not Found")
        items = [definition_json(project, snapshot) for project in projects.values()]
        page, limit = asked.number("page", 0), asked.number("limit", 0, _MOST)
        chosen, pagination = _page(_sorted(items, asked), page, limit)
        return {"projects": chosen, "pagination": pagination}

    def _features(self, rest: list[str], asked: Parameters) -> Json:
        _check_flags(asked)
        views = KINDS["feature_views"]
        if rest == ["all"]:
            items: list[Json] = []
            for project in self._project_names():
                for view in self._seen(self._snapshot(project), views):
                    items += [{**feature, "project": project} for feature in _features_of(view)]
            chosen, pagination = _page(_sorted(items, asked), asked.number("page", 1), asked.number("limit", 50, _MOST))
            return {"features": chosen, "pagination": pagination}
        project = asked.required("project")
        snapshot = self._snapshot(project)
        if len(rest) == 2:
            view = self._found(snapshot, views, rest[0], AuthzedAction.DESCRIBE)
            features = {feature["name"]: feature for feature in _features_of(view)}
            if rest[1] not in features:
                raise FeastObjectNotFoundException(rest[1], project, features)
            return dict(features[rest[1]])
        if rest:
            raise RestError(404, "HTTPException", "Not Found")
        of_view, name = asked.text("feature_view"), asked.text("name")
        items = [
            feature
            for view in self._seen(snapshot, views)
            if not of_view or view.name == of_view
            for feature in _features_of(view)
            if not name or feature["name"] == name
        ]
        page, limit = asked.number("page", 0), asked.number("limit", 0, _MOST)
        chosen, pagination = _page(_sorted(items, asked), page, limit)
        return {"features": chosen, "pagination": pagination}

    def _lineage(self, asked: Parameters) -> Json:
        project = asked.required("project")
        _check_flags(asked)
        snapshot = self._snapshot(project)
        self._registry.check_all(project, AuthzedAction.DESCRIBE)
        edges = relationships.direct(snapshot)
        kind, name = asked.text("filter_object_type"), asked.text("filter_object_name")

        def kept(edge: relationships.Edge) -> bool:
            return any((not kind or node[0] == kind) and (not name or node[1] == name) for node in edge)

        page, limit = asked.number("page", 0), asked.number("limit", 0, _MOST)
        first, of_first = _page([relationships.edge_json(e) for e in edges if kept(e)], page, limit)
        others = [relationships.edge_json(e) for e in relationships.indirect(edges) if kept(e)]
        second, of_second = _page(others, page, limit)
        return {
            "relationships": first,
            "indirect_relationships": second,
            "relationships_pagination": of_first,
            "indirect_relationships_pagination": of_second,
        }

    # --- changing

    def _delete(self, kind: _Kind, name: str, project: str) -> Json:
        self._check_own(project)
        definition = self._found(self._snapshot(project), kind, name, AuthzedAction.DELETE)
        # As apply removes it: with the checks of what still uses it, and with its online rows.
        self._store.apply([], objects_to_delete=[definition], partial=False)
        return {"name": name, "project": project, "status": "deleted"}

    def _apply_entity(self, body: bytes) -> Json:
        try:
            asked = msgspec.json.decode(body, type=EntityRequest)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RestError(
                422, "RequestValidationError", f"The body is not that of an entity: {printable(error, 200)}"
            ) from None
        if asked.value_type:
            raise RestError(
                422,
                "RequestValidationError",
                "value_type is not taken by REST; views declare the types of their join keys.",
            )
        name, project = asked.name, asked.project
        self._check_own(project)
        entity = Entity(
            name=name,
            join_keys=[asked.join_key or name],
            description=asked.description or "",
            tags=asked.tags or {},
            owner=asked.owner or "",
        )
        self._store.apply([entity])
        return {"name": name, "project": project, "status": "applied"}

    def _check_own(self, project: str) -> None:
        if project != self._store.project:
            known = self._project_names()
            if project not in known:
                raise ProjectObjectNotFoundException(project, None, known)
            raise InputError(
                f"This server changes project {self._store.project!r} only, whose repository it has, and not "
                f"{shown(project)}."
            )


def _features_of(view: Definition) -> list[Json]:
    assert isinstance(view, BaseFeatureView)
    return [feature_json(field, view) for field in view.features]


def _check_flags(asked: Parameters) -> None:
    # What a cache holds is looked up anew for each request, so both are the same.
    asked.flag("allow_cache", True)
    asked.flag("include_relationships", False)


def _filtered(definitions: Sequence[Definition], asked: Parameters) -> list[Definition]:
    """Returns the views that the parameters of their list choose, beside that of a service."""
    entity, feature, source = asked.text("entity"), asked.text("feature"), asked.text("data_source")
    since = asked.text("updated_since")
    moment = _moment(since) if since else None
    return [
        view
        for view in definitions
        if isinstance(view, BaseFeatureView)
        and (not entity or entity in getattr(view, "entities", ()))
        and (not feature or feature in {field.name for field in view.features})
        and (not source or source in _source_names(view))
        and (moment is None or (view.last_updated_timestamp or moment) >= moment)
    ]


def _source_names(view: BaseFeatureView) -> set[str]:
    if isinstance(view, OnDemandFeatureView):
        return {source.name for source in view.request_sources}
    sources = (getattr(view, name, None) for name in ("batch_source", "stream_source"))
    return {source.name for source in sources if source is not None}


def _moment(text: str) -> datetime:
    with contextlib.suppress(ValueError):
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    raise RestError(
        400, "HTTPException", f"Invalid 'updated_since' value {printable(text, 40)!r}; expected an ISO-8601 timestamp."
    )


def _name_of(item: Json) -> str:
    return str(item.get("name") or item.get("spec", {}).get("name", ""))


def _sorted(items: Iterable[Json], asked: Parameters) -> list[Json]:
    """Returns items in the order of one of their values; by name when left out."""
    by, order = asked.text("sort_by"), asked.text("sort_order", "asc")
    if order not in ("asc", "desc"):
        raise RestError(422, "RequestValidationError", "The query parameter 'sort_order' must be asc or desc.")
    if not by:
        return list(items)
    head, *words = by.split("_")
    name = head + "".join(word.capitalize() for word in words)

    def value(item: Json) -> str:
        for part in (item, item.get("spec", {}), item.get("meta", {})):
            if name in part:
                return str(part[name])
        return ""

    return sorted(items, key=value, reverse=order == "desc")


def _page(items: Sequence[Json], page: int, limit: int) -> tuple[list[Json], Json]:
    """Returns the items of a page, and what Feast says of pages; all items where there are no pages."""
    total = len(items)
    if not limit:
        return list(items), {"totalCount": total, "totalPages": 1} if total else {}
    page = page or 1
    start, end = (page - 1) * limit, page * limit
    pagination = {
        "page": page,
        "limit": limit,
        "totalCount": total,
        "totalPages": -(-total // limit),
        "hasNext": end < total,
        "hasPrevious": start > 0,
    }
    return list(items[start:end]), {name: value for name, value in pagination.items() if value}
