"""Addresses to listen on: ours alone, and shared by our own processes only.

Linux spreads new connections over all sockets that listen on one address with
``SO_REUSEPORT``.  It would spread them over two servers as well, with two stores:
so the first bind is without it, and fails where anybody listens already.
"""

import errno
import os
import socket
import stat
from collections.abc import Sequence
from pathlib import Path

from hubsync.model.errors import ExitCode, HubsyncError, UsageError
from hubsync.serve.options import ServeOptions

BACKLOG = 1024
UNIX_MODE = 0o660  # the user's and the group's: a proxy is put into the group
PROBE_S = 2.0  # a server that is too busy to accept is a live one


class PortTakenError(HubsyncError):
    """Something else listens where we should."""

    exit_code = ExitCode.BUSY


def bind(options: ServeOptions) -> list[socket.socket]:
    """Sockets on every address that *options* mean, bound and not listening.

    Raises:
        PortTakenError: somebody else has the port, or the unix socket.
        HubsyncError: the address cannot be listened on.
    """
    if options.unix_socket is not None:
        return [_bind_unix(options.unix_socket)]
    found: list[socket.socket] = []
    try:
        for family, address in _addresses(options):
            # One number on all of them, also when the first has got a free one.
            port = found[0].getsockname()[1] if found else address[1]
            found.append(_bind(family, (address[0], port, *address[2:])))
    except OSError as error:
        close(found, options)
        raise _explain(error, options) from error
    return found


def share(sockets: Sequence[socket.socket]) -> None:
    """Let processes of ours, and nobody else, listen on the same addresses."""
    for one in sockets:
        if one.family == socket.AF_UNIX:
            one.listen(BACKLOG)  # there is one queue, which all accept from
        else:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            # Off from now on: two that have it may bind while nobody listens yet.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)


def again(shared: socket.socket) -> socket.socket:
    """One more socket on the address of *shared*, for one more process."""
    if shared.family == socket.AF_UNIX:
        return shared
    return _bind(shared.family, shared.getsockname(), shared=True)


def close(sockets: Sequence[socket.socket], options: ServeOptions) -> None:
    """Close *sockets*, and remove the file of a unix socket that is nobody's now."""
    for one in sockets:
        one.close()
    if sockets and options.unix_socket is not None:
        _remove(options.unix_socket)


def url_of(sockets: Sequence[socket.socket], scheme: str) -> str:
    """Where we listen, without a slash at the end."""
    name = sockets[0].getsockname()
    if isinstance(name, str):
        return f"unix:{name}"
    host, port = name[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _addresses(
    options: ServeOptions,
) -> list[tuple[int, tuple[str, int] | tuple[str, int, int, int]]]:
    found = socket.getaddrinfo(
        options.host or None,
        options.port,
        type=socket.SOCK_STREAM,
        flags=socket.AI_PASSIVE,
    )
    kept = {(family, address) for family, _, _, _, address in found}
    return sorted(kept)  # type: ignore[arg-type] # IPv4 first; a name leads to no others


def _bind(
    family: int, address: tuple[object, ...], *, shared: bool = False
) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
    except OSError:
        one.close()
        raise
    return one


def _bind_unix(path: Path) -> socket.socket:
    if _is_stale(path):
        path.unlink(missing_ok=True)
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Nobody may connect between bind and chmod.
    before = os.umask(0o777 & ~UNIX_MODE)
    try:
        one.bind(str(path))
    except OSError as error:
        one.close()
        if error.errno == errno.EADDRINUSE:
            raise _busy(path) from None
        raise UsageError(
            f"cannot listen on {path}: {error.strerror or error}",
            hint="Its folder must be there and ours to write to; 107 bytes at most.",
        ) from error
    finally:
        os.umask(before)
    return one


def _is_stale(path: Path) -> bool:
    """Whether a dead server has left *path*.

    Raises:
        PortTakenError: a live one has it.
        UsageError: it is something else.
    """
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False  # not there; or bind says what is the matter
    if not stat.S_ISSOCK(mode):
        raise UsageError(
            f"serve.unix_socket: {path} is there, and is no socket",
            hint="Remove it, or choose another place with --unix-socket.",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_S)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
        except FileNotFoundError:
            return False
        except OSError:
            pass  # its queue is full, or it is not ours to open: somebody's it is
    raise _busy(path)


def _busy(path: Path) -> PortTakenError:
    return PortTakenError(
        f"something else listens on {path}",
        hint="Stop it, or choose another place with --unix-socket.",
    )


def _remove(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:
            return  # gone already


def _explain(error: OSError, options: ServeOptions) -> HubsyncError:
    where = f"{options.host}:{options.port}"
    if error.errno == errno.EADDRINUSE:
        return PortTakenError(
            f"something else listens on {where}",
            hint="Stop it, or choose another port with --port (0 takes a free one).",
        )
    return HubsyncError(
        f"cannot listen on {where}: {error.strerror or error}",
        hint="Check --host and --port; ports below 1024 need a privilege.",
    )
