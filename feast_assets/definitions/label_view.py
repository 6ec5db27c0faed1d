"""Label views: labels that people or programs attach to entities, written only by push."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from datetime import timedelta

from feast_assets.definitions.entity import Entity
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.spec import register_enum
from feast_assets.definitions.view import check_fields, refuse_checks
from feast_assets.errors import NotSupportedError


@register_enum
class ConflictPolicy(enum.Enum):
    """Which label counts when several people gave one."""

    LAST_WRITE_WINS = "last_write_wins"
    LABELER_PRIORITY = "labeler_priority"
    MAJORITY_VOTE = "majority_vote"


class LabelView(FeatureView):
    """Labels of entities.

    Args:
        labeler_field: the field that says who gave the label.
        conflict_policy: only LAST_WRITE_WINS.
        reference_feature_view: the view that is being labelled.

    See `FeatureView` for the other arguments.
    """

    object_type = "label view"
    _spec = {
        **FeatureView._spec,
        "labeler_field": "labeler",
        "conflict_policy": ConflictPolicy.LAST_WRITE_WINS,
        "reference_feature_view": None,
    }

    def __init__(
        self,
        *,
        name: str,
        source: DataSource | None = None,
        schema: Sequence[Field] | None = None,
        entities: Sequence[Entity] | None = None,
        ttl: timedelta | None = timedelta(0),
        online: bool = True,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        owner: str = "",
        labeler_field: str = "labeler",
        conflict_policy: ConflictPolicy = ConflictPolicy.LAST_WRITE_WINS,
        reference_feature_view: str | FeatureView | None = None,
    ):
        if conflict_policy is not ConflictPolicy.LAST_WRITE_WINS:
            raise NotSupportedError(
                f"LabelView {name!r}: conflict policy {conflict_policy!r} is not supported; use LAST_WRITE_WINS."
            )
        refuse_checks(check_fields(schema, f"LabelView {name!r}"), f"LabelView {name!r}", "pushed rows are not checked")
        super().__init__(
            name=name,
            source=source,
            schema=schema,
            entities=entities,
            ttl=ttl,
            online=online,
            description=description,
            tags=tags,
            owner=owner,
            partitions=None,
        )
        self.labeler_field = labeler_field
        self.conflict_policy = conflict_policy
        self.reference_feature_view = (
            reference_feature_view.name if isinstance(reference_feature_view, FeatureView) else reference_feature_view
        )

    @property
    def materializable(self) -> bool:
        return False
