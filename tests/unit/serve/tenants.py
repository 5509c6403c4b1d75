"""A mirror with repos of two tenants who hold the same bytes, and their tokens."""

from pathlib import Path

from hubsync.catalog.tokens import TokenGrant
from hubsync.model.repo import RepoType
from hubsync.model.token import digest_of, new_token
from tests.unit.serve.mirror import File, Live, Mirror

SHARED = b"the same weights in both " * 20_000  # 500 kB: not sent in one piece
SECRET = b"what only the rival has"
SECRET_NAME = "plans.txt"


def made(folder: Path) -> Mirror:
    mirror = Mirror(folder)
    ours = {"config.json": File(b"{}"), "w.bin": File(SHARED, lfs=True)}
    theirs = {
        **ours,
        SECRET_NAME: File(SECRET, lfs=True),
        "theirs-Q8_0.gguf": File(SECRET * 2, lfs=True),
    }
    mirror.publish("acme/open", ours, commit="ours")
    mirror.publish("rival/old", {"a": File(b"a")}, commit="0", hub_id="f" * 24)
    mirror.publish("rival/secret", theirs, commit="theirs", hub_id="f" * 24, minute=1)
    tables = {"x": File(b"x"), "train.parquet": File(b"PAR1")}
    mirror.publish("rival/data", tables, repo_type=RepoType.DATASET, commit="data")
    mirror.publish("rival/own", {"y": File(b"y")}, upstream="local", commit="own")
    return mirror


def give(mirror: Mirror, name: str, *globs: str, **grant: object) -> str:
    """A new token; by default for everything."""
    token = new_token()
    repos = globs or ("*",)
    mirror.catalog.add_token(name, digest_of(token), TokenGrant(repos, **grant))  # type: ignore[arg-type]
    return token


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def status(live: Live, target: str, token: str | None = None) -> int:
    return live.ask(target, headers=bearer(token) if token else {}).status
