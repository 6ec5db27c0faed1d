"""What depends on what among the definitions of a project, as Feast's registry server tells it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.view import BaseFeatureView
from feast_assets.registry.snapshot import RegistrySnapshot

Node = tuple[str, str]
"""Feast's name of an object's type, and the object's name."""

Edge = tuple[Node, Node]
"""From what is used to what uses it."""


def direct(snapshot: RegistrySnapshot) -> list[Edge]:
    """Returns what is used by what: views by services, and entities, features, sources and views by views."""
    return list(dict.fromkeys(_edges(snapshot)))


def indirect(edges: list[Edge]) -> list[Edge]:
    """Returns what is used by what by way of others."""
    users: dict[Node, list[Node]] = {}
    for used, user in edges:
        users.setdefault(used, []).append(user)
    known = set(edges)
    chains: dict[Edge, None] = {}
    for start in users:
        left, seen = list(users[start]), set(users[start])
        while left:
            for user in users.get(left.pop(), ()):
                if user not in seen:
                    seen.add(user)
                    left.append(user)
                if (start, user) not in known:
                    chains[start, user] = None
    return list(chains)


def of_object(edges: list[Edge], node: Node) -> list[dict[str, Any]]:
    """Returns the edges, those by way of others included, at one of whose ends an object is."""
    return [edge_json(edge) for edge in (*edges, *indirect(edges)) if node in edge]


def edge_json(edge: Edge) -> dict[str, Any]:
    """Returns an edge as JSON."""
    (kind, name), (user_kind, user) = edge
    return {"source": {"type": kind, "name": name}, "target": {"type": user_kind, "name": user}}


def _edges(snapshot: RegistrySnapshot) -> Iterator[Edge]:
    for service in snapshot.feature_services:
        for projection in service.feature_view_projections:
            yield ("featureView", projection.name), ("featureService", service.name)
    for view in snapshot.shared():
        if not isinstance(view, BaseFeatureView):
            continue
        target = ("featureView", view.name)
        if isinstance(view, OnDemandFeatureView):
            for source in view.request_sources:
                yield ("dataSource", source.name), target
            for projection in view.source_projections:
                yield ("featureView", projection.name), target
        elif isinstance(view, FeatureView):
            for entity in view.entities:
                yield ("entity", entity), target
            for each in (view.batch_source, view.stream_source):
                if each is not None:
                    yield ("dataSource", each.name), target
        for field in view.features:
            yield ("feature", field.name), target
