"""``[[mirrors]]``: what is to be held, and how it is found."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from hubsync.config.section import Delay, MaybeDuration, Section, Size
from hubsync.daemon.timing import check_zone
from hubsync.model.errors import UsageError
from hubsync.model.repo import check_name
from hubsync.model.revision import check_revision

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_GLOB = re.compile(r"[*?\[]")
_COLLECTION = re.compile(r"[\w.-]+/[\w.-]+")
_GGUF = re.compile(r"gguf:[A-Za-z0-9_.-]+")
Texts = tuple[str, ...]
EVERY_MIN_S = 60.0


class SearchSettings(Section):
    """What a hub is searched for; each key narrows it."""

    author: str | None = None
    text: str | None = None
    task: str | None = None
    library: str | None = None
    tags: Texts = ()
    language: str | None = None
    license: str | None = None
    gated: bool | None = None
    sort: (
        Literal["lastModified", "createdAt", "downloads", "likes", "trendingScore"]
        | None
    ) = None
    limit: Annotated[int, Field(ge=1, le=100_000)] | None = None

    @model_validator(mode="after")
    def _is_bounded(self) -> Self:
        narrow = (self.author, self.text, self.task, self.library, self.tags)
        if not any((*narrow, self.language, self.license, self.limit)):
            raise ValueError("that is the whole hub: narrow it, or give a limit")
        return self


class KeepSettings(Section):
    """Which versions stay when `hubsync forget --policy` is carried out."""

    last: Annotated[int, Field(ge=1)] | None = None
    within: MaybeDuration = None
    tags: Texts | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.last is None and self.within is None:
            raise ValueError("say how many versions stay: last, within, or both")
        return self


class MirrorSettings(Section):
    """One mirror."""

    name: str
    upstream: str | None = None  # the first one
    type: Literal["model", "dataset", "space"] = "model"
    repos: Texts = ()
    list_file: Path | None = None
    search: SearchSettings | None = None
    collection: str | None = None
    except_: Texts = Field(default=(), alias="except")
    revisions: Annotated[Texts, Field(min_length=1)] = ("main",)
    include: Texts = ()
    exclude: Texts = ()
    preset: str | None = None
    skip_smudge: bool = False
    max_repo_size: Size | None = None
    gated: bool = True
    license_allow: Texts = ()
    license_deny: Texts = ()
    priority: int = 0
    schedule: str | None = None
    every: MaybeDuration = None
    timezone: str = "UTC"
    jitter: Delay = 0.0
    keep: KeepSettings | None = None

    @field_validator("name")
    @classmethod
    def _is_plain(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("a mirror's name is lower-case letters, digits, . - _")
        return name

    @field_validator("repos")
    @classmethod
    def _are_repos(cls, repos: Texts) -> Texts:
        for one in repos:
            check_repo(one)
        return repos

    @field_validator("revisions")
    @classmethod
    def _are_revisions(cls, revisions: Texts) -> Texts:
        for one in revisions:
            try:
                check_revision(_GLOB.sub("x", one).replace("]", "x"))
            except UsageError as error:
                raise ValueError(f"{error}. {error.hint}") from error
        return revisions

    @field_validator("collection")
    @classmethod
    def _is_collection(cls, slug: str | None) -> str | None:
        if slug is not None and not _COLLECTION.fullmatch(slug):
            raise ValueError("a collection is named owner/title-and-id, as in its page")
        return slug

    @field_validator("preset")
    @classmethod
    def _is_preset(cls, preset: str | None) -> str | None:
        known = ("safetensors-only", "tokenizer-only")
        if preset is None or preset in known or _GGUF.fullmatch(preset):
            return preset
        raise ValueError(
            "not a preset: safetensors-only, tokenizer-only or gguf:QUANTISATION, "
            "for example gguf:Q4_K_M"
        )

    @field_validator("list_file")
    @classmethod
    def _is_absolute(cls, path: Path | None) -> Path | None:
        path = path.expanduser() if path else None
        if path is not None and not path.is_absolute():
            raise ValueError("not an absolute path: cron starts in another folder")
        return path

    @field_validator("schedule")
    @classmethod
    def _is_cron(cls, schedule: str | None) -> str | None:
        if schedule is not None:
            # Only who has a schedule waits for the scheduler to be imported.
            from hubsync.daemon.scheduler import check_cron  # noqa: PLC0415

            check_cron(schedule)
        return schedule

    @field_validator("every")
    @classmethod
    def _is_not_often(cls, every: float | None) -> float | None:
        if every is not None and every < EVERY_MIN_S:
            raise ValueError("not more often than once a minute")
        return every

    @field_validator("timezone")
    @classmethod
    def _is_zone(cls, name: str) -> str:
        return check_zone(name)

    @model_validator(mode="after")
    def _is_due_one_way(self) -> Self:
        if self.schedule and self.every:
            raise ValueError("schedule and every: give one of them")
        return self

    @model_validator(mode="after")
    def _selects(self) -> Self:
        if not (self.repos or self.list_file or self.search or self.collection):
            raise ValueError(
                "it selects nothing: give repos, list_file, search or collection"
            )
        if self.preset and (self.include or self.exclude):
            raise ValueError("a preset stands for include and exclude: give either")
        return self


def check_repo(text: str) -> str:
    """Return *text* if it names repos: ``org/name``, or ``org/glob``.

    Raises:
        ValueError: it does not.
    """
    owner, _, rest = text.partition("/")
    try:
        if _GLOB.search(text):
            if _GLOB.search(owner) or not rest or "/" in rest:
                raise ValueError(
                    f"{text!r}: a glob is over the repos of one owner, as in Qwen/*; "
                    "to find owners, use search"
                )
            check_name(f"{owner}/x")
        else:
            check_name(text)
    except UsageError as error:
        raise ValueError(f"{error}. {error.hint}") from error
    return text
