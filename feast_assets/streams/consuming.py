"""Consuming the streams of some feature views, each stream by a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from feast_assets.compute.validation import refusal_hash
from feast_assets.compute.writes import Stores
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.definition_hash import definition_hash
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.file_stream_source import FileStreamSource
from feast_assets.definitions.sources.kafka_source import KafkaSource
from feast_assets.definitions.sources.kinesis_source import KinesisSource
from feast_assets.definitions.sources.push_source import PushMode
from feast_assets.definitions.sources.stream_format import StreamFormat
from feast_assets.definitions.sources.stream_source import StreamSource
from feast_assets.definitions.spec import as_utc, content_hash
from feast_assets.errors import InputError, NotSupportedError, shown
from feast_assets.settings.streams import StreamSettings
from feast_assets.streams.base import StreamReader
from feast_assets.streams.columns import stream_columns
from feast_assets.streams.consumer import ConsumerSettings, StreamConsumer
from feast_assets.streams.dead_letters import DeadLetters
from feast_assets.streams.formats.chosen import fields_of, make_decoder
from feast_assets.streams.history import StreamHistory
from feast_assets.streams.intake import ViewIntake
from feast_assets.streams.lag import StreamLag
from feast_assets.streams.parts import StreamParts
from feast_assets.streams.positions import HISTORY, Positions, Start
from feast_assets.streams.progress import ProgressCallback, StreamProgress


@dataclass(frozen=True, slots=True)
class Consumption:
    """What is to be consumed, and how.

    Attributes:
        views: of the streams; those without functions of their own as they are registered, the others with these.
        to: whether rows go online, to history, or both.
        group: the consumer group; "" for one that is named by the project and the views.
        root: the feature repository.
        is_current: says whether the definitions are still those of the views.
    """

    stores: Stores
    views: Sequence[FeatureView]
    to: PushMode
    group: str
    root: Path
    settings: ConsumerSettings
    streams: StreamSettings
    is_current: Callable[[], bool] = lambda: True

    def by_source(self) -> dict[str, list[FeatureView]]:
        """Returns the views of each stream source, by its name."""
        by_source: dict[str, list[FeatureView]] = {}
        for view in self.views:
            assert view.stream_source is not None
            by_source.setdefault(view.stream_source.name, []).append(view)
        return by_source


def checked_settings(
    start: object, flush_seconds: object, flush_bytes: object, stop_at_end: object
) -> ConsumerSettings:
    """Returns the settings of a call.

    Raises:
        InputError: one of them is not what it may be.
    """
    begin: Start
    if isinstance(start, datetime):
        begin = as_utc(start)
    elif start in ("checkpoint", "beginning"):
        begin = start
    else:
        raise InputError(f"consume: start must be 'checkpoint', 'beginning' or a datetime, not {shown(start)}.")
    for name, value in (("flush_seconds", flush_seconds), ("flush_bytes", flush_bytes)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            raise InputError(f"consume: {name} must be a positive number, not {shown(value)}.")
    if not isinstance(stop_at_end, bool):
        raise InputError(f"consume: stop_at_end must be True or False, not {shown(stop_at_end)}.")
    assert isinstance(flush_seconds, (int, float))
    assert isinstance(flush_bytes, (int, float))
    return ConsumerSettings(begin, float(flush_seconds), int(flush_bytes), stops_at_end=stop_at_end)


def is_consumable(view: FeatureView) -> bool:
    """Whether a view has a stream that can be consumed."""
    return (
        isinstance(view.stream_source, (KafkaSource, KinesisSource, FileStreamSource)) and view.batch_source is not None
    )


def check_consumable(view: FeatureView) -> None:
    """Raises InputError where a view is disabled, or has no stream that can be consumed."""
    if not view.enabled:
        raise InputError(f"consume: feature view {view.name!r} is disabled; enable it first.")
    if not is_consumable(view):
        source = view.stream_source
        reason = "it has no stream source" if source is None else f"its source {source.name!r} is a {_kind(source)}"
        raise InputError(
            f"consume: feature view {view.name!r} cannot be consumed: {reason}. What can be is a KafkaSource, a "
            "KinesisSource or a FileStreamSource."
        )


def consumed_hash(view: FeatureView) -> str:
    """Returns a hash (hex) of what decides how a view's stream is consumed; not of descriptions, tags or its ttl."""
    stream = view.stream_source
    source = {} if stream is None else stream.to_spec()
    words = ("description", "tags", "owner", "batch_source")  # the last is in the hash of the definition
    decides = {name: value for name, value in source.items() if name not in words}
    return content_hash([definition_hash(view), decides, view.online, refusal_hash(view)])


def consume(consumption: Consumption, stop: threading.Event, progress: ProgressCallback | None) -> list[StreamProgress]:
    """Consumes until it is told to stop, or each stream is at its end; returns what was done, by stream source.

    Raises:
        FeastAssetsError: a stream cannot be consumed; the others were stopped. It is the first such error.
    """
    consumers = [_consumer(consumption, views, stop, progress) for views in consumption.by_source().values()]
    if len(consumers) == 1:
        return [consumers[0].run()]
    failures: list[BaseException] = []

    def run(consumer: StreamConsumer) -> None:
        try:
            consumer.run()
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits
            failures.append(error)
            stop.set()

    threads = [threading.Thread(target=run, args=(consumer,), name="consumer", daemon=True) for consumer in consumers]
    for thread in threads:
        thread.start()
    for thread in threads:
        # In pieces: a signal's handler runs only between them.
        while thread.is_alive():
            thread.join(0.2)
    if failures:
        raise failures[0]
    return [consumer.progress for consumer in consumers]


def stream_parts(consumption: Consumption, views: Sequence[FeatureView]) -> StreamParts:
    """Returns what the messages of the stream of some views are made to.

    Raises:
        DefinitionError: nothing says which columns they have, or their format is not as declared.
    """
    stores, stream = consumption.stores, views[0].stream_source
    assert isinstance(stream, StreamSource)
    message_format = _format_of(stream)
    columns = stream_columns(stream, views, stores.offline_store(), fields_of(message_format, consumption.root))
    registry = consumption.streams.schema_registry.revealed()
    decoder = make_decoder(message_format, columns.columns, consumption.root, registry)
    intakes: list[tuple[ViewIntake, str]] = []
    online = stores.online_store()
    for view in views:
        table = view.online_table(stores.project)
        puts = _puts(view, consumption.to)
        if not puts and view.online and consumption.to is PushMode.ONLINE:
            raise InputError(
                f"consume: the online rows of feature view {view.name!r}, which has aggregations, are computed of "
                "history. Consume into history too, and materialize the view."
            )
        intakes.append((ViewIntake(view, f"consuming {stream.name!r}", stores.offline_store), table if puts else ""))
        if puts:
            online.setup([table])
    letters = DeadLetters(dead_letter_folder(consumption.streams, consumption.root), stream.name)
    return StreamParts(stream, columns, decoder, intakes, online, letters)


def _puts(view: FeatureView, to: PushMode) -> bool:
    """Whether messages go into a view's online table. Windows of time are computed of history, by materialization."""
    return view.online and to is not PushMode.OFFLINE and not (isinstance(view, BatchFeatureView) and view.aggregations)


def stream_lags(consumption: Consumption) -> list[StreamLag]:
    """Returns how far the streams of some views reach, and how far they have been consumed; changes nothing.

    Raises:
        FeastAssetsError: a stream cannot be asked.
    """
    return [_lag(consumption, views) for views in consumption.by_source().values()]


def _lag(consumption: Consumption, views: Sequence[FeatureView]) -> StreamLag:
    stores, stream = consumption.stores, views[0].stream_source
    assert isinstance(stream, StreamSource)
    reader = _reader(stream, _group(consumption, views), consumption)
    try:
        identity = reader.identity()
        partitions = reader.partitions()
        ends = reader.ends(partitions) if reader.knows_ends else {}
        begins = reader.begins(partitions)
        of_view: dict[str, list[str]] = {}
        readers: dict[str, str] = {}
        for view in views:
            if consumption.to is not PushMode.ONLINE:
                readers[HISTORY] = ""
                of_view.setdefault(view.name, []).append(HISTORY)
            if _puts(view, consumption.to):
                name = f"view:{view.name}"
                readers[name] = stores.online_store().identity(view.online_table(stores.project))
                of_view.setdefault(view.name, []).append(name)
        known = Positions(stores.registry, reader, stream.name, identity, readers).known(partitions)
    finally:
        reader.close()
    positions = {
        view: {
            name: max(begins[name], min(known[name].get(each, begins[name]) for each in names)) for name in partitions
        }
        for view, names in of_view.items()
    }
    return StreamLag(stream.name, identity, dict(ends) if reader.knows_ends else None, positions)


def _group(consumption: Consumption, views: Sequence[FeatureView]) -> str:
    """Returns the consumer group of the views of one stream."""
    named = "+".join(sorted(view.name for view in views))
    return consumption.group or f"feast-assets.{consumption.stores.project}.{named}"


def _consumer(
    consumption: Consumption, views: Sequence[FeatureView], stop: threading.Event, progress: ProgressCallback | None
) -> StreamConsumer:
    stores, stream = consumption.stores, views[0].stream_source
    assert isinstance(stream, StreamSource)
    reader = _reader(stream, _group(consumption, views), consumption)
    identity = reader.identity()
    parts = stream_parts(consumption, views)
    history = None
    readers: dict[str, str] = {}
    if consumption.to is not PushMode.ONLINE:
        assert stream.batch_source is not None
        history = StreamHistory(stores.offline_store(), stream.batch_source, stream.name, identity)
        readers[HISTORY] = ""
    for intake, table in parts.views:
        if table:
            readers[f"view:{intake.view.name}"] = parts.online.identity(table)
    late = getattr(stream, "watermark_delay_threshold", None)
    return StreamConsumer(
        parts,
        reader,
        history,
        Positions(stores.registry, reader, stream.name, identity, readers),
        identity,
        consumption.settings,
        stop,
        is_current=consumption.is_current,
        late_after=None if late is None else int(late.total_seconds() * 1_000_000),
        progress=progress,
    )


def dead_letter_folder(settings: StreamSettings, root: Path) -> Path:
    """Returns the folder of the dead letters of all sources."""
    return root / Path(settings.dead_letters).expanduser()


def _reader(stream: StreamSource, group: str, consumption: Consumption) -> StreamReader:
    make: Mapping[type[StreamSource], Callable[[], StreamReader]] = {
        KafkaSource: lambda: _kafka(stream, group, consumption),
        KinesisSource: lambda: _kinesis(stream, consumption),
        FileStreamSource: lambda: _files(stream, consumption),
    }
    for kind, made in make.items():
        if isinstance(stream, kind):
            return made()
    raise NotSupportedError(f"Data source {stream.name!r} is a {_kind(stream)}, which cannot be consumed.")


def _kafka(stream: StreamSource, group: str, consumption: Consumption) -> StreamReader:
    from feast_assets.streams.kafka.reader import KafkaReader

    assert isinstance(stream, KafkaSource)
    settings = {name: value for name, value in consumption.streams.kafka.items() if value is not None}
    return KafkaReader(stream, group, settings)


def _kinesis(stream: StreamSource, consumption: Consumption) -> StreamReader:
    from feast_assets.streams.kinesis.reader import KinesisReader

    assert isinstance(stream, KinesisSource)
    return KinesisReader(stream, consumption.streams.kinesis_endpoint)


def _files(stream: StreamSource, consumption: Consumption) -> StreamReader:
    from feast_assets.streams.files.reader import FileReader

    assert isinstance(stream, FileStreamSource)
    return FileReader(stream, consumption.root)


def _format_of(stream: StreamSource) -> StreamFormat:
    message_format = getattr(stream, "message_format", None) or getattr(stream, "record_format", None)
    assert isinstance(message_format, StreamFormat)
    return message_format


def _kind(stream: DataSource) -> str:
    return type(stream).__name__
