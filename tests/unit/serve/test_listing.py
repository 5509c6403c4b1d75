"""Lists: their parameters, their pages, and what they say of each repo."""

import json
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import pytest

from hubsync.model.repo import RepoType
from hubsync.ports.listing import Search
from hubsync.serve.listing import EXPANDABLE, Place
from tests.gguf_files import tiny_llama
from tests.unit.hubs.asking import Asking
from tests.unit.serve.mirror import Answer, File, Live, Mirror, serving
from tests.unit.serve.test_weights import safetensors

BIG = safetensors({"a": ("BF16", [70_000, 100_000])})


def fill(mirror: Mirror) -> None:
    for number, likes in enumerate((5, 3, 3, 3, 1)):
        card = {"id": f"a/m{number}", "likes": likes, "downloads": 10 - number}
        mirror.publish(f"a/m{number}", {"x": File(b"x")}, commit=f"{number}", card=card)
    mirror.publish(
        "b/big",
        {"model.safetensors": File(BIG, lfs=True)},
        commit="big",
        card={"id": "b/big", "tags": ["en"],
              "inferenceProviderMapping": [{"provider": "acme-cloud"}]},
    )  # fmt: skip
    mirror.publish(
        "b/tiny", {"t.gguf": File(tiny_llama(), lfs=True)}, commit="t",
        card={"id": "b/tiny", "tags": ["gguf"]},
    )  # fmt: skip
    for kind in (RepoType.DATASET, RepoType.SPACE):
        mirror.publish(
            "a/d", {"x": File(b"x")}, repo_type=kind, commit=str(kind),
            card={"id": "a/d", "tags": ["language:en"], "description": "d", "sdk": "x",
                  "cardData": {"license": "mit"}},
        )  # fmt: skip


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    mirror = Mirror(tmp_path_factory.mktemp("mirror"))
    fill(mirror)
    with serving(mirror) as live:
        yield live
    mirror.close()


def names(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.body
    return [one["id"] for one in answer.json()]


def following(answer: Answer) -> str | None:
    link = answer.headers.get("link", "")
    parts = urlsplit(link[1:].partition(">")[0])
    return f"{parts.path}?{parts.query}" if link else None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("num_parameters=min:6B", ["b/big"]),
        ("num_parameters=min:6B,max:128B", ["b/big"]),
        ("num_parameters=max:10K", ["b/tiny"]),
        ("num_parameters=min:1,max:8b&sort=likes", ["b/big", "b/tiny"]),
        ("num_parameters=min:100B", []),
        ("apps=llama.cpp", ["b/tiny"]),
        ("apps=ollama&apps=jan", ["b/tiny"]),
        ("inference_provider=acme-cloud", ["b/big"]),
        ("inference_provider=all", ["b/big"]),
        ("inference_provider=other", []),
        ("filter=language:en", ["b/big"]),
        ("filter=en", ["b/big"]),
        ("author=a&sort=likes&limit=2", ["a/m0", "a/m1"]),
    ],
)
def test_parameters(listed: Live, query: str, expected: list[str]) -> None:
    assert names(listed.get(f"/api/models?{query}")) == expected


@pytest.mark.parametrize(
    "query",
    ["num_parameters=many", "num_parameters=min:1X", "num_parameters=big:1",
     "num_parameters=min:", "cursor=", "cursor=W10",
     "cursor=" + "W" * 4000, "cursor=WyJ4IiwieSJd", "cursor=%ff", "cursor=1",
     "cursor=" + quote(Place(0, "x").write()[:-3])],
)  # fmt: skip
def test_what_cannot_be_meant(listed: Live, query: str) -> None:
    assert listed.get(f"/api/models?{query}").status == 400


@pytest.mark.parametrize("direction", ["", "&direction=-1", "&direction=1"])
@pytest.mark.parametrize("sort", ["likes", "downloads", "createdAt", "lastModified"])
def test_pages_are_the_list(listed: Live, sort: str, direction: str) -> None:
    whole = names(listed.get(f"/api/models?sort={sort}{direction}"))
    assert len(whole) == 7
    target: str | None = f"/api/models?sort={sort}{direction}&limit=2"
    walked = []
    while target:
        page = listed.get(target)
        assert "x-total-count" not in page.headers
        walked += names(page)
        target = following(page)
    assert walked == whole


def test_a_list_from_the_middle(listed: Live) -> None:
    whole = names(listed.get("/api/models?sort=likes"))
    page = listed.get("/api/models?sort=likes&skip=2&limit=2")
    assert names(page) == whole[2:4]
    target = following(page)
    assert target
    assert names(listed.get(target)) == whole[4:6]


def test_what_is_added_meanwhile_moves_nothing(own_mirror: Mirror) -> None:
    fill(own_mirror)
    with serving(own_mirror) as live:
        first = live.get("/api/models?sort=likes&limit=2&author=a")
        for name, likes in (("a/best", 99), ("a/m11", 3)):
            card = {"id": name, "likes": likes}
            own_mirror.publish(name, {"x": File(b"x")}, commit=name, card=card)
        target = following(first)
        assert target
        assert names(first) == ["a/m0", "a/m1"]
        assert names(live.get(target)) == ["a/m11", "a/m2"]


def test_a_page_is_no_longer_than_the_hubs(listed: Live) -> None:
    assert len(names(listed.get("/api/models?limit=999999999"))) == 7


KEYS = {
    "models": "_id id likes trendingScore private downloads tags createdAt modelId",
    "models?full=true": "_id id author gated disabled lastModified likes "
    "trendingScore private sha downloads tags createdAt modelId siblings",
    "datasets": "_id id author disabled gated lastModified likes trendingScore "
    "private sha description downloads tags createdAt",
    "datasets?full=true": "_id id author disabled gated lastModified likes "
    "trendingScore private sha description downloads tags createdAt siblings",
    "datasets?cardData=true": "_id id author disabled gated lastModified likes "
    "trendingScore private sha description downloads tags createdAt cardData",
    "spaces": "_id id likes trendingScore private sdk tags createdAt",
}


@pytest.mark.parametrize("target", KEYS)
def test_an_item_has_the_hubs_keys_in_its_order(listed: Live, target: str) -> None:
    mark = "&" if "?" in target else "?"
    item = listed.get(f"/api/{target}{mark}author=a&limit=1").json()[0]
    assert list(item) == KEYS[target].split()


@pytest.mark.parametrize("repo_type", list(RepoType))
def test_everything_that_may_be_expanded_is(listed: Live, repo_type: RepoType) -> None:
    """What is not known of a repo is left out, and nothing else is there."""
    name = "a/m0" if repo_type is RepoType.MODEL else "a/d"
    for key in EXPANDABLE[repo_type]:
        for target in (f"{repo_type.plural}/{name}", f"{repo_type.plural}?author=a"):
            mark = "&" if "?" in target else "?"
            answer = listed.get(f"/api/{target}{mark}expand={quote(key)}")
            assert answer.status == 200, (target, key)
            found = answer.json()
            for item in found if isinstance(found, list) else [found]:
                assert item.keys() <= {"_id", "id", key}


@pytest.mark.parametrize(
    ("target", "key"),
    [("datasets/a/d", "gguf"), ("spaces/a/d", "downloads"), ("models/a/m0", "citation"),
     ("datasets", "safetensors"), ("spaces", "description"), ("models", "sdk"),
     ("models", "secrets"), ("models/a/m0", "")],
)  # fmt: skip
def test_each_type_has_its_own(listed: Live, target: str, key: str) -> None:
    answer = listed.get(f"/api/{target}?expand={key}")
    assert answer.status == 400
    assert json.loads(answer.body)["error"].startswith('"expand" must be one of [')
    assert answer.headers["x-error-message"]


@pytest.mark.parametrize("repo_type", list(RepoType))
def test_another_mirror_reads_them_as_it_reads_the_hubs(
    listed: Live, repo_type: RepoType
) -> None:
    asking = Asking(listed.url, token=False)
    found = asking.search(Search(author="A"), repo_type)
    expected = {f"a/m{n}" for n in range(5)} if repo_type is RepoType.MODEL else {"a/d"}
    assert {one.repo.name for one in found} == expected
    assert all(one.head and one.last_modified for one in found)
    assert asking.look(found[0].repo.name, repo_type) == found[0]
    assert asking.requests == 1
