"""Log lines: an event and its numbers."""

import json


class Event:
    """What happened, with fields; written as ``event key=<JSON> …``.

    JSON because a field may be what a client sent: no line break of theirs
    starts a line of ours.
    """

    def __init__(self, name: str, **fields: object) -> None:
        self.name, self.fields = name, fields

    def __str__(self) -> str:
        fields = (f"{key}={json.dumps(one)}" for key, one in self.fields.items())
        return " ".join([self.name, *fields])
