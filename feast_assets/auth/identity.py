"""Who acts: the identity of a caller, and the one on whose behalf the running code acts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Identity:
    """A caller as its token describes it. It never changes, and can be a key.

    Args:
        username: "" for somebody who is not known.
        roles, groups, namespaces: what policies ask for.
    """

    __slots__ = ("_hash", "groups", "namespaces", "roles", "username")

    username: str
    roles: frozenset[str]
    groups: frozenset[str]
    namespaces: frozenset[str]
    _hash: int

    def __init__(
        self,
        username: str,
        roles: Iterable[str] = (),
        groups: Iterable[str] = (),
        namespaces: Iterable[str] = (),
    ):
        parts = (username, frozenset(roles), frozenset(groups), frozenset(namespaces))
        for name, value in zip(("username", "roles", "groups", "namespaces"), parts, strict=True):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_hash", hash(parts))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"An Identity never changes; make another one to have another {name}.")

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Identity) and (self.username, self.roles, self.groups, self.namespaces) == (
            other.username,
            other.roles,
            other.groups,
            other.namespaces,
        )

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return (
            f"Identity({self.username!r}, roles={sorted(self.roles)}, groups={sorted(self.groups)}, "
            f"namespaces={sorted(self.namespaces)})"
        )

    @property
    def is_known(self) -> bool:
        """Whether it is somebody's."""
        return bool(self.username)


User = Identity
"""Feast's name of the same."""

ANONYMOUS = Identity("")
"""Somebody who gave no token."""

_OWN = Identity("the feature store itself")
_acting: ContextVar[Identity | None] = ContextVar("feast_assets_identity", default=None)

acting_identity: Callable[[], Identity | None] = _acting.get
"""Returns the identity on whose behalf the running code acts; None where nobody said."""


def is_own_work(identity: Identity | None) -> bool:
    """Returns whether the feature store acts for itself, see `own_work`."""
    return identity is _OWN


class acting_as:  # noqa: N801 - reads as a function does; one that yields would take a read's tenth
    """Lets the code of a ``with`` block act on behalf of an identity: feature stores allow what it may do.

    It holds for this thread or task, and for tasks and `asyncio.to_thread` that begin in the block; other threads must
    be given the context (`contextvars.copy_context`).
    """

    __slots__ = ("_identity", "_token")

    def __init__(self, identity: Identity):
        self._identity = identity

    def __enter__(self) -> Identity:
        self._token = _acting.set(self._identity)
        return self._identity

    def __exit__(self, *_: object) -> None:
        _acting.reset(self._token)


@contextmanager
def own_work() -> Iterator[None]:
    """Lets the code of a ``with`` block do what the feature store does by itself, whoever caused it."""
    with acting_as(_OWN):
        yield
