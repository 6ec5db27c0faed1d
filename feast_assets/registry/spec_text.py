"""How the text of a definition is stored: compressed, as the texts of a registry are alike and mostly never read.

Registries of format 1 hold the text itself, which is read as well.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode

_PREFIX = "z:"
"""What a compressed text begins with. The text itself is JSON, and begins with a brace."""

_EXAMPLE = (
    b'{"description":"","join_key":"driver_id","kind":"Entity","name":"driver","owner":"","tags":{"$map":{'
    b'}},"value_type":{"$enum":"ValueType.UNKNOWN"}}{"created_timestamp_column":"created_timestamp","date_'
    b'partition_column":"","description":"","field_mapping":{"$map":{}},"file_format":null,"kind":"FileSou'
    b'rce","name":"s","owner":"","path":"d.parquet","s3_endpoint_override":null,"tags":{"$map":{}},"timest'
    b'amp_field":"event_timestamp"}{"description":"","feature_view_projections":[{"desired_features":[],"f'
    b'eatures":[{"checks":null,"description":"","dtype":{"$type":"Float64"},"kind":"Field","name":"f","tag'
    b's":{"$map":{}},"vector_index":false,"vector_length":0,"vector_search_metric":null}],"join_key_map":{'
    b'"$map":{}},"kind":"FeatureViewProjection","name":"view","name_alias":null}],"kind":"FeatureService",'
    b'"logging_config":null,"name":"service","owner":"","tags":{"$map":{}}}{"automation":null,"batch_sourc'
    b'e":{"created_timestamp_column":"created_timestamp","date_partition_column":"","description":"","fiel'
    b'd_mapping":{"$map":{}},"file_format":null,"kind":"FileSource","name":"s","owner":"","path":"d.parque'
    b't","s3_endpoint_override":null,"tags":{"$map":{}},"timestamp_field":"event_timestamp"},"description"'
    b':"","enable_validation":false,"enabled":true,"entities":["driver"],"entity_columns":[],"features":[{'
    b'"checks":null,"description":"","dtype":{"$type":"Float64"},"kind":"Field","name":"f","tags":{"$map":'
    b'{}},"vector_index":false,"vector_length":0,"vector_search_metric":null}],"join_keys":["driver_id"],"'
    b'kind":"FeatureView","name":"view","offline":false,"online":true,"online_generation":"","org":"","own'
    b'er":"","partitions":{"end":null,"grain":"daily","kind":"Partitions","start":null},"stream_source":nu'
    b'll,"tags":{"$map":{}},"ttl":{"$duration_us":86400000000}}'
)
"""What compressed texts refer to. It is part of the format: another one needs another prefix."""

_RAW = -zlib.MAX_WBITS
"""Without a header and a checksum."""


def compressed(text: str) -> str:
    """Returns a text as it is stored."""
    compressor = zlib.compressobj(1, zlib.DEFLATED, _RAW, zlib.DEF_MEM_LEVEL, zlib.Z_DEFAULT_STRATEGY, _EXAMPLE)
    data = compressor.compress(text.encode()) + compressor.flush()
    return _PREFIX + b64encode(data).decode("ascii")


def restored(stored: str) -> str:
    """Returns the text that is stored."""
    if not stored.startswith(_PREFIX):
        return stored
    data = zlib.decompressobj(_RAW, _EXAMPLE).decompress(b64decode(stored[len(_PREFIX) :]))
    return data.decode()
