"""What a transfer tells whoever is watching."""

from typing import Protocol


class Progress(Protocol):
    """Called from the event loop; must return at once and never raise."""

    def plan(
        self,
        files: int,
        size_bytes: int,
        *,
        reused_files: int = 0,
        reused_bytes: int = 0,
    ) -> None:
        """*files* are to be fetched, *size_bytes* in all; others are held already."""

    def file_started(self, path: str, size_bytes: int, offset: int) -> None:
        """*path* is being fetched; *offset* bytes were there already."""

    def file_advanced(self, path: str, size_bytes: int) -> None:
        """*size_bytes* more have arrived (negative: they had to be dropped)."""

    def file_verified(self, path: str, size_bytes: int) -> None:
        """*size_bytes* more have been hashed (negative: they had to be dropped)."""

    def file_done(self, path: str) -> None:
        """*path* is durable and recorded: it will not be fetched again."""

    def note(self, message: str) -> None:
        """One line for a person: a retry, a wait, a warning."""


class SilentProgress:
    """Watches nothing."""

    def plan(
        self,
        files: int,
        size_bytes: int,
        *,
        reused_files: int = 0,
        reused_bytes: int = 0,
    ) -> None: ...

    def file_started(self, path: str, size_bytes: int, offset: int) -> None: ...

    def file_advanced(self, path: str, size_bytes: int) -> None: ...

    def file_verified(self, path: str, size_bytes: int) -> None: ...

    def file_done(self, path: str) -> None: ...

    def note(self, message: str) -> None: ...
