"""llama.cpp and Ollama, by what they ask and check, request by request.

Neither is at hand as a package.  What is written out here was read in their
sources: llama.cpp's ``common/`` before and after March 2026, and Ollama's
``server/download.go``.
"""

import hashlib
import http.client
import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import pytest

from tests.e2e.stand import Store
from tests.gguf_files import tiny_llama

REPO = "acme/tiny-GGUF"
BODY = bytes(range(251)) * 40_000  # 10 MB, and no two MiB of it alike
PARTS = 16  # that Ollama downloads at once
MIB = 2**20
# Of which the sources were read.
LLAMA_CPP, OLD_LLAMA_CPP = "since March 2026", "before March 2026"
OLLAMA = "August 2026"
OLD_HEADERS = {"User-Agent": "llama-cpp", "Accept": "application/json"}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Mirror:
    """A served store with one GGUF repo."""

    url: str
    commit: str
    folder: Path

    def ask(self, target: str, method: str = "GET", **headers: str) -> Answer:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        try:
            named = {key.replace("_", "-"): one for key, one in headers.items()}
            connection.request(method, target, headers=named)
            got = connection.getresponse()
            known = {key.lower(): one for key, one in got.getheaders()}
            return Answer(got.status, known, got.read())
        finally:
            connection.close()

    def sha256(self, name: str) -> str:
        return hashlib.sha256((self.folder / name).read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    work = tmp_path_factory.mktemp("gguf")
    (work / "home").mkdir()
    folder = work / "model"
    folder.mkdir()
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Tiny\n")
    for name in ("Tiny-Q4_K_M.gguf", "Tiny-Q8_0.gguf"):
        (folder / name).write_bytes(tiny_llama(name.encode() + BODY))
    store = Store(work / "store", work / "home")
    added = store.json("add", folder, REPO, "-m", "Two quantisations")
    with store.serving(work / "access.log") as url:
        yield Mirror(url, added["commit"], folder)


class LlamaCpp:
    """``llama-cli -hf acme/tiny-GGUF:Q8_0`` of a build since March 2026."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror

    def pull(self, tag: str, have: bytes = b"") -> bytes:
        commit = self._commit()
        entry = self._entry(commit, tag)
        # The path goes out as it is.
        target = f"/{REPO}/resolve/{commit}/{entry['path']}"
        head = self._mirror.ask(target, "HEAD")
        assert 200 <= head.status < 300
        assert head.headers["etag"].strip('"') == entry["lfs"]["oid"]
        size = int(head.headers["content-length"])
        assert size == entry["size"]
        if not have:
            return self._mirror.ask(target).body
        assert head.headers.get("accept-ranges", "none") != "none"
        rest = self._mirror.ask(target, Range=f"bytes={len(have)}-")
        assert rest.status == 206
        return have + rest.body

    def _commit(self) -> str:
        branches = self._mirror.ask(f"/api/models/{REPO}/refs").json()["branches"]
        main = [one for one in branches if one["name"] == "main"] or branches
        assert re.fullmatch("[0-9a-f]{40}", main[0]["targetCommit"])
        return str(main[0]["targetCommit"])

    def _entry(self, commit: str, tag: str) -> Any:
        # Of the first page only.
        tree = self._mirror.ask(f"/api/models/{REPO}/tree/{commit}?recursive=true")
        files = [one for one in tree.json() if one["path"].endswith(".gguf")]
        found = [one for one in files if tag.lower() in one["path"].lower()]
        oid = (found[0].get("lfs") or found[0])["oid"]
        assert re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", oid)
        return found[0]


class OldLlamaCpp:
    """The same, of a build before March 2026."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror

    def pull(self, tag: str) -> bytes:
        manifest = self._mirror.ask(f"/v2/{REPO}/manifests/{tag}", **OLD_HEADERS)
        assert manifest.status == 200
        file = manifest.json()["ggufFile"]
        assert "mmprojFile" not in manifest.json()
        target = f"/{REPO}/resolve/main/{quote(file['rfilename'])}"
        head = self._mirror.ask(target, "HEAD", **OLD_HEADERS)
        assert head.status == 200
        assert head.headers["etag"]
        assert int(head.headers["content-length"]) == file["size"]
        return self._mirror.ask(target, **OLD_HEADERS).body


class Ollama:
    """``ollama pull mirror/acme/tiny-GGUF:Q8_0``."""

    def __init__(self, mirror: Mirror, part_bytes: int = MIB) -> None:
        self._mirror, self._part_bytes = mirror, part_bytes

    def pull(self, tag: str) -> dict[str, bytes]:
        """Layers, and the config, by the last word of their media types."""
        answer = self._mirror.ask(
            f"/v2/{REPO}/manifests/{tag}",
            Accept="application/vnd.docker.distribution.manifest.v2+json",
        )
        assert answer.status == 200
        manifest = answer.json()
        layers = [*manifest["layers"], manifest["config"]]
        return {
            re.split(r"[.+]", one["mediaType"].removesuffix("+json"))[-1]: self._blob(
                one["digest"], one["size"]
            )
            for one in layers
        }

    def _blob(self, digest: str, expected: int) -> bytes:
        target = f"/v2/{REPO}/blobs/{digest}"
        head = self._mirror.ask(target, "HEAD")
        assert head.status == 200
        size = int(head.headers["content-length"])
        assert size == expected
        direct = self._direct(target)
        spans = [
            (start, min(start + self._part_bytes, size))
            for start in range(0, size, self._part_bytes)
        ]
        with ThreadPoolExecutor(PARTS) as pool:
            blob = b"".join(pool.map(lambda span: self._part(direct, *span), spans))
        # "digest mismatch, file must be downloaded again"
        assert f"sha256:{hashlib.sha256(blob).hexdigest()}" == digest
        return blob

    def _direct(self, target: str) -> str:
        """Where the bytes are: it wants to be told, even when they are here."""
        answer = self._mirror.ask(target)
        assert answer.status in (200, 307)
        location = answer.headers.get("location")
        assert location, "http: no Location header in response"
        where = urlsplit(urljoin(f"{self._mirror.url}{target}", location))
        assert where.netloc == urlsplit(self._mirror.url).netloc
        return where.path

    def _part(self, target: str, start: int, stop: int) -> bytes:
        answer = self._mirror.ask(target, Range=f"bytes={start}-{stop - 1}")
        assert answer.status == 206
        assert len(answer.body) == stop - start
        return answer.body


@pytest.mark.table_row(
    "llama.cpp", "its requests, replayed: `-hf org/model:Q8_0`", version=LLAMA_CPP
)
def test_llama_cpp(mirror: Mirror) -> None:
    for tag, name in (("Q4_K_M", "Tiny-Q4_K_M.gguf"), ("q8_0", "Tiny-Q8_0.gguf")):
        got = LlamaCpp(mirror).pull(tag)
        assert hashlib.sha256(got).hexdigest() == mirror.sha256(name)


@pytest.mark.table_row(
    "llama.cpp", "its requests, replayed: goes on with a part", version=LLAMA_CPP
)
def test_llama_cpp_goes_on_with_a_part(mirror: Mirror) -> None:
    whole = (mirror.folder / "Tiny-Q8_0.gguf").read_bytes()
    assert LlamaCpp(mirror).pull("Q8_0", have=whole[:1234]) == whole


@pytest.mark.table_row(
    "llama.cpp", "its requests, replayed: `/v2/…/manifests`", version=OLD_LLAMA_CPP
)
@pytest.mark.parametrize(
    ("tag", "name"), [("latest", "Tiny-Q4_K_M.gguf"), ("q8_0", "Tiny-Q8_0.gguf")]
)
def test_llama_cpp_of_old(mirror: Mirror, tag: str, name: str) -> None:
    got = OldLlamaCpp(mirror).pull(tag)
    assert hashlib.sha256(got).hexdigest() == mirror.sha256(name)


@pytest.mark.table_row(
    "Ollama", "its requests, replayed: `ollama pull`, 16 parts at once", version=OLLAMA
)
@pytest.mark.parametrize(
    ("tag", "name"), [("latest", "Tiny-Q4_K_M.gguf"), ("Q8_0", "Tiny-Q8_0.gguf")]
)
def test_ollama(mirror: Mirror, tag: str, name: str) -> None:
    got = Ollama(mirror).pull(tag)
    assert hashlib.sha256(got["model"]).hexdigest() == mirror.sha256(name)
    assert b"<|im_start|>{{ .Role }}" in got["template"]
    assert json.loads(got["params"])["stop"] == ["<|im_start|>", "<|im_end|>"]
    config = json.loads(got["v1"])
    assert config["model_format"] == "gguf"
    assert config["file_type"] == name.removeprefix("Tiny-").removesuffix(".gguf")


def test_ollama_of_a_model_that_is_not_there(mirror: Mirror) -> None:
    """404 is "file does not exist"; 400 is what the Hub says of a wrong tag."""
    assert mirror.ask("/v2/acme/nothing/manifests/latest").status == 404
    answer = mirror.ask(f"/v2/{REPO}/manifests/Q2_K")
    assert answer.status == 400
    assert "quantization" in answer.json()["error"]
