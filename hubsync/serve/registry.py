"""``/v2/``: GGUF repos as Ollama and older builds of llama.cpp read them.

A blob is found through the repo it is asked of, never by its digest alone: who may
not read the repo gets nothing of it, whoever else has the same bytes.
"""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import orjson
from aiohttp import web

from hubsync.model.digest import Digest
from hubsync.model.repo import RepoType
from hubsync.model.snapshot import HeldEntry
from hubsync.serve.contents import Contents
from hubsync.serve.errors import Problem, bad_request, not_held
from hubsync.serve.files import choose as choose_answer
from hubsync.serve.found import Found
from hubsync.serve.library import Library, snapshot_key
from hubsync.serve.lru import Lru
from hubsync.serve.options import ServeOptions
from hubsync.serve.query import json_response
from hubsync.serve.routing import Route, decode, name_of_route, raw_path_of
from hubsync.wire.gguf import Gguf
from hubsync.wire.lfs import emit_pointer
from hubsync.wire.ollama import (
    TEXT_LAYERS,
    GgufFile,
    Layer,
    Offer,
    choose,
    choose_projector,
    emit_file,
    make_offer,
)

# Strictly: a digest that is a path has led out of a store before (CVE-2024-37032).
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
OLDER_MAX = 20  # versions of a repo that a pull which began on them can end on
TREES_KEPT = 200
MADE_KEPT = 2000
TEXT_BYTES_MAX = 1024 * 1024  # of a repo's own template, and the like

Answer = Callable[[web.Request, Found], Awaitable[web.StreamResponse]]
Held = Mapping[Digest, str]  # the path of each blob in one tree


def parse_registry_route(raw_path: str) -> Route | None:
    """The route of ``/v2/{name}/manifests/{tag}`` or ``…/blobs/{digest}``.

    None: of neither form; there may be an owner whose name is ``v2``.
    """
    parts = raw_path.split("/")[2:]
    at = next(
        (n for n in (1, 2) if n < len(parts) and parts[n] in ("manifests", "blobs")),
        None,
    )
    if at is None or len(parts) != at + 2:
        return None
    verb, tail = parts[at], decode(parts[at + 1])
    if not (_DIGEST if verb == "blobs" else _TAG).fullmatch(tail):
        raise Problem(404, f"There is no such {verb[:-1]}", code="EntryNotFound")
    name = name_of_route("/".join(parts[:at]))
    shape = f"/v2/{{}}/{verb}/{parts[at + 1]}"
    return Route(verb, RepoType.MODEL, name, shape, None, tail)


def welcome() -> web.StreamResponse:
    """``GET /v2/``: yes, this is a registry."""
    return json_response({}, {"Docker-Distribution-Api-Version": "registry/2.0"})


class Registry:
    """Manifests and blobs of GGUF repos."""

    def __init__(
        self, library: Library, contents: Contents, options: ServeOptions
    ) -> None:
        self._library, self._contents = library, contents
        # What is not held can be had, and so be offered.
        self._offers_all = options.on_missing != "refuse"
        self._trees: Lru[Held] = Lru(TREES_KEPT, lambda _: 1)
        self._made: Lru[bytes] = Lru(MADE_KEPT, lambda _: 1)

    @property
    def answers(self) -> dict[str, Answer]:
        """By the verb of a route."""
        return {"manifests": self._manifest, "blobs": self._blob}

    async def _manifest(self, request: web.Request, found: Found) -> web.StreamResponse:
        """``/v2/{name}/manifests/{tag}``."""
        is_llama_cpp = "llama-cpp" in request.headers.get("User-Agent", "").lower()
        body = await self._library.ask_slowly(
            self._make, found, is_llama_cpp=is_llama_cpp
        )
        headers = {
            **found.commit_header,
            "Docker-Content-Digest": str(Digest.of(body)),
        }
        return json_response(body, headers)

    async def _blob(self, request: web.Request, found: Found) -> web.StreamResponse:
        """``/v2/{name}/blobs/sha256:…``."""
        digest = Digest.parse(found.route.path)
        # A pull that began before the branch moved ends on what it began with.
        library, row = self._library, found.row
        blob = await self._find(found, digest)
        if blob is None:
            snapshots = await library.ask(library.catalog.snapshots, row)
            for snapshot in snapshots[:OLDER_MAX]:
                if snapshot.id == found.snapshot.id:
                    continue
                older = replace(found, snapshot=snapshot)
                if (blob := await self._find(older, digest)) is not None:
                    found = older
                    break
        if blob is None:
            message = f"{found.row.repo.name} has no blob {digest}"
            raise Problem(404, message, code="EntryNotFound", commit=found.commit)
        # Ollama stops at an answer to GET that does not say where the blob is.
        headers = {
            "Location": raw_path_of(request.raw_path),
            "Docker-Content-Digest": str(digest),
            "Content-Type": "application/octet-stream",
        }
        if isinstance(blob, bytes):
            return _send(request, blob, digest, {**found.commit_header, **headers})
        route = replace(found.route, path=blob)
        return await self._contents.resolve(
            request, replace(found, route=route, headers=headers)
        )

    async def _find(self, found: Found, digest: Digest) -> str | bytes | None:
        """The path of the file of that digest, or a blob that was made."""
        where = (found.row.id, *snapshot_key(found.row, found.snapshot))
        tree = self._trees.get(where)
        if tree is not None and digest in tree:
            return tree[digest]
        made = self._made.get((*where, digest))
        if made is not None:
            return made
        return await self._library.ask_slowly(self._look, found, digest)

    def _look(self, found: Found, digest: Digest) -> str | bytes | None:
        where = (found.row.id, *snapshot_key(found.row, found.snapshot))
        entries = self._library.catalog.entries(found.snapshot)
        tree = {
            name: one.entry.path
            for one in entries
            if (name := one.entry.lfs or one.digest)
        }
        self._trees.replace(where, tree)
        if digest in tree:
            return tree[digest]
        files = self._offered(entries)
        for model in files:
            if not model.is_first or model.is_projector:
                continue
            # Also as it was offered while its beginning could not be read yet.
            for head in (self._library.weights.gguf(model.digest), None):
                offer = self._offer(entries, files, model, head)
                if digest in offer.made:
                    return offer.made[digest]
        return None

    def _make(self, found: Found, *, is_llama_cpp: bool) -> bytes:
        entries = self._library.catalog.entries(found.snapshot)
        files = list(_gguf_files(entries))
        if not files:
            raise bad_request("Repository is not GGUF or is not compatible")
        offered = self._offered(entries)
        model = _choice(files, offered, found, is_llama_cpp=is_llama_cpp)
        head = self._library.weights.gguf(model.digest)
        offer = self._offer(entries, offered, model, head)
        where = (found.row.id, *snapshot_key(found.row, found.snapshot))
        for digest, blob in offer.made.items():
            self._made.put((*where, digest), blob)
        manifest = dict(offer.manifest)
        if is_llama_cpp:
            manifest["ggufFile"] = emit_file(model)
            if projector := choose_projector(offered):
                manifest["mmprojFile"] = emit_file(projector)
        return orjson.dumps(manifest)

    def _offered(self, entries: Sequence[HeldEntry]) -> list[GgufFile]:
        held = [one for one in entries if self._offers_all or one.held]
        return list(_gguf_files(held))

    def _offer(
        self,
        entries: Sequence[HeldEntry],
        files: Sequence[GgufFile],
        model: GgufFile,
        head: Gguf | None,
    ) -> Offer:
        own = {
            one.entry.path: Layer(one.entry.path, digest, one.entry.size_bytes)
            for one in entries
            if one.entry.path in TEXT_LAYERS
            and one.entry.size_bytes <= TEXT_BYTES_MAX
            and (digest := one.digest)
        }
        return make_offer(model, choose_projector(files), head, own)


def _choice(
    files: Sequence[GgufFile],
    offered: Sequence[GgufFile],
    found: Found,
    *,
    is_llama_cpp: bool,
) -> GgufFile:
    """The file that the tag means, for a client that can take it.

    Raises:
        Problem: as the Hub says it.
    """
    tag = found.route.path
    whole = [one for one in offered if is_llama_cpp or not one.is_part]
    model = choose(whole, tag)
    if model is not None:
        return model
    if choose(offered, tag):
        raise bad_request(
            "The specified repository contains sharded GGUF. Ollama does not "
            "support this."
        )
    if recorded := choose(files, tag):
        raise not_held(recorded.path, found.commit)
    raise bad_request(
        "The specified tag is not a valid quantization scheme. Please use another "
        'tag or "latest"'
    )


def _gguf_files(entries: Sequence[HeldEntry]) -> Iterator[GgufFile]:
    for one in entries:
        path, size, lfs = one.entry.path, one.entry.size_bytes, one.entry.lfs
        digest = lfs or one.digest
        if path.lower().endswith(".gguf") and digest:
            pointer = len(emit_pointer(lfs, size)) if lfs else None
            yield GgufFile(path, size, digest, pointer)


def _send(
    request: web.Request, blob: bytes, digest: Digest, headers: Mapping[str, str]
) -> web.StreamResponse:
    chosen = choose_answer(request, "blob", len(blob), digest.hex, headers)
    if isinstance(chosen, web.Response):
        return chosen
    status, part, common = chosen
    shown = blob[part.start : part.stop]
    return web.Response(status=status, body=shown, headers=common)
