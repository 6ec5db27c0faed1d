"""The worker of a compute engine: runs tasks that another process has claimed.

    python -m feast_assets.task_worker < tasks > answers

Tasks come as JSON objects, one a line, and so do the answers, each as soon as its task is done. A task names the
repository and the file of settings, which are loaded here; environment variables that the settings name must be set.
Tasks must come from a trusted process, since the repository's Python files are run. Definitions are read once: start a
new worker after they have been changed and applied.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from feast_assets.compute.engines.base import RepositoryReference, WindowDone, WindowTask
from feast_assets.errors import FeastAssetsError

if TYPE_CHECKING:
    from feast_assets.feature_store import FeatureStore


class TaskWorker:
    """Runs tasks of any repository; each is loaded once."""

    def __init__(self) -> None:
        self._stores: dict[RepositoryReference, FeatureStore] = {}

    def run(self, text: str) -> str:
        """Runs one task; what went wrong is in the answer.

        Args:
            text: `WindowTask.to_json`.

        Returns:
            `WindowDone.to_json`.

        Raises:
            InputError: the text is not a task.
        """
        task = WindowTask.from_json(text)
        try:
            store = self._store(task.reference)
        except FeastAssetsError as error:
            return WindowDone(task.id, error=error).to_json()
        return store.run_window_task(task).to_json()

    def close(self) -> None:
        """Releases the connections of all repositories."""
        for store in self._stores.values():
            store.close()
        self._stores.clear()

    def _store(self, reference: RepositoryReference) -> FeatureStore:
        from feast_assets.feature_store import FeatureStore

        if reference not in self._stores:
            self._stores[reference] = FeatureStore(reference.repository, fs_yaml_file=Path(reference.config))
        return self._stores[reference]


def main() -> None:
    """Runs the tasks of standard input."""
    # What definition files print must not come between the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    worker = TaskWorker()
    try:
        for line in sys.stdin:
            if line.strip():
                print(worker.run(line), file=answers, flush=True)
    finally:
        worker.close()


if __name__ == "__main__":
    main()
