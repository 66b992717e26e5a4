import os
from pathlib import Path

import hypothesis
import pytest

# The first call of a torch operation can take a second on a busy machine, whatever the example.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout, for tests that read the project's own files."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real scans and weights kept beside the checkout, too large to track."""
    named = os.environ.get("THIRDAXIS_SHARED")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set THIRDAXIS_SHARED to the folder that holds them")
    return folder
