"""Label views: labels that people or programs attach to entities, written only by push."""

from __future__ import annotations

import enum
import warnings
from collections.abc import Mapping, Sequence
from datetime import timedelta

from feast_assets.definitions.entity import Entity
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.spec import register_enum
from feast_assets.definitions.view import check_fields, refuse_checks
from feast_assets.errors import DefinitionError, shown, suggest


@register_enum
class ConflictPolicy(enum.Enum):
    """Which label counts in history when an entity was given several.

    LAST_WRITE_WINS: the newest.
    LABELER_PRIORITY: the newest of the labeler who comes first in ``labeler_priorities``.
    MAJORITY_VOTE: of each feature the value that most rows have; if several are as frequent, the newest of them.

    The online store has the newest label under each policy, as in Feast.
    """

    LAST_WRITE_WINS = "last_write_wins"
    LABELER_PRIORITY = "labeler_priority"
    MAJORITY_VOTE = "majority_vote"


class LabelView(FeatureView):
    """Labels of entities.

    Args:
        labeler_field: the field that says who gave the label.
        conflict_policy: which of several labels of an entity historical retrieval returns. The labels that count are
            those that are not later than the entity row, and not older than the ttl. Online, the newest is served.
        reference_feature_view: the view that is being labelled.
        labeler_priorities: with LABELER_PRIORITY, the labelers, the first one before all others; who is not among them
            comes last. Left out, the newest label counts, whoever gave it, as Feast has no such argument.

    See `FeatureView` for the other arguments.

    Raises:
        DefinitionError: the policy asks for a labeler field that the schema does not have, or priorities are given for
            another policy.
    """

    object_type = "label view"
    _spec = {
        **FeatureView._spec,
        "labeler_field": "labeler",
        "conflict_policy": ConflictPolicy.LAST_WRITE_WINS,
        "reference_feature_view": None,
        "labeler_priorities": [],
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
        labeler_priorities: Sequence[str] | None = None,
    ):
        _check_policy(f"LabelView {name!r}", conflict_policy, labeler_field, labeler_priorities, schema)
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
        self.labeler_priorities = list(labeler_priorities or ())
        if conflict_policy is ConflictPolicy.LABELER_PRIORITY and not labeler_priorities:
            warnings.warn(
                f"LabelView {name!r}: without labeler_priorities, LABELER_PRIORITY means that the newest label counts, "
                "whoever gave it. Give labeler_priorities=[first, second, ...].",
                stacklevel=2,
            )

    def to_spec(self) -> dict[str, object]:
        spec = super().to_spec()
        # A view without them keeps the hash that it had before the attribute existed.
        if not self.labeler_priorities:
            del spec["labeler_priorities"]
        return spec

    @property
    def materializable(self) -> bool:
        return False

    @property
    def newest_label_counts(self) -> bool:
        """Whether the newest label of an entity is the one that counts, in history too."""
        return self.conflict_policy is ConflictPolicy.LAST_WRITE_WINS or (
            self.conflict_policy is ConflictPolicy.LABELER_PRIORITY and not self.labeler_priorities
        )


def _check_policy(
    subject: str,
    policy: object,
    labeler_field: object,
    priorities: object,
    schema: Sequence[Field] | None,
) -> None:
    if not isinstance(policy, ConflictPolicy):
        names = ", ".join(f"ConflictPolicy.{each.name}" for each in ConflictPolicy)
        raise DefinitionError(f"{subject}: conflict_policy must be one of {names}, not {shown(policy)}.")
    if not isinstance(labeler_field, str):
        raise DefinitionError(f"{subject}: labeler_field must be the name of a field, not {shown(labeler_field)}.")
    if not priorities:
        return
    if isinstance(priorities, str) or not isinstance(priorities, Sequence):
        raise DefinitionError(
            f"{subject}: labeler_priorities must be a list of labelers, such as ['expert', 'crowd'], "
            f"not {shown(priorities)}."
        )
    if policy is not ConflictPolicy.LABELER_PRIORITY:
        raise DefinitionError(
            f"{subject}: labeler_priorities only count with conflict_policy=ConflictPolicy.LABELER_PRIORITY; "
            "give that policy, or leave them out."
        )
    repeated = [labeler for n, labeler in enumerate(priorities) if labeler in priorities[:n]]
    if repeated or not all(isinstance(labeler, str) for labeler in priorities):
        raise DefinitionError(f"{subject}: labeler_priorities must be different texts, not {shown(list(priorities))}.")
    if schema is not None and labeler_field not in [field.name for field in schema if isinstance(field, Field)]:
        known = [field.name for field in schema if isinstance(field, Field)]
        raise DefinitionError(
            f"{subject}: its schema has no field {labeler_field!r} (labeler_field), which says who gave a label. "
            f"{suggest(labeler_field, known)}"
        )
