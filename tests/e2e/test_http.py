"""What plain HTTP clients such as curl and wget see."""

import http.client
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from tests.e2e.stand import Served

WEIGHTS = "/acme/minilm/resolve/main/model.safetensors"
POINTER = "/acme/minilm/raw/main/model.safetensors"
CARD = "/acme/minilm/resolve/main/README.md"
PAGES = (
    "/",
    "/healthz",
    "/api/models?author=acme&full=true",
    "/api/models?expand=sha&expand=siblings",
    "/api/datasets",
    "/api/spaces",
    "/api/models/acme/minilm",
    "/api/models/acme/minilm?blobs=true",
    "/api/models/acme/minilm/revision/dev",
    "/api/models/acme/minilm/tree/main?recursive=true&expand=true",
    "/api/models/acme/minilm/refs",
    "/api/models/acme/minilm/commits/main",
    "/api/models/acme/minilm/treesize/main",
    "/api/models/acme/nothing",
    "/api/models/acme/minilm/revision/v9",
    "/api/datasets/acme/vega",
    "/api/datasets/acme/vega/tree/main?recursive=true",
    CARD,
    POINTER,
    "/acme/minilm/resolve/main/empty.txt",
    "/acme/minilm/resolve/main/nothing",
    "/datasets/acme/vega/resolve/main/README.md",
)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Plain:
    """One kept connection."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)

    def close(self) -> None:
        self._connection.close()

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> Answer:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        self._connection.request(method, path, body, named)
        response = self._connection.getresponse()
        found = {key.lower(): value for key, value in response.getheaders()}
        return Answer(response.status, found, response.read())


@pytest.fixture
def plain(served: Served) -> Iterator[Plain]:
    client = Plain(served.url)
    yield client
    client.close()


@pytest.fixture(scope="module")
def weights(served: Served) -> bytes:
    return (served.model / "model.safetensors").read_bytes()


def test_head_tells_all_about_an_lfs_file(
    served: Served, plain: Plain, weights: bytes
) -> None:
    answer = plain.ask("HEAD", WEIGHTS)
    assert (answer.status, answer.body) == (200, b"")
    etag = f'"{served.digests["model.safetensors"]}"'
    expected = {
        "content-length": str(len(weights)),
        "accept-ranges": "bytes",
        "etag": etag,
        "x-linked-etag": etag,
        "x-linked-size": str(len(weights)),
        "x-repo-commit": served.commit,
    }
    assert {key: answer.headers.get(key) for key in expected} == expected


def test_get_sends_the_whole_lfs_file(plain: Plain, weights: bytes) -> None:
    answer = plain.ask("GET", WEIGHTS)
    assert answer.status == 200
    assert answer.body == weights


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=1000-1999", 1000, 2000),
        ("bytes=90000000-", 90_000_000, None),
        ("bytes=-100", -100, None),
        ("bytes=5-99999999999", 5, None),
    ],
)
def test_a_range_is_answered_with_that_part(
    plain: Plain, weights: bytes, wanted: str, start: int, stop: int | None
) -> None:
    answer = plain.ask("GET", WEIGHTS, Range=wanted)
    expected = weights[start:stop]
    first, _, _ = slice(start, stop).indices(len(weights))
    assert answer.status == 206
    assert answer.body == expected
    last = first + len(expected) - 1
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(weights)}"


def test_a_range_after_the_end_is_refused(plain: Plain, weights: bytes) -> None:
    answer = plain.ask("GET", WEIGHTS, Range=f"bytes={len(weights)}-")
    assert answer.status == 416
    assert answer.headers["content-range"] == f"bytes */{len(weights)}"


@pytest.mark.parametrize("path", [WEIGHTS, CARD, POINTER])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_the_client_has_is_not_sent_again(
    plain: Plain, path: str, method: str
) -> None:
    etag = plain.ask("HEAD", path).headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = plain.ask(method, path, If_None_Match=known)
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["etag"] == etag
    assert plain.ask("HEAD", path, If_None_Match='"other"').status == 200


def test_a_range_of_what_has_changed_is_sent_whole(plain: Plain) -> None:
    etag = plain.ask("HEAD", CARD).headers["etag"]
    assert plain.ask("GET", CARD, Range="bytes=0-9", If_Range=etag).status == 206
    assert plain.ask("GET", CARD, Range="bytes=0-9", If_Range='"old"').status == 200


def test_raw_gives_the_git_lfs_pointer(
    served: Served, plain: Plain, weights: bytes
) -> None:
    answer = plain.ask("GET", POINTER)
    assert answer.status == 200
    assert answer.body.decode() == (
        "version https://git-lfs.github.com/spec/v1\n"
        f"oid sha256:{served.digests['model.safetensors']}\n"
        f"size {len(weights)}\n"
    )
    card = plain.ask("GET", CARD.replace("/resolve/", "/raw/"))
    assert card.body == (served.model / "README.md").read_bytes()


def test_no_answer_speaks_of_xet(plain: Plain) -> None:
    answers = [plain.ask(method, path) for path in PAGES for method in ("GET", "HEAD")]
    answers.append(plain.ask("HEAD", WEIGHTS))
    answers.append(plain.ask("GET", WEIGHTS, Range="bytes=0-99"))
    asked = json.dumps({"paths": ["model.safetensors", "config.json"]}).encode()
    paths_info = "/api/models/acme/minilm/paths-info/main"
    json_type = {"Content_Type": "application/json"}
    answers.append(plain.ask("POST", paths_info, asked, **json_type))
    assert {answer.status for answer in answers} == {200, 206, 404}
    for answer in answers:
        assert b"xet" not in answer.body.lower()
        headers = dict(answer.headers)
        # The fixed list of headers that pages of other origins may read.
        headers.pop("access-control-expose-headers")
        assert "xet" not in str(headers).lower()
