import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from small_project import SmallProject


@pytest.fixture
def project(tmp_path):
    made = SmallProject(tmp_path)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def small_blocks_of_fingerprints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has fingerprints compared by what is known of blocks, and this kept, as is done where there are very many."""
    monkeypatch.setattr("feast_assets.offline_stores.fingerprints._FEW", 0)
    monkeypatch.setattr("feast_assets.offline_stores.fingerprints._BLOCK_BITS", 1)
