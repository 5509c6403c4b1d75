"""Processes that are forked, talk over a pipe, and are killed."""

import ctypes
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from hubsync.ports.blobs import NoRoomError

Message = dict[str, Any]
Work = Callable[["Mouth"], None]
_READ_BYTES = 1 << 16
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Mouth:
    """A worker's end of the pipe.  What was said is known, whatever comes next."""

    fd: int
    parent: int

    def say(self, word: str, **more: object) -> None:
        """One line in one write: whole or not at all (they are below PIPE_BUF).

        By writev, as nothing else here is: a trace of the system calls then tells
        what was said from what was stored.
        """
        os.writev(self.fd, [json.dumps({"word": word, **more}).encode(), b"\n"])

    def is_heard(self) -> bool:
        """Whether anybody is still there to count what is said."""
        return os.getppid() == self.parent


@dataclass(slots=True)
class Worker:
    """A forked process, as the one that kills it sees it."""

    name: str
    pid: int
    fd: int
    unread: bytearray = field(default_factory=bytearray)

    @classmethod
    def start(cls, name: str, work: Work) -> "Worker":
        """Fork.  The caller has no threads and no open catalog: both would break."""
        reading, writing = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if not pid:
            os.close(reading)
            _live(work, Mouth(writing, parent))
        os.close(writing)
        os.set_blocking(reading, False)
        return cls(name, pid, reading)

    def hear(self) -> Iterator[Message]:
        """All that it has said since."""
        with suppress(BlockingIOError):
            while block := os.read(self.fd, _READ_BYTES):
                self.unread += block
        *lines, rest = self.unread.split(b"\n")
        self.unread = bytearray(rest)
        for line in lines:
            yield json.loads(line)

    def stop(self) -> bool:
        """Hold it wherever it is; False when it has ended by itself."""
        os.kill(self.pid, signal.SIGSTOP)
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        return os.WIFSTOPPED(status)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL it, and wait until it is gone."""
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def wait(self) -> int:
        """Until it ends by itself; how."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        os.close(self.fd)


def listen(
    workers: Sequence[Worker], seconds: float
) -> Iterator[tuple[str, Message | None]]:
    """What they say within that time, with who says it; None: it has ended."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        talking, _, _ = select.select([one.fd for one in workers], [], [], left)
        for one in workers:
            if one.fd in talking:
                heard = list(one.hear())
                yield from ((one.name, message) for message in heard)
                if not heard:  # its pipe says so without a pause
                    yield one.name, None
                    return


def _end_with_parent() -> None:
    """Who kills the one that forked us leaves nobody held (SIGSTOP) for ever."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _live(work: Work, mouth: Mouth) -> None:
    """A worker's whole life."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who forked us decides
        _end_with_parent()
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        work(mouth)
        code = 0
    except BrokenPipeError:
        pass  # nobody listens any more
    except BaseException as error:  # noqa: BLE001 - the outer edge of a process
        where = traceback.format_exception(error)[-6:]
        text = f"{type(error).__name__}: {error}"
        with suppress(OSError):
            mouth.say(
                "failed",
                what=text[:500],
                where="".join(where)[-2500:],
                no_room=isinstance(error, NoRoomError),
            )
    finally:
        sys.stdout.flush()
        os._exit(code)
