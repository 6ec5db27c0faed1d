"""Run as a program: pushes one numbered batch after another, until it is killed."""

from __future__ import annotations

import sys
from pathlib import Path

from push_project import PushProject

from feast_assets import PushMode


def main(root: str, source: str, redis: str, first: str) -> None:
    project = PushProject(Path(root), source, redis)
    number = int(first)
    project.store.get_feature_view("stats")
    while True:
        print(number, flush=True)
        project.store.push("live", project.batch(number), to=PushMode.ONLINE_AND_OFFLINE)
        number += 1


if __name__ == "__main__":
    main(*sys.argv[1:])
