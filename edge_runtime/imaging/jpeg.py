"""JPEG files: the decoder's part without metadata, and every way of telling that image data are missing.

libjpeg makes up what it does not find, and says so only in warnings that Pillow drops. Two things show it all the same:

- Structure (:mod:`edge_runtime.imaging.jpeg_scans`): markers, scans and zeros where they cannot be.
- Amount (:class:`CountedJpeg`): the decoder is given the scan without its end marker. If it asks for more before the
  last row stands, data are missing; if the last row stands before the last bytes were given, it had lost its way.

ITU-T T.81 (1992).
"""

from __future__ import annotations

import io

from PIL.JpegImagePlugin import JpegImageFile

from edge_runtime.imaging.contents import Contents, read_orientation
from edge_runtime.imaging.jpeg_scans import SOS, check_scans, segments
from edge_runtime.imaging.unfilled_rows import mark_row, percent_of_rows, row_is_marked

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
_APP0, _APP1, _APP2, _APP14, _APP15, _COM = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE

TAIL = 4
"""The last bytes of a scan are handed to the decoder on their own; if the last row stands without them, so many or more
bytes were never used."""

_PADDING = b"\x6d\xb6\xdb" * 3
"""Lets the decoder look ahead behind the last code. In T.81's own Huffman tables these bits end no block, so that no
missing block can be made of them."""


def read_contents(data: bytes) -> Contents:
    """Return the decoder's part of a JPEG. Raises :class:`ValueError` when image data are missing or overwritten."""
    kept, profile, orientation = [SOI], {}, 1
    for marker, start, end in segments(data, 2):
        body = data[start + 4 : end]
        if marker == _APP1 and body.startswith(b"Exif\0\0") and orientation == 1:
            orientation = read_orientation(body)
        elif marker == _APP2 and body.startswith(b"ICC_PROFILE\0") and len(body) > 14:
            profile[body[12]] = body[14:]
        elif _decides_about_pixels(marker, body):
            kept.append(data[start:end])
        if marker == SOS:
            image_data = b"".join(kept), data[end:]
            scan_end = check_scans(*image_data)
            whole = b"".join(image_data)
            return Contents(whole, orientation, b"".join(profile[key] for key in sorted(profile)) or None, scan_end)
    raise ValueError("the data end before the image begins")


def _decides_about_pixels(marker: int, body: bytes) -> bool:
    """Whether the decoder needs a segment: of the applications' own only those that define the colour model."""
    if marker == _APP0:
        return body.startswith(b"JFIF\0") and len(body) >= 14
    if marker == _APP14:
        return body.startswith(b"Adobe") and len(body) >= 12
    return not (_APP0 < marker <= _APP15 or marker == _COM)


_TOO_MUCH = "more image data than the image has blocks"


class CountedJpeg(JpegImageFile):
    """A JPEG of one sequential scan, decoded only if every block of it is in the file.

    The decoder gets the scan in two pieces and the end marker when the last row stands. ``load`` raises
    :class:`ValueError` when image data are missing.
    """

    def __init__(self, contents: Contents) -> None:
        end = contents.scan_end
        # The two bytes of the end marker are the decoder's cue to make up the rest; it never sees those of the file.
        self._pieces = iter((contents.data[: end - TAIL], contents.data[end - TAIL : end] + _PADDING, b""))
        super().__init__(io.BytesIO(contents.data))

    def load_prepare(self) -> None:
        """Make the memory for the pixels, with a mark where the last row goes."""
        super().load_prepare()
        mark_row(self, self.height - 1)

    def load_read(self, read_bytes: int) -> bytes:
        """Return the decoder's next bytes, whatever number it asks for."""
        piece = next(self._pieces)
        is_complete = not row_is_marked(self, self.height - 1)
        if piece.endswith(_PADDING) and is_complete:
            raise ValueError(_TOO_MUCH)
        if piece:
            return piece
        if not is_complete:
            raise ValueError(f"the data end after {percent_of_rows(self)} % of the rows")
        return EOI

    def load_end(self) -> None:
        """Check that the last bytes were needed; some versions of Pillow do not ask for them when all rows stand."""
        super().load_end()
        if next(self._pieces, b"").endswith(_PADDING):
            raise ValueError(_TOO_MUCH)
