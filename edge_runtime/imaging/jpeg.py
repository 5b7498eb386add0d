"""JPEG files: the decoder's part without metadata, and every way of telling that image data are missing.

libjpeg makes up what it does not find, and says so only in warnings that Pillow drops. Two things show it all the same:

- Structure: a marker that cannot stand inside a scan, restart markers that are not as many as announced (DRI), scans
  missing from a progressive file, zeros where no encoder writes any.
- Amount (:class:`CountedJpeg`): the decoder is given the scan without its end marker. If it asks for more before the
  last row stands, data are missing; if the last row stands before the last bytes were given, it had lost its way.

ITU-T T.81 (1992).
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from PIL.JpegImagePlugin import JpegImageFile

from edge_runtime.imaging.contents import Contents, find_zeros, read_orientation
from edge_runtime.imaging.unfilled_rows import mark_row, percent_of_rows, row_is_marked

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
_DHT, _SOS, _DRI, _APP0, _APP1, _APP2, _APP14, _APP15, _COM = 0xC4, 0xDA, 0xDD, 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE
_NOT_FRAMES = (0xC4, 0xC8, 0xCC)
_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1), 0xC2
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_END_OF_SCAN_WITHOUT_RESTARTS = re.compile(rb"\xff[^\x00\xff]")
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_BETWEEN_SCANS = {0xC4, 0xCC, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, *range(0xE0, 0xF0), 0xFE}

TAIL = 4
"""The last bytes of a scan are handed to the decoder on their own; if the last row stands without them, so many or more
bytes were never used."""

_PADDING = b"\x6d\xb6\xdb" * 3
"""Lets the decoder look ahead behind the last code. In T.81's own Huffman tables these bits end no block, so that no
missing block can be made of them."""

_ZERO_RUN = 64
_FILL = b"\xff" * 64


class _Component(NamedTuple):
    horizontal: int
    vertical: int


class _Frame(NamedTuple):
    kind: int
    width: int
    height: int
    components: dict[int, _Component]


class _Segment(NamedTuple):
    marker: int
    start: int
    end: int


def read_contents(data: bytes) -> Contents:
    """Return the decoder's part of a JPEG. Raises :class:`ValueError` when image data are missing or overwritten."""
    kept, profile, orientation = [SOI], {}, 1
    for marker, start, end in _segments(data, 2):
        body = data[start + 4 : end]
        if marker == _APP1 and body.startswith(b"Exif\0\0") and orientation == 1:
            orientation = read_orientation(body)
        elif marker == _APP2 and body.startswith(b"ICC_PROFILE\0") and len(body) > 14:
            profile[body[12]] = body[14:]
        elif _decides_about_pixels(marker, body):
            kept.append(data[start:end])
        if marker == _SOS:
            image_data = b"".join(kept), data[end:]
            scan_end = _check_scans(*image_data)
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


def _segments(data: bytes, at: int) -> Iterator[_Segment]:
    """Yield the segments from a position on, until the end of the image or of the data."""
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        if marker in (0x00, 0x01, 0xD8) or 0xD0 <= marker <= 0xD7:
            at += 2
        elif marker == 0xFF:
            at += 1
        elif marker == 0xD9:
            return
        else:
            end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            yield _Segment(marker, at, end)
            at = max(end, at + 2)


def _check_scans(header: bytes, rest: bytes) -> int:
    """Check all scans. ``header`` ends with the first scan's header, ``rest`` begins with its data.

    Returns where the data end when there is one sequential scan, which the decoder then counts exactly, else 0.
    """
    data, scan = header + rest, _Scans(header)
    start = len(header)
    while True:
        found = (_END_OF_SCAN if scan.interval else _END_OF_SCAN_WITHOUT_RESTARTS).search(data, start)
        end = found.start() if found else len(data)
        while end > start and data[end - 1] == 0xFF:  # fill bytes before a marker
            end -= 1
        scan.check_data(data, start, end)
        if scan.is_only_one:
            return end
        if found and found[0][1] not in _BETWEEN_SCANS:
            raise ValueError(f"found the marker FF{found[0][1]:02X} inside the image data")
        for segment in _segments(data, end):
            scan.read(segment.marker, data[segment.start + 4 : segment.end])
            if segment.marker == _SOS:
                start = segment.end
                break
        else:
            scan.check_completeness()
            return 0


class _Scans:
    """What the headers say about the scans, and what of the image they have brought so far."""

    def __init__(self, header: bytes) -> None:
        self.frame: _Frame | None = None
        self.interval = 0
        self.first_symbols: dict[int, int] = {}  # class and number of a Huffman table → what a zero code means
        self.header = b""
        self.precision: dict[int, list[int]] = {}  # component → for each coefficient the bits that are still missing
        for marker, start, end in _segments(header, 2):
            self.read(marker, header[start + 4 : end])

    def read(self, marker: int, body: bytes) -> None:
        """Take in one segment. A broken one is left to the decoder, which refuses it."""
        if marker == _DRI and len(body) >= 2:
            self.interval = int.from_bytes(body[:2], "big")
        elif marker == _DHT:
            self._read_tables(body)
        elif marker == _SOS and body:
            self.header = body
            self._note_precision()
        elif 0xC0 <= marker <= 0xCF and marker not in _NOT_FRAMES and len(body) >= 6 + 3 * body[5]:
            height, width = struct.unpack_from(">HH", body, 1)
            samplings = [body[6 + 3 * index : 9 + 3 * index] for index in range(body[5])]
            components = {one[0]: _Component(one[1] >> 4, one[1] & 15) for one in samplings}
            self.frame = _Frame(marker, width, height, components)

    def _read_tables(self, body: bytes) -> None:
        at = 0
        while at + 18 <= len(body):
            self.first_symbols[body[at]] = body[at + 17]
            at += 17 + sum(body[at + 1 : at + 17])

    @property
    def components(self) -> list[tuple[int, int, int]]:
        """Component, DC table and AC table of each component in the current scan."""
        pairs = self.header[1 : 1 + 2 * self.header[0]]
        return [(one, tables >> 4, 0x10 | tables & 15) for one, tables in zip(pairs[::2], pairs[1::2], strict=False)]

    @property
    def spectrum(self) -> tuple[int, int, int, int]:
        """First and last coefficient of the scan, and the bit before and after it (successive approximation)."""
        first, last, bits = (*self.header[1 + 2 * self.header[0] :], 0, 63, 0)[:3]
        return first, last, bits >> 4, bits & 15

    @property
    def is_only_one(self) -> bool:
        """Whether the current scan holds the whole image in sequential Huffman coding."""
        frame = self.frame
        return frame is not None and frame.kind in _SEQUENTIAL and len(self.components) == len(frame.components)

    def check_data(self, data: bytes, start: int, end: int) -> None:
        """Raise :class:`ValueError` if a scan's data have holes."""
        if self.frame is None or (self.frame.kind not in _SEQUENTIAL and self.frame.kind != _PROGRESSIVE):
            return
        if data.find(_FILL, start, end) >= 0:
            raise ValueError("the image data are overwritten with the byte FF")
        if not self._zeros_are_usual():
            zeros = find_zeros(data, start, end, _ZERO_RUN * (2 if self.spectrum[2] else 1))
            if zeros:
                raise ValueError(f"{zeros} bytes in a row of the image data are zero")
        if self.interval:
            self._check_restarts(_RESTART.findall(data, start, end))

    def _zeros_are_usual(self) -> bool:
        """Whether zero bits stand for blocks without change: flat areas, where encoders do write many zeros."""
        first, _, previous, _ = self.spectrum
        frame = self.frame
        assert frame is not None
        if frame.kind == _PROGRESSIVE:
            if previous and first == 0:
                return True  # a refinement of averages is one bit for each block: flat areas have the same for all
            names = [dc if first == 0 else ac for _, dc, ac in self.components]
        else:
            names = [table for _, dc, ac in self.components for table in (dc, ac)]
        return all(self.first_symbols.get(name, 0) == 0 for name in names)

    def _check_restarts(self, markers: list[bytes]) -> None:
        expected = -(-self._units() // self.interval) - 1
        if len(markers) != expected or any(one[0] != 0xD0 + index % 8 for index, one in enumerate(markers)):
            raise ValueError(f"expected {expected} restart markers one after the other, found {len(markers)}")

    def _units(self) -> int:
        """Return the number of minimum coded units in the current scan (T.81, A.2)."""
        frame = self.frame
        assert frame is not None
        widest = max(one.horizontal for one in frame.components.values())
        highest = max(one.vertical for one in frame.components.values())
        if len(self.components) > 1:
            return -(-frame.width // (8 * widest)) * -(-frame.height // (8 * highest))
        only = frame.components.get(self.components[0][0], _Component(widest, highest))
        columns, rows = -(-frame.width * only.horizontal // widest), -(-frame.height * only.vertical // highest)
        return -(-columns // 8) * -(-rows // 8)

    def _note_precision(self) -> None:
        first, last, _, following = self.spectrum
        for component, _, _ in self.components:
            missing = self.precision.setdefault(component, [14] * 64)
            for index in range(first, min(last, 63) + 1):
                missing[index] = following

    def check_completeness(self) -> None:
        """Raise :class:`ValueError` when the scans did not bring every coefficient of every component in full."""
        frame = self.frame
        if frame is None or (frame.kind not in _SEQUENTIAL and frame.kind != _PROGRESSIVE):
            return
        if any(any(self.precision.get(component, [14])) for component in frame.components):
            raise ValueError("the data end before the image is complete: scans are missing")


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
