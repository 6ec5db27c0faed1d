"""The server answers what Feast's server answered to the same requests, but for the deviations that are listed.

`record_feast` made the recorded answers. Feast returns the features of one view in the order of a Python set, which
changes from run to run, so columns are compared by name; single features are compared byte for byte.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pairs import OTHER_ROWS, PAIRS, ROWS
from servers import Answered, ask

from feast_assets import FeatureStore
from feast_assets.serving.http.app import FeatureServer

HERE = Path(__file__).parent
RECORDED = json.loads((HERE / "feast_answers.json").read_text(encoding="utf-8"))
SETTINGS = """
project: pairs
registry: registry.db
online_store: {type: sqlite, path: online.db}
"""

ERRORS_OF_USERS = {
    "unknown feature": 404,
    "no features": 400,
    "bad reference": 400,
    "colliding names": 400,
    "missing key": 400,
    "ragged": 400,
    "key of another type": 400,
    "push to nowhere": 400,
    "push without a column": 400,
    "write ragged": 400,
    "materialize without dates": 400,
    "materialize backwards": 400,
    "materialize at no date": 400,
}
"""What a user did wrong: Feast answers 500."""

OTHER_DEVIATIONS = {
    "no entities": "It is a request for no rows: 200 with empty columns, where Feast answers 500.",
    "write to an unknown view": "The class is FeatureViewNotFoundException, where Feast's is its base class.",
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answered]:
    """What this package's server answers."""
    import asyncio

    root = tmp_path_factory.mktemp("pairs")
    (root / "feature_store.yaml").write_text(SETTINGS)
    definitions = (HERE / "pairs_repository.py").read_text(encoding="utf-8").replace("FEAST", "feast_assets")
    (root / "definitions.py").write_text(definitions, encoding="utf-8")
    for name, rows in (("stats", ROWS), ("other", OTHER_ROWS)):
        frame = pd.DataFrame(rows)
        frame["event_timestamp"] = pd.to_datetime(frame["event_timestamp"], format="ISO8601", utc=True)
        frame.to_parquet(root / f"{name}.parquet")
    store = FeatureStore(root)
    store.apply_repository()

    async def all_answers() -> dict[str, Answered]:
        app = FeatureServer(store)
        await app.open()
        try:
            return {name: await ask(app, method, path, body) for name, (method, path, body) in PAIRS.items()}
        finally:
            await app.close()

    return asyncio.run(all_answers())


@pytest.mark.parametrize("name", [name for name, answer in RECORDED.items() if answer["status"] < 300])
def test_what_feast_answers_is_answered_the_same(name: str, answers: dict[str, Answered]) -> None:
    theirs, ours = RECORDED[name], answers[name]
    assert ours.status == theirs["status"], ours.body
    if PAIRS[name][1] != "/get-online-features":
        assert ours.body.decode() == theirs["body"]
        return
    expected = by_name(json.loads(theirs["body"]))
    for column in expected.values():
        # Feast says PRESENT of what a function made of missing values.
        column["statuses"] = [
            "NULL_VALUE" if value is None and status == "PRESENT" else status
            for value, status in zip(column["values"], column["statuses"], strict=True)
        ]
    answered = by_name(ours.json())
    for column in answered.values():
        # Feast drops fractions of a second.
        column["event_timestamps"] = [re.sub(r"\.\d+Z", "Z", time) for time in column["event_timestamps"]]
    assert answered == expected
    if len(expected) == 2:
        assert re.sub(r"\.\d+Z", "Z", ours.body.decode()) == theirs["body"]


def by_name(body: dict[str, Any]) -> dict[str, Any]:
    return dict(zip(body["metadata"]["feature_names"], body["results"], strict=True))


@pytest.mark.parametrize("name", [name for name, answer in RECORDED.items() if answer["status"] >= 300])
def test_what_feast_refuses_is_refused_with_the_same_status_and_class(name: str, answers: dict[str, Answered]) -> None:
    theirs, ours = RECORDED[name], answers[name]
    if name == "no entities":
        assert (theirs["status"], ours.status) == (500, 200)
        assert [column["values"] for column in ours.json()["results"]] == [[], []]
        return
    if name in ERRORS_OF_USERS:
        assert theirs["status"] == 500
        assert ours.status == ERRORS_OF_USERS[name], ours.body
        assert set(ours.error) == {"module", "class", "message"}
        return
    assert ours.status == theirs["status"], ours.body
    body = json.loads(theirs["body"])
    if isinstance(body, str):
        detail = json.loads(body)
        if name not in OTHER_DEVIATIONS:
            assert (ours.error["module"], ours.error["class"]) == (detail["module"], detail["class"])
    elif isinstance(body["detail"], list):
        (told,), (expected,) = ours.json()["detail"], body["detail"]
        assert expected["loc"][: len(told["loc"])] == told["loc"]
    else:
        assert ours.json() == body
