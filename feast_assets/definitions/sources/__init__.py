"""Where feature data comes from: one file for each kind of source.

All kinds are loaded together, so that whatever a registry holds can be decoded.
"""

from feast_assets.definitions.sources import (
    data_source,
    duckdb_source,
    file_format,
    file_source,
    file_stream_source,
    kafka_source,
    kinesis_source,
    postgres_source,
    push_source,
    request_source,
    stream_format,
    stream_source,
)

__all__ = [
    "data_source",
    "duckdb_source",
    "file_format",
    "file_source",
    "file_stream_source",
    "kafka_source",
    "kinesis_source",
    "postgres_source",
    "push_source",
    "request_source",
    "stream_format",
    "stream_source",
]
