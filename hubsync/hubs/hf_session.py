"""Requests for metadata through `huggingface_hub`, its errors as ours.

The library is imported when the first request is made: it is slow to import,
and most commands never ask a hub anything.
"""

import json
import os
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from hubsync import __version__
from hubsync.hubs.options import HubOptions
from hubsync.model.errors import OfflineError
from hubsync.ports.hub import (
    FileNotFoundOnHubError,
    HubAnswerError,
    HubError,
    NotAllowedError,
    RepoNotFoundError,
    RevisionNotFoundError,
    UnavailableError,
)
from hubsync.ports.progress import Progress
from hubsync.wire.hf import parse_rate_limit

_NEXT = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next"?')
_TOKEN_REFUSED = "invalid credentials"  # noqa: S105 - no password
SERVER_ERROR = 500
TOO_MANY_REQUESTS = 429


@dataclass(frozen=True, slots=True)
class Answer:
    """A JSON body, where it came from, and the next page's Link."""

    json: Any
    url: str
    next_link: str | None


class HfSession:
    """GETs with retries against one endpoint."""

    def __init__(
        self,
        endpoint: str,
        token: str | None,
        options: HubOptions,
        progress: Progress,
    ) -> None:
        self._endpoint, self._token = endpoint, token
        self._options, self._progress = options, progress
        self._host = urlsplit(endpoint).netloc
        self.requests = 0  # redirect hops are requests too: the hub counts them

    @property
    def authorization(self) -> Mapping[str, str]:
        """The header with the configured or stored token; empty if there is none."""
        _be_quiet()
        from huggingface_hub import get_token  # noqa: PLC0415 - slow to import

        token = self._token or get_token()
        return {"Authorization": f"Bearer {token}"} if token else {}

    def get(self, url: str, repo: str, revision: str | None) -> Answer:
        """GET *url*, waiting and trying again as long as that can help.

        Raises:
            HubError: the subclass that says what the hub said about *repo*.
            OfflineError: the environment forbids requests.
        """
        failures, windows = 0, 0
        while True:
            try:
                return self._get(url, repo, revision)
            except _RateLimitedError as limited:
                windows += 1
                self._sit_out(limited, repo, windows)
            except UnavailableError as error:
                failures += 1
                if failures > self._options.retries_max:
                    raise
                wait = self._backoff(failures)
                self._progress.note(f"{error}; trying again in {wait:.1f} s")
                time.sleep(wait)

    def _get(self, url: str, repo: str, revision: str | None) -> Answer:
        _be_quiet()
        from huggingface_hub import (  # noqa: PLC0415 - slow to import
            get_session,
            hf_raise_for_status,
        )
        from huggingface_hub.errors import (  # noqa: PLC0415
            HfHubHTTPError,
            OfflineModeIsEnabled,
        )
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # noqa: PLC0415

        headers = build_hf_headers(
            token=self._token, library_name="hubsync", library_version=__version__
        )
        session = get_session()
        try:
            response = session.get(
                url, headers=headers, timeout=self._timeout(), follow_redirects=True
            )
        except OfflineModeIsEnabled as error:
            raise OfflineError(
                "HF_HUB_OFFLINE is set in the environment: nothing may be asked",
                hint="Unset it, or use --offline to answer from the store.",
            ) from error
        except _transport_errors(session) as error:
            self.requests += 1
            raise UnavailableError(
                f"{self._host} does not answer: {_reason(error)}",
                hint="Check the network and the endpoint. What is held can be used "
                "with --offline.",
            ) from error
        self.requests += 1 + len(response.history)
        try:
            hf_raise_for_status(response)
        except HfHubHTTPError as error:
            raise self._explain(error, response, repo, revision) from error
        return self._read(response)

    def _timeout(self) -> Any:
        # A tuple of (connect, read, write, pool), which httpx takes as it is.
        read = self._options.read_timeout_s
        return (self._options.connect_timeout_s, read, read, read)

    def _read(self, response: Any) -> Answer:
        try:
            body = json.loads(response.content)
        except (ValueError, RecursionError) as error:
            kind = response.headers.get("content-type", "no content type")
            raise HubAnswerError(
                f"{self._host} answered {kind} where JSON was expected",
                hint=f"Is {self._endpoint} the address of a hub? A proxy or a "
                "log-in page may be answering in its place.",
            ) from error
        found = _NEXT.search(response.headers.get("link", ""))
        return Answer(body, str(response.url), found[1] if found else None)

    def _explain(
        self, error: Any, response: Any, repo: str, revision: str | None
    ) -> HubError:
        status = response.status_code
        said = response.headers.get("x-error-message", "")
        if status == TOO_MANY_REQUESTS:
            return _RateLimitedError(_wait_of(response.headers))
        if status >= SERVER_ERROR:
            return UnavailableError(
                f"{self._host} answered {status}",
                hint="Try again later. What is held can be used with --offline.",
            )
        if _TOKEN_REFUSED in said.lower():
            return NotAllowedError(
                f"{self._host} refuses the token",
                hint="Make a new one on the hub's settings page, then `hf auth "
                "login`, or set the variable that token_env names.",
            )
        return self._explain_refusal(error, status, said, repo, revision)

    def _explain_refusal(
        self, error: Any, status: int, said: str, repo: str, revision: str | None
    ) -> HubError:
        from huggingface_hub import errors  # noqa: PLC0415 - slow to import

        for kind, explained in (
            (errors.GatedRepoError, self._gated(repo)),
            (errors.DisabledRepoError, NotAllowedError(f"{repo} is disabled there")),
            (errors.RevisionNotFoundError, _no_revision(repo, revision)),
            (errors.EntryNotFoundError, FileNotFoundOnHubError(f"{repo}: {said}")),
        ):
            if isinstance(error, kind):
                return explained
        # An anonymous 401 means gone or private, not a bad token.
        anonymous = not self.authorization
        if isinstance(error, errors.RepositoryNotFoundError) or (
            status in (401, 404) and (anonymous or status == 404)  # noqa: PLR2004
        ):
            private = " (or it is private: nobody is logged in)" if anonymous else ""
            return RepoNotFoundError(
                f"{repo} is not on {self._host}{private}",
                hint="Check the name and the type (datasets/…, spaces/…)"
                + (", or log in with `hf auth login`." if anonymous else "."),
            )
        if status in (401, 403):
            return NotAllowedError(f"{self._host} does not allow {repo}: {said}")
        return HubError(f"{self._host} answered {status} for {repo}: {said}")

    def _gated(self, repo: str) -> NotAllowedError:
        return NotAllowedError(
            f"{repo} is gated: the hub gives it only to whom it has approved",
            hint=f"Ask for access on the repo's page at {self._endpoint}, then "
            "log in with `hf auth login` or set token_env.",
        )

    def _sit_out(self, limited: "_RateLimitedError", repo: str, windows: int) -> None:
        wait = limited.wait_s or self._backoff(windows)
        if (
            windows > self._options.rate_limits_max
            or wait > self._options.rate_limit_wait_max_s
        ):
            raise UnavailableError(
                f"{self._host} limits the rate of requests and wants {wait:.0f} s "
                f"of silence before {repo}",
                hint="Try again later, or log in: the limits of accounts are higher.",
            )
        self._progress.note(f"{self._host} limits the rate; waiting {wait:.0f} s")
        time.sleep(wait)

    def _backoff(self, failures: int) -> float:
        top = self._options.backoff_base_s * 2.0 ** (failures - 1)
        return min(top, self._options.backoff_max_s) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter


def _no_revision(repo: str, revision: str | None) -> RevisionNotFoundError:
    return RevisionNotFoundError(
        f"{repo} has no revision {revision!r}",
        hint="Name a branch, a tag, refs/pr/N or a commit of it.",
    )


def _be_quiet() -> None:
    """No telemetry, which costs a request a process; read when it is imported."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


class _RateLimitedError(HubError):
    """A 429; *wait_s* is what the hub says, or None."""

    def __init__(self, wait_s: float | None) -> None:
        super().__init__("the hub limits the rate of requests")
        self.wait_s = wait_s


def _wait_of(headers: Mapping[str, str]) -> float | None:
    limit = parse_rate_limit(headers.get("ratelimit", ""))
    if limit is not None and limit.remaining == 0:
        return limit.reset_s + 1.0  # the window ends within that second
    after = headers.get("retry-after", "")
    return float(after) if after.isdigit() else None


def _transport_errors(session: Any) -> tuple[type[Exception], ...]:
    """The base class of whatever HTTP library huggingface_hub brought along."""
    import importlib  # noqa: PLC0415

    library = importlib.import_module(type(session).__module__.partition(".")[0])
    return (library.TransportError, library.TooManyRedirects)


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
