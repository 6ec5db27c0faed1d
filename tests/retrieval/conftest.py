import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from drivers import Project


@pytest.fixture
def project(tmp_path):
    made = Project(tmp_path)
    yield made
    made.close()
