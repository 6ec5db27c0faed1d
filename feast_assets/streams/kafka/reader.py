"""Reads a topic of Kafka as a member of a consumer group."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import ModuleType
from typing import Any

from feast_assets.definitions.sources.kafka_source import KafkaSource
from feast_assets.definitions.spec import to_micros
from feast_assets.errors import ConfigError, InputError, NotSupportedError, StoreUnavailableError, reason_of
from feast_assets.streams.base import Assigned, Messages, Revoked, StreamReader

_SECONDS = 15.0
"""How long the brokers may take to answer a question."""

_DEFAULTS: dict[str, str | int | float | bool] = {
    # What is read ahead is bounded, whatever the messages' size.
    "queued.max.messages.kbytes": 32 * 1024,
    "log_level": 3,
}
_OURS: dict[str, str | int | float | bool] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "earliest",
    "enable.partition.eof": True,
    # All partitions are given up before others are assigned.
    "partition.assignment.strategy": "range",
}

_LATEST_MILLIS = 9_000_000_000_000
"""In the year 2255. A producer may write any number as the time of a message."""

_LOG = logging.getLogger(__name__)


class KafkaReader(StreamReader):
    """Reads a topic.

    Args:
        source: the topic, and its brokers.
        group: the consumer group, whose members divide the partitions among them.
        settings: further settings of librdkafka, such as ``security.protocol``.

    Raises:
        ConfigError: the source names no brokers or no topic, or a setting is not known.
        NotSupportedError: the client's library is not installed.
    """

    def __init__(self, source: KafkaSource, group: str, settings: Mapping[str, str | int | float | bool]):
        if not source.topic or not (source.kafka_bootstrap_servers or "bootstrap.servers" in settings):
            raise ConfigError(
                f"KafkaSource {source.name!r} cannot be consumed: it must name kafka_bootstrap_servers and a topic."
            )
        refused = sorted({*_OURS, "group.id"} & set(settings))
        if refused:
            raise ConfigError(f"streams.kafka: {refused[0]} is set by the consumer; remove it.")
        self._kafka = _library()
        self._source = source
        self._topic = source.topic
        # The repository's settings come last: they may name other brokers for this deployment.
        self._client = {
            "bootstrap.servers": source.kafka_bootstrap_servers,
            **{name: value for name, value in settings.items() if value is not None},
        }
        self._group = group
        self._consumer: Any = None
        self._last_error = ""
        self._assignments = 0

    def identity(self) -> str:
        from confluent_kafka import TopicCollection
        from confluent_kafka.admin import AdminClient

        with self._in_words():
            settings: dict[str, Any] = {**self._client, "log_level": 0, "error_cb": self._noted}
            admin = AdminClient(settings, logger=_LOG)
            asked = admin.describe_topics(TopicCollection([self._topic]), request_timeout=_SECONDS)
            number = asked[self._topic].result(timeout=2 * _SECONDS).topic_id
        most, least = number.get_most_significant_bits(), number.get_least_significant_bits()
        return f"{most & (1 << 64) - 1:016x}{least & (1 << 64) - 1:016x}"

    def open(self, assigned: Assigned, revoked: Revoked) -> None:
        def on_assign(consumer: Any, partitions: list[Any]) -> None:
            self._assignments += 1
            positions = assigned([str(each.partition) for each in partitions])
            for each in partitions:
                position = positions[str(each.partition)]
                each.offset = self._kafka.OFFSET_BEGINNING if position is None else position
            consumer.assign(partitions)

        def on_revoke(_: Any, partitions: list[Any]) -> None:
            revoked([str(each.partition) for each in partitions], False)

        def on_lost(_: Any, partitions: list[Any]) -> None:
            revoked([str(each.partition) for each in partitions], True)

        with self._in_words():
            self._consumer = self._connected()
            self._consumer.subscribe([self._topic], on_assign=on_assign, on_revoke=on_revoke, on_lost=on_lost)

    def poll(self, seconds: float, most: int) -> list[Messages]:
        with self._in_words():
            first = self._consumer.poll(seconds)
            if first is None:
                return []
            assignments = self._assignments
            more = self._consumer.consume(most - 1, 0) if most > 1 else []
            # If the partitions were given up and assigned again meanwhile, the first message is read again.
            received = [first, *more] if assignments == self._assignments else more
        partitions: dict[int, Messages] = {}
        for message in received:
            error = message.error()
            if error is not None and error.code() != self._kafka.KafkaError._PARTITION_EOF:
                self._refuse(error)
                continue
            number = message.partition()
            part = partitions.get(number)
            if part is None:
                part = partitions[number] = Messages(str(number))
            offset = message.offset()
            if error is not None:
                part.next = max(part.next, offset)
                continue
            kind, millis = message.timestamp()
            part.offsets.append(offset)
            part.next = offset + 1
            part.times.append(min(millis, _LATEST_MILLIS) * 1000 if kind else None)
            part.keys.append(message.key())
            part.values.append(message.value())
        return list(partitions.values())

    def wait(self, seconds: float) -> None:
        with self._in_words():
            held = self._consumer.assignment()
            self._consumer.pause(held)
            message = self._consumer.poll(seconds)
            # Another assignment may have come meanwhile.
            self._consumer.resume(self._consumer.assignment())
            if message is not None and message.error() is None:
                # It was on its way when the partition was paused; it is read again.
                self._consumer.seek(self._at(str(message.partition()), message.offset()))

    def partitions(self) -> list[str]:
        with self._in_words():
            if self._consumer is None:
                # It asks, and is no member of the group.
                self._consumer = self._connected()
            topic = self._consumer.list_topics(self._topic, timeout=_SECONDS).topics[self._topic]
            if topic.error is not None:
                raise self._kafka.KafkaException(topic.error)
        return [str(number) for number in sorted(topic.partitions)]

    def ends(self, partitions: Sequence[str]) -> Mapping[str, int]:
        return {name: self._watermarks(name)[1] for name in partitions}

    def begins(self, partitions: Sequence[str]) -> Mapping[str, int]:
        return {name: self._watermarks(name)[0] for name in partitions}

    def at(self, partitions: Sequence[str], moment: datetime) -> Mapping[str, int]:
        millis = max(0, -(-to_micros(moment) // 1000))
        with self._in_words():
            asked = self._consumer.offsets_for_times([self._at(name, millis) for name in partitions], timeout=_SECONDS)
        offsets = {str(each.partition): int(each.offset) for each in asked}
        return {name: at if at >= 0 else self._watermarks(name)[1] for name, at in offsets.items()}

    def commit(self, positions: Mapping[str, int], *, waits: bool = False) -> None:
        offsets = [self._at(name, position) for name, position in positions.items()]
        if waits:
            with self._in_words():
                self._consumer.commit(offsets=offsets, asynchronous=False)
            return
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
        except self._kafka.KafkaException as error:
            _LOG.info("The position in topic %s was not told to its brokers: %s", self._topic, error)

    def committed(self, partitions: Sequence[str]) -> Mapping[str, int]:
        with self._in_words():
            known = self._consumer.committed([self._at(name, -1) for name in partitions], timeout=_SECONDS)
        return {str(each.partition): int(each.offset) for each in known if each.offset >= 0}

    def close(self) -> None:
        if self._consumer is not None:
            try:
                self._consumer.close()
            finally:
                self._consumer = None

    def _connected(self) -> Any:
        ours = {**_OURS, "group.id": self._group}
        settings: dict[str, object] = {**_DEFAULTS, **self._client, **ours, "error_cb": self._noted}
        return self._kafka.Consumer(settings, logger=_LOG)

    def _at(self, partition: str, offset: int) -> Any:
        return self._kafka.TopicPartition(self._topic, int(partition), offset)

    def _watermarks(self, partition: str) -> tuple[int, int]:
        with self._in_words():
            low, high = self._consumer.get_watermark_offsets(self._at(partition, 0), timeout=_SECONDS)
        return int(low), int(high)

    def _noted(self, error: Any) -> None:
        """Keeps the client's last complaint, for the message of an error that says less."""
        self._last_error = str(error)

    def _refuse(self, error: Any) -> None:
        """Raises an error that the client does not overcome by itself."""
        codes = self._kafka.KafkaError
        if error.code() == codes.UNKNOWN_TOPIC_OR_PART:
            raise InputError(f"KafkaSource {self._source.name!r}: there is no topic {self._topic!r} any more.")
        lasting = (codes.TOPIC_AUTHORIZATION_FAILED, codes.GROUP_AUTHORIZATION_FAILED, codes._AUTHENTICATION)
        if error.fatal() or error.code() in lasting:
            raise StoreUnavailableError(f"KafkaSource {self._source.name!r}: {error.str()}")
        _LOG.info("Topic %s: %s", self._topic, error)

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except self._kafka.KafkaException as raised:
            error = raised.args[0]
            said = error.str() if hasattr(error, "str") else reason_of(raised)
            codes = self._kafka.KafkaError
            code = error.code() if hasattr(error, "code") else None
            if code == codes.UNKNOWN_TOPIC_OR_PART:
                raise InputError(
                    f"KafkaSource {self._source.name!r}: there is no topic {self._topic!r}. Create it first."
                ) from raised
            if code == codes._INVALID_ARG:
                raise ConfigError(f"KafkaSource {self._source.name!r}: {said}") from raised
            more = f" ({self._last_error})" if self._last_error else ""
            raise StoreUnavailableError(f"KafkaSource {self._source.name!r}: {said}{more}") from raised


def _library() -> ModuleType:
    try:
        import confluent_kafka
    except ImportError as error:
        raise NotSupportedError("Consuming Kafka needs the extra: pip install 'feast-assets[kafka]'.") from error
    return confluent_kafka
