"""What a mirror is told to hold: which repos, which revisions, which files."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from hubsync.model.globs import matches
from hubsync.model.repo import RepoId, RepoType
from hubsync.model.revision import DEFAULT_BRANCH, RefName
from hubsync.ports.listing import Listed, Search
from hubsync.sync.planner import Selection

GLOB = frozenset("*?[")
LICENSE = "license:"


@dataclass(frozen=True, slots=True)
class Rule:
    """One mirror: a name, and what belongs to it on one upstream.

    *repos* are names or globs of one owner (``Qwen/*``); *without* are globs as
    `model.globs` reads them.  *revisions* are commits, short names, or globs: over
    the short names of branches and tags, and over full names (``refs/tags/v*``).
    """

    name: str
    upstream: str
    repo_type: RepoType
    repos: tuple[str, ...] = ()
    searches: tuple[Search, ...] = ()
    collections: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    revisions: tuple[str, ...] = (DEFAULT_BRANCH,)
    selection: Selection = field(default_factory=Selection)
    selected_bytes_max: int | None = None  # of one repo at one revision
    gated: bool = True  # False: leave out what asks for an approval
    license_allow: tuple[str, ...] = ()
    license_deny: tuple[str, ...] = ()
    priority: int = 0  # larger ones come first

    @property
    def key(self) -> str:
        """Another one when other files are wanted: what is held is looked at anew."""
        selection = self.selection
        said = [selection.include, selection.exclude, selection.skip_smudge]
        said.append(self.selected_bytes_max)
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]

    @property
    def wants_main_only(self) -> bool:
        """Then a list of heads tells all there is to know."""
        return self.revisions == (DEFAULT_BRANCH,)

    def revisions_of(self, refs: Iterable[RefName]) -> list[str]:
        """What of *refs*, and which commits, to hold; full names but for main."""
        fixed = [one for one in self.revisions if not GLOB & set(one)]
        globs = [one for one in self.revisions if GLOB & set(one)]
        found = dict.fromkeys(fixed)
        for ref in sorted(refs):
            if any(_names(ref, glob) for glob in globs):
                found.setdefault(_shown(ref))
        return list(found)

    def refuses(self, repo: RepoId, listed: Listed | None) -> str | None:
        """Why *repo* is left out although it was selected; None: it is not."""
        for glob in self.without:
            if matches(repo, [glob]):
                return f"except = {glob!r}"
        if listed is None:
            return None
        if listed.disabled:
            return "disabled by the hub"
        if listed.gated and not self.gated:
            return "gated = false, and it asks for an approval"
        return self._refuses_license(licenses(listed))

    def _refuses_license(self, found: tuple[str, ...]) -> str | None:
        said = ", ".join(found) or "none that it tells"
        for one in found:
            if _is_among(one, self.license_deny):
                return f"license_deny, and its licence is {said}"
        if self.license_allow and not any(
            _is_among(one, self.license_allow) for one in found
        ):
            return f"license_allow, and its licence is {said}"
        return None


def licenses(listed: Listed) -> tuple[str, ...]:
    """The licences that its card names, as the hub tags them."""
    return tuple(
        tag.removeprefix(LICENSE) for tag in listed.tags if tag.startswith(LICENSE)
    )


def _is_among(license_name: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(license_name.casefold(), one.casefold()) for one in globs)


def _names(ref: RefName, glob: str) -> bool:
    if glob.startswith("refs/"):
        return fnmatchcase(ref.full, glob)
    return ref.kind in ("branch", "tag") and fnmatchcase(ref.short, glob)


def _shown(ref: RefName) -> str:
    return DEFAULT_BRANCH if ref.full == f"refs/heads/{DEFAULT_BRANCH}" else ref.full
