"""A dataset's tables as Parquet files: which there are, and where.

``/api/datasets/{name}/parquet``, and the routes of the dataset viewer, which
clients ask at ``datasets-server.`` + our name.  Nothing is converted here: the
files are those of ``refs/convert/parquet`` where that is held, else the repo's own.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from aiohttp import web

from hubsync.catalog.rows import SnapshotRow
from hubsync.model.repo import RepoType
from hubsync.model.snapshot import TreeEntry
from hubsync.serve.errors import Problem
from hubsync.serve.found import Found
from hubsync.serve.library import Library
from hubsync.serve.options import ServeOptions
from hubsync.serve.query import json_response, own_url, params_of, value
from hubsync.serve.routing import Route, name_of_route
from hubsync.wire.data_files import Configs, converted_files, own_files

CONVERTED = "refs/convert/parquet"
VIEWER = ("/parquet", "/splits", "/is-valid", "/info", "/size")
ROWS = ("/rows", "/first-rows", "/search", "/filter", "/statistics", "/opt-in-out-urls")
_LEVELS = 3  # config, split, file

Answer = Callable[[web.Request, Found], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class _Export:
    """*revision* is where *files* are found; *made_from*: None, not known."""

    configs: Configs
    files: Mapping[str, TreeEntry]
    revision: str
    made_from: str | None
    is_partial: bool = False


class Parquet:
    """Lists a dataset's Parquet files."""

    def __init__(self, library: Library, options: ServeOptions) -> None:
        self._library, self._options = library, options

    @property
    def answers(self) -> dict[str, Answer]:
        """By the verb of a route."""
        return {
            "parquet": self._listing,
            "viewer/parquet": self._viewer_parquet,
            "viewer/splits": self._viewer_splits,
            "viewer/is-valid": self._viewer_valid,
            "viewer/info": self._viewer_nothing,
            "viewer/size": self._viewer_nothing,
        }

    def viewer_route(self, request: web.Request, raw_path: str) -> Route:
        """The route of one of `VIEWER`, whose dataset is in the query.

        Raises:
            Problem: 422, it is not there.
        """
        name = value(params_of(request), "dataset")
        if not name:
            message = "Parameter 'dataset' is required"
            raise Problem(422, message, code="MissingRequiredParameter")
        name = name_of_route(quote(name, safe=""))
        return Route(f"viewer{raw_path}", RepoType.DATASET, name, raw_path)

    async def _listing(self, request: web.Request, found: Found) -> web.StreamResponse:
        """``/api/datasets/{name}/parquet[/config[/split[/n.parquet]]]``."""
        export = await self._export(found)
        parts = [one for one in found.route.path.split("/") if one]
        name = found.row.repo.name
        url = f"{own_url(request, self._options)}/api/datasets/{name}/parquet"
        whole = {
            config: {
                split: _urls(f"{url}/{quote(f'{config}/{split}')}", len(paths))
                for split, paths in splits.items()
            }
            for config, splits in export.configs.items()
        }
        if len(parts) == _LEVELS:
            return _redirect(found, export, parts)
        shown: object = whole
        for part in parts:
            if not isinstance(shown, dict) or part not in shown:
                raise _no_export(found)
            shown = shown[part]
        return json_response(shown, found.commit_header)

    async def _viewer_parquet(
        self, request: web.Request, found: Found
    ) -> web.StreamResponse:
        export = await self._export(found)
        name = found.row.repo.name
        base = f"{own_url(request, self._options)}/datasets/{name}/resolve"
        revision = quote(export.revision, safe="")
        wanted = value(params_of(request), "config")
        files = [
            {
                "dataset": name,
                "config": config,
                "split": split,
                "url": f"{base}/{revision}/{quote(path)}",
                "filename": path.rpartition("/")[2],
                "size": export.files[path].size_bytes,
            }
            for config, splits in export.configs.items()
            if wanted in (None, config)
            for split, paths in splits.items()
            for path in paths
        ]
        body = {
            "parquet_files": files,
            "pending": [],
            "failed": [],
            "partial": export.is_partial,
        }
        # Clients take the files for those of the revision that is named here.
        headers = {"X-Revision": export.made_from} if export.made_from else {}
        return json_response(body, headers)

    async def _viewer_splits(
        self, request: web.Request, found: Found
    ) -> web.StreamResponse:
        export = await self._export(found)
        wanted = value(params_of(request), "config")
        splits = [
            {"dataset": found.row.repo.name, "config": config, "split": split}
            for config, of_config in export.configs.items()
            if wanted in (None, config)
            for split in of_config
        ]
        return json_response({"splits": splits, "pending": [], "failed": []})

    async def _viewer_valid(
        self, request: web.Request, found: Found
    ) -> web.StreamResponse:
        """Nothing is computed from tables here."""
        names = ("preview", "viewer", "search", "filter", "statistics")
        return json_response(dict.fromkeys(names, False))

    async def _viewer_nothing(
        self, request: web.Request, found: Found
    ) -> web.StreamResponse:
        message = "This mirror computes nothing from tables"
        raise Problem(404, message, code="ResponseNotFound")

    async def rows(self, request: web.Request, raw_path: str) -> web.StreamResponse:
        """`ROWS` would have to read tables."""
        raise Problem(501, "This mirror serves files, and no rows of them")

    async def _export(self, found: Found) -> _Export:
        """Raises: Problem: 404, there are no such files."""
        export = await self._library.ask_slowly(self._look, found)
        if not export.configs:
            raise _no_export(found)
        return export

    def _look(self, found: Found) -> _Export:
        library = self._library
        converted = library.snapshot(found.row, CONVERTED)
        files = _parquet_files(library, converted)
        configs, is_partial = converted_files(files)
        if configs:
            return _Export(configs, files, CONVERTED, None, is_partial)
        files = _parquet_files(library, found.snapshot)
        card = library.card(found.row, found.snapshot).get("cardData")
        configs = own_files(files, card if isinstance(card, dict) else {})
        return _Export(configs, files, found.commit, found.commit)


def _parquet_files(
    library: Library, snapshot: SnapshotRow | None
) -> dict[str, TreeEntry]:
    entries = library.catalog.entries(snapshot) if snapshot else ()
    files = (one.entry for one in entries)
    return {one.path: one for one in files if one.path.endswith(".parquet")}


def _urls(base: str, count: int) -> list[str]:
    return [f"{base}/{number}.parquet" for number in range(count)]


def _redirect(found: Found, export: _Export, parts: list[str]) -> web.StreamResponse:
    config, split, file = parts
    paths = export.configs.get(config, {}).get(split, [])
    number = file.removesuffix(".parquet")
    is_number = number.isascii() and number.isdigit() and len(number) < 10  # noqa: PLR2004
    if not file.endswith(".parquet") or not is_number or int(number) >= len(paths):
        raise _no_export(found)
    where = f"{quote(export.revision, safe='')}/{quote(paths[int(number)])}"
    location = f"/datasets/{found.row.repo.name}/resolve/{where}"
    return web.Response(
        status=302, headers={"Location": location, **found.commit_header}
    )


def _no_export(found: Found) -> Problem:
    message = f"There are no such Parquet files of {found.row.repo.name} on this mirror"
    return Problem(404, message, code="ResponseNotFound", commit=found.commit)
