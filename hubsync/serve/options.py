"""How to serve.  Each field is one key under ``[serve]``."""

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from hubsync.model.units import MIB


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Where to listen, and what a client may cost."""

    host: str = "127.0.0.1"
    port: int = 8090  # 0: a free one
    base_url: str | None = None  # None: what the client's Host header says
    drain_s: float = 10.0  # running answers may go on this long after SIGTERM
    stall_s: float = 60.0  # a client that takes no byte for this long is dropped
    rate_bytes_per_s_min: int = 1024  # … or fewer than this while it takes some
    idle_s: float = 75.0  # and one that has not sent a whole request for this long
    burst_bytes: int = 4 * MIB  # one sendfile call, so that no file starves others
    threads: int = 8  # for sendfile: a cold disk must not stall the loop
    json_cache_bytes: int = 64 * MIB  # answers about commits never change
    body_bytes_max: int = 4 * MIB  # of a request; only paths-info has one
    on_missing: str = "refuse"  # on_demand, streamed
    xet: str = "auto"  # off, always
    xet_above_bytes: int = 50_000_000_000  # auto: files that plain HTTP clients refuse
    unix_socket: Path | None = None  # listened on in place of host and port
    workers: int = 1  # processes
    tls_cert: Path | None = None
    tls_key: Path | None = None  # None: it is in the certificate's file
    accel: str = "off"  # a server in front sends the files: x-accel-redirect, …
    accel_prefix: str = "/_blobs/"  # … where it finds the store's blobs
    connections_max: int = 4096  # of one process
    connections_per_client_max: int = 1024  # by address
    auth: str = "open"  # tokens, pass-through, proxy
    auth_cache_s: float = 60.0  # how long an upstream's yes or no counts
    auth_stale_s: float = 3600.0  # … and a yes longer while it does not answer
    auth_header: str = "X-Forwarded-User"  # who it is, as a trusted proxy says
    trusted_proxies: tuple[str, ...] = ()  # addresses and networks
    audit_log: Path | None = None
    # Signs what clients show again: all processes of a server have the same.
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
