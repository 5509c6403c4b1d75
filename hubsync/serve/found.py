"""What a route has led to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from aiohttp import web

from hubsync.catalog.rows import RepoRow, SnapshotRow
from hubsync.model.revision import DEFAULT_BRANCH
from hubsync.serve.routing import Route


@dataclass(frozen=True, slots=True)
class Found:
    """A route, and what it names.  *headers*: what the answer has besides."""

    route: Route
    row: RepoRow
    snapshot: SnapshotRow
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def commit(self) -> str:
        return self.snapshot.commit.oid

    @property
    def commit_header(self) -> dict[str, str]:
        return {"X-Repo-Commit": self.commit, **self.headers}

    @property
    def revision(self) -> str:
        """As it was asked for."""
        return self.route.revision or DEFAULT_BRANCH


def elsewhere(request: web.Request, route: Route, row: RepoRow) -> web.Response:
    """The Hub's answer for a renamed repo or a name in other case."""
    location = route.shape.replace("{}", row.repo.name, 1)
    query = request.raw_path.partition("?")[2]
    if query and query.isascii():
        location += f"?{query}"
    return web.Response(status=307, headers={"Location": location})


def pinned_path(found: Found) -> str:
    """The path of an API route about *found*, with its commit for the revision."""
    route, repo = found.route, found.row.repo
    path = f"/api/{repo.repo_type.plural}/{repo.name}/{route.verb}/{found.commit}"
    return f"{path}/{quote(route.path)}" if route.path else path
