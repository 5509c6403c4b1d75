"""The JSON the hub answers with, and its errors."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from tests.testhub.clock import wire_time
from tests.testhub.git import GitCommit
from tests.testhub.listing import Json
from tests.testhub.world import Account, HubRepo


class HubError(Exception):
    """An error answer of the hub."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        text: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code
        self.text, self.headers = text, dict(headers or {})

    def response(self) -> web.Response:
        headers = {**self.headers, "X-Error-Message": self.message}
        if self.code:
            headers["X-Error-Code"] = self.code
        if self.text:
            return web.Response(status=self.status, text=self.message, headers=headers)
        body = json.dumps({"error": self.message}, separators=(",", ":")).encode()
        headers["Content-Type"] = "application/json; charset=utf-8"
        return web.Response(status=self.status, body=body, headers=headers)


def anonymous() -> HubError:
    """Missing or private: the hub does not say which, and gives no code."""
    realm = 'Bearer realm="Authentication required", charset="UTF-8"'
    return HubError(
        401, "Invalid username or password.", headers={"WWW-Authenticate": realm}
    )


def fixed(
    path: str, account: Account | None, *, has_token: bool
) -> web.Response | None:
    if path == "/api/agent-harnesses":
        return web.json_response({"standardEnvVars": [], "harnesses": {}})
    if path != "/api/whoami-v2":
        return None
    if has_token and account is None:
        raise HubError(401, "Invalid credentials in Authorization header")
    if account is None:
        raise anonymous()
    token = {"displayName": "test", "role": "read"}
    return web.json_response(
        {
            "type": "user",
            "name": account.user,
            "orgs": [],
            "auth": {"type": "access_token", "accessToken": token},
        }
    )


_MODEL_KEYS = [
    "_id",
    "id",
    "private",
    "pipeline_tag",
    "library_name",
    "tags",
    "downloads",
    "likes",
    "modelId",
    "author",
    "sha",
    "lastModified",
    "gated",
    "disabled",
    "model-index",
    "cardData",
    "siblings",
    "spaces",
    "createdAt",
    "usedStorage",
]
_KEYS = {
    "model": _MODEL_KEYS,
    "dataset": [
        "_id",
        "id",
        "author",
        "sha",
        "lastModified",
        "private",
        "gated",
        "disabled",
        "tags",
        "downloads",
        "likes",
        "siblings",
        "createdAt",
        "usedStorage",
    ],
    "space": [
        "_id",
        "id",
        "likes",
        "tags",
        "private",
        "author",
        "sha",
        "lastModified",
        "cardData",
        "gated",
        "disabled",
        "siblings",
        "createdAt",
        "usedStorage",
    ],
}
_LIST_KEYS = {
    "model": [
        "_id",
        "id",
        "likes",
        "trendingScore",
        "private",
        "downloads",
        "tags",
        "pipeline_tag",
        "library_name",
        "createdAt",
        "modelId",
    ],
    "dataset": [
        "_id",
        "id",
        "author",
        "sha",
        "lastModified",
        "private",
        "gated",
        "disabled",
        "tags",
        "downloads",
        "likes",
        "createdAt",
    ],
    "space": ["_id", "id", "likes", "trendingScore", "private", "tags", "createdAt"],
}


def info(
    repo: HubRepo,
    sha: str | None,
    params: Mapping[str, str],
    all_params: Sequence[tuple[str, str]] = (),
) -> Json:
    """The info object; ``expand`` gives exactly what it names."""
    expand = [value for key, value in all_params if key in ("expand", "expand[]")]
    check_expand(repo.repo_type, expand)
    keys = ["_id", "id", *expand] if expand else _KEYS[repo.repo_type]
    return _shown(repo, sha, keys, with_blobs=params.get("blobs") == "true")


_EXPAND = {
    "model": {
        "baseModels",
        "childrenModelCount",
        "config",
        "evalResults",
        "gated",
        "gguf",
        "inference",
        "inferenceProviderMapping",
        "library_name",
        "mask_token",
        "model-index",
        "pipeline_tag",
        "safetensors",
        "spaces",
        "transformersInfo",
        "widgetData",
        "xetEnabled",
        "downloads",
        "downloadsAllTime",
    },
    "dataset": {
        "citation",
        "description",
        "downloads",
        "downloadsAllTime",
        "gated",
        "mainSize",
        "paperswithcode_id",
    },
    "space": {"datasets", "models", "region", "runtime", "sdk", "subdomain"},
}
_EXPAND_ALL = {
    "author",
    "cardData",
    "createdAt",
    "disabled",
    "lastModified",
    "likes",
    "private",
    "resourceGroup",
    "sha",
    "siblings",
    "tags",
    "trendingScore",
    "usedStorage",
}


def check_expand(repo_type: str, expand: Sequence[str]) -> None:
    if unknown := {*expand} - _EXPAND_ALL - _EXPAND[repo_type]:
        raise HubError(400, f'"expand" must be one of the known values: {unknown}')


def _shown(
    repo: HubRepo, sha: str | None, keys: Sequence[str], *, with_blobs: bool = False
) -> Json:
    """*keys* of the repo, in that order, as far as it has them."""
    found: Json = {
        "_id": repo.hub_id,
        "id": repo.name,
        "private": repo.private,
        "pipeline_tag": repo.pipeline_tag,
        "library_name": repo.library_name,
        "tags": list(repo.tags),
        "downloads": repo.downloads,
        "likes": repo.likes,
        "trendingScore": 0,
        "modelId": repo.name,
        "author": repo.name.partition("/")[0],
        "sha": sha,
        "lastModified": _last_modified(repo, sha),
        "gated": repo.gated,
        "disabled": repo.disabled,
        "model-index": None,
        "cardData": {"license": "mit"},
        "spaces": [],
        "createdAt": repo.created_at,
        "usedStorage": repo.used_storage,
    }
    # Git is asked for the files only if they are: a list has thousands of repos.
    needs_files = "siblings" in keys or (
        "usedStorage" in keys and repo.used_storage is None
    )
    files = repo.listing(sha).files() if sha and needs_files else []
    if needs_files:
        found["siblings"] = [
            one.as_sibling_json(with_blobs=with_blobs) for one in files
        ]
        used = sum(one.size for one in files if one.lfs is not None)
        found["usedStorage"] = used if repo.used_storage is None else repo.used_storage
    unset = {"pipeline_tag", "library_name", "sha"}
    return {
        key: found[key]
        for key in keys
        if key in found and not (key in unset and found[key] is None)
    }


def _last_modified(repo: HubRepo, sha: str | None) -> str:
    return wire_time(repo.committed_at(sha)) if sha else repo.created_at


def list_item(repo: HubRepo, expand: Sequence[str]) -> Json:
    check_expand(repo.repo_type, expand)
    keys = ["_id", "id", *expand] if expand else _LIST_KEYS[repo.repo_type]
    return _shown(repo, repo.resolve("main"), keys)


def sort_key(repo: HubRepo, by: str) -> str:
    """What a list is sorted by, as text that sorts as it does."""
    if by == "lastModified":
        return _last_modified(repo, repo.resolve("main"))
    if by == "createdAt":
        return repo.created_at
    # Nobody has a trend here.
    number = {"downloads": repo.downloads, "likes": repo.likes}.get(by, 0)
    return str(number).zfill(12)


def refs(repo: HubRepo, *, prs: bool) -> Json:
    found: dict[str, list[Json]] = {"tags": [], "branches": [], "converts": []}
    if prs:
        found["pullRequests"] = []
    rooms = {
        "refs/tags/": "tags",
        "refs/heads/": "branches",
        "refs/convert/": "converts",
        "refs/pr/": "pullRequests",
    }
    for ref, commit in repo.git.refs().items():
        for prefix, room in rooms.items():
            if ref.startswith(prefix) and room in found:
                name = ref.removeprefix(prefix)
                found[room].append({"name": name, "ref": ref, "targetCommit": commit})
    return dict(found)


def commit(one: GitCommit) -> Json:
    avatar = f"https://cdn.invalid/{one.author}.png"
    return {
        "id": one.sha,
        "title": one.title,
        "message": one.body,
        "authors": [{"user": one.author, "avatar": avatar}],
        "date": wire_time(one.timestamp),
    }


def with_last_commit(repo: HubRepo, sha: str, rows: list[Any]) -> list[Any]:
    touched = repo.git.last_touched(sha)
    history = {one.sha: one for one in repo.git.history(sha)}
    for row in rows:
        one = history[touched[row["path"]]]
        row["lastCommit"] = {
            "id": one.sha,
            "title": one.title,
            "date": wire_time(one.timestamp),
        }
    return rows


def paths_info(
    repo: HubRepo, sha: str, body: bytes, headers: Mapping[str, str]
) -> list[Any]:
    if headers.get("Content-Type", "").startswith("application/json"):
        asked = json.loads(body)
        paths, expand = asked["paths"], bool(asked.get("expand"))
    else:
        form = parse_qsl(body.decode())
        paths = [value for key, value in form if key == "paths"]
        expand = dict(form).get("expand", "").lower() == "true"
    entries = repo.listing(sha).entries
    rows: list[Any] = [
        entries[path].as_tree_json() for path in paths if path in entries
    ]
    return with_last_commit(repo, sha, rows) if expand else rows


def xet_token(repo: HubRepo) -> web.Response:
    """A token for a store that nobody runs: whoever goes there fails."""
    answer = {"casUrl": "http://127.0.0.1:9", "accessToken": "x", "exp": 2**31}
    headers = {
        "X-Xet-Cas-Url": "http://127.0.0.1:9",
        "X-Xet-Access-Token": "x",
        "X-Xet-Token-Expiration": str(2**31),
    }
    return web.json_response(answer, headers=headers)
