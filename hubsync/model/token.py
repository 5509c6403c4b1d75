"""Tokens by which a mirror knows its readers.

A token is 256 random bits, so that nobody guesses it and one round of sha256 is
enough to keep: there is nothing for a slower hash to slow down.
"""

import hashlib
import re
import secrets

_TOKEN = re.compile(r"hs_[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


def new_token() -> str:
    """``hs_`` and 43 characters that URLs and shells take as they are."""
    return f"hs_{secrets.token_urlsafe(32)}"


def is_token(text: str) -> bool:
    return _TOKEN.fullmatch(text) is not None


def is_token_name(text: str) -> bool:
    """Whether a token may be called so: names stand in logs and answers."""
    return _NAME.fullmatch(text) is not None


def digest_of(token: str) -> str:
    """What is kept of *token*: 64 hex."""
    return hashlib.sha256(token.encode()).hexdigest()
