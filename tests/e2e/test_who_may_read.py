"""Real clients against a mirror that asks who they are."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.e2e.stand import Client, Store, python_of, run
from tests.testhub import TestHub

pytestmark = pytest.mark.clients

SAID = """
def said(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return "fine"
"""
ERRORS = f"""
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
{SAID}
api = HfApi()
answer = []
for repo in sys.argv[1:]:
    answer.append([
        said(lambda: hf_hub_download(repo, "config.json")),
        said(lambda: snapshot_download(repo)),
        said(lambda: api.model_info(repo)),
        said(lambda: api.auth_check(repo)),
    ])
"""
WHO = """
from huggingface_hub import HfApi
api = HfApi()
answer = [api.whoami()["name"], sorted(one.id for one in api.list_models())]
"""
NAME = """
from huggingface_hub import HfApi
try:
    answer = HfApi().whoami()["name"]
except Exception as error:
    answer = type(error.__cause__ or error).__name__
"""
HIDDEN = ["RepositoryNotFoundError"] * 4
FINE = ["fine"] * 4


@dataclass(frozen=True)
class Closed:
    url: str
    store: Store
    ours: str


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    """acme/one and rival/two, and a token for the first."""
    work = tmp_path_factory.mktemp("closed")
    (work / "home").mkdir()
    (work / "folder").mkdir()
    (work / "folder" / "config.json").write_text("{}")
    store = Store(work / "store", work / "home", more={"HUBSYNC_SERVE__AUTH": "tokens"})
    for name in ("acme/one", "rival/two"):
        store.json("add", work / "folder", name)
    ours = store.json("token", "add", "ours", "--repo", "acme/*")["token"]
    with store.serving(work / "log") as url:
        yield Closed(url, store, ours)
    assert ours not in (work / "log").read_text()


@pytest.fixture(params=["newest", "old"])
def python(request: pytest.FixtureRequest) -> Path:
    if request.param == "old":
        return python_of("hub-old")
    return Client(Path(), {}).python


def client(python: Path, home: Path, url: str, token: str | None) -> Client:
    home.mkdir(exist_ok=True)
    settings = {"HF_ENDPOINT": url, **({"HF_TOKEN": token} if token else {})}
    return Client(home, settings, python)


@pytest.mark.table_row(
    "huggingface_hub", "with a token of the mirror: what it opens, what it hides"
)
def test_a_token_opens_what_it_names(
    closed: Closed, python: Path, tmp_path: Path, ran: Callable[[str], None]
) -> None:
    ours = client(python, tmp_path / "home", closed.url, closed.ours)
    ran(ours.version("huggingface_hub"))
    found = ours.ask(ERRORS, "acme/one", "rival/two", "no/such")
    assert found == [FINE, HIDDEN, HIDDEN]
    assert ours.ask(WHO) == ["ours", ["acme/one"]]


def test_without_a_token_nothing_is_there(
    closed: Closed, python: Path, tmp_path: Path
) -> None:
    nobody = client(python, tmp_path / "home", closed.url, None)
    assert nobody.ask(ERRORS, "acme/one", "no/such") == [HIDDEN, HIDDEN]


def test_a_revoked_token_is_said_to_be_wrong(
    closed: Closed, python: Path, tmp_path: Path
) -> None:
    name = f"short-{python.parts[-3]}"
    token = closed.store.json("token", "add", name)["token"]
    held = client(python, tmp_path / "home", closed.url, token)
    assert held.ask(ERRORS, "rival/two") == [FINE]
    closed.store.json("token", "revoke", name)
    held = replace(held, home=tmp_path / "other")
    held.home.mkdir()
    (found,) = held.ask(ERRORS, "rival/two")
    assert "fine" not in found
    assert "RepositoryNotFoundError" not in found  # the repo is not what is wrong


def test_wget_and_curl_show_a_token(closed: Closed, tmp_path: Path) -> None:
    url = f"{closed.url}/acme/one/resolve/main/config.json"
    header = f"Authorization: Bearer {closed.ours}"
    commands = {
        "curl": ["-fsS", "-H", header, url],
        "wget": ["-qO-", f"--header={header}", url],
    }
    found = {
        name: run(name, *words, env={"PATH": "/usr/bin:/bin"})
        for name, words in commands.items()
        if shutil.which(name)
    }
    assert set(found.values()) <= {"{}"}
    assert found


GATED = f"""
from huggingface_hub import HfApi, hf_hub_download
{SAID}
answer = [
    [said(lambda: hf_hub_download(repo, "config.json")),
     said(lambda: HfApi().model_info(repo))]
    for repo in sys.argv[1:]
]
"""


def test_the_upstreams_gates_hold_here_as_there(python: Path, tmp_path: Path) -> None:
    """Each client, with each token, hears the same of the mirror as of the hub."""
    owner, other = "hf_owner" + "o" * 30, "hf_other" + "x" * 30
    repos = ("acme/public", "acme/gated", "acme/private", "acme/nothing")
    (tmp_path / "home").mkdir()
    with TestHub(tmp_path / "hub") as hub:
        hub.create_repo("acme/public").commit({"config.json": b"{}"})
        hub.create_repo("acme/gated", gated="manual").commit({"config.json": b"{}"})
        hub.create_repo("acme/private", private=True).commit({"config.json": b"{}"})
        everything = set(repos)
        hub.add_token(owner, approved=everything, can_read=everything)
        hub.add_token(other, "bob")
        more = {"HF_TOKEN": owner, "HUBSYNC_SERVE__AUTH": "pass-through"}
        more["HF_ENDPOINT"] = hub.endpoint
        store = Store(tmp_path / "store", tmp_path / "home", more=more)
        for name in repos[:3]:
            store.json("pull", name, endpoint=hub.endpoint)
        before = len(hub.requests)
        with store.serving(tmp_path / "log") as url:
            for at, token in enumerate((owner, other, None)):
                there, here = (
                    client(python, tmp_path / f"{at}{kind}", where, token).ask(
                        GATED, *repos
                    )
                    for kind, where in (("hub", hub.endpoint), ("mirror", url))
                )
                if token is None:
                    # http: the client knows the hub's bare 401 by https alone.
                    there = [[_by_https(one) for one in pair] for pair in there]
                assert here == there, token
            asked = [one.path for one in hub.requests[before:]]
            assert any("auth-check" in path for path in asked)
        said = (tmp_path / "log").read_text()
    assert owner not in said
    assert other not in said


def test_a_gate_that_is_closed_to_the_mirror_sounds_like_the_hubs(
    python: Path, tmp_path: Path
) -> None:
    """What there is can be seen; the files cannot be had."""
    (tmp_path / "home").mkdir()
    with TestHub(tmp_path / "hub") as hub:
        hub.create_repo("acme/gated", gated="manual").commit({"config.json": b"{}"})
        more = {"HF_ENDPOINT": hub.endpoint, "HUBSYNC_SERVE__ON_MISSING": "on_demand"}
        store = Store(tmp_path / "store", tmp_path / "home", more=more)
        with store.serving(tmp_path / "log") as url:
            there, here = (
                client(python, tmp_path / kind, where, None).ask(GATED, "acme/gated")
                for kind, where in (("there", hub.endpoint), ("here", url))
            )
    assert here == there == [["GatedRepoError", "fine"]]


def test_hf_download_says_that_it_is_the_mirrors_token_that_may_not(
    tmp_path: Path,
) -> None:
    hers, mirrors = "hf_hers" + "h" * 30, "hf_mirror" + "m" * 30
    (tmp_path / "home").mkdir()
    with TestHub(tmp_path / "hub") as hub:
        hub.create_repo("acme/hers", private=True).commit({"config.json": b"{}"})
        hub.add_token(hers, can_read={"acme/hers"})
        hub.add_token(mirrors, "mirror")
        more = {"HF_TOKEN": mirrors, "HUBSYNC_SERVE__AUTH": "pass-through"}
        more |= {"HF_ENDPOINT": hub.endpoint}
        more |= {"HUBSYNC_SERVE__ON_MISSING": "on_demand"}
        store = Store(tmp_path / "store", tmp_path / "home", more=more)
        python = Client(Path(), {}).python
        with store.serving(tmp_path / "log") as url:
            for token, is_told in ((hers, True), ("hf_" + "x" * 34, False)):
                one = client(python, tmp_path / token, url, token)
                done = subprocess.run(
                    [python.with_name("hf"), "download", "acme/hers"],
                    env=one.env,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert done.returncode != 0
                assert ("this mirror's own token" in done.stderr) is is_told


def test_hf_auth_whoami_names_the_clients_own_account(
    python: Path, tmp_path: Path
) -> None:
    mirrors, bobs = "hf_mirror" + "m" * 30, "hf_bob" + "b" * 30
    (tmp_path / "home").mkdir()
    with TestHub(tmp_path / "hub") as hub:
        hub.add_token(mirrors, "the-mirrors-own")
        hub.add_token(bobs, "bob")
        more = {"HF_TOKEN": mirrors, "HUBSYNC_SERVE__AUTH": "pass-through"}
        more["HF_ENDPOINT"] = hub.endpoint
        store = Store(tmp_path / "store", tmp_path / "home", more=more)
        with store.serving(tmp_path / "log") as url:
            bob = client(python, tmp_path / "bob", url, bobs)
            assert bob.ask(NAME) == "bob"
            command = python.with_name("hf")
            if command.exists():
                assert "bob" in run(command, "auth", "whoami", env=bob.env)
            wrong = client(python, tmp_path / "wrong", url, "hf_" + "x" * 34)
            assert wrong.ask(NAME) == "HfHubHTTPError"
        assert not any(mirrors in str(one.headers) for one in hub.requests)
    assert bobs not in (tmp_path / "log").read_text()


def _by_https(name: str) -> str:
    bare = {"HfHubHTTPError", "LocalEntryNotFoundError"}
    return "RepositoryNotFoundError" if name in bare else name


def test_the_warning_of_a_mirror_that_is_open_to_all(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    store = Store(tmp_path / "s", tmp_path / "home")
    for host, warns in (("127.0.0.1", False), ("0.0.0.0", True)):
        log = tmp_path / host
        with replace(store, more={"HUBSYNC_SERVE__HOST": host}).serving(log):
            pass
        assert ("whoever reaches" in log.read_text()) is warns
