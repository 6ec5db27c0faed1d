"""Data of a newer format is refused, with the version of the package to use."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest

from feast_assets import stored_formats
from feast_assets.compute import push_runs
from feast_assets.compute.push_runs import rows_from_bytes, rows_to_bytes
from feast_assets.errors import InputError, StoredFormatError
from feast_assets.offline_stores.files.kept_results import check_format
from feast_assets.retrieval.training_set import TrainingSetPins
from feast_assets.stored_formats import StoredFormat, package_version

FORMATS = {name: value for name, value in vars(stored_formats).items() if isinstance(value, StoredFormat)}
OF_SHOP = StoredFormat("shops", 4, oldest=2)


@pytest.mark.parametrize("number", [2, 3, 4, "2", "4"])
def test_formats_that_this_version_reads_are_told_by_their_numbers(number: object) -> None:
    assert OF_SHOP.check(number, "Shop a") == int(str(number))


@pytest.mark.parametrize(
    ("number", "written_by", "said"),
    [
        (
            5,
            "",
            "Shop a has format 5; .* reads formats 2 to 4 of shops. Use the version .* that wrote it, or a newer one",
        ),
        ("17", "9.9.9", "Shop a has format 17; .*Use feast-assets 9.9.9, or a newer one."),
        (1, "0.0.1", r"Shop a has format 1; .*Use feast-assets 0.0.1\.$"),
        (None, "", "Shop a says no format .None.; .*Restore it from a backup"),
        ("four", "", "Shop a says no format .'four'."),
        ("-4", "", "Shop a says no format"),
        (4.0, "", "Shop a says no format"),
        (b"4", "", "Shop a says no format"),
    ],
)
def test_other_formats_are_refused_with_the_version_to_use(number: object, written_by: str, said: str) -> None:
    with pytest.raises(StoredFormatError, match=said) as refused:
        OF_SHOP.check(number, "Shop a", written_by=written_by)
    assert f"the installed feast-assets {package_version()} reads" in str(refused.value)


def test_the_documentation_lists_the_numbers_of_all_formats() -> None:
    page = (Path(__file__).parent.parent / "docs" / "stored-formats.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(\w+)` \|.*?\| (\d+) \|", page, flags=re.MULTILINE))
    assert listed == {name: str(value.number) for name, value in FORMATS.items()}


def test_a_noted_push_of_a_newer_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pa.table({"driver_id": [1]}).replace_schema_metadata({"pandas": "kept"})
    assert rows_from_bytes(rows_to_bytes(rows)).equals(rows, check_metadata=True)
    newer = StoredFormat("noted pushes", stored_formats.NOTED_PUSHES.number + 1)
    monkeypatch.setattr(push_runs, "NOTED_PUSHES", newer)
    content = rows_to_bytes(rows)
    monkeypatch.undo()
    with pytest.raises(StoredFormatError, match=f"has format {newer.number}; .* noted pushes"):
        rows_from_bytes(content)


def test_a_training_set_of_a_newer_format_is_refused() -> None:
    pins = TrainingSetPins("shop", 1, ("a:b",), False, 1, "f", (), {})
    assert "format" not in pins.to_dict(), "the same pins give the same bytes as ever"
    assert TrainingSetPins.from_dict({**pins.to_dict(), "format": 1}) == pins
    with pytest.raises(StoredFormatError, match="The training set has format 2; .* reads format 1 of training sets"):
        TrainingSetPins.from_dict({**pins.to_dict(), "format": 2, "unknown": []})
    with pytest.raises(InputError, match="not the pins"):
        TrainingSetPins.from_dict([])  # type: ignore[arg-type]


def test_a_folder_of_kept_results_of_a_newer_format_is_left_alone(tmp_path: Path) -> None:
    check_format(tmp_path)
    assert (tmp_path / ".format").read_text() == "1\n"
    check_format(tmp_path)
    (tmp_path / ".format").write_text("2\n")
    with pytest.raises(StoredFormatError, match=f"The kept result in {tmp_path} has format 2"):
        check_format(tmp_path)
    assert (tmp_path / ".format").read_text() == "2\n"
