"""The format of a folder that keeps the result of a transformation: one file a window, named by the window.

The number of the format is in the hidden file ``.format``. Readers take the folder for any other folder of Parquet
files; whoever replaces windows must find the files of earlier runs by their names.
"""

from __future__ import annotations

from pathlib import Path

from feast_assets.atomic_files import new_file
from feast_assets.stored_formats import KEPT_RESULTS

_FILE = ".format"


def check_format(folder: Path) -> None:
    """Checks that this version may replace windows in a folder, and notes the format where it is not noted yet.

    The caller has locked the folder. A folder without a number is of format 1, which the first versions did not note.

    Raises:
        StoredFormatError: a newer version of this package wrote the folder.
        StoreUnavailableError: the number cannot be written.
    """
    file = folder / _FILE
    if file.exists():
        KEPT_RESULTS.check(file.read_text(encoding="utf-8").strip(), f"The kept result in {folder}")
        return
    with new_file(file) as temporary:
        temporary.write_text(f"{KEPT_RESULTS.number}\n", encoding="utf-8")
