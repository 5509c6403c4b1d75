"""Asking the Hugging Face Hub whether somebody else's token opens a repo."""

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
from hubsync.ports.gate import GateUnavailableError, Verdict
from hubsync.ports.hub import HubAnswerError, UnavailableError

# A client waits ten seconds for the first header; it is to hear why there is none.
GATE_OPTIONS = HubOptions(
    connect_timeout_s=4.0, read_timeout_s=4.0, answer_timeout_s=6.0, redirects_max=3
)
_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 200, 401, 403, 404
_WRONG_TOKEN = "invalid credentials"  # noqa: S105 - what the Hub says of one
_DISABLED = "access to this resource is disabled"


class HfGate:
    """Implements `ports.gate.Gate` by ``GET /api/{type}/{id}/auth-check``.

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
        # False: not the token of whoever runs this mirror in place of none.
        transport = HfTransport(endpoint, token=token or False, options=self._options)
        url = f"{endpoint}/api/{repo.repo_type.plural}/{repo.name}/auth-check"
        try:
            answer = await detached(partial(transport.get, url))
        except (NoAnswerError, UnavailableError, HubAnswerError, OfflineError) as error:
            raise GateUnavailableError(
                f"{transport.host} does not say who may read {repo}: {error}",
                silent=isinstance(error, (NoAnswerError, UnavailableError)),
            ) from error
        # On the way the token was left behind: this is nobody's word about it.
        if not same_origin(answer.url, endpoint):
            raise GateUnavailableError(
                f"{transport.host} sends us elsewhere to hear who may read {repo}"
            )
        return _verdict(answer, transport.host, repo)


def _verdict(answer: RawAnswer, host: str, repo: RepoId) -> Verdict:
    said = answer.headers.get("x-error-message", "").lower()
    if answer.status == _OK:
        return Verdict.YES
    if answer.status not in (_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND):
        raise GateUnavailableError(
            f"{host} answers {answer.status} to who may read {repo}"
        )
    if answer.headers.get("x-error-code") == "GatedRepo":
        return Verdict.GATED
    if _DISABLED in said:
        return Verdict.DISABLED
    if answer.status == _UNAUTHORIZED and _WRONG_TOKEN in said:
        return Verdict.WRONG_TOKEN
    return Verdict.NO
