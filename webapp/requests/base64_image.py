"""Images in base64 (RFC 4648), plain or in a ``data:`` URL (RFC 2397), as many clients send them."""

from __future__ import annotations

import base64
import binascii
import re

from webapp.problems import RefusalError

_DATA_URL = re.compile(rb"\s*data:[^,]{0,200},", re.IGNORECASE)
_ALPHABET = re.compile(rb"[A-Za-z0-9+/_-]*={0,2}")
_SPACE = b" \t\r\n"
_SHORTEST = 40
"""Fewer characters than this are a word or a path rather than an image."""


def looks_like_base64(data: bytes) -> bool:
    """Whether the bytes are text in base64: the bytes of an image file never are."""
    if _DATA_URL.match(data):
        return True
    return len(data) >= _SHORTEST and _ALPHABET.fullmatch(data.translate(None, _SPACE)) is not None


def decode_base64(text: bytes, place: str) -> bytes:
    """Return what text in base64 stands for; white space, the URL-safe alphabet and missing padding are accepted.

    Raises :class:`RefusalError` (400) that names ``place``, where the text came from.
    """
    url = _DATA_URL.match(text)
    if url is not None and b";base64" not in url[0].lower():
        raise RefusalError(400, f"expected base64 in {place}, found a data URL without ';base64'")
    if url is None and re.match(rb"\s*[a-z]+://", text, re.IGNORECASE):
        raise RefusalError(400, f"expected the image itself in base64 in {place}, found the address of one")
    plain = text[url.end() if url else 0 :].translate(bytes.maketrans(b"-_", b"+/"), _SPACE).rstrip(b"=")
    if odd := re.search(rb"[^A-Za-z0-9+/]", plain):
        raise RefusalError(400, f"expected base64 in {place}, found the character {chr(odd[0][0])!r}")
    try:
        return base64.b64decode(plain + b"=" * (-len(plain) % 4))
    except binascii.Error:
        raise RefusalError(400, f"expected base64 in {place}, found text that is cut off") from None
