"""Asking the Hugging Face Hub whether somebody else's token opens a repo."""

import json
from collections.abc import Mapping
from functools import partial

from hubsync.hubs.hf_transport import (
    HfTransport,
    NoAnswerError,
    RawAnswer,
    detached,
    same_origin,
)
from hubsync.hubs.options import HubOptions
from hubsync.model.errors import OfflineError
from hubsync.model.repo import RepoId
from hubsync.ports.gate import Account, GateUnavailableError, Verdict
from hubsync.ports.hub import HubAnswerError, UnavailableError

# A client waits ten seconds for the first header; it is to hear why there is none.
GATE_OPTIONS = HubOptions(
    connect_timeout_s=4.0,
    read_timeout_s=4.0,
    answer_timeout_s=6.0,
    answer_bytes_max=128 * 1024,  # an account's; the other answer is "OK"
    redirects_max=3,
)
_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 200, 401, 403, 404
_RATE_LIMITED, _SERVER_ERROR = 429, 500
_WRONG_TOKEN = "invalid credentials"  # noqa: S105 - what the Hub says of one
# Not the address of their mailbox, nor what they pay.
_SHOWN = ("type", "id", "name", "fullname", "isPro", "orgs", "auth")
_DISABLED = "access to this resource is disabled"


class HfGate:
    """Implements `ports.gate.Gate`: ``/api/{type}/{id}/auth-check``, ``whoami-v2``.

    *endpoints*: by the name of the upstream.
    """

    def __init__(
        self, endpoints: Mapping[str, str], options: HubOptions = GATE_OPTIONS
    ) -> None:
        self._endpoints, self._options = endpoints, options

    async def may_read(self, repo: RepoId, token: str | None) -> Verdict:
        endpoint = self._endpoints.get(repo.upstream)
        if endpoint is None:  # nobody left to ask
            return Verdict.NO
        path = f"/api/{repo.repo_type.plural}/{repo.name}/auth-check"
        what = f"who may read {repo}"
        answer, host = await self._get(endpoint, path, token, what)
        return _verdict(answer, host, what)

    async def whose(self, token: str, upstream: str) -> Account | None:
        endpoint = self._endpoints.get(upstream)
        if endpoint is None:
            return None
        what = "whose a token is"
        answer, host = await self._get(endpoint, "/api/whoami-v2", token, what)
        if answer.status in (_UNAUTHORIZED, _FORBIDDEN):
            return None
        if answer.status != _OK:
            raise _no_word(answer, host, what)
        return _account(answer.body, host)

    async def _get(
        self, endpoint: str, path: str, token: str | None, what: str
    ) -> tuple[RawAnswer, str]:
        """The answer, and the host that *endpoint* is at."""
        # False: not the token of whoever runs this mirror in place of none.
        transport = HfTransport(endpoint, token=token or False, options=self._options)
        try:
            answer = await detached(partial(transport.get, f"{endpoint}{path}"))
        except (NoAnswerError, UnavailableError, HubAnswerError, OfflineError) as error:
            raise GateUnavailableError(
                f"{transport.host} does not say {what}: {error}",
                silent=isinstance(error, (NoAnswerError, UnavailableError)),
            ) from error
        # On the way the token was left behind: this is nobody's word about it.
        if not same_origin(answer.url, endpoint):
            raise GateUnavailableError(
                f"{transport.host} sends us elsewhere to hear {what}"
            )
        return answer, transport.host


def _no_word(answer: RawAnswer, host: str, what: str) -> GateUnavailableError:
    status = answer.status
    return GateUnavailableError(
        f"{host} answers {status} to {what}",
        down=status == _RATE_LIMITED or status >= _SERVER_ERROR,
    )


def _account(body: bytes, host: str) -> Account:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    name = said.get("name") if isinstance(said, dict) else None
    if not isinstance(name, str) or not name:
        raise GateUnavailableError(f"{host} does not say whose a token is")
    shown = {key: said[key] for key in _SHOWN if key in said}
    # Clients go through it without asking whether it is there.
    shown["orgs"] = said["orgs"] if isinstance(said.get("orgs"), list) else []
    return Account(shown)


def _verdict(answer: RawAnswer, host: str, what: str) -> Verdict:
    said = answer.headers.get("x-error-message", "").lower()
    if answer.status == _OK:
        return Verdict.YES
    if answer.status not in (_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND):
        raise _no_word(answer, host, what)
    if answer.headers.get("x-error-code") == "GatedRepo":
        return Verdict.GATED
    if _DISABLED in said:
        return Verdict.DISABLED
    if answer.status == _UNAUTHORIZED and _WRONG_TOKEN in said:
        return Verdict.WRONG_TOKEN
    return Verdict.NO
