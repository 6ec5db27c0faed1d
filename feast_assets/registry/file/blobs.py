"""The bytes that roots name, read once while they are at hand."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from feast_assets.errors import StoreUnavailableError
from feast_assets.registry.file.objects import Objects
from feast_assets.registry.file.roots import StoredBlob, digest_of

_KEPT_BYTES = 32 << 20
_LARGEST_KEPT = 4 << 20


class BlobLostError(StoreUnavailableError):
    """A blob is not there, or is damaged."""


class Blobs:
    """Reads blobs, and keeps what was read last. Safe to share between threads."""

    def __init__(self, objects: Objects):
        self._objects = objects
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def read(self, blob: StoredBlob) -> bytes:
        """Returns a blob.

        Raises:
            BlobLostError: it is gone, because its root was removed meanwhile, or it is damaged.
        """
        return self.read_all([blob])[0]

    def read_all(self, blobs: Sequence[StoredBlob]) -> list[bytes]:
        """Returns some blobs, in this order; raises as `read` does."""
        contents = []
        for blob, content in zip(blobs, self.read_if_there(blobs), strict=True):
            if content is None:
                raise BlobLostError(
                    f"Registry {self._objects.title} is damaged: {blob.name} is not there, or is not what was written. "
                    "Restore it from a backup."
                )
            contents.append(content)
        return contents

    def read_if_there(self, blobs: Sequence[StoredBlob]) -> list[bytes | None]:
        """Returns some blobs, in this order; None for each that is gone or damaged."""
        with self._lock:
            known = {blob.name: self._kept[blob.name] for blob in blobs if blob.name in self._kept}
            for name in known:
                self._kept.move_to_end(name)
        missing = [blob for blob in dict.fromkeys(blobs) if blob.name not in known]
        read = self._objects.read_all([blob.name for blob in missing]) if missing else []
        for blob, content in zip(missing, read, strict=True):
            if content is not None and digest_of(content) == blob.digest:
                known[blob.name] = content
                self.keep(blob, content)
        return [known.get(blob.name) for blob in blobs]

    def keep(self, blob: StoredBlob, content: bytes) -> None:
        """Keeps a blob that was just read or written."""
        if len(content) > _LARGEST_KEPT:
            return
        with self._lock:
            if blob.name not in self._kept:
                self._bytes += len(content)
            self._kept[blob.name] = content
            while self._bytes > _KEPT_BYTES:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= len(oldest)

    def forget(self, names: Iterable[str]) -> None:
        """Forgets blobs that nobody reads any more."""
        with self._lock:
            for name in names:
                self._bytes -= len(self._kept.pop(name, b""))
