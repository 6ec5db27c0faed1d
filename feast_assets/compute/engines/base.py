"""What a compute engine is: it runs tasks, each of which writes some windows of one view in one pass.

A task reads the newest row of each entity in its windows, and puts these into the online store; where the view keeps
its result, it computes and keeps that first. The caller claims the windows before, and settles them afterwards, in the
ledger (`feast_assets.compute.settle`). So a worker that is killed leaves windows that are claimed and not settled, and
the next run writes them again. Put keeps the newer row, so tasks can run in any order, at once, and twice.

A task has a JSON form without settings or secrets. It names the repository and the file of settings, which another
process loads to run it (`feast_assets.task_worker`). An engine passes `feast_assets.testing.ComputeEngineConformance`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from feast_assets import errors
from feast_assets.definitions.spec import canonical_text, from_micros, to_micros
from feast_assets.definitions.window import Window
from feast_assets.errors import ComputeEngineError, ConfigError, FeastAssetsError, InputError, shown
from feast_assets.offline_stores.base import WindowStatistics
from feast_assets.registry.base import Claim

if TYPE_CHECKING:
    from pydantic import BaseModel

    from feast_assets.compute.engines.context import TaskContext

FORMAT = 1
"""The number of the JSON form of tasks and answers. It grows when an older worker would misread a newer form."""


@dataclass(frozen=True, slots=True)
class RepositoryReference:
    """Where another process finds the definitions and the settings of a project.

    Attributes:
        repository: the feature repository, an absolute path.
        config: the file of settings, an absolute path; ``""`` where the settings were given in Python, so that no other
            process can load them.
    """

    repository: str
    config: str


@dataclass(frozen=True, slots=True)
class WindowTask:
    """Some windows of one view, to be written in one pass.

    Attributes:
        id: names the task among those of a run.
        project: as the registry and the online store know it, the deployment included.
        windows: in order of time; they do not overlap.
        versions: of the windows, under which their rows are put.
        definition_hash: of the view and its online table, as the claim says; a worker with another definition refuses.
        revision: of the registry, that the view is read at.
        claim: names the claim of the windows in the ledger.
        run_id: who runs it, for the ledger.
        only_replaces: whether the ledger holds later windows. If so, an entity that the store lacks gets its newest row
            of all windows of the ledger, and not an older one of these.
        validates: whether rows that break their fields' checks are refused.
        reference: where another process finds the repository.
        context: what is open in this process already. It is not part of the JSON form.
    """

    id: str
    project: str
    view: str
    windows: tuple[Window, ...]
    versions: tuple[int, ...]
    definition_hash: str
    revision: int
    claim: str
    run_id: str
    reference: RepositoryReference
    only_replaces: bool = False
    validates: bool = False
    context: TaskContext | None = field(default=None, compare=False, repr=False)

    @property
    def span(self) -> Window:
        """The time from the first window to the last."""
        return Window(self.windows[0].start, self.windows[-1].end)

    @property
    def claimed(self) -> Claim:
        """The claim, for unsettling other windows whose rows are used."""
        return Claim(self.view, self.claim, self.versions, ())

    def to_json(self) -> str:
        """Returns the task as a JSON object, for `from_json` in another process.

        Raises:
            ConfigError: the settings were given in Python, so no other process can load them.
        """
        if not self.reference.config:
            raise ConfigError(
                f"Feature view {self.view!r} cannot be materialized by a compute engine outside of this process: the "
                "settings were given in Python. Write them to feature_store.yaml, or use batch_engine: local."
            )
        return canonical_text(
            {
                "format": FORMAT,
                "id": self.id,
                "project": self.project,
                "view": self.view,
                "windows": [_window_form(w) for w in self.windows],
                "versions": list(self.versions),
                "definition_hash": self.definition_hash,
                "revision": self.revision,
                "claim": self.claim,
                "run_id": self.run_id,
                "only_replaces": self.only_replaces,
                "validates": self.validates,
                "repository": self.reference.repository,
                "config": self.reference.config,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> WindowTask:
        """Returns the task that `to_json` described.

        Raises:
            InputError: the text is not a task, or was written by a newer version of this package.
        """
        form = _read(text, "task")
        try:
            task = cls(
                id=str(form["id"]),
                project=str(form["project"]),
                view=str(form["view"]),
                windows=tuple(_window(w) for w in form["windows"]),
                versions=tuple(int(v) for v in form["versions"]),
                definition_hash=str(form["definition_hash"]),
                revision=int(form["revision"]),
                claim=str(form["claim"]),
                run_id=str(form["run_id"]),
                reference=RepositoryReference(str(form["repository"]), str(form["config"])),
                only_replaces=bool(form["only_replaces"]),
                validates=bool(form["validates"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"The JSON form of a window task is damaged: {error!r}.") from error
        if not task.windows or len(task.windows) != len(task.versions):
            raise InputError(
                f"The JSON form of a window task is damaged: it has {len(task.windows)} windows and "
                f"{len(task.versions)} versions."
            )
        return task


@dataclass(frozen=True, slots=True)
class WindowDone:
    """The result of a task.

    Attributes:
        task: the task's id.
        entities: how many entities have their newest row of the task in each window.
        written: rows of these windows that are in the online store now and were not before; None where the store does
            not know.
        ignored: rows that were not newer than what the store held; None where the store does not know.
        written_of_others: rows of later windows that were put for entities that the store lacked; None where the store
            does not know.
        kept: of a kept result, its statistics in each window; empty where none is kept.
        is_sure: whether all rows that were read lie in the task's windows. If not, the source has changed since it was
            looked at, and the windows stay unsettled.
        error: why the task failed; None where it did not. Some of its rows may be in the stores.
    """

    task: str
    entities: tuple[int, ...] = ()
    written: int | None = 0
    ignored: int | None = 0
    written_of_others: int | None = 0
    kept: tuple[WindowStatistics, ...] = ()
    is_sure: bool = True
    error: FeastAssetsError | None = None

    def written_by_window(self) -> list[int | None]:
        """Returns how many rows of each window were written; None where it is not known.

        A store counts for all windows of a task together. So it is known of each if all of their rows were written, or
        none, or if there is one window.
        """
        if self.ignored == 0:
            return list(self.entities)
        if self.written == 0:
            return [0] * len(self.entities)
        return [self.written] if len(self.entities) == 1 else [None] * len(self.entities)

    def to_json(self) -> str:
        """Returns the answer as a JSON object, for `from_json` in the process that settles."""
        return canonical_text(
            {
                "format": FORMAT,
                "task": self.task,
                "entities": list(self.entities),
                "written": self.written,
                "ignored": self.ignored,
                "written_of_others": self.written_of_others,
                "kept": [_statistics_form(s) for s in self.kept],
                "is_sure": self.is_sure,
                "error": None if self.error is None else [type(self.error).__name__, str(self.error)],
            }
        )

    @classmethod
    def from_json(cls, text: str) -> WindowDone:
        """Returns the answer that `to_json` described.

        Raises:
            InputError: the text is not an answer, or was written by a newer version of this package.
        """
        form = _read(text, "answer")
        try:
            return cls(
                task=str(form["task"]),
                entities=tuple(int(count) for count in form["entities"]),
                written=_count(form["written"]),
                ignored=_count(form["ignored"]),
                written_of_others=_count(form["written_of_others"]),
                kept=tuple(_statistics(s) for s in form["kept"]),
                is_sure=bool(form["is_sure"]),
                error=None if form["error"] is None else error_named(*form["error"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"The JSON form of a compute engine's answer is damaged: {error!r}.") from error


class ComputeEngine(ABC):
    """Runs tasks, somewhere.

    Class attributes:
        config_class: the settings of the section ``batch_engine``; its ``type`` names the engine.
        tasks_at_once: how many tasks of a view one call of `run` is given; None for all. Their windows are claimed
            just before.
        windows_per_task: how many windows a task has at most; None for all that follow each other. Fewer make more
            tasks, which can run at once, and more rows to put, as each gives an entity's newest row of its own windows.
        uses_context: whether the engine runs tasks in the caller's process, with what is open there.
    """

    config_class: ClassVar[type[BaseModel]]
    tasks_at_once: ClassVar[int | None] = None
    windows_per_task: ClassVar[int | None] = None
    uses_context: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, config: BaseModel, root: Path): ...

    @abstractmethod
    def run(self, tasks: Sequence[WindowTask]) -> Iterator[WindowDone]:
        """Runs tasks; yields what became of each, once, in any order, as soon as it is known.

        An error that a task meets is in its answer (`WindowDone.error`), and the other tasks go on. What ends the
        engine itself, such as a cluster that cannot be reached, is raised; tasks without an answer then stay unsettled.
        The iterator is closed when the caller does not wait for the rest: work that has not begun should not begin.
        """

    def close(self) -> None:  # noqa: B027
        """Releases connections and workers."""


def error_named(name: str, message: str) -> FeastAssetsError:
    """Returns an error of this package by the name of its class, with a message that was made elsewhere.

    A class that takes more than a message gives its nearest base that does not; an unknown one `ComputeEngineError`.
    """
    named = getattr(errors, name, None)
    if not isinstance(named, type) or not issubclass(named, FeastAssetsError):
        return ComputeEngineError(f"{name}: {message}")
    plain = next(c for c in named.__mro__ if issubclass(c, FeastAssetsError) and _takes_a_message(c))
    return plain(message)


def _takes_a_message(cls: type[FeastAssetsError]) -> bool:
    return cls.__init__ is FeastAssetsError.__init__


def _read(text: str, kind: str) -> Mapping[str, Any]:
    try:
        form = json.loads(text)
    except ValueError as error:
        raise InputError(f"The JSON form of a compute engine's {kind} cannot be read: {shown(text)}.") from error
    if not isinstance(form, Mapping) or not isinstance(form.get("format"), int):
        raise InputError(f"{shown(text)} is not the JSON form of a compute engine's {kind}.")
    if form["format"] > FORMAT:
        raise InputError(
            f"This compute engine's {kind} has the format {form['format']}, and this version of feast-assets reads "
            f"formats up to {FORMAT}. Install the same version of feast-assets on both sides."
        )
    return form


def _count(value: Any) -> int | None:
    return None if value is None else int(value)


def _window_form(window: Window) -> list[int]:
    return [to_micros(window.start), to_micros(window.end)]


def _window(form: Sequence[int]) -> Window:
    start, end = form
    return Window(from_micros(start), from_micros(end))


def _statistics_form(s: WindowStatistics) -> dict[str, object]:
    times = {"oldest_event": s.oldest_event, "newest_event": s.newest_event, "newest_created": s.newest_created}
    return {
        "window": _window_form(s.window),
        "rows": s.rows,
        **{name: None if moment is None else to_micros(moment) for name, moment in times.items()},
        "fingerprint": s.fingerprint,
        "null_keys": s.null_keys,
    }


def _statistics(form: Mapping[str, Any]) -> WindowStatistics:
    def moment(name: str) -> Any:
        return None if form[name] is None else from_micros(int(form[name]))

    return WindowStatistics(
        _window(form["window"]),
        int(form["rows"]),
        moment("oldest_event"),
        moment("newest_event"),
        moment("newest_created"),
        str(form["fingerprint"]),
        int(form["null_keys"]),
    )
