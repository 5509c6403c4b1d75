"""Fixtures that several rooms share."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.pulling import Mirror
from tests.testhub import TestHub
from tests.upstream.faulting import NIGHTLY

# Time is measured in benchmarks/: a busy machine must not fail a test.  The same
# cases each time, but for the nightly run, which looks for new ones.
settings.register_profile(
    "hubsync", deadline=None, derandomize=NIGHTLY not in os.environ
)
settings.load_profile("hubsync")

# Whoever runs the tests in the background of a script has it ignored, and so would
# the commands that are to be interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Read when huggingface_hub is imported: a test must never meet a stored login,
# nor the cache of whoever runs it.
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_XET"] = "1"
for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE"):
    os.environ.pop(name, None)


@pytest.fixture(scope="session", autouse=True)
def _no_stored_login(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("hf-home")
    os.environ["HF_HOME"] = str(home)
    os.environ["HF_TOKEN_PATH"] = str(home / "no-token")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[TestHub]:
    with TestHub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def mirror(tmp_path: Path, hub: TestHub) -> Mirror:
    settings = {"HUBSYNC_TRANSFER__READ_TIMEOUT": "5s"}
    return Mirror(tmp_path / "mirror", hub.endpoint, settings)
