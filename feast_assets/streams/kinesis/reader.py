"""Reads a data stream of Kinesis: all of its shards, also those that come with resharding."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from feast_assets.definitions.sources.kinesis_source import KinesisSource
from feast_assets.definitions.spec import to_micros
from feast_assets.errors import InputError, NotSupportedError, StoreUnavailableError, reason_of
from feast_assets.streams.base import Assigned, Messages, ReaderWithoutGroup, Revoked

_MOST_RECORDS = 10_000
"""That one request may ask for."""
_READ_EVERY_SECONDS = 0.2
"""A shard may be read five times a second."""
_LIST_EVERY_SECONDS = 30.0
_NEVER = 1 << 200
"""Larger than any sequence number."""
_SLOW_DOWN = ("ProvisionedThroughputExceededException", "LimitExceededException", "KMSThrottlingException")
_EXPIRED = "ExpiredIteratorException"


@dataclass
class _Shard:
    """One shard as it is read.

    Attributes:
        position: the smallest sequence number that was not read.
        iterator: for the next request; "" if one has to be got first.
        is_at_end: whether the last request said that nothing more was there.
        is_over: whether the shard is closed and has been read whole.
        next_read: when it may be read next, as `time.monotonic` tells it.
    """

    position: int
    iterator: str = ""
    is_at_end: bool = False
    is_over: bool = False
    next_read: float = 0.0


class KinesisReader(ReaderWithoutGroup):
    """Reads a data stream. Partitions are shards, offsets are sequence numbers.

    Args:
        source: the data stream.
        endpoint: a URL instead of that of AWS; "" for AWS.

    Raises:
        NotSupportedError: boto3 is not installed.
    """

    knows_ends: ClassVar[bool] = False

    def __init__(self, source: KinesisSource, endpoint: str = ""):
        try:
            import boto3
            from botocore import exceptions
        except ImportError as error:
            raise NotSupportedError(
                "Consuming Kinesis needs the extra: pip install 'feast-assets[kinesis]'."
            ) from error
        self._source = source
        self._errors = exceptions
        with self._in_words():
            self._client: Any = boto3.client("kinesis", region_name=source.region, endpoint_url=endpoint or None)
        self._assigned: Assigned | None = None
        self._revoked: Revoked | None = None
        self._shards: dict[str, _Shard] = {}
        self._next_listing = 0.0

    def identity(self) -> str:
        with self._in_words():
            described = self._client.describe_stream_summary(StreamName=self._source.stream_name)
        summary = described["StreamDescriptionSummary"]
        made = f"{summary['StreamARN']} {to_micros(summary['StreamCreationTimestamp'])}"
        return hashlib.blake2b(made.encode(), digest_size=16).hexdigest()

    def open(self, assigned: Assigned, revoked: Revoked) -> None:
        self._assigned, self._revoked = assigned, revoked
        self._next_listing = 0.0

    def poll(self, seconds: float, most: int) -> list[Messages]:
        deadline = time.monotonic() + seconds
        while True:
            self._list()
            received = self._read(most)
            now = time.monotonic()
            if received or now >= deadline:
                return received
            soonest = min((shard.next_read for shard in self._shards.values() if not shard.is_over), default=deadline)
            time.sleep(max(0.01, min(deadline, soonest) - now))

    def partitions(self) -> list[str]:
        return sorted(self._listed())

    def ends(self, partitions: Sequence[str]) -> Mapping[str, int]:
        shards = {name: self._shards[name] for name in partitions}
        return {name: each.position if each.is_at_end or each.is_over else _NEVER for name, each in shards.items()}

    def at(self, partitions: Sequence[str], moment: datetime) -> Mapping[str, int]:
        raise InputError(
            f"KinesisSource {self._source.name!r}: a data stream cannot be consumed from a time; start at the "
            "beginning."
        )

    def close(self) -> None:
        if self._revoked is not None and self._shards:
            self._revoked(list(self._shards), False)
        self._shards = {}

    def _list(self) -> None:
        """Takes shards that are new."""
        if time.monotonic() < self._next_listing:
            return
        listed = self._listed()
        self._next_listing = time.monotonic() + _LIST_EVERY_SECONDS
        new = [name for name in listed if name not in self._shards]
        if new and self._assigned is not None:
            self._shards.update({name: _Shard(0) for name in new})
            for name, position in self._assigned(new).items():
                self._shards[name].position = position or 0

    def _listed(self) -> list[str]:
        """Returns the names of all shards, also of closed ones."""
        listed: list[str] = []
        asked: dict[str, str] = {"StreamName": self._source.stream_name}
        with self._in_words():
            while asked:
                answer = self._client.list_shards(**asked)
                listed += [shard["ShardId"] for shard in answer["Shards"]]
                token = answer.get("NextToken")
                asked = {"NextToken": token} if token else {}
        return listed

    def _read(self, most: int) -> list[Messages]:
        received = []
        for name, shard in self._shards.items():
            if shard.is_over or most <= 0 or time.monotonic() < shard.next_read:
                continue
            part = self._records(name, shard, min(most, _MOST_RECORDS))
            if part is not None:
                received.append(part)
                most -= len(part)
        return received

    def _records(self, name: str, shard: _Shard, most: int) -> Messages | None:
        """Returns the next records of a shard; None for none."""
        try:
            if not shard.iterator:
                shard.iterator = self._iterator(name, shard.position)
            answer = self._client.get_records(ShardIterator=shard.iterator, Limit=most)
        except self._errors.ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code == _EXPIRED:
                shard.iterator = ""
                return None
            if code in _SLOW_DOWN:
                shard.next_read = time.monotonic() + 5 * _READ_EVERY_SECONDS
                return None
            raise self._as_ours(error) from error
        except self._errors.BotoCoreError as error:
            raise self._as_ours(error) from error
        records = answer["Records"]
        shard.iterator = answer.get("NextShardIterator") or ""
        shard.is_over = not shard.iterator
        shard.is_at_end = answer.get("MillisBehindLatest") == 0
        if shard.is_over:
            self._next_listing = 0.0  # its children are there
        if not records:
            shard.next_read = time.monotonic() + _READ_EVERY_SECONDS
            return None
        part = Messages(name)
        for record in records:
            part.offsets.append(int(record["SequenceNumber"]))
            part.times.append(to_micros(record["ApproximateArrivalTimestamp"]))
            part.keys.append(record["PartitionKey"].encode())
            part.values.append(record["Data"])
        part.next = shard.position = part.offsets[-1] + 1
        return part

    def _iterator(self, name: str, position: int) -> str:
        start: dict[str, str] = {"ShardIteratorType": "TRIM_HORIZON"}
        if position:
            start = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": str(position - 1)}
        answer = self._client.get_shard_iterator(StreamName=self._source.stream_name, ShardId=name, **start)
        return str(answer["ShardIterator"])

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except (self._errors.ClientError, self._errors.BotoCoreError) as error:
            raise self._as_ours(error) from error

    def _as_ours(self, error: Exception) -> InputError | StoreUnavailableError:
        subject = f"KinesisSource {self._source.name!r}"
        response = getattr(error, "response", {})
        if response.get("Error", {}).get("Code") == "ResourceNotFoundException":
            return InputError(f"{subject}: there is no data stream {self._source.stream_name!r}. Create it first.")
        return StoreUnavailableError(f"{subject}: {reason_of(error)}")
