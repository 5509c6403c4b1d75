"""Asking the Hugging Face Hub for JSON, with patience and plain errors."""

import asyncio
import json
import random
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from hubsync.hubs.hf_errors import Question, Topic, explain
from hubsync.hubs.hf_transport import (
    HfTransport,
    NoAnswerError,
    RawAnswer,
    detached,
    joined,
    same_origin,
)
from hubsync.hubs.options import HubOptions
from hubsync.ports.hub import HubAnswerError, UnavailableError
from hubsync.ports.limiter import Budget
from hubsync.ports.progress import Progress
from hubsync.wire.hf import parse_wait_s

_NEXT = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next"?')
CONTRADICTION = "The hub contradicts itself; try again later."
_OFFLINE = "What is held can be used with --offline."
KIND = "metadata"  # until the hub says in which of its buckets it counts that
_REFUSED = 400
_RATE_LIMITED = 429
_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """A JSON body, the address it came from in the end, and the next page's."""

    json: object
    url: str
    next_link: str | None


class HfSession:
    """Retries around `HfTransport`.

    huggingface_hub's own retries cover some of its calls and not the ones that
    matter here: one 429 on a repo's info would fail the whole pull.
    """

    def __init__(
        self,
        transport: HfTransport,
        endpoint: str,
        options: HubOptions,
        progress: Progress,
        budget: Budget | None = None,
    ) -> None:
        self._transport, self._endpoint = transport, endpoint
        self._options, self._progress, self._budget = options, progress, budget

    @property
    def host(self) -> str:
        """The hub's, as people write it."""
        return self._transport.host

    async def get(self, url: str, topic: Topic, revision: str | None = None) -> Answer:
        """GET *url*, waiting and trying again as long as that can help.

        Raises:
            HubError: the subclass that says what the hub said about *topic*.
            OfflineError: the environment forbids requests.
        """
        host = self._transport.host
        failures = windows = 0
        while True:
            wait, answered = None, False
            if self._budget:
                await self._budget.passed(host, KIND)
            try:
                raw = await detached(partial(self._transport.get, url))
            except NoAnswerError as error:
                why = f"{host} does not answer: {error}"
            else:
                if self._budget:
                    self._budget.answered(host, KIND, raw.status, raw.headers)
                wait = parse_wait_s(raw.headers)
                if raw.status == _RATE_LIMITED:
                    windows += 1
                    await self._sit_out(wait, windows, topic)
                    continue
                if raw.status < _SERVER_ERROR:
                    return self._understand(raw, topic, revision)
                why, answered = f"{host} answered {raw.status}", True
            failures += 1
            if failures > self._options.retries_max:
                raise UnavailableError(
                    f"{why} (asked {failures} times)",
                    hint=f"Check the network and {self._endpoint}. {_OFFLINE}",
                    answered=answered,
                )
            await self._pause(why, wait, failures)

    async def pages(
        self, url: str, topic: Topic, revision: str | None = None
    ) -> AsyncGenerator[Answer]:
        """The answer at *url* and those that it leads to, one page after another.

        Raises:
            HubError: as `get`; pages that have no end, or are on another host.
        """
        seen: set[str] = set()
        following: str | None = url
        while following is not None:
            if following in seen or len(seen) >= self._options.pages_max:
                raise HubAnswerError(
                    f"the pages of {topic.name} have no end", hint=CONTRADICTION
                )
            seen.add(following)
            answer = await self.get(following, topic, revision)
            yield answer
            following = self._next_page(answer, topic)

    def _next_page(self, answer: Answer, topic: Topic) -> str | None:
        if answer.next_link is None:
            return None
        target = joined(answer.url, answer.next_link)
        # A page elsewhere would be somebody else's word for what there is.
        if not same_origin(target, answer.url) or not same_origin(
            target, self._endpoint
        ):
            raise HubAnswerError(
                f"the next page of {topic.name} is on another host, {target[:120]}",
                hint=f"Is {self._endpoint} the hub's own address?",
            )
        return target

    async def _pause(self, why: str, wait: float | None, failures: int) -> None:
        if wait is None or wait > self._options.rate_limit_wait_max_s:
            wait = self._backoff(failures)
        self._progress.note(f"{why}; trying again in {wait:.1f} s")
        await asyncio.sleep(wait)

    async def _sit_out(self, wait: float | None, windows: int, topic: Topic) -> None:
        host, options = self._transport.host, self._options
        wait = self._backoff(windows) if wait is None else wait
        if windows > options.rate_limits_max or wait > options.rate_limit_wait_max_s:
            raise UnavailableError(
                f"{host} limits the rate of requests, and {topic.name} has to wait "
                f"another {wait:.0f} s",
                hint="Try again later, or log in with `hf auth login`: accounts have "
                f"higher limits. {_OFFLINE}",
                retry_after_s=wait,
            )
        self._progress.note(f"{host} limits the rate of requests; waiting {wait:.0f} s")
        await asyncio.sleep(wait)

    def _backoff(self, failures: int) -> float:
        longest = self._options.backoff_base_s * 2.0 ** (failures - 1)
        # Jitter, so that a fleet of mirrors does not come back all at once.
        return min(longest, self._options.backoff_max_s) * random.uniform(0.5, 1.0)  # noqa: S311

    def _understand(self, raw: RawAnswer, topic: Topic, revision: str | None) -> Answer:
        if raw.status >= _REFUSED:
            raise explain(raw, self._question(topic, revision))
        try:
            # NaN is no JSON, and nothing that stores or serves it later takes it.
            found = json.loads(raw.body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            kind = raw.headers.get("content-type", "something of no type")
            raise HubAnswerError(
                f"{self._transport.host} answered {kind} where JSON was expected",
                hint=f"Is {self._endpoint} the address of a hub? A proxy or a log-in "
                "page may be answering in its place.",
            ) from error
        link = _NEXT.search(raw.headers.get("link", ""))
        return Answer(found, raw.url, link[1] if link else None)

    def _question(self, topic: Topic, revision: str | None) -> Question:
        return Question(
            endpoint=self._endpoint,
            host=self._transport.host,
            topic=topic,
            revision=revision,
            anonymous=not self._transport.authorization,
        )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
