"""Run with Feast's own Python: records what its server answers to `pairs.PAIRS`, for `test_feast_pairs`.

FEAST_PYTHON tests/serving/record_feast.py tests/serving/feast_answers.json
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).parent
SETTINGS = """
project: pairs
provider: local
registry: registry.db
online_store: {type: sqlite, path: online.db}
entity_key_serialization_version: 3
"""


def main(target: str) -> None:
    import pandas as pd
    import requests
    import uvicorn
    from feast import FeatureStore
    from feast.feature_server import get_app
    from feast.repo_operations import apply_total
    from pairs import OTHER_ROWS, PAIRS, ROWS

    recorded = Path(target).resolve()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "feature_store.yaml").write_text(SETTINGS)
        definitions = (HERE / "pairs_repository.py").read_text().replace("FEAST", "feast")
        (root / "definitions.py").write_text(definitions)
        for name, rows in (("stats", ROWS), ("other", OTHER_ROWS)):
            frame = pd.DataFrame(rows)
            frame["event_timestamp"] = pd.to_datetime(frame["event_timestamp"], format="ISO8601", utc=True)
            frame.to_parquet(root / f"{name}.parquet")
        os.chdir(root)
        sys.path.insert(0, str(root))
        from feast.repo_config import load_repo_config

        apply_total(load_repo_config(root, root / "feature_store.yaml"), root, True)
        answers = {}
        server = uvicorn.Server(uvicorn.Config(get_app(FeatureStore(str(root))), port=0, log_level="error"))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        for name, (method, path, body) in PAIRS.items():
            url = f"http://127.0.0.1:{port}{path}"
            done = requests.request(method, url, timeout=60, **({} if body is None else {"json": body}))
            done.encoding = "utf-8"
            answers[name] = {"status": done.status_code, "body": done.text}
        server.should_exit = True
        thread.join()
        recorded.write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    main(sys.argv[1])
