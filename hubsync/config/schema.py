"""Every setting, its type and its default.  ``config.example.toml`` explains them."""

import os
import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from hubsync.config.mirrors import MirrorSettings
from hubsync.config.section import Delay, Duration, Rate, Section, Size
from hubsync.model.repo import LOCAL, UPSTREAM_NAME

_BASE_URL = re.compile(
    r"https?://(?:[A-Za-z0-9_.-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?/?"
)


def default_root() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "hubsync"


class StoreSettings(Section):
    """Where bytes are kept."""

    root: Path = Field(default_factory=default_root)
    views: tuple[Literal["huggingface"], ...] = ("huggingface",)
    reserve: Size = 1 << 30
    trash_keep: Delay = 0.0

    @field_validator("root")
    @classmethod
    def _absolute(cls, root: Path) -> Path:
        return root.expanduser().absolute()


class CatalogSettings(Section):
    """Where versions are recorded."""

    url: str = "sqlite:///{root}/catalog.db"


class UpstreamSettings(Section):
    """One hub to pull from."""

    hub: Literal["huggingface"] = "huggingface"
    endpoint: str = "https://huggingface.co"
    token_env: str | None = None
    token_file: Path | None = None

    @field_validator("endpoint")
    @classmethod
    def _is_http(cls, endpoint: str) -> str:
        if not endpoint.startswith(("https://", "http://")):
            raise ValueError("an endpoint starts with https:// or http://")
        if "@" in endpoint:
            # It would be shown in messages; the hub wants a token anyway.
            raise ValueError("no user or password in an endpoint: use token_env")
        return endpoint.rstrip("/")


class TransferSettings(Section):
    """How hard to pull."""

    max_connections: Annotated[int, Field(ge=1, le=256)] = 32
    connections_per_file: Annotated[int, Field(ge=1, le=64)] = 24
    part_size: Annotated[Size, Field(ge=1 << 16, le=1 << 30)] = 32 << 20
    connect_timeout: Duration = 10.0
    read_timeout: Duration = 30.0
    stall_timeout: Duration = 600.0
    retries: Annotated[int, Field(ge=0, le=100)] = 5
    rate_limit: Rate | None = None


class ServeSettings(Section):
    """The HTTP server."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8090
    base_url: str | None = None
    unix_socket: Path | None = None
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_self_signed: bool = False
    accel: Literal["off", "x-accel-redirect", "x-sendfile"] = "off"
    accel_prefix: str = "/_blobs/"
    max_connections: Annotated[int, Field(ge=1)] = 4096
    connections_per_client: Annotated[int, Field(ge=1)] = 1024
    drain: Delay = 10.0
    access_log: bool = False
    on_missing: Literal["refuse", "on_demand", "streamed"] = "refuse"
    allow: tuple[str, ...] = ("*",)
    deny: tuple[str, ...] = ()
    refresh_after: Delay = 300.0
    xet: Literal["auto", "off", "always"] = "auto"
    xet_above: Size = 50_000_000_000
    auth: Literal["open", "tokens", "pass-through", "proxy"] = "open"
    auth_cache: Delay = 60.0
    auth_stale: Delay = 3600.0
    auth_header: str = "X-Forwarded-User"
    trusted_proxies: tuple[str, ...] = ()
    audit_log: Path | None = None

    @field_validator("base_url")
    @classmethod
    def _is_an_origin(cls, url: str | None) -> str | None:
        """Clients put routes behind it that they know: there is no room for more."""
        if not url:
            return None
        if not _BASE_URL.fullmatch(url) or urlsplit(url).port == 0:
            raise ValueError(
                "write http://host, https://host or either with :port, and nothing "
                "behind it: clients find no mirror below a path"
            )
        return url.rstrip("/")


class DaemonSettings(Section):
    """The process that carries mirrors out."""

    mirrors_at_once: Annotated[int, Field(ge=1, le=16)] = 2


def default_upstreams() -> dict[str, UpstreamSettings]:
    return {"huggingface": UpstreamSettings()}


class Settings(Section):
    """All of it."""

    store: StoreSettings = Field(default_factory=StoreSettings)
    catalog: CatalogSettings = Field(default_factory=CatalogSettings)
    upstreams: dict[str, UpstreamSettings] = Field(default_factory=default_upstreams)
    transfer: TransferSettings = Field(default_factory=TransferSettings)
    serve: ServeSettings = Field(default_factory=ServeSettings)
    daemon: DaemonSettings = Field(default_factory=DaemonSettings)
    mirrors: tuple[MirrorSettings, ...] = ()

    @field_validator("upstreams")
    @classmethod
    def _at_least_one(
        cls, upstreams: dict[str, UpstreamSettings]
    ) -> dict[str, UpstreamSettings]:
        for name in upstreams:
            if not UPSTREAM_NAME.fullmatch(name):
                raise ValueError(
                    f"{name!r}: an upstream's name is lower-case letters, digits, - _"
                )
        if LOCAL in upstreams:
            raise ValueError("'local' is the name of what `hubsync add` records")
        return upstreams or default_upstreams()

    @model_validator(mode="after")
    def _mirrors_fit(self) -> Self:
        names: set[str] = set()
        for mirror in self.mirrors:
            if mirror.name in names:
                raise ValueError(f"two mirrors are named {mirror.name!r}")
            names.add(mirror.name)
            if mirror.upstream not in (None, *self.upstreams):
                known = ", ".join(self.upstreams)
                raise ValueError(
                    f"mirror {mirror.name!r}: no upstream is named "
                    f"{mirror.upstream!r} (known: {known})"
                )
        return self

    @property
    def catalog_url(self) -> str:
        return self.catalog.url.replace("{root}", str(self.store.root))

    @property
    def default_upstream(self) -> str:
        return next(iter(self.upstreams))
