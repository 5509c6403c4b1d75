"""The EXIT STATUS section of help texts."""

from hubsync.model.errors import ExitCode

MEANING = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "failed, none of the below",
    ExitCode.USAGE: "usage, or configuration refused",
    ExitCode.NOT_FOUND: "not found: repo, revision or file",
    ExitCode.NOT_ALLOWED: "not allowed: no or wrong token, gated, refused by policy",
    ExitCode.UNAVAILABLE: "upstream unavailable or rate limited after all retries",
    ExitCode.INTEGRITY: "integrity: bytes do not match their digest",
    ExitCode.NO_ROOM: "no room: disk full, inodes, or the configured reserve",
    ExitCode.PARTLY: "partly done: some repos succeeded, some failed",
    ExitCode.BUSY: "busy: another process holds the lock that this needs",
    ExitCode.OFFLINE: "offline, and what was asked for is not held",
    ExitCode.INTERRUPTED: "interrupted; what was fetched is kept and resumed",
}


def exit_status(*codes: ExitCode) -> str:
    """The section for a command that ends with these codes."""
    shown = codes or tuple(MEANING)
    rows = [
        f"{code.value:>5}  {MEANING[code]}" for code in sorted({ExitCode.DONE, *shown})
    ]
    return "\n".join(["\b", "EXIT STATUS", *rows])


EXIT_STATUS = exit_status()
