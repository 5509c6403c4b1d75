"""What a request shows to be let in."""

import base64
import binascii
import re

from aiohttp import web

from hubsync.serve.errors import Problem

_PLAIN = re.compile(r"[\x21-\x7e]{1,1024}")


def credential_of(request: web.Request) -> str | None:
    """The token that *request* shows; None when it shows nothing.

    As ``Bearer``, or as the password of ``Basic``: git, wget and browsers have no
    other way.  Never from the address: addresses are logged, by whomever.

    Raises:
        Problem: 401; there is something, and it cannot be a token.
    """
    shown = request.headers.getall("Authorization", [])
    if not shown:
        return None
    if len(shown) > 1:  # whoever is in front of us may have read the other one
        raise wrong_token()
    scheme, _, rest = shown[0].strip().partition(" ")
    token = rest.strip()
    if scheme.lower() == "basic":
        token = _password(token)
    elif scheme.lower() != "bearer":
        raise wrong_token()
    if not _PLAIN.fullmatch(token):
        raise wrong_token()
    return token


def _password(encoded: str) -> str:
    try:
        text = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        raise wrong_token() from None
    return text.partition(":")[2]


def wrong_token() -> Problem:
    """As the Hub says it: clients look for this sentence."""
    return Problem(401, "Invalid credentials in Authorization header")
