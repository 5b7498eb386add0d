"""The parts of a ``multipart/form-data`` body (RFC 7578), as bytes: whether a part is a file is not decided here.

Werkzeug's own form parser takes a part without a file name for text and decodes it, which destroys images that
React Native, Retrofit and hand-written clients send that way.
"""

from __future__ import annotations

from dataclasses import dataclass

from werkzeug.datastructures import Headers
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from webapp.problems import RefusalError

MAX_FORM_PARTS = 64


@dataclass
class Part:
    """One part of a form. ``filename`` is ``None`` when the client sent none."""

    name: str
    filename: str | None
    headers: Headers
    data: bytes

    def describe(self) -> str:
        """Return what the part is, for messages to its sender: ``'photo' (a file, 28960 bytes)``."""
        kind = "text" if self.filename is None else "a file"
        return f"{self.name[:40]!r} ({kind}, {len(self.data)} bytes)"


class _Decoder(MultipartDecoder):
    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        try:
            return super()._parse_headers(data)
        except UnicodeDecodeError:  # file names in the client's own encoding; the name is only echoed
            return super()._parse_headers(bytes(data).decode("latin-1").encode())


def parse_multipart(body: bytes, content_type: str) -> list[Part]:
    """Return the parts of a body in order. Raises :class:`RefusalError` (400, or 413 for too many parts)."""
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not boundary:
        raise RefusalError(
            400, "expected a boundary in the header 'Content-Type: multipart/form-data; boundary=…', found none"
        )
    if f"--{boundary}".encode() not in body:
        raise RefusalError(400, "expected a form with the boundary that the Content-Type header names, found none")
    decoder = _Decoder(boundary.encode())
    decoder.receive_data(body)
    decoder.receive_data(None)
    parts: list[Part] = []
    try:
        while not isinstance(event := decoder.next_event(), Epilogue | NeedData):
            if isinstance(event, Field | File):
                filename = event.filename if isinstance(event, File) else None
                parts.append(Part(event.name or "", filename, event.headers, b""))
            elif isinstance(event, Data):
                parts[-1].data += event.data
            if len(parts) > MAX_FORM_PARTS:
                raise RefusalError(413, f"expected a form of at most {MAX_FORM_PARTS} parts, found more")
    except (ValueError, AssertionError):
        found = f"after {parts[-1].describe()}" if parts else "before its first part"
        raise RefusalError(400, f"expected a whole form, found one that is cut off or malformed {found}") from None
    return parts
