"""A resolver that says what a test wants, for `aiohttp`."""

import socket
from collections import Counter

from aiohttp.abc import AbstractResolver, ResolveResult

Answer = list[str] | Exception


class ScriptedResolver(AbstractResolver):
    """*answers* of each name, one a lookup; the last one for ever."""

    def __init__(self, **answers: list[Answer]) -> None:
        self._answers = {
            name.replace("_", "."): list(given) for name, given in answers.items()
        }
        self.asked: Counter[str] = Counter()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked[host] += 1
        given = self._answers.get(host.lower())
        if given is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        answer = given.pop(0) if len(given) > 1 else given[0]
        if isinstance(answer, Exception):
            raise answer
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in answer
        ]

    async def close(self) -> None: ...
