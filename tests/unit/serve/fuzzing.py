"""Requests at random, and one answer read from the wire as strictly as it can be."""

import json
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from urllib.parse import quote_from_bytes

from tests.unit.serve.mirror import Live, oid

ANSWER_S = 10.0  # an answer that takes longer is a hang
NO_BODY = frozenset({204, 304})

# The only answers of this kind that a client may cause: tables are not read, and
# what the disk has lost is not made up.
DOCUMENTED = frozenset({501, 503})

METHODS = [
    *[b"GET"] * 8, *[b"HEAD"] * 2, *[b"POST"] * 3, b"PUT", b"DELETE", b"PATCH",
    b"OPTIONS", b"TRACE", b"CONNECT", b"PROPFIND", b"BREW", b"get",
    ]  # fmt: skip
REPOS = [
    "acme/tiny-bert", "acme/old-bert", "acme/tiny-GGUF", "acme/seeing", "acme/own",
    "acme/converted", "acme/tiny-csv", "acme/demo", "acme/handmade",
    "acme/partial", "acme/lost", "ACME/Tiny-bert", "a/m0", "b/tiny", "gpt2", "v2/x",
    "datasets/x", "no/such", "resolve/raw", "acme%2Ftiny-bert", "api/models",
    ]  # fmt: skip
WORDS = [
    "main", "v1.0", "refs%2Fpr%2F1", "refs/pr/1", "refs%2Fconvert%2Fparquet",
    "refs/heads/feature/x", oid("bert 1"), oid("bert 2"), "0" * 40, "0" * 64,
    f"sha256:{'0' * 64}", "latest", "Q8_0", "config.json", "model.safetensors",
    "README.md", "empty.txt", "sub%20dir/a%20b%231.txt", "sub dir", "sub%20dir",
    "f.bin", "weights.bin", "default", "train", "0.parquet", "99999999999.parquet",
    "", ".", "..", "%2e%2e", "%00", "%ff", "%ED%A0%80",
    "\u00e9", "\udcff", "%", "%zz", "%0d%0aX:%20y",
    "-1", "0", "1", "999999999999999999999", "1e9", "true", "NaN", "*", "null",
    "likes", "sort", "limit", "cursor", "author", "search", "filter", "expand",
    "full", "config", "dataset", "skip", "p", "direction", "include_prs", "blobs",
    "recursive", "gguf", "safetensors", "tags", "min:0,max:6B", "%7B%7D", "grant",
    ]  # fmt: skip
LIKELY = ["main", "config.json", "model.safetensors", "1"]
LONG = ["a" * 300, "a/" * 200, "%2e%2e%2f" * 50, "%F0%9F%A6%99" * 30]
# Every route that there is, and some that there are not.
FORMS = [
    "/", "/healthz", "/readyz", "/metrics", "/{a}", "/{a}/{b}", "/{a}/{b}/{c}",
    "/api/whoami-v2", "/api/agent-harnesses", "/api/collections", "/api/{a}",
    "/api/models-tags-by-type", "/api/datasets-tags-by-type",
    "/{repo}/resolve/{rev}/{file}", "/{repo}/raw/{rev}/{file}",
    "/{repo}/resolve/main/{file}",
    "/{kind}/{repo}/resolve/{rev}/{file}", "/{kind}/{repo}/raw/main/{file}",
    "/api/{kind}", "/api/{kind}?{a}={b}&{c}={a}",
    "/api/{kind}?limit={a}&cursor={b}",
    "/api/{kind}?sort={a}&direction={b}", "/api/{kind}?expand={a}&full={b}",
    "/api/{kind}?num_parameters={a}&filter={b}&author={c}",
    "/api/{kind}/{repo}", "/api/{kind}/{repo}?{a}={b}", "/api/{kind}/{repo}/{a}",
    "/api/{kind}/{repo}/revision/{rev}?expand={b}",
    "/api/{kind}/{repo}/tree/{rev}/{b}",
    "/api/{kind}/{repo}/tree/main?limit={a}&cursor={b}&recursive={c}",
    "/api/{kind}/{repo}/paths-info/{rev}", "/api/{kind}/{repo}/paths-info/main",
    "/api/{kind}/{repo}/commits/{rev}?p={b}&limit={c}",
    "/api/{kind}/{repo}/treesize/{rev}/{b}", "/api/{kind}/{repo}/refs?{a}={b}",
    "/api/{kind}/{repo}/auth-check", "/api/{kind}/{repo}/xet-read-token/{rev}",
    "/api/{kind}/{repo}/parquet", "/api/{kind}/{repo}/parquet/{a}/{b}/{c}",
    "/api/{kind}/{repo}/discussions?{a}={b}", "/api/{kind}/{repo}/likers",
    "/api/{kind}/{repo}/upload/{a}", "/{repo}.git/info/lfs/objects/batch",
    "/api/resolve-cache/{kind}/{repo}/{a}/{b}",
    "/v2", "/v2/", "/v2/{a}/{b}", "/v2/{repo}/manifests/{a}",
    "/v2/{repo}/blobs/{a}",
    "/v2/{repo}/blobs/uploads/", "/v2/{repo}/tags/list", "/v2/{repo}/{a}/{b}",
    "/parquet?dataset={repo}&config={a}", "/splits?dataset={repo}&{a}={b}",
    "/is-valid?dataset={a}", "/info?dataset={repo}", "/size?{a}={b}",
    "/rows?dataset={repo}", "/first-rows?{a}", "/search?{a}={b}", "/filter",
    "/statistics", "/opt-in-out-urls?dataset={a}",
    "/_xet/v1/reconstructions/{hash}", "/_xet/v2/reconstructions/{hash}",
    "/_xet/v2/reconstructions/{a}", "/_xet/xorbs/{hash}/{n}?grant={grant}",
    "/_xet/xorbs/{hash}/{n}?grant={a}", "/_xet/{a}/{b}", "/v1/telemetry",
]  # fmt: skip
KINDS = ["models", "models", "datasets", "spaces", "kernels"]
BENDS: list[Callable[[str], str]] = [
    lambda target: f"http://x{target}",
    lambda target: f"/{target}",
    lambda target: f"{target}/",
    lambda target: f"{target};a=b",
    lambda target: f"{target}#a",
    lambda target: f"{target}?" + "a=b&" * 1500,
    lambda target: target.replace("/", "%2F"),
    lambda target: target.replace("/", "//"),
    str.swapcase,
    lambda target: target[1:],
    lambda target: "/x/.." + target,
    lambda target: target + "/a" * 1000,
]
HEADERS = {
    "Range": [
        "bytes=0-0", "bytes=-1", "bytes=5-1", "bytes=0-", "bytes=99999999999999999999-",
        "bytes=0-1,3-4", "bytes=" + "0-1," * 1000, "bytes", "lines=1-2", "bytes=--1",
    ],
    "If-None-Match": ["*", '"x"', 'W/"x"', '"', ",".join(['"a"'] * 500)],
    "If-Match": ["*", '"x"'],
    "If-Range": ['"x"', "Wed, 21 Oct 2015 07:28:00 GMT", '"', "nonsense"],
    "If-Modified-Since": ["Wed, 21 Oct 2015 07:28:00 GMT", "never"],
    "Authorization": [
        "Bearer {grant}", "Bearer {token}", "Bearer hf_x", "Bearer", "Basic !",
        "Basic dTp4", "Digest x", "", "Bearer a.b.c", "Bearer " + "=" * 3000,
    ],
    "Cookie": ["a=b", "token={token}", '"', "a=b; " * 500],
    "Content-Type": [
        "application/json", "application/x-www-form-urlencoded", "multipart/form-data",
        "application/json; charset=nonsense", "text/plain; charset=utf-16",
        ";", "a/b/c",
    ],
    "Content-Encoding": ["gzip", "identity", "br", "deflate", "zstd", "x"],
    "Accept": ["application/vnd.xet-fileinfo+json", "text/html", "*/*", ","],
    "Accept-Encoding": ["gzip", "identity;q=0", "*;q=0", "x" * 500],
    "Expect": ["100-continue", "200-ok"],
    "User-Agent": ["llama-cpp/b4000", "", "ollama/0.9"],
    "Host": ["x", "a/?x=", "[::1]:x", "x:99999", ""],
    "Connection": ["close", "keep-alive", "upgrade", "Range"],
    "Upgrade": ["h2c", "websocket"],
    "Origin": ["null", "http://evil.example"],
    "X-Forwarded-For": ["127.0.0.1", "x"],
    "X-HTTP-Method-Override": ["DELETE"],
    "X-Xet-Session-Id": ["x"],
}  # fmt: skip
BODIES = [
    b"paths=config.json&expand=true", b'{"paths": ["config.json", "a"]}',
    b'{"paths": 1}', b"[" * 5000, b'{"paths":' * 2000, b"{", b"null", b'"\\ud800"',
    b"paths=%ff%00&paths=..&paths[]=/", b"&" * 9000, b"\x1f\x8b\x08\0" * 9,
    b"\xff" * 99,
    b'{"paths": ["' + b"a/" * 9000 + b'"], "expand": {}}', b'{"paths":["\\u0000"]}',
    b"--x\r\nContent-Disposition: form-data; name=paths\r\n\r\na\r\n--x--\r\n",
    ]  # fmt: skip
LENGTHS = ["+1", "-1", "chunked", "none", "huge"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is sent: *length* None is the truth, else how it lies."""

    method: bytes
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    length: str | None

    def wire(self, known: Mapping[str, str]) -> bytes:
        lines = [
            self.method
            + b" "
            + self.target.encode(errors="surrogateescape")
            + b" HTTP/1.1"
        ]
        more = list(self.headers)
        if "Host" not in dict(more):
            more.append(("Host", "mirror.example"))
        for name, value in more:
            for key, secret in known.items():
                value = value.replace(f"{{{key}}}", secret)  # noqa: PLW2901
            lines.append(f"{name}: {value}".encode("latin-1"))
        size, body = len(self.body), self.body
        match self.length:
            case "chunked":
                lines.append(b"Transfer-Encoding: chunked")
                body = (b"%x\r\n%s\r\n" % (size, body) if size else b"") + b"0\r\n\r\n"
            case "+1" | "-1":
                lines.append(b"Content-Length: %d" % max(0, size + int(self.length)))
            case "huge":
                lines.append(b"Content-Length: 9999999999")
            case None if size:
                lines.append(b"Content-Length: %d" % size)
        return b"\r\n".join([*lines, b"", body])


def request_of(form: str, random: Random) -> Asked:
    """A request of the route that *form* is of, or of what is next to it."""
    target = form.format(
        repo=random.choice([*REPOS, *[REPOS[0]] * 20]),
        kind=random.choice(KINDS),
        rev=random.choice(["main", "main", _word(random)]),
        file=random.choice([*LIKELY, _word(random), _word(random)]),
        a=_word(random),
        b=_word(random),
        c=_word(random),
        hash=random.choice(["{hash}", "{hash}", "0" * 64]),
        grant="{grant}",
        n=random.randrange(4),
    )
    if random.random() < 0.25:
        target = random.choice(BENDS)(target)
    method = b"GET" if random.random() < 0.6 else random.choice(METHODS)
    headers = tuple(_header(random) for _ in range(random.choice([0, 1, 1, 2, 4])))
    body = b""
    if method == b"POST" or random.random() < 0.1:
        body = random.choice([*BODIES, random.randbytes(20)])
    length = random.choice(LENGTHS) if random.random() < 0.1 else None
    return Asked(method, target, headers, body, length)


def _word(random: Random) -> str:
    match random.randrange(8):
        case 0:
            return quote_from_bytes(random.randbytes(random.randrange(9)), safe="/")
        case 1:
            return random.choice(LONG)
        case 2 | 3:
            return random.choice(LIKELY)
        case _:
            return random.choice(WORDS)


def _header(random: Random) -> tuple[str, str]:
    name = random.choice([*HEADERS, "Range", "If-None-Match", "Accept"])
    if random.random() < 0.2:
        junk = (chr(random.randrange(0x20, 0x100)) for _ in range(9))
        return name, "".join(junk).strip()
    return name, random.choice(HEADERS[name])


def fill_in(asked: Asked, known: Mapping[str, str]) -> Asked:
    """Write what the server has given out where the target has a place for it."""
    target = asked.target
    for key, secret in known.items():
        target = target.replace(f"{{{key}}}", secret)
    return Asked(asked.method, target, asked.headers, asked.body, asked.length)


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer; *headers* with names in lower case, in order."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    is_final: bool  # nothing came behind it that we did not ask for

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")


def hear(live: Live, wire: bytes, *, is_head: bool = False) -> Heard:
    """Send *wire*, read one answer.

    Raises:
        TimeoutError: it does not come.
        ConnectionError: the connection was closed before its end.
    """
    deadline = time.monotonic() + ANSWER_S
    got = b""
    with socket.create_connection(live.address) as connection:

        def more() -> bytes:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            block = connection.recv(1 << 20)
            if not block:
                raise ConnectionError(f"closed after {got[:200]!r}")
            return block

        connection.settimeout(ANSWER_S)
        # Refused before its end, what was said is still to be read.
        with suppress(ConnectionError):
            connection.sendall(wire)
        while True:
            while b"\r\n\r\n" not in got:
                got += more()
            head, _, got = got.partition(b"\r\n\r\n")
            first, *lines = head.decode("ascii").split("\r\n")
            status = int(first.split(" ")[1])
            if status != 100:
                break
        headers = []
        for line in lines:
            name, colon, value = line.partition(": ")
            assert colon, line
            assert value.isprintable(), line
            headers.append((name.lower(), value))
        once = [name for name, _ in headers if name != "vary"]  # a list, in parts
        assert len(set(once)) == len(once), headers
        if is_head or status in NO_BODY:
            return Heard(status, headers, b"", not got)
        size = int(dict(headers)["content-length"])
        while len(got) < size:
            got += more()
        return Heard(status, headers, got[:size], len(got) == size)


def check(heard: Heard, asked: object, *, is_head: bool) -> None:
    """What has to hold of every answer to anything."""
    assert heard.status < 500 or heard.status in DOCUMENTED, (asked, heard)
    assert b"Traceback" not in heard.body, (asked, heard)
    kind = heard.header("content-type")
    assert "html" not in kind, (asked, heard)
    if heard.body and kind.startswith("application/json"):
        said = json.loads(heard.body)
        if heard.status >= 400:
            assert isinstance(said["error"], str), (asked, heard)
    elif heard.body and not is_head:
        plain = ("text/plain", "application/octet-stream", "application/vnd.xet")
        assert kind.startswith(plain), (asked, heard)
