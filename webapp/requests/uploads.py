"""Reading the images and the options of a request, in memory only: no upload ever touches a disk.

Clients differ. An image may come as a part of a form (with or without a file name, or as base64 text), as the whole
body, or in base64 in a JSON object; in every case the bytes decide whether it is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from flask import Request

from edge_runtime.imaging.formats import HEAD_BYTES, identify_format
from webapp.problems import RefusalError
from webapp.requests.base64_image import decode_base64, looks_like_base64
from webapp.requests.multipart import Part, parse_multipart

MAX_BATCH = 16
"""Images in one batch request."""

MAX_TEXT_BYTES = 256 * 1024
"""Bytes of all text fields of a form together."""

_FIELD = "image"
_ACCEPTED = "multipart/form-data, image/*, application/octet-stream or application/json"


@dataclass(frozen=True)
class Upload:
    """One uploaded image: the bytes of the file, and the name that the client gave it, only ever echoed to it."""

    data: bytes
    name: str | None


@dataclass(frozen=True)
class Submission:
    """What a request brought: its images, and its optional fields, still unchecked."""

    uploads: list[Upload]
    fields: dict[str, str]


def read_submission(request: Request, at_most: int) -> Submission:
    """Return the images of a request, in order, and its optional fields (those in the query string come first).

    Raises :class:`RefusalError`: 400 for a body without an image or with more than ``at_most``, 413 for one that is too
    large, 415 for a content type that can hold none.
    """
    body = request.get_data(cache=False)
    kind = request.mimetype
    if kind == "multipart/form-data":
        uploads, fields = _from_form(parse_multipart(body, request.headers["Content-Type"]))
    elif kind == "application/json" or kind.endswith("+json"):
        uploads, fields = _from_json(body)
    elif kind.startswith("image/") or kind == "application/octet-stream" or _is_image(body):
        uploads, fields = [Upload(body, None)], {}
    else:
        raise RefusalError(415, f"expected {_ACCEPTED}, found {kind[:80] or 'no content type'}")
    if len(uploads) > at_most:
        raise RefusalError(400, f"expected at most {at_most} image{'s' if at_most > 1 else ''}, found {len(uploads)}")
    return Submission(uploads, {**fields, **request.args.to_dict()})


def _is_image(data: bytes) -> bool:
    """Whether the bytes begin as an image does: clients such as ``curl --data-binary`` name another content type."""
    found = identify_format(data[:HEAD_BYTES])
    return found is not None and found.decoder is not None


def _from_form(parts: list[Part]) -> tuple[list[Upload], dict[str, str]]:
    images = [part for part in parts if part.name == _FIELD]
    others = [part for part in parts if part.name != _FIELD]
    if not images:
        found = ", ".join(part.describe() for part in parts[:5]) or "a form without parts"
        raise RefusalError(400, f"expected an image in the form field '{_FIELD}', found {found}")
    texts = [part for part in others if part.filename is None]
    if sum(len(part.data) for part in texts) > MAX_TEXT_BYTES:
        largest = max(texts, key=lambda part: len(part.data))
        raise RefusalError(
            413, f"expected at most {MAX_TEXT_BYTES // 1024} kB of text fields, found {largest.describe()}"
        )
    fields = {part.name: part.data.decode(errors="replace") for part in texts}
    return [_from_part(part) for part in images], fields


def _from_part(part: Part) -> Upload:
    data, name = part.data, part.filename or None
    encoding = part.headers.get("Content-Transfer-Encoding", "").strip().lower()
    if encoding == "base64" or looks_like_base64(data):
        return Upload(decode_base64(data, f"the part '{_FIELD}'"), name)
    if part.filename is None and data and data.isascii() and not _is_image(data):
        text = data[:60].decode("ascii")
        raise RefusalError(400, f"expected the bytes of an image in the part '{_FIELD}', found the text {text!r}")
    return Upload(data, name)


def _from_json(body: bytes) -> tuple[list[Upload], dict[str, str]]:
    if _is_image(body):
        return [Upload(body, None)], {}
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusalError(400, f"expected a JSON object, found malformed JSON: {error}") from None
    if not isinstance(content, dict):
        raise RefusalError(400, "expected a JSON object with the key 'image', found another JSON value")
    images = content.pop(_FIELD, None)
    if images is None:
        found = ", ".join(repr(str(key)[:40]) for key in list(content)[:5]) or "no keys"
        raise RefusalError(400, f"expected the key '{_FIELD}' with an image in base64, found {found}")
    listed = images if isinstance(images, list) else [images]
    if not listed or not all(isinstance(image, str) for image in listed):
        raise RefusalError(400, f"key '{_FIELD}': expected text in base64, or a list of it, found something else")
    uploads = [Upload(decode_base64(image.encode(), f"the key '{_FIELD}'"), None) for image in listed]
    return uploads, {name: _as_text(value) for name, value in content.items() if value is not None}


def _as_text(value: Any) -> str:
    """Return a JSON value as a form would hold it: ``true`` is ``1``."""
    if isinstance(value, bool):
        return str(int(value))
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
