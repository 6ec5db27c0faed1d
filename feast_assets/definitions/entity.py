"""An entity: what features describe, identified by its join key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from feast_assets.definitions.base import Definition, listed, spec_of
from feast_assets.definitions.field import Field
from feast_assets.errors import DefinitionError, shown
from feast_assets.types import String, ValueType

DUMMY_ENTITY_NAME = "__dummy"
DUMMY_JOIN_KEY = "__dummy_id"
DUMMY_FIELD = Field(name=DUMMY_JOIN_KEY, dtype=String)


class Entity(Definition):
    """A thing that features describe, such as a driver.

    Args:
        join_keys: at most one column name; the entity's name when left out.
        value_type: Feast's code of the key's type; left out, the views' schemas or sources say it.

    Raises:
        DefinitionError: more than one join key (declare an entity for each and give the view both).
    """

    object_type = "entity"
    _spec = spec_of(join_key="", value_type=ValueType.UNKNOWN)

    def __init__(
        self,
        *,
        name: str,
        join_keys: Sequence[str] | None = None,
        value_type: ValueType | None = None,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        owner: str = "",
    ):
        self._init_meta(name, description, tags, owner)
        keys = listed(join_keys, f"Entity {name!r}: join_keys must be a list of one column name")
        if len(keys) > 1 or not all(isinstance(key, str) for key in keys):
            raise DefinitionError(
                f"Entity {name!r}: join_keys must be a list of one column name, got {shown(join_keys)}. "
                "For a composite key declare an entity for each part and give the view both."
            )
        if value_type is not None and not isinstance(value_type, ValueType):
            raise DefinitionError(f"Entity {name!r}: value_type must be a ValueType, not {shown(value_type)}.")
        self.join_key = keys[0] if keys else name
        self.value_type = value_type or ValueType.UNKNOWN

    @property
    def join_keys(self) -> list[str]:
        return [self.join_key]

    def is_valid(self) -> None:
        """Does nothing: an entity is checked when it is made."""


def dummy_entity() -> Entity:
    """Returns the placeholder entity of views without entities, which have one row for all."""
    return Entity(name=DUMMY_ENTITY_NAME, join_keys=[DUMMY_JOIN_KEY], value_type=ValueType.STRING)
