"""Ask the hub over a bare socket client: no redirects, no re-encoding."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

RECORDINGS = Path(__file__).parent.parent / "recordings" / "huggingface"


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, as it came."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def location(self) -> str:
        return self.headers["Location"]


def ask(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout_s: float = 20.0,
) -> Reply:
    """Send the very characters of *url*."""
    netloc, target = urlsplit(url).netloc, url.split("/", 3)[3]
    connection = http.client.HTTPConnection(netloc, timeout=timeout_s)
    try:
        connection.request(method, f"/{target}", body, dict(headers or {}))
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())
    finally:
        connection.close()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def recording(name: str) -> Any:
    return json.loads((RECORDINGS / f"{name}.json").read_text("utf-8"))
