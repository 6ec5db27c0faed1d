"""Formats of files that hold history."""

from __future__ import annotations

from feast_assets.definitions.spec import Spec


class FileFormat(Spec):
    """Base of file formats."""


class ParquetFormat(FileFormat):
    """Apache Parquet."""


class CsvFormat(FileFormat):
    """Comma-separated text with a header line; column types are inferred from the whole file."""


class DeltaFormat(FileFormat):
    """A Delta Lake table (a folder with ``_delta_log``); needs the extra ``feast-assets[delta]``."""
