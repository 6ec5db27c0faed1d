"""The states of a feature view, from declared to served."""

from __future__ import annotations

import enum


class FeatureViewState(enum.IntEnum):
    """How far a feature view is. Most views have none: STATE_UNSPECIFIED, which is served and materialized."""

    STATE_UNSPECIFIED = 0
    CREATED = 1
    GENERATED = 2
    MATERIALIZING = 3
    AVAILABLE_ONLINE = 4

    def can_transition_to(self, target: FeatureViewState) -> bool:
        """Whether a view in this state may be put in another one."""
        return target in TRANSITIONS[self]


TRANSITIONS: dict[FeatureViewState, frozenset[FeatureViewState]] = {
    FeatureViewState.STATE_UNSPECIFIED: frozenset({FeatureViewState.CREATED}),
    FeatureViewState.CREATED: frozenset({FeatureViewState.GENERATED}),
    FeatureViewState.GENERATED: frozenset({FeatureViewState.MATERIALIZING}),
    FeatureViewState.MATERIALIZING: frozenset({FeatureViewState.AVAILABLE_ONLINE, FeatureViewState.GENERATED}),
    FeatureViewState.AVAILABLE_ONLINE: frozenset({FeatureViewState.MATERIALIZING}),
}
"""The states that a view in each state may be put in."""

SERVED = frozenset({FeatureViewState.STATE_UNSPECIFIED, FeatureViewState.AVAILABLE_ONLINE})
"""The states in which a view is read online."""

NOT_MATERIALIZED = frozenset({FeatureViewState.CREATED})
"""The states in which a view is not materialized."""
