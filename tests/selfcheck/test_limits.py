"""The quota is counted, told on every answer, and enforced."""

import re

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from tests.selfcheck.asking import ask
from tests.testhub import Fault, HubRepo, TestHub

LIMIT = re.compile(r'"(api|resolvers)";r=(\d+);t=(\d+)')


@pytest.fixture
def repo(hub: TestHub) -> HubRepo:
    repo = hub.create_repo("acme/tiny")
    repo.commit({"a.txt": b"1"})
    return repo


def left(hub: TestHub, path: str) -> tuple[str, int]:
    """The bucket and what is left of it, as the answer to *path* says."""
    match = LIMIT.fullmatch(ask(hub.endpoint + path).headers["RateLimit"])
    assert match is not None
    return match[1], int(match[2])


def test_every_answer_tells_what_is_left(hub: TestHub, repo: HubRepo) -> None:
    hub.limits.windows["api"].quota = 10
    hub.limits.windows["resolvers"].quota = 10

    assert left(hub, "/api/models/acme/tiny") == ("api", 9)
    assert left(hub, "/api/models/acme/nope") == ("api", 8)
    assert left(hub, "/acme/tiny/resolve/main/a.txt") == ("resolvers", 9)
    assert left(hub, "/acme/tiny/resolve/main/nope") == ("resolvers", 8)
    policy = ask(f"{hub.endpoint}/api/models/acme/tiny").headers["RateLimit-Policy"]
    assert policy == '"fixed window";"api";q=10;w=300'


def test_the_hop_to_the_resolve_cache_counts_too(hub: TestHub, repo: HubRepo) -> None:
    hub.limits.windows["resolvers"].quota = 10
    hop = ask(f"{hub.endpoint}/acme/tiny/resolve/main/a.txt")
    ask(hub.endpoint + hop.location)

    assert left(hub, "/acme/tiny/resolve/main/a.txt") == ("resolvers", 7)


def test_a_file_answer_tells_what_is_left(hub: TestHub, repo: HubRepo) -> None:
    hop = ask(f"{hub.endpoint}/acme/tiny/resolve/main/a.txt")
    assert "RateLimit" in ask(hub.endpoint + hop.location).headers


def test_a_used_up_quota_is_429_until_the_window_ends(
    hub: TestHub, repo: HubRepo
) -> None:
    hub.limits.windows["api"].quota = 2
    url = f"{hub.endpoint}/api/models/acme/tiny"
    statuses = [ask(url).status for _ in range(3)]
    refused = ask(url)

    assert statuses == [200, 200, 429]
    assert refused.headers["RateLimit"].startswith('"api";r=0;t=')
    assert ask(f"{hub.endpoint}/acme/tiny/resolve/main/a.txt").status == 307
    hub.world.clock.advance(301)
    assert ask(url).status == 200


def test_a_429_is_recorded_and_counted(hub: TestHub, repo: HubRepo) -> None:
    hub.limits.windows["api"].quota = 1
    for _ in range(3):
        ask(f"{hub.endpoint}/api/models/acme/tiny")

    assert [seen.status for seen in hub.requests] == [200, 429, 429]


def test_the_real_client_calls_it_a_rate_limit(hub: TestHub, repo: HubRepo) -> None:
    hub.limits.windows["api"].quota = 0
    with pytest.raises(HfHubHTTPError, match="rate limit"):
        HfApi(endpoint=hub.endpoint, token=False).model_info("acme/tiny")


def test_a_scripted_429_may_come_without_headers(hub: TestHub, repo: HubRepo) -> None:
    hub.faults.add(Fault("status", "/api/models", status=429))
    reply = ask(f"{hub.endpoint}/api/models/acme/tiny")

    assert reply.status == 429
    assert "RateLimit" not in reply.headers


def test_each_caller_has_a_window_of_its_own(hub: TestHub, repo: HubRepo) -> None:
    hub.add_token("hf_good")
    hub.limits.windows["api"].quota = 1
    url = f"{hub.endpoint}/api/models/acme/tiny"
    ask(url)

    assert ask(url, headers={"Authorization": "Bearer hf_good"}).status == 200


def test_a_request_inside_a_window_that_was_announced_closed_is_recorded(
    hub: TestHub, repo: HubRepo
) -> None:
    hub.limits.windows["api"].quota = 1
    url = f"{hub.endpoint}/api/models/acme/tiny"
    for _ in range(3):
        ask(url)
    ask(f"{hub.endpoint}/acme/tiny/resolve/main/a.txt")
    told = [seen.closed_for_s is not None for seen in hub.requests]

    assert told == [False, False, True, False]
    hub.world.clock.advance(301)
    ask(url)
    assert hub.requests[-1].closed_for_s is None
