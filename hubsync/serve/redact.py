"""Keeping secrets out of what is written down."""

import re

_HIDDEN = "[hidden]"
_TOKEN = re.compile(r"hs_[A-Za-z0-9_-]{40,}|hf_[A-Za-z0-9]{30,}")
_SAID = re.compile(r"(?i)\b(bearer|basic)(\s+|%20|\+)[^\s'\"&,;]+")
_PARAMETER = re.compile(
    r"(?i)([?&;](?:[a-z]+[_-])*(?:token|grant|password|secret|signature|authorization)=)[^&;\s]*"
)


def redacted(text: str) -> str:
    """*text*, which a client sent, without what looks like a secret.

    Tokens belong into a header, and headers are not logged; but people also put
    them into addresses.
    """
    if "=" in text:
        text = _PARAMETER.sub(rf"\1{_HIDDEN}", text)
    if "_" in text:
        text = _TOKEN.sub(_HIDDEN, text)
    return _SAID.sub(rf"\1 {_HIDDEN}", text)
