"""TIFF files: raw photographs told from images, the full image found among previews, and its strips checked.

Raw photographs are TIFF files whose first image is often a small preview; they are refused by name. The decoder gets a
copy of the file whose only directory holds the tags that make pixels. TIFF 6.0 (1992); BigTIFF; DNG 1.7.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress

from edge_runtime.imaging.contents import Contents, UnsupportedImageError, find_zeros
from edge_runtime.imaging.formats import RAW_PHOTOGRAPH, refusal_of

_SUBFILE_KIND, _OLD_SUBFILE_KIND, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 255, 256, 257, 258, 259, 262
_STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP, _STRIP_SIZES, _PLANES = 273, 274, 277, 278, 279, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_SIZES, _SUB_DIRECTORIES, _JPEG_TABLES = 322, 323, 324, 325, 330, 347
_CFA_PATTERN, _ICC_PROFILE, _DNG_VERSION = 33422, 34675, 50706

_PIXEL_TAGS = {
    *(_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _STRIP_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_SIZES),
    *(_PLANES, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_SIZES, _JPEG_TABLES),
    *(266, 292, 293, 317, 320, 332, 338, 339),  # fill order, fax options, predictor, palette, inks, extra samples, kind
    *(512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532),  # JPEG of the old kind, YCbCr
}
_RAW_PHOTOMETRIC = {32803, 34892}  # colour filter array, linear raw
_RAW_COMPRESSION = {262, 32767, 32769, 32770, 34713, 65000, 65535}  # Kodak, Sony, Epson, Samsung, Nikon, Kodak, Pentax
_NONE, _LZW, _OLD_JPEG, _JPEG, _YCBCR = 1, 5, 6, 7, 6
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 13: 4, 16: 8, 17: 8, 18: 8}
_LETTERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_MAX_DIRECTORIES, _MAX_PARENTS, _MAX_CHILDREN, _MAX_ENTRIES = 32, 8, 8, 1000
"""More than files have; a hostile one could keep a reader busy for minutes."""

_MAX_CHECKED_PIXELS = 100_000_000
_ZERO_RUN = 64


class _Layout:
    """Byte order and the widths that differ between TIFF and BigTIFF."""

    def __init__(self, data: bytes) -> None:
        self.order = "<" if data[:2] == b"II" else ">"
        self.is_big = data[2:4] in (b"+\0", b"\0+")
        self.count, self.offset = ("Q", "Q") if self.is_big else ("H", "I")
        self.header, self.entry, self.inline = (16, 20, 8) if self.is_big else (8, 12, 4)

    def read(self, data: bytes, letters: str, at: int) -> tuple[int, ...]:
        return struct.unpack_from(self.order + letters, data, at)


class _Directory:
    """One image of the file: its entries as they stand there."""

    def __init__(self, data: bytes, layout: _Layout, at: int) -> None:
        self.data, self.layout, self.at = data, layout, at
        count = layout.read(data, layout.count, at)[0]
        first = at + struct.calcsize(layout.order + layout.count)
        self.end = first + count * layout.entry
        places = range(first, min(self.end, len(data) - layout.entry + 1), layout.entry)[:_MAX_ENTRIES]
        self.entries = {layout.read(data, "H", place)[0]: place for place in places}

    def values(self, tag: int) -> tuple[int, ...]:
        """Return a tag's whole numbers; nothing when it is not there or is of another kind."""
        kind, content = self._content(tag)
        letter = _LETTERS.get(kind)
        if letter is None or not content:
            return ()
        return struct.unpack(f"{self.layout.order}{len(content) // _SIZES[kind]}{letter}", content)

    def value(self, tag: int, default: int) -> int:
        """Return a tag's first number."""
        return next(iter(self.values(tag)), default)

    def content(self, tag: int) -> bytes:
        """Return a tag's bytes."""
        return self._content(tag)[1]

    def _content(self, tag: int) -> tuple[int, bytes]:
        if tag not in self.entries:
            return 0, b""
        place = self.entries[tag]
        kind, count = self.layout.read(self.data, f"H{self.layout.offset}", place + 2)
        size = _SIZES.get(kind, 0) * count
        start = place + self.layout.entry - self.layout.inline
        if size > self.layout.inline:
            start = self.layout.read(self.data, self.layout.offset, start)[0]
        return (kind, self.data[start : start + size]) if 0 < size <= len(self.data) - start else (0, b"")

    @property
    def is_image(self) -> bool:
        return _WIDTH in self.entries and self.entries.keys() & {_STRIP_OFFSETS, _TILE_OFFSETS, 513} != set()

    @property
    def is_full_image(self) -> bool:
        """Whether this is neither a preview nor a transparency mask."""
        return self.is_image and not self.value(_SUBFILE_KIND, 0) & 5 and self.value(_OLD_SUBFILE_KIND, 1) != 2

    @property
    def is_raw(self) -> bool:
        return (
            not self.entries.keys().isdisjoint((_DNG_VERSION, _CFA_PATTERN))
            or self.value(_PHOTOMETRIC, 0) in _RAW_PHOTOMETRIC
            or self.value(_COMPRESSION, 1) in _RAW_COMPRESSION
        )


def read_contents(data: bytes) -> Contents:
    """Return the full image of a TIFF. Raises :class:`UnsupportedImageError` for raw photographs and
    :class:`ValueError` when strips or tiles are missing or short."""
    layout = _Layout(data)
    if layout.is_big and layout.order == ">":  # Pillow takes it for a small one
        raise UnsupportedImageError("expected a BigTIFF in little-endian byte order, found big-endian")
    directories = list(_chain(data, layout, layout.read(data, layout.offset, layout.header // 2)[0]))
    if not directories:
        raise ValueError("the data end before the image begins")
    nested = [one for parent in directories[:_MAX_PARENTS] for one in _sub_directories(parent)]
    if data[8:10] == b"CR" or any(one.is_raw for one in (*directories, *nested)):
        raise UnsupportedImageError(refusal_of(RAW_PHOTOGRAPH))
    chosen = next((one for one in (*directories, *nested) if one.is_full_image), directories[0])
    _check_pieces(chosen)
    orientation = chosen.value(_ORIENTATION, 1)
    return Contents(
        _only_pixels(chosen), orientation if 1 <= orientation <= 8 else 1, chosen.content(_ICC_PROFILE) or None
    )


def _chain(data: bytes, layout: _Layout, at: int) -> Iterator[_Directory]:
    """Yield the directories from one on, each of which names the next; a loop or a broken link ends it."""
    seen: set[int] = set()
    while at and at not in seen and len(seen) < _MAX_DIRECTORIES:
        seen.add(at)
        try:
            directory = _Directory(data, layout, at)
            yield directory
            at = layout.read(data, layout.offset, directory.end)[0]
        except struct.error:
            return


def _sub_directories(parent: _Directory) -> Iterator[_Directory]:
    for at in parent.values(_SUB_DIRECTORIES)[:_MAX_CHILDREN]:
        with suppress(struct.error):
            yield _Directory(parent.data, parent.layout, at)


def _only_pixels(chosen: _Directory) -> bytes:
    """Return the file with one directory, at its end, that holds what the decoder needs of the chosen one."""
    data, layout = chosen.data, chosen.layout
    places = [place for tag, place in sorted(chosen.entries.items()) if tag in _PIXEL_TAGS]
    start = len(data) + len(data) % 2
    directory = struct.pack(layout.order + layout.count, len(places))
    directory += b"".join(data[place : place + layout.entry] for place in places) + bytes(layout.inline)
    pointer = struct.pack(layout.order + layout.offset, start)
    middle = layout.header // 2
    return b"".join((data[:middle], pointer, data[layout.header :], bytes(len(data) % 2), directory))


def _check_pieces(image: _Directory) -> None:
    """Raise :class:`ValueError` unless every strip or tile is in the file."""
    if image.value(_COMPRESSION, _NONE) == _OLD_JPEG:  # keeps its data elsewhere
        return
    is_tiled = _TILE_OFFSETS in image.entries
    offsets = image.values(_TILE_OFFSETS if is_tiled else _STRIP_OFFSETS)
    sizes = image.values(_TILE_SIZES if is_tiled else _STRIP_SIZES)
    piece = "tile" if is_tiled else "strip"
    grid = _Grid(image, is_tiled)
    if len(offsets) < grid.count:
        raise ValueError(f"expected {grid.count} {piece}s, found {len(offsets)}")
    for number, (at, size) in enumerate(zip(offsets[: grid.count], sizes, strict=False)):
        name = f"{piece} {number + 1} of {grid.count}"
        needed = grid.bytes_of(number) if image.value(_COMPRESSION, _NONE) == _NONE else 1
        if at + max(size, needed) > len(image.data) or (0 < size < needed and len(sizes) > 1):
            raise ValueError(f"the data of {name} end early")
        _check_piece(image, image.data[at : at + size], name)


def _check_piece(image: _Directory, data: bytes, name: str) -> None:
    compression = image.value(_COMPRESSION, _NONE)
    if compression == _LZW and (zeros := find_zeros(data, 0, len(data), _ZERO_RUN)):
        raise ValueError(f"{zeros} bytes in a row of {name} are zero")
    if compression == _JPEG and image.value(_WIDTH, 0) * image.value(_HEIGHT, 0) <= _MAX_CHECKED_PIXELS:
        _check_jpeg(image.content(_JPEG_TABLES), data, name)


class _Grid:
    """How an image is divided into strips or tiles."""

    def __init__(self, image: _Directory, is_tiled: bool) -> None:
        self.width, self.height = image.value(_WIDTH, 0), image.value(_HEIGHT, 0)
        samples, planes = image.value(_SAMPLES, 1), 1
        if image.value(_PLANES, 1) == 2:
            samples, planes = 1, samples
        self.bits = image.value(_BITS, 1) * samples
        self.is_simple = image.value(_PHOTOMETRIC, 0) != _YCBCR  # otherwise some samples are for several pixels
        self.is_tiled = is_tiled
        self.columns = image.value(_TILE_WIDTH, 0) if is_tiled else self.width
        self.rows = image.value(_TILE_HEIGHT, 0) if is_tiled else image.value(_ROWS_PER_STRIP, self.height)
        self.rows = min(self.rows, self.height) if not is_tiled else self.rows
        self.down = -(-self.height // self.rows) if self.rows > 0 else 0
        across = -(-self.width // self.columns) if self.columns > 0 else 0
        self.count = self.down * across * planes

    def bytes_of(self, number: int) -> int:
        """Return the bytes of one piece without compression, at least; the last strip of each plane may be lower."""
        if not self.is_simple:
            return 1
        rows = self.rows
        if not self.is_tiled and number % self.down == self.down - 1:
            rows = self.height - (self.down - 1) * self.rows
        return -(-self.columns * self.bits // 8) * rows


def _check_jpeg(tables: bytes, data: bytes, piece: str) -> None:
    """Decode a JPEG inside the file on its own: the TIFF decoder would fill in what is missing."""
    from edge_runtime.imaging import jpeg

    header = tables[:-2] if tables.endswith(jpeg.EOI) else jpeg.SOI
    try:
        contents = jpeg.read_contents(header + data[2:])
        if contents.scan_end:
            opened = jpeg.CountedJpeg(contents)
            if opened.width * opened.height <= _MAX_CHECKED_PIXELS:
                opened.load()
    except ValueError as error:
        raise ValueError(f"{piece}: {error}") from None
