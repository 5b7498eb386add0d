"""Decoded and resized images, kept in one memory-mapped ``uint8`` file so that epochs never decode a JPEG.

The file is found by a key made of the preprocessing and of every source's path, size and times of change, so it is
rebuilt when any of these change. Beside it lies a JSON file with what was learned while decoding: the SHA-256 of
each image's pixels, a perceptual hash, and the images that could not be read.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from tqdm import tqdm

from edge_runtime.errors import DataError, ImageError
from edge_runtime.imaging.preprocessing import load_image_hwc
from train.data.duplicates import HASH_VERSION, difference_hash
from train.data.records import LesionRecord
from train.files import replacing, write_text_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray

PREPROCESSING_VERSION = f"2 stretch bilinear-antialias sRGB, {HASH_VERSION}"
PORTION = 256
"""Images decoded at a time, so that memory does not grow with the data set."""


class CacheIndex(msgspec.Struct, forbid_unknown_fields=True):
    """What lies beside the pixels; the lists run parallel to the images."""

    image_ids: list[str]
    digests: list[str]
    difference_hashes: list[str]
    unreadable: dict[str, str]


@dataclass(frozen=True)
class ImageCache:
    """``images[i]`` is the image of ``image_ids[i]``: ``uint8`` of shape (size, size, 3), RGB.

    ``digests`` are SHA-256 of the pixels, ``difference_hashes`` perceptual hashes, both hexadecimal. ``unreadable``
    maps the ids that are not in the cache to what was wrong with them.
    """

    image_ids: tuple[str, ...]
    images: NDArray[np.uint8]
    digests: tuple[str, ...]
    difference_hashes: tuple[str, ...]
    unreadable: dict[str, str]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over image ids and pixel digests: names the exact images a model learned from."""
        lines = "".join(f"{one} {digest}\n" for one, digest in zip(self.image_ids, self.digests, strict=True))
        return hashlib.sha256(lines.encode()).hexdigest()


def open_cache(records: Sequence[LesionRecord], size: int, folder: Path) -> ImageCache:
    """Return the cache of ``records`` at ``size`` pixels, building it under ``folder`` when there is none.

    Unreadable images are left out and named in ``unreadable``. Raises :class:`DataError` when nothing can be read.
    """
    key = _cache_key(records, size)
    array_path, index_path = folder / f"{key}.rgb", folder / f"{key}.json"
    if not (array_path.is_file() and index_path.is_file()):
        _build(records, size, array_path, index_path)
    index = msgspec.json.decode(index_path.read_bytes(), type=CacheIndex)
    shape = (len(index.image_ids), size, size, 3)
    if array_path.stat().st_size != np.prod(shape):
        raise DataError(f"{array_path}: expected {np.prod(shape)} bytes; delete it to have it built anew")
    return ImageCache(
        image_ids=tuple(index.image_ids),
        images=np.memmap(array_path, np.uint8, mode="r", shape=shape),
        digests=tuple(index.digests),
        difference_hashes=tuple(index.difference_hashes),
        unreadable=index.unreadable,
    )


def _cache_key(records: Sequence[LesionRecord], size: int) -> str:
    digest = hashlib.sha256(f"{PREPROCESSING_VERSION} {size}\n".encode())
    for record in records:
        try:
            status = record.path.stat()
        except OSError as error:
            raise DataError(f"{record.path}: cannot be read: {error.strerror or error}") from None
        # the time of the last change of the file's state, since copying tools set the time of its content back
        times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
        line = f"{record.image_id} {record.path.resolve()} {status.st_size} {times}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def _build(records: Sequence[LesionRecord], size: int, array_path: Path, index_path: Path) -> None:
    """Decode all images and write both files, the index last."""
    index = CacheIndex([], [], [], {})
    with replacing(array_path) as temporary:
        with temporary.open("wb") as file:
            for record, image in _decode_all(records, size):
                if isinstance(image, str):
                    index.unreadable[record.image_id] = image
                    continue
                pixels = image.tobytes()
                file.write(pixels)
                index.image_ids.append(record.image_id)
                index.digests.append(hashlib.sha256(pixels).hexdigest())
                index.difference_hashes.append(difference_hash(image))
        if not index.image_ids:
            first = next(iter(index.unreadable.values()), "there are none")
            raise DataError(f"none of {len(records)} images can be read, the first because: {first}")
    write_text_atomically(index_path, json.dumps(msgspec.to_builtins(index)))


def _decode_all(records: Sequence[LesionRecord], size: int) -> Iterator[tuple[LesionRecord, NDArray[np.uint8] | str]]:
    """Decode with every core, in order; an image that cannot be read gives the reason instead."""

    def decode(record: LesionRecord) -> NDArray[np.uint8] | str:
        try:
            return load_image_hwc(record.path, size)
        except ImageError as error:
            return str(error)

    hidden = not sys.stderr.isatty()
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(records), desc="decoding images", unit="img", disable=hidden) as progress,
    ):
        for start in range(0, len(records), PORTION):
            portion = records[start : start + PORTION]
            for record, image in zip(portion, pool.map(decode, portion), strict=True):
                yield record, image
                progress.update()
