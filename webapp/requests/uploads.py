"""Reading images from a request, in memory only: no upload ever touches a disk."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import IO

from flask import Request

from webapp.problems import RefusalError

MAX_BATCH = 16
"""Images in one batch request."""

MAX_FORM_PARTS = 64
MAX_TEXT_BYTES = 256 * 1024
"""Upper bounds for a form: parts of any kind, and bytes of all text fields together (the parser's own
buffer of 64 kB counts, so it cannot be much less)."""


class InMemoryRequest(Request):
    """A request whose uploads stay in memory. Werkzeug would write files above 500 kB to a temporary file."""

    max_form_parts = MAX_FORM_PARTS
    max_form_memory_size = MAX_TEXT_BYTES

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        return io.BytesIO()


@dataclass(frozen=True)
class Upload:
    """One uploaded image: the bytes of the file, and the name that the client gave it, only ever echoed to it."""

    data: bytes
    name: str | None


def read_uploads(request: Request, at_most: int) -> list[Upload]:
    """Return the images in the form field ``image``, in order. Raises :class:`RefusalError` when there are none."""
    if request.mimetype != "multipart/form-data":
        raise RefusalError(415, f"expected multipart/form-data, found {request.mimetype or 'no content type'}")
    files = request.files.getlist("image")
    if not files:
        raise RefusalError(400, "expected an image in the form field 'image', found none")
    if len(files) > at_most:
        raise RefusalError(400, f"expected at most {at_most} image{'s' if at_most > 1 else ''}, found {len(files)}")
    return [Upload(file.stream.read(), file.filename or None) for file in files]
