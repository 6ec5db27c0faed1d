"""Whether a Redis server removes keys when its memory is full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

if TYPE_CHECKING:
    import redis


def evicting_policy(client: redis.Redis, *, rows_expire: bool) -> str:
    """Returns the server's ``maxmemory-policy`` where it may remove rows.

    ``""`` where it has no limit of memory, or where the policy spares rows; also where the client may call neither
    ``INFO`` nor ``CONFIG``, which managed services and access lists may forbid.

    Args:
        rows_expire: whether rows have a time to live; without one, the ``volatile`` policies spare them.

    Raises:
        RedisError, OSError: the server cannot be reached.
    """
    limit, policy = _from_info(client) or _from_config(client) or (0, "")
    evicts = policy.startswith("allkeys") or (policy.startswith("volatile") and rows_expire)
    return policy if limit and evicts else ""


def _from_info(client: redis.Redis) -> tuple[int, str] | None:
    try:
        memory: Any = client.info("memory")
        return int(memory["maxmemory"]), str(memory["maxmemory_policy"])
    except (ResponseError, KeyError, ValueError):
        return None


def _from_config(client: redis.Redis) -> tuple[int, str] | None:
    try:
        settings: Any = client.config_get("maxmemory*")
        return int(settings["maxmemory"]), str(settings["maxmemory-policy"])
    except (ResponseError, KeyError, ValueError):
        return None
