"""Parquet listings, and what the dataset viewer's routes answer."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from hubsync.model.repo import RepoType
from tests.unit.serve.mirror import File, Live, Mirror, oid, serving

README = b"""---
configs:
- config_name: small
  data_files: few/*.parquet
- config_name: all of it
  data_files:
  - split: train
    path: data/train-*
---
"""


def parquet(text: str) -> File:
    return File(text.encode(), lfs=True)


def fill(mirror: Mirror) -> None:
    mirror.publish(
        "acme/own",
        {
            "README.md": File(README),
            "data/train-00000-of-00002.parquet": parquet("train 0"),
            "data/train-00001-of-00002.parquet": parquet("train 1"),
            "few/x y.parquet": parquet("few"),
        },
        repo_type=RepoType.DATASET, upstream="local", commit="own",
    )  # fmt: skip
    mirror.publish(
        "acme/converted", {"train.csv": File(b"a")},
        repo_type=RepoType.DATASET, commit="csv",
    )  # fmt: skip
    mirror.publish(
        "acme/converted",
        {
            "default/train/0000.parquet": parquet("0"),
            "default/train/0001.parquet": parquet("1"),
            "default/partial-test/0000.parquet": parquet("2"),
        },
        repo_type=RepoType.DATASET, commit="made", minute=1,
        refs=("refs/convert/parquet",),
    )  # fmt: skip
    mirror.publish(
        "acme/csv", {"train.csv": File(b"a")},
        repo_type=RepoType.DATASET, commit="plain",
    )  # fmt: skip


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    mirror = Mirror(tmp_path_factory.mktemp("mirror"))
    fill(mirror)
    with serving(mirror) as live:
        yield live
    mirror.close()


def test_a_repos_own_files(tables: Live) -> None:
    answer = tables.get("/api/datasets/acme/own/parquet")
    url = f"{tables.url}/api/datasets/acme/own/parquet"
    assert answer.json() == {
        "small": {"train": [f"{url}/small/train/0.parquet"]},
        "all of it": {
            "train": [f"{url}/all%20of%20it/train/{n}.parquet" for n in (0, 1)]
        },
    }
    assert answer.headers["x-repo-commit"] == oid("own")


def test_a_part_of_the_listing(tables: Live) -> None:
    base = "/api/datasets/acme/converted/parquet"
    whole = tables.get(base).json()
    assert set(whole["default"]) == {"train", "test"}
    assert tables.get(f"{base}/default").json() == whole["default"]
    assert tables.get(f"{base}/default/train").json() == whole["default"]["train"]
    assert len(whole["default"]["train"]) == 2


def test_every_address_leads_to_its_file(tables: Live) -> None:
    bodies = []
    for name in ("own", "converted"):
        listing = tables.get(f"/api/datasets/acme/{name}/parquet").json()
        for splits in listing.values():
            for urls in splits.values():
                for url in urls:
                    answer = tables.get(urlsplit(url).path)
                    assert answer.status == 302
                    assert answer.headers["location"].startswith("/datasets/acme/")
                    bodies.append(tables.get(answer.headers["location"]).body)
    assert bodies == [b"few", b"train 0", b"train 1", b"2", b"0", b"1"]


@pytest.mark.parametrize(
    "tail",
    ["x", "default/x", "default/train/2.parquet", "default/train/-1.parquet",
     "default/train/x.parquet", "default/train/0", "default/train/0.parquet/x",
     "default/train/%C2%B2.parquet", "default/train/" + "9" * 5000 + ".parquet",
     "%2e%2e/%2e%2e/x.parquet"],
)  # fmt: skip
def test_what_is_not_listed(tables: Live, tail: str) -> None:
    assert tables.get(f"/api/datasets/acme/converted/parquet/{tail}").status == 404


def test_without_parquet_there_is_nothing(tables: Live) -> None:
    for target in ("/api/datasets/acme/csv/parquet", "/parquet?dataset=acme/csv"):
        answer = tables.get(target)
        assert (answer.status, answer.code) == (404, "ResponseNotFound")
    assert tables.get("/api/models/acme/csv/parquet").status == 404


def test_the_viewers_listing(tables: Live) -> None:
    answer = tables.get("/parquet?dataset=acme/own&config=small")
    assert answer.json() == {
        "parquet_files": [
            {
                "dataset": "acme/own",
                "config": "small",
                "split": "train",
                "url": f"{tables.url}/datasets/acme/own/resolve/{oid('own')}"
                "/few/x%20y.parquet",
                "filename": "x y.parquet",
                "size": 3,
            }
        ],
        "pending": [],
        "failed": [],
        "partial": False,
    }
    assert answer.headers["x-revision"] == oid("own")
    url = answer.json()["parquet_files"][0]["url"]
    assert tables.get(urlsplit(url).path).body == b"few"


def test_of_what_the_hub_has_converted_nobody_knows_the_revision(tables: Live) -> None:
    """A client would load it for what the branch holds now."""
    answer = tables.get("/parquet?dataset=acme%2Fconverted")
    assert "x-revision" not in answer.headers
    assert answer.json()["partial"] is True
    url = answer.json()["parquet_files"][0]["url"]
    assert "/resolve/refs%2Fconvert%2Fparquet/" in url
    assert tables.get(urlsplit(url).path).status == 200


def test_splits(tables: Live) -> None:
    assert tables.get("/splits?dataset=acme/converted").json() == {
        "splits": [
            {"dataset": "acme/converted", "config": "default", "split": "test"},
            {"dataset": "acme/converted", "config": "default", "split": "train"},
        ],
        "pending": [],
        "failed": [],
    }
    nothing = tables.get("/splits?dataset=acme/converted&config=x")
    assert nothing.json()["splits"] == []


def test_the_rest_of_the_viewer_is_not_here(tables: Live) -> None:
    assert not any(tables.get("/is-valid?dataset=acme/own").json().values())
    for path in ("/info", "/size"):
        answer = tables.get(f"{path}?dataset=acme/own")
        assert (answer.status, answer.code) == (404, "ResponseNotFound")
    for path in ("/rows", "/first-rows", "/search", "/filter", "/statistics"):
        answer = tables.get(f"{path}?dataset=acme/own&config=x&split=y")
        assert answer.status == 501
        assert "error" in answer.json()


def test_the_viewer_of_what(tables: Live) -> None:
    assert tables.get("/splits").status == 422
    assert tables.get("/splits?dataset=").status == 422
    answer = tables.get("/splits?dataset=acme/nothing")
    assert (answer.status, answer.code) == (404, "RepoNotFound")
    assert tables.get("/splits?dataset=../..%00").status == 404
    assert tables.get("/splits?dataset=Acme/OWN").status == 200
    assert tables.ask("/splits?dataset=acme/own", "POST").status == 403


def test_a_repo_may_be_called_parquet(own_mirror: Mirror) -> None:
    own_mirror.publish("parquet", {"a.txt": File(b"a")}, upstream="local")
    with serving(own_mirror) as live:
        assert live.get("/parquet/resolve/main/a.txt").body == b"a"
