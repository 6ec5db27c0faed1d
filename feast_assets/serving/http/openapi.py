"""The OpenAPI document, made of the types that requests are read by."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from feast_assets.serving.api import PUSH_MODES
from feast_assets.serving.http.messages import to_json
from feast_assets.serving.requests import (
    MaterializeIncrementalRequest,
    MaterializeRequest,
    OnlineFeaturesRequest,
    PushRequest,
    WriteRequest,
)

_ERROR = {
    "type": "string",
    "description": 'JSON text: {"module", "class", "message"}, the exception that Feast\'s clients raise.',
}
_DETAIL = {"type": "object", "properties": {"detail": {}}, "required": ["detail"]}
_NULL: dict[str, Any] = {"type": "null"}
_FEATURES = {
    "type": "object",
    "required": ["results", "metadata"],
    "properties": {
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["values", "statuses", "event_timestamps"],
                "properties": {
                    "values": {"type": "array", "items": {}},
                    "statuses": {
                        "type": "array",
                        "items": {"enum": ["PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE"]},
                    },
                    "event_timestamps": {"type": "array", "items": {"type": "string", "format": "date-time"}},
                },
            },
        },
        "metadata": {
            "type": "object",
            "required": ["feature_names"],
            "properties": {
                "feature_names": {"type": "array", "items": {"type": "string"}},
                "feature_view_metadata": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name", "version"],
                        "properties": {"name": {"type": "string"}, "version": {"type": "integer"}},
                    },
                },
                "row_origins": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["feature_view", "row", "columns", "event_timestamp", "version", "written_by"],
                        "properties": {
                            "feature_view": {"type": "string"},
                            "row": {"type": "integer"},
                            "columns": {"type": "array", "items": {"type": "string"}},
                            "event_timestamp": {"type": "string", "format": "date-time"},
                            "created_timestamp": {"type": ["string", "null"], "format": "date-time"},
                            "version": {"type": "integer"},
                            "written_by": {"enum": ["run", "push"]},
                            "window": {"type": ["array", "null"], "items": {"type": "string", "format": "date-time"}},
                            "run_id": {"type": "string"},
                            "materialized_at": {"type": ["string", "null"], "format": "date-time"},
                        },
                    },
                },
            },
        },
    },
}
_ACCEPTED = {
    "type": "object",
    "required": ["status", "feature_views"],
    "properties": {"status": {"const": "accepted"}, "feature_views": {"type": "array", "items": {"type": "string"}}},
}
_CONFLICT = {
    "type": "object",
    "required": ["error", "feature_views"],
    "properties": {"error": {"type": "string"}, "feature_views": {"type": "array", "items": {"type": "string"}}},
}
_READY = {
    "type": "object",
    "required": ["ready", "registry", "online_store"],
    "properties": {
        "ready": {"type": "boolean"},
        "registry": {"type": "object"},
        "online_store": {"type": "object"},
    },
}
_FLAGS = [
    {"name": name, "in": "query", "required": False, "description": text, "schema": {"type": "boolean"}}
    for name, text in (
        ("async", "Whether to answer 202 at once and go on in the background."),
        ("force", "Whether to begin although a run writes the same views."),
    )
]


_TEXT = {"type": "string"}
_MOMENT = {"type": "string", "format": "date-time"}
_REFERENCE = {"type": "string", "pattern": "^[^:]+:[^:]+$"}
_ROWS = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": {"type": ["array", "object"]},
    "description": "Column -> one value per row, in a list or by the label of the row.",
}
# What a request has to say besides its types, which are checked in the words of the library.
_NARROWER: dict[str, dict[str, Any]] = {
    OnlineFeaturesRequest.__name__: {
        "anyOf": [
            {"required": ["feature_service"], "properties": {"feature_service": {**_TEXT, "minLength": 1}}},
            {
                "required": ["features"],
                "properties": {"features": {"type": "array", "minItems": 1, "items": _REFERENCE}},
            },
        ],
    },
    PushRequest.__name__: {"properties": {"df": _ROWS, "to": {"enum": [*PUSH_MODES], "default": "online"}}},
    WriteRequest.__name__: {"properties": {"df": _ROWS}},
    MaterializeRequest.__name__: {
        "anyOf": [
            {"required": ["start_ts", "end_ts"], "properties": {"start_ts": _MOMENT, "end_ts": _MOMENT}},
            {"required": ["disable_event_timestamp"], "properties": {"disable_event_timestamp": {"const": True}}},
        ],
    },
    MaterializeIncrementalRequest.__name__: {"properties": {"end_ts": _MOMENT}},
}


@cache
def openapi(*, needs_token: bool = False) -> bytes:
    """Returns the OpenAPI 3.1 document as JSON.

    Args:
        needs_token: whether callers have to say who they are.
    """
    requests = (OnlineFeaturesRequest, PushRequest, WriteRequest, MaterializeRequest, MaterializeIncrementalRequest)
    schemas, components = msgspec.json.schema_components(requests, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(requests, schemas, strict=True))
    for name, narrower in _NARROWER.items():
        components[name]["properties"] |= narrower.get("properties", {})
        components[name] |= {key: value for key, value in narrower.items() if key != "properties"}
    features = _response("The features, one result per name.", _FEATURES)
    features["content"]["application/vnd.apache.arrow.stream"] = {"schema": {"type": "string", "format": "binary"}}
    done = _response("The rows are stored.", _NULL)
    run = {"200": _response("The run has ended.", _NULL), "202": _response("The run goes on.", _ACCEPTED)}
    conflict = {"409": _response("A run writes the same views.", _CONFLICT)}
    paths: dict[str, Any] = {
        "/get-online-features": _post(
            "The latest features of entities", schema_of[OnlineFeaturesRequest], {"200": features}
        ),
        "/push": _post(
            "Write rows to the views of a push source",
            schema_of[PushRequest],
            {"200": {"description": "The rows are stored."}},
        ),
        "/write-to-online-store": _post(
            "Put rows of one view into the online store", schema_of[WriteRequest], {"200": done}
        ),
        "/materialize": _post(
            "Put the latest rows between two times into the online store",
            schema_of[MaterializeRequest],
            {**run, **conflict},
            _FLAGS,
        ),
        "/materialize-incremental": _post(
            "Put what is missing or has changed into the online store",
            schema_of[MaterializeIncrementalRequest],
            {**run, **conflict},
            _FLAGS,
        ),
        "/health": _get("Whether the server runs", {"200": {"description": "It does."}}),
        "/ready": _get(
            "Whether the server can answer",
            {"200": _response("It can.", _READY), "503": _response("It cannot.", _READY)},
        ),
        "/metrics": _get(
            "Metrics for Prometheus",
            {"200": {"description": "Metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}},
        ),
    }
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Feature server", "version": _version()},
        "paths": paths,
        "components": {"schemas": components},
    }
    if needs_token:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for path, operations in paths.items():
            for operation in operations.values() if path not in _PUBLIC else ():
                operation["security"] = [{"token": []}]
                operation["responses"] |= {
                    "401": _response("There is no token, or it is not valid.", _DETAIL),
                    "403": _response("The caller may not do this.", _ERROR),
                }
    return to_json(document)


_PUBLIC = ("/health", "/ready", "/metrics", "/openapi.json")
"""Paths that need no token."""


def _version() -> str:
    try:
        return version("feast-assets")
    except PackageNotFoundError:
        return "0"


def _response(description: str, schema: Any) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _get(summary: str, responses: dict[str, Any], parameters: list[Any] | None = None) -> dict[str, Any]:
    return {"get": {"summary": summary, "responses": responses, "parameters": parameters or []}}


def _post(summary: str, schema: Any, responses: dict[str, Any], parameters: list[Any] | None = None) -> dict[str, Any]:
    failures = {
        "400": _response("The request cannot be carried out as it is.", _ERROR),
        "404": _response("Something that it names is not registered.", _ERROR),
        "408": _response("The request did not come in whole in time.", _DETAIL),
        "413": _response("The body is too large.", _DETAIL),
        "422": _response("The body is not what the endpoint takes.", {"anyOf": [_DETAIL, _ERROR]}),
        "500": _response("The server failed.", _ERROR),
        "501": _response("It is not supported.", _ERROR),
        "503": _response("The server or a store is too busy or cannot be reached; try again.", _ERROR),
        "504": _response("The stores did not answer in time.", _ERROR),
    }
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {
        "post": {
            "summary": summary,
            "requestBody": body,
            "responses": {**responses, **{status: of for status, of in failures.items() if status not in responses}},
            "parameters": parameters or [],
        }
    }
