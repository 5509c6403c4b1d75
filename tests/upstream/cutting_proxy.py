"""A TCP proxy in front of PostgreSQL that cuts the connection in a commit."""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self

_COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
When = Literal["before", "after"]


class CuttingProxy:
    """Cuts the *nth* COMMIT (from 1 on): before the server hears it, or after.

    After: the server has committed, and the client never learns of it.
    """

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.commits = self.cuts = 0
        self.cut_at: int | None = None
        self.when: When = "before"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._threads.append(
                    threading.Thread(target=self._relay, args=(client,), daemon=True)
                )
                self._threads[-1].start()

    def _relay(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._server) as server:
            back = threading.Thread(
                target=self._to_client, args=(client, server), daemon=True
            )
            back.start()
            self._to_server(client, server)
            back.join()

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if self._is_to_be_cut(data):
                    if self.when == "after":
                        # Nothing more reaches the client from here on.
                        client.shutdown(socket.SHUT_WR)
                        server.sendall(data)
                    break
                server.sendall(data)
        _close(client, server, wait=self.when == "after")

    def _is_to_be_cut(self, data: bytes) -> bool:
        if not data.endswith(_COMMIT):
            return False
        with self._lock:
            self.commits += 1
            cut = self.commits == self.cut_at
            self.cuts += cut
            return cut

    def _to_client(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
        _close(client, server, wait=False)


def _close(client: socket.socket, server: socket.socket, *, wait: bool) -> None:
    with suppress(OSError):
        # The server reads what was sent before it, commits, then sees the end.
        server.shutdown(socket.SHUT_WR if wait else socket.SHUT_RDWR)
    with suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)
