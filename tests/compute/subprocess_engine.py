"""A compute engine whose workers are processes: they get nothing but the JSON form of tasks."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from feast_assets.compute.engines.base import ComputeEngine, WindowDone, WindowTask
from feast_assets.errors import ComputeEngineError, FeastAssetsError
from feast_assets.settings.model import Settings

WORKER = (sys.executable, "-m", "feast_assets.task_worker")


class SubprocessEngineConfig(Settings):
    """Settings of the engine.

    Attributes:
        workers: how many processes there are at most.
    """

    type: Literal["subprocess"] = "subprocess"
    workers: int = 2


class SubprocessEngine(ComputeEngine):
    """Runs each task in one of several processes, which stay until the engine is closed.

    Args:
        command: starts a worker.
    """

    config_class = SubprocessEngineConfig
    windows_per_task = 2

    def __init__(
        self, config: SubprocessEngineConfig | None = None, root: Path = Path(), command: Sequence[str] = WORKER
    ):
        self._most = (config or SubprocessEngineConfig()).workers
        self._command = command
        self._idle: list[subprocess.Popen[str]] = []
        self._lock = threading.Lock()
        self.tasks_run = 0

    def run(self, tasks: Sequence[WindowTask]) -> Iterator[WindowDone]:
        texts = [(task, task.to_json()) for task in tasks]
        waiting: queue.SimpleQueue[tuple[WindowTask, str]] = queue.SimpleQueue()
        for each in texts:
            waiting.put(each)
        answers: queue.SimpleQueue[WindowDone] = queue.SimpleQueue()
        threads = [
            threading.Thread(target=self._work, args=(waiting, answers)) for _ in range(min(self._most, len(tasks)))
        ]
        for thread in threads:
            thread.start()
        try:
            for _ in tasks:
                yield answers.get()
        finally:
            while not waiting.empty():  # what has not begun does not begin
                try:
                    waiting.get_nowait()
                except queue.Empty:
                    break
            for thread in threads:
                thread.join()

    def close(self) -> None:
        for worker in self._idle:
            worker.communicate(timeout=60)
        self._idle.clear()

    def _work(self, waiting: queue.SimpleQueue[tuple[WindowTask, str]], answers: queue.SimpleQueue[WindowDone]) -> None:
        while True:
            try:
                task, text = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                answers.put(self._ask(task, text))
            except FeastAssetsError as error:
                answers.put(WindowDone(task.id, error=error))

    def _ask(self, task: WindowTask, text: str) -> WindowDone:
        """Returns a worker's answer.

        Raises:
            ComputeEngineError: the worker ended without one.
        """
        with self._lock:
            self.tasks_run += 1
            worker = self._idle.pop() if self._idle else None
        if worker is None:
            worker = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert worker.stdin is not None
        assert worker.stdout is not None
        try:
            worker.stdin.write(text + "\n")
            worker.stdin.flush()
            answer = worker.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            worker.communicate(timeout=60)
            code = worker.returncode
            raise ComputeEngineError(
                f"The worker of feature view {task.view!r} ended with code {code} before it answered; its windows from "
                f"{task.windows[0].start.isoformat()} on stay unsettled. Materialize the view again."
            )
        with self._lock:
            self._idle.append(worker)
        return WindowDone.from_json(answer)
