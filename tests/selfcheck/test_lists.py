"""The hub's lists of repos and its collections, as the contract has them."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from huggingface_hub import HfApi

from tests.selfcheck.asking import ask
from tests.testhub import TestHub


def listed(hub: TestHub, query: str, plural: str = "models") -> list[Any]:
    found: list[Any] = ask(f"{hub.endpoint}/api/{plural}?{query}").json()
    return found


def names(hub: TestHub, query: str, plural: str = "models") -> set[str]:
    return {one["id"] for one in listed(hub, query, plural)}


def test_each_parameter_chooses(hub: TestHub) -> None:
    task = "fill-mask"
    hub.create_repo("acme/Bert", tags=("a", "b"), pipeline_tag=task, gated="auto")
    hub.create_repo("acme/gpt", tags=("a",), library_name="timm")
    hub.create_repo("rival/bert", tags=("b",))
    for query, expected in {
        "author=ACME": {"acme/Bert", "acme/gpt"},
        "search=BERT": {"acme/Bert", "rival/bert"},
        "filter=a&filter=b": {"acme/Bert"},
        "filter=timm": {"acme/gpt"},
        "pipeline_tag=fill-mask": {"acme/Bert"},
        "gated=true": {"acme/Bert"},
        "gated=false": {"acme/gpt", "rival/bert"},
        "author=nobody": set(),
        # Whoever gets a name wrong gets everything.
        "library=timm&tags=a": {"acme/Bert", "acme/gpt", "rival/bert"},
    }.items():
        assert names(hub, query) == expected, query


def test_what_a_type_does_not_have_is_ignored(hub: TestHub) -> None:
    hub.create_repo("acme/app", "space")
    assert names(hub, "pipeline_tag=x&gated=true", "spaces") == {"acme/app"}


def test_expand_gives_what_was_asked_for_and_no_more(hub: TestHub) -> None:
    sha = hub.create_repo("acme/tiny").commit({"a": b"1"})
    (shown,) = listed(hub, "expand=sha&expand=usedStorage&expand[]=gated")
    assert list(shown) == ["_id", "id", "sha", "usedStorage", "gated"]
    assert shown["sha"] == sha


@pytest.mark.parametrize(
    ("plural", "query"),
    [
        ("models", "expand=nonsense"),
        ("spaces", "expand=gated"),
        ("models", "expand=citation"),
        ("models", "sort=name"),
        ("models", "cursor=x"),
    ],
)
def test_what_there_is_not_is_400(hub: TestHub, plural: str, query: str) -> None:
    hub.create_repo("acme/tiny", plural.removesuffix("s"))
    assert ask(f"{hub.endpoint}/api/{plural}?{query}").status == 400


@pytest.mark.parametrize("sort", ["", "createdAt", "likes", "lastModified"])
def test_pages_lead_to_everything_once(hub: TestHub, sort: str) -> None:
    for number in range(7):
        hub.create_repo(f"acme/{number}", likes=number // 3).commit({"a": b"1"})
    url: str | None = f"{hub.endpoint}/api/models?{urlencode({'sort': sort})}&limit=3"
    found: list[str] = []
    sizes = []
    while url:
        reply = ask(url)
        page = [one["id"] for one in reply.json()]
        sizes.append(len(page))
        found += page
        link = re.fullmatch(r'<(http.*)>; rel="next"', reply.headers.get("Link", ""))
        url = link[1] if link else None
    assert sizes == [3, 3, 1]
    assert sorted(found) == [f"acme/{number}" for number in range(7)]


def test_a_page_has_a_thousand_rows_at_most(hub: TestHub) -> None:
    hub.create_repos({f"acme/{n}": {"a": b"1"} for n in range(1001)})
    for query in ("", "limit=5000"):
        assert len(listed(hub, query)) == 1000


def test_the_real_client_walks_the_pages(hub: TestHub) -> None:
    hub.create_repos({f"acme/{n}": {"a": b"1"} for n in range(5)})
    hub.list_page_rows = 2
    api = HfApi(hub.endpoint, token=False)
    found = list(api.list_models(author="acme", expand=["sha", "lastModified"]))
    assert len({one.id for one in found}) == 5
    assert all(one.sha and one.last_modified for one in found)


def test_the_real_client_reads_a_collection(hub: TestHub) -> None:
    slug = hub.create_collection(
        "acme/best-64f9a55bb3115b4f513ec026",
        [("model", "acme/tiny"), ("paper", "2307.09288")],
    )
    found = HfApi(hub.endpoint, token=False).get_collection(slug)
    assert found.slug == slug
    assert [(one.item_type, one.item_id) for one in found.items] == [
        ("model", "acme/tiny"),
        ("paper", "2307.09288"),
    ]
    assert ask(f"{hub.endpoint}/api/collections/acme/none-1").status == 404


def test_repos_made_by_the_thousand_are_repos(tmp_path: Path) -> None:
    with TestHub(tmp_path) as hub:
        one, other = hub.create_repos(
            {name: {"a/b.txt": name.encode()} for name in ("acme/one", "acme/other")}
        )
        first = one.resolve("main")
        second = one.commit({"c.txt": b"more"}, "More")
        one.tag("v1", second)
        (row,) = listed(hub, "search=one&expand=sha&expand=lastModified")
        assert (row["sha"], row["lastModified"][:10]) == (second, "2026-01-01")
        assert [entry.sha for entry in one.git.history(second)] == [second, first]
        assert one.git.refs() == {"refs/heads/main": second, "refs/tags/v1": second}
        assert other.resolve("v1") is None
        assert other.resolve("main") not in (None, first)
    with TestHub(tmp_path) as hub:
        found, _ = hub.world.find("model", "acme/one")
        assert found
        assert found.resolve("v1") == second
        hop = ask(f"{hub.endpoint}/acme/other/resolve/main/a/b.txt")
        assert ask(hub.endpoint + hop.location).body == b"acme/other"
