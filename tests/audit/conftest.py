import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "compute"))

from small_project import SmallProject


@pytest.fixture
def project(tmp_path):
    made = SmallProject(tmp_path)
    yield made
    made.close()
