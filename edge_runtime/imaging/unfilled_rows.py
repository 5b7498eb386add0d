"""Finding out whether a decoder wrote the last rows of an image: a pattern is put there before it starts.

Pillow's decoders stop without a word when a compressed stream ends early but properly; the rows would stay black.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile


@lru_cache
def _pattern(mode: str) -> tuple[int | float | tuple[int, ...], ...]:
    """Return pixels that no image shows by chance, 64 of one bit or 16 of more."""
    values = [(97 * column + 41) * 167 >> 3 & 255 for column in range(64 if mode == "1" else 16)]
    if mode == "1":
        return tuple(255 * (value >> 7) for value in values)
    if mode == "F":
        return tuple(map(float, values))
    bands = Image.getmodebands(mode)
    return tuple(v if bands == 1 else tuple((v + 59 * band) & 255 for band in range(bands)) for v in values)


def mark_row(image: ImageFile, row: int) -> None:
    """Put the pattern into one row of an image whose memory is there but which is not loaded yet."""
    for column, pixel in zip(range(image.width), _pattern(image.mode), strict=False):
        image.im.putpixel((column, row), pixel)


def row_is_marked(image: ImageFile, row: int) -> bool:
    """Whether the pattern still stands there: the decoder never wrote the row."""
    pixels = zip(range(image.width), _pattern(image.mode), strict=False)
    return all(image.im.getpixel((column, row)) == pixel for column, pixel in pixels)


def load_every_row(image: ImageFile) -> None:
    """Load an image. Raises :class:`ValueError` if its last rows were never written."""
    rows = range(max(image.height - 2, 0), image.height)  # both: interlaced files bring the odd rows last
    image.im = Image.new(image.mode, image.size).im
    for row in rows:
        mark_row(image, row)
    image.load()
    if any(row_is_marked(image, row) for row in rows):
        raise ValueError(f"the data end after {percent_of_rows(image)} % of the rows")


def percent_of_rows(image: ImageFile) -> int:
    """Return how much of an image's height was written, by its last row that is not black, in percent rounded down."""
    above = image.im.crop((0, 0, image.width, max(image.height - 2, 1)))
    box = above.getbbox()
    return 100 * box[3] // image.height if box else 0
