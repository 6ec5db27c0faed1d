"""The OpenAPI document of the registry's REST API."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from feast_assets.serving.registry.rest import KINDS, LAST_PAGE, EntityRequest
from feast_assets.stored_formats import package_version

_MOMENT = {"type": "string", "format": "date-time"}
_OBJECT = {"content": {"application/json": {"schema": {"type": "object"}}}}
_ERROR = {
    "description": "It cannot be answered.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {
                    "status_code": {"type": "integer"},
                    "detail": {"type": "string"},
                    "error_type": {"type": "string"},
                },
            }
        }
    },
}


@cache
def document() -> dict[str, Any]:
    """Returns the document."""
    paths: dict[str, Any] = {}
    for kind in KINDS:
        shown = kind.replace("_", " ")
        one = f"/api/v1/{kind}/{{name}}"
        views = [_text(name) for name in ("entity", "feature", "feature_service", "data_source")]
        more = [*views, _parameter("updated_since", _MOMENT)] if kind == "feature_views" else []
        paths[f"/api/v1/{kind}"] = {"get": _get(f"Lists {shown} of a project", [_project(), _tags(), *_LISTS, *more])}
        paths[f"/api/v1/{kind}/all"] = {"get": _get(f"Lists {shown} of all projects", list(_LISTS))}
        paths[one] = {
            "get": _get("Returns one", [_name(), _project(), *_FLAGS]),
            "delete": _get("Removes one, as apply does", [_name(), _project()]),
        }
    paths["/api/v1/entities"]["post"] = {
        "summary": "Registers an entity",
        "requestBody": {"required": True, "content": {"application/json": {"schema": _entity_schema()}}},
        "responses": _responses("201"),
    }
    features = [_project(), _text("feature_view"), _text("name"), *_SORTED_LISTS]
    paths["/api/v1/features"] = {"get": _get("Lists features of a project", features)}
    paths["/api/v1/features/all"] = {"get": _get("Lists features of all projects", list(_SORTED_LISTS))}
    paths["/api/v1/features/{feature_view}/{name}"] = {
        "get": _get("Returns one", [_name("feature_view"), _name(), _project()])
    }
    paths["/api/v1/projects"] = {"get": _get("Lists projects", list(_SORTED_LISTS))}
    paths["/api/v1/projects/{name}"] = {"get": _get("Returns one", [_name()])}
    lineage = [_project(), _text("filter_object_type"), _text("filter_object_name"), *_LISTS[:2]]
    paths["/api/v1/lineage/registry"] = {"get": _get("Tells what uses what", lineage)}
    paths["/api/v1/registry/refresh"] = {
        "post": {"summary": "Reads the registry", "responses": {**_responses("200"), "200": {"description": "Done."}}}
    }
    paths["/api/v1/version"] = {"get": _get("Tells the installed version", [])}
    return {
        "openapi": "3.1.0",
        "info": {"title": "feast_assets registry server", "version": package_version()},
        "paths": paths,
    }


def _entity_schema() -> dict[str, Any]:
    _, components = msgspec.json.schema_components([EntityRequest])
    schema: dict[str, Any] = components[EntityRequest.__name__]
    # It is read only to say that it is not taken.
    del schema["properties"]["value_type"]
    return schema


def _parameter(name: str, schema: dict[str, Any], *, required: bool = False, location: str = "query") -> dict[str, Any]:
    return {"name": name, "in": location, "required": required, "schema": schema}


def _text(name: str) -> dict[str, Any]:
    return _parameter(name, {"type": "string"})


def _project() -> dict[str, Any]:
    return _parameter("project", {"type": "string"}, required=True)


def _name(name: str = "name") -> dict[str, Any]:
    return _parameter(name, {"type": "string"}, required=True, location="path")


def _tags() -> dict[str, Any]:
    return _parameter("tags", {"type": "array", "items": {"type": "string"}})


_FLAGS = tuple(_parameter(name, {"type": "boolean"}) for name in ("allow_cache", "include_relationships"))
_SORTED_LISTS = (
    _parameter("page", {"type": "integer", "minimum": 1, "maximum": LAST_PAGE}),
    _parameter("limit", {"type": "integer", "minimum": 1, "maximum": 100}),
    _text("sort_by"),
    _parameter("sort_order", {"type": "string", "enum": ["asc", "desc"]}),
    _FLAGS[0],
)
_LISTS = (*_SORTED_LISTS, _FLAGS[1])


def _get(summary: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    return {"summary": summary, "parameters": parameters, "responses": _responses("200")}


def _responses(success: str) -> dict[str, Any]:
    return {success: {"description": "Done.", **_OBJECT}, "4XX": _ERROR, "5XX": _ERROR}
