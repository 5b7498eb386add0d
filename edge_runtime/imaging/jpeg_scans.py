"""The scans of a JPEG: whether their structure shows that image data are missing or overwritten.

A marker that cannot stand inside a scan, restart markers that are not as many as announced (DRI), scans missing from a
progressive file, zeros where no encoder writes any. ITU-T T.81 (1992).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from edge_runtime.imaging.contents import find_zeros

SOS = 0xDA
_DHT, _DRI = 0xC4, 0xDD
_NOT_FRAMES = (0xC4, 0xC8, 0xCC)
_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1), 0xC2
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_END_OF_SCAN_WITHOUT_RESTARTS = re.compile(rb"\xff[^\x00\xff]")
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_BETWEEN_SCANS = {0xC4, 0xCC, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, *range(0xE0, 0xF0), 0xFE}
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


class Segment(NamedTuple):
    """One marker segment: its marker, where it starts and where it ends."""

    marker: int
    start: int
    end: int


def segments(data: bytes, at: int) -> Iterator[Segment]:
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
            yield Segment(marker, at, end)
            at = max(end, at + 2)


def check_scans(header: bytes, rest: bytes) -> int:
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
        for segment in segments(data, end):
            scan.read(segment.marker, data[segment.start + 4 : segment.end])
            if segment.marker == SOS:
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
        for marker, start, end in segments(header, 2):
            self.read(marker, header[start + 4 : end])

    def read(self, marker: int, body: bytes) -> None:
        """Take in one segment. A broken one is left to the decoder, which refuses it."""
        if marker == _DRI and len(body) >= 2:
            self.interval = int.from_bytes(body[:2], "big")
        elif marker == _DHT:
            self._read_tables(body)
        elif marker == SOS and body:
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
