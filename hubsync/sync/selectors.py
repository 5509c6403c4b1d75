"""From a rule to repos, with as few requests as the hub's lists allow."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from hubsync.model.repo import RepoId, RepoType
from hubsync.ports.hub import HubError, RepoNotFoundError, is_silence
from hubsync.ports.listing import Listed, Lister, Search
from hubsync.sync.rules import GLOB, Rule

SWEEP_FROM = 2  # repos of one owner: from here on its list is cheaper


@dataclass(frozen=True, slots=True)
class Chosen:
    """One repo, and why it is in a mirror or is not.

    *listed* is None, and *error* says why, where the hub does not show it.
    *gone*: it says that there is no such repo, or none for us.
    """

    repo: RepoId
    why: str
    listed: Listed | None = None
    refused: str | None = None
    error: HubError | None = None

    @property
    def hub_id(self) -> str | None:
        return self.listed.hub_id if self.listed else None

    @property
    def gone(self) -> bool:
        return isinstance(self.error, RepoNotFoundError)


class Selector:
    """Expands rules; an owner is listed once, however many rules name it."""

    def __init__(self, lister: Lister) -> None:
        self._lister = lister
        self._owners: dict[tuple[RepoType, str], dict[str, Listed]] = {}

    async def expand(self, rule: Rule) -> list[Chosen]:
        """Every repo that *rule* names, once, in the order of their names.

        Raises:
            HubError: a list cannot be had; what one repo is refused for is in it.
        """
        found: dict[str, Chosen] = {}
        for one in await self._named(rule):
            found.setdefault(one.repo.name.casefold(), one)
        for search in rule.searches:
            async for listed in self._lister.search(rule.repo_type, search):
                _add(found, rule, listed, "search")
        for slug in rule.collections:
            names = [
                repo.name
                for repo in await self._lister.collection(slug)
                if repo.repo_type is rule.repo_type
            ]
            for one in await self._look_at(rule, names, f"collection {slug}"):
                found.setdefault(one.repo.name.casefold(), one)
        return sorted(found.values(), key=lambda one: one.repo)

    async def _named(self, rule: Rule) -> list[Chosen]:
        chosen: list[Chosen] = []
        globs = [one for one in rule.repos if GLOB & set(one)]
        for glob in globs:
            owner = glob.partition("/")[0]
            owned = await self._owned(rule.repo_type, owner)
            chosen += [
                _chosen(rule, listed, f"repos = {glob!r}")
                for name, listed in owned.items()
                if fnmatchcase(name, glob.casefold())
            ]
        names = [one for one in rule.repos if not GLOB & set(one)]
        return chosen + await self._look_at(rule, names, "repos, by name")

    async def _look_at(
        self, rule: Rule, names: Iterable[str], why: str
    ) -> list[Chosen]:
        """Those repos, by their owners' lists where that is cheaper."""
        by_owner: dict[str, list[str]] = defaultdict(list)
        for name in dict.fromkeys(names):
            by_owner[name.rpartition("/")[0]].append(name)
        chosen = []
        for owner, owned in by_owner.items():
            known: dict[str, Listed] = {}
            is_listed = (rule.repo_type, owner.casefold()) in self._owners
            if owner and (is_listed or len(owned) >= SWEEP_FROM):
                known = await self._owned(rule.repo_type, owner)
            for name in owned:
                listed = known.get(name.casefold())
                if listed is not None:
                    chosen.append(_chosen(rule, listed, why))
                else:
                    chosen.append(await self._look(rule, name, why))
        return chosen

    async def _look(self, rule: Rule, name: str, why: str) -> Chosen:
        repo = RepoId(rule.upstream, rule.repo_type, name)
        refused = rule.refuses(repo, None)
        if refused:
            return Chosen(repo, why, refused=refused)
        try:
            listed = await self._lister.look(repo)
        except HubError as error:
            if is_silence(error):
                raise  # nor would it at the next one
            return Chosen(repo, why, error=error)
        return _chosen(rule, listed, why)

    async def _owned(self, repo_type: RepoType, owner: str) -> dict[str, Listed]:
        key = (repo_type, owner.casefold())
        if key not in self._owners:
            search = Search(author=owner)
            self._owners[key] = {
                listed.repo.name.casefold(): listed
                async for listed in self._lister.search(repo_type, search)
            }
        return self._owners[key]


def _chosen(rule: Rule, listed: Listed, why: str) -> Chosen:
    return Chosen(listed.repo, why, listed, rule.refuses(listed.repo, listed))


def _add(found: dict[str, Chosen], rule: Rule, listed: Listed, why: str) -> None:
    found.setdefault(listed.repo.name.casefold(), _chosen(rule, listed, why))
