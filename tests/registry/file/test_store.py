"""The file registry: no change is lost or half made, whatever breaks, and it costs what has changed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from feast_assets.definitions.window import Window
from feast_assets.errors import ConfigError, StoredFormatError, StoreUnavailableError
from feast_assets.registry.base import Changes, OnlineTable, WindowContent
from feast_assets.registry.file import definitions, roots, store
from feast_assets.registry.file.config import FileRegistryConfig
from feast_assets.registry.file.objects import LocalObjects, Objects
from feast_assets.registry.file.store import FileRegistry
from feast_assets.testing.registry import DAY, FIRST, commit, entity, entry, record, view
from feast_assets.types import Float64, Int64, String


class Killed(BaseException):
    """The process ends here."""


class Watched(Objects):
    """Objects that count what is asked of them, and may break in the middle."""

    def __init__(self, objects: Objects):
        self.objects = objects
        self.calls: list[tuple[str, str]] = []
        self.left: int | None = None
        """How many more objects are written before the process is killed; None for no end."""
        self.after_create: Callable[[], None] = lambda: None

    @property
    def title(self) -> str:
        return self.objects.title

    def read(self, name: str) -> bytes | None:
        self.calls.append(("read", name))
        return self.objects.read(name)

    def create(self, name: str, content: bytes) -> bool:
        self._spend(name)
        created = self.objects.create(name, content)
        self.after_create()
        return created

    def write(self, contents: Mapping[str, bytes]) -> None:
        for name, content in contents.items():
            self._spend(name)
            self.objects.write({name: content})

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            self._spend(name)
            self.objects.remove([name])

    def listed(self, folder: str) -> dict[str, float]:
        self.calls.append(("list", folder))
        return self.objects.listed(folder)

    def beginning_at_path(self, length: int) -> bytes:
        return self.objects.beginning_at_path(length)

    def folders(self, folder: str) -> list[str]:
        return self.objects.folders(folder)

    def _spend(self, name: str) -> None:
        if self.left is not None:
            if not self.left:
                raise Killed
            self.left -= 1
        self.calls.append(("write", name))


def registry_in(folder: Path, project: str = "shop") -> FileRegistry:
    return FileRegistry(FileRegistryConfig(path="file://registry"), folder, project)


def watched(folder: Path) -> tuple[FileRegistry, Watched]:
    registry = registry_in(folder)
    objects = Watched(registry._objects)
    for part in (registry, registry._roots, registry._blobs):
        part._objects = objects  # type: ignore[attr-defined]
    return registry, objects


def files_of(folder: Path, kind: str) -> list[str]:
    return sorted(os.listdir(folder / "registry" / "projects" / "shop" / kind))


def make_changes(registry: FileRegistry, turn: int) -> None:
    commit(registry, entity("driver", f"turn {turn}"), view("trips", [(f"f{turn}", Float64)]))
    day = entry("trips", FIRST + turn * DAY, FIRST + (turn + 1) * DAY, f"f{turn}")
    record(registry, day)
    registry.draw_marks("trips", OnlineTable("t", 1))
    registry.keep_part_statistics("digest", "trips", b"%d" % turn, instead_of=[turn - 1])


def state_of(registry: FileRegistry) -> list[object]:
    snapshot = registry.snapshot()
    return [
        snapshot.revision,
        [(o.to_spec(), o.created_timestamp, o.last_updated_timestamp) for o in snapshot.objects()],
        snapshot.feature_lists("trips"),
        registry.ledger("trips"),
        registry.known_marks("trips", "t"),
        [segment.content for segment in registry.part_statistics("digest")],
    ]


def test_a_writer_that_is_killed_at_any_moment_leaves_what_was_there_or_all_of_its_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roots, "KEPT_SECONDS", -1.0)
    monkeypatch.setattr(roots, "PRUNED_EVERY", 2)
    make_changes(registry_in(tmp_path), 0)
    killed = 0
    for turn in range(1, 40):
        before = state_of(registry_in(tmp_path))
        registry, objects = watched(tmp_path)
        objects.left = turn % 9
        change = WindowContent(Window(FIRST + turn * DAY, FIRST + (turn + 1) * DAY), "f", "d")
        try:
            registry.claim("trips", [change], table=OnlineTable("t", 1))
        except Killed:
            killed += 1
        after = state_of(registry_in(tmp_path))
        is_made = any(call == "write" and "/roots/" in name for call, name in objects.calls)
        assert (after != before) == is_made
        assert change.window in [e.window for e in registry_in(tmp_path).ledger("trips")] or not is_made
        record(registry_in(tmp_path), entry("rides", FIRST, FIRST + DAY, f"f{turn}"))
    assert killed > 10


def test_an_answer_that_is_lost_is_looked_up_so_that_no_change_is_made_twice(tmp_path: Path) -> None:
    registry, objects = watched(tmp_path)
    commit(registry, entity("driver"))

    def lose_the_answer() -> None:
        objects.after_create = lambda: None
        raise StoreUnavailableError("the connection was reset")

    objects.after_create = lose_the_answer
    assert commit(registry, entity("rider")) == 2
    assert [r.summary for r in registry.revisions()] == ["created entity driver", "created entity rider"]
    assert len(files_of(tmp_path, "roots")) == 2


def test_a_change_of_which_nobody_can_tell_whether_it_was_made_keeps_its_blobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The root may be there, and would be damaged without them."""
    registry, objects = watched(tmp_path)
    commit(registry, entity("driver"))
    monkeypatch.setattr(roots, "pause", lambda attempt: None)
    read = registry._roots._read

    def down(*_: object) -> None:
        raise StoreUnavailableError("the connection was reset")

    def lose_the_answer() -> None:
        registry._roots._read = down  # type: ignore[method-assign,assignment]
        down()

    objects.after_create = lose_the_answer
    with pytest.raises(StoreUnavailableError):
        commit(registry, entity("rider"))
    registry._roots._read = read  # type: ignore[method-assign]
    assert [e.name for e in registry_in(tmp_path).snapshot().entities] == ["driver", "rider"]


def test_a_change_that_was_made_is_told_so_although_the_house_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, _ = watched(tmp_path)
    monkeypatch.setattr(roots, "PRUNED_EVERY", 1)

    def down(*_: object) -> None:
        raise StoreUnavailableError("the connection was reset")

    monkeypatch.setattr(registry._roots, "prune", down)
    assert commit(registry, entity("driver")) == 1


def test_two_writers_of_the_same_state_both_get_their_change_in(tmp_path: Path) -> None:
    registry = registry_in(tmp_path)
    commit(registry, entity("driver"))
    other = registry_in(tmp_path)
    newest = registry._roots.newest

    def overtaken() -> tuple[roots.Root, float]:
        root = newest()
        registry._roots.newest = newest  # type: ignore[method-assign]
        record(other, entry("trips", FIRST, FIRST + DAY))
        return root

    registry._roots.newest = overtaken  # type: ignore[method-assign]
    assert commit(registry, entity("rider")) == 2
    assert len(registry.ledger("trips")) == 1
    assert [e.name for e in other.snapshot().entities] == ["driver", "rider"]


def test_every_revision_can_be_read_and_roots_and_blobs_do_not_pile_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roots, "KEPT_SECONDS", -1.0)
    monkeypatch.setattr(roots, "TRUSTED_SECONDS", -2.0)
    monkeypatch.setattr(roots, "PRUNED_EVERY", 8)
    monkeypatch.setattr(definitions, "CHECKPOINT_EVERY", 4)
    monkeypatch.setattr(definitions, "PAGE_REVISIONS", 8)
    registry = registry_in(tmp_path)
    reader = registry_in(tmp_path)
    seen = reader.snapshot()
    kinds = (Float64, Int64, String)
    for turn in range(1, 31):
        commit(registry, entity("driver", f"turn {turn}"), view("trips", [("f", kinds[turn % 3])]))
        record(registry, entry("trips", FIRST, FIRST + DAY, f"f{turn}"))
        if turn % 7 == 0:
            seen = reader.refreshed(seen)
            assert seen.entity("driver").description == f"turn {turn}"
    fresh = registry_in(tmp_path)
    for turn in range(1, 31):
        assert fresh.snapshot(turn).entity("driver").description == f"turn {turn}"
        assert fresh.snapshot(turn).committed > 0
    assert [r.number for r in fresh.revisions()] == list(range(1, 31))
    assert [fields[0].dtype for fields in fresh.snapshot().feature_lists("trips")] == [Float64, String, Int64]
    assert len(files_of(tmp_path, "roots")) <= 8
    # 30 deltas, 7 checkpoints, 3 pages, and of each kept root at most a ledger, a segment and what it dropped.
    assert len(files_of(tmp_path, "blobs")) < 30 + 7 + 3 + 8 * 3
    named = registry._named_blobs(registry._newest()[0])
    assert {name.rpartition("/")[2] for name in named} <= set(files_of(tmp_path, "blobs"))


def test_blobs_of_killed_writers_are_removed_once_they_are_old(tmp_path: Path) -> None:
    registry = registry_in(tmp_path)
    for turn in range(20):
        make_changes(registry, turn)
    before = state_of(registry)
    folder = tmp_path / "registry/projects/shop/blobs"
    for name, age in (("orphan", 2 * roots.ORPHANED_SECONDS), (".writing-x", 10**6), ("young", 60.0)):
        (folder / name).write_bytes(b"left behind")
        os.utime(folder / name, (time.time() - age,) * 2)
    for name in os.listdir(folder):
        if name not in ("orphan", ".writing-x", "young"):
            os.utime(folder / name, (time.time() - 3 * roots.ORPHANED_SECONDS,) * 2)
    registry._roots.sweep(registry._newest()[0], registry._named_blobs)
    left = files_of(tmp_path, "blobs")
    assert "young" in left
    assert not {"orphan", ".writing-x"} & set(left)
    assert state_of(registry_in(tmp_path)) == before


def test_a_root_that_somebody_may_still_rely_on_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roots, "PRUNED_EVERY", 4)
    registry = registry_in(tmp_path)
    for i in range(20):
        record(registry, entry("trips", FIRST, FIRST + DAY, f"f{i}"))
    assert len(files_of(tmp_path, "roots")) == 40


def test_a_reader_that_slept_for_long_lists_the_roots_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roots, "KEPT_SECONDS", -1.0)
    monkeypatch.setattr(roots, "PRUNED_EVERY", 4)
    sleeper, writer = registry_in(tmp_path), registry_in(tmp_path)
    commit(writer, entity("driver", "0"))
    assert sleeper.revision() == 1
    for i in range(1, 12):
        commit(writer, entity("driver", f"{i}"))
    now = roots.now_seconds()
    monkeypatch.setattr(roots, "now_seconds", lambda: now + 2 * roots.TRUSTED_SECONDS)
    monkeypatch.setattr(store, "now_seconds", lambda: now + 2 * roots.TRUSTED_SECONDS)
    assert sleeper.snapshot().entity("driver").description == "11"
    assert commit(sleeper, entity("rider")) == 13


def test_what_was_removed_under_a_reader_is_read_from_the_newest_state(tmp_path: Path) -> None:
    writer = registry_in(tmp_path)
    record(writer, entry("trips", FIRST, FIRST + DAY, "one"))
    reader = registry_in(tmp_path)
    with reader.reading_at_once():
        record(writer, entry("trips", FIRST, FIRST + DAY, "two"))
        named = {name.rpartition("/")[2] for name in writer._named_blobs(writer._newest()[0])}
        for name in set(files_of(tmp_path, "blobs")) - named:
            (tmp_path / "registry/projects/shop/blobs" / name).unlink()
        (later,) = reader.ledger("trips")
    assert later.fingerprint == "two"


def test_a_lost_or_damaged_segment_makes_its_time_run_again(tmp_path: Path) -> None:
    registry = registry_in(tmp_path)
    record(registry, entry("trips", FIRST, FIRST + DAY), entry("trips", FIRST + DAY, FIRST + 2 * DAY, "g"))
    ((*_, blob),) = store_segments(registry)
    file = tmp_path / "registry" / blob.name
    for damage in (lambda: file.write_bytes(b"damaged"), file.unlink):
        damage()
        (left,) = registry_in(tmp_path).ledger("trips")
        assert (left.window, left.settled) == (Window(FIRST, FIRST + 2 * DAY), False)
    (again, rest) = record(registry_in(tmp_path), entry("trips", FIRST, FIRST + DAY)), registry_in(tmp_path)
    assert again[0] in rest.ledger("trips")


def store_segments(registry: FileRegistry) -> Sequence[tuple[int, int, int, roots.StoredBlob]]:
    from feast_assets.registry.file.ledgers import StoredLedger

    return StoredLedger.of(registry._newest()[0], "trips", registry._blobs).segments


def test_a_look_that_finds_nothing_new_asks_for_one_object(tmp_path: Path) -> None:
    registry, objects = watched(tmp_path)
    names = [f"v{i}" for i in range(5)]
    commit(registry, *(view(name) for name in names))
    for name in names:
        record(registry, *(entry(name, FIRST + i * DAY, FIRST + (i + 1) * DAY) for i in range(3)))
    snapshot = registry.snapshot()
    tokens = registry.ledger_change_tokens(names)
    objects.calls.clear()
    assert registry.ledger_change_tokens(names) == tokens
    assert registry.refreshed(snapshot) is snapshot
    assert [call for call, _ in objects.calls] == ["read", "read"]
    objects.calls.clear()
    with registry.reading_at_once():
        registry.refreshed(snapshot)
        registry.ledger_change_tokens(names)
        registry.ledger("v1")
    assert len(objects.calls) == 1, "what was read or written before is at hand"


def test_a_claim_in_a_long_ledger_reads_and_writes_one_segment(tmp_path: Path) -> None:
    writer = registry_in(tmp_path)
    hours = [WindowContent(Window(FIRST + i * DAY, FIRST + (i + 1) * DAY), "", "d") for i in range(20_000)]
    writer.claim("trips", [], empty=hours)
    assert len(store_segments(writer)) > 15
    registry, objects = watched(tmp_path)
    registry.claim("trips", [WindowContent(hours[9_000].window, "f", "d")])
    read = [name for call, name in objects.calls if call == "read" and "/blobs/" in name]
    written = [name for call, name in objects.calls if call == "write"]
    assert len(read) == 2, "the list of segments, and one of them"
    assert len(written) == 3, "the same, and the root"


def test_a_teardown_leaves_nothing_but_a_number_and_other_projects(tmp_path: Path) -> None:
    other = registry_in(tmp_path, "other")
    commit(other, entity("driver"))
    registry = registry_in(tmp_path)
    for turn in range(3):
        make_changes(registry, turn)
    stale = registry_in(tmp_path)
    assert stale.revision() == 3
    registry.teardown()
    assert files_of(tmp_path, "blobs") == []
    texts = [
        (tmp_path / "registry/projects/shop/roots" / name).read_text(encoding="utf-8")
        for name in files_of(tmp_path, "roots")
    ]
    assert not any("trips" in text or "driver" in text for text in texts)
    assert [p.name for p in registry.projects()] == ["other"]
    assert commit(stale, entity("rider")) == 1
    assert [e.name for e in registry.snapshot().entities] == ["rider"]


def test_what_a_newer_version_wrote_is_refused_and_not_touched(tmp_path: Path) -> None:
    registry = registry_in(tmp_path)
    commit(registry, entity("driver"))
    file = tmp_path / "registry/projects/shop/roots" / files_of(tmp_path, "roots")[-1]
    newer = file.read_text(encoding="utf-8").replace('"format":1', '"format":2')
    file.with_name(f"{2:020}.json").write_text(newer, encoding="utf-8")
    for call in (registry.snapshot, registry_in(tmp_path).snapshot, lambda: commit(registry, entity("rider"))):
        with pytest.raises(StoredFormatError, match="has format 2; .* reads format 1 of file registries"):
            call()
    assert len(files_of(tmp_path, "roots")) == 2


def test_a_feast_registry_file_at_the_path_is_left_alone_and_the_error_says_what_imports_it(tmp_path: Path) -> None:
    feast_file = Path(__file__).parents[1] / "sql" / "feast_file_registry.pb"
    (tmp_path / "registry").write_bytes(feast_file.read_bytes())
    registry = registry_in(tmp_path)
    for call in (registry.snapshot, lambda: commit(registry, entity("driver"))):
        with pytest.raises(ConfigError, match="Feast wrote.*feast-assets migrate REPOSITORY --import-registry"):
            call()
    assert (tmp_path / "registry").read_bytes() == feast_file.read_bytes()


def test_a_folder_that_cannot_be_used_is_said_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "registry").write_text("something else", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"registry is, or is below, a file; a registry at file:// is a folder"):
        registry_in(tmp_path).commit(Changes([entity("driver")]))


def test_local_objects_appear_whole_and_once(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path / "place")
    assert objects.create("a/b", b"one")
    assert not objects.create("a/b", b"two")
    assert objects.read("a/b") == b"one"
    assert list(objects.listed("a")) == ["a/b"]
    assert objects.folders("") == ["a"]
    objects.remove(["a/b", "a/c"])
    assert objects.read("a/b") is None
    assert objects.listed("a") == objects.listed("nowhere") == {}
