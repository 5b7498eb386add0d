"""Decoded and resized pictures, kept in one memory-mapped ``uint8`` file so that epochs never decode a JPEG.

The file is found by a key made of the preprocessing and of every source's path, size and time of change, so it is
built anew when any of these change. Beside it lies a JSON file with what was learnt while decoding: the SHA-256 of
each picture's pixels, a perceptual hash, and the pictures that could not be read.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from edge_runtime.errors import DataError, ImageError
from edge_runtime.preprocessing import load_image_hwc
from train.files import replacing, write_text_atomically
from train.records import LesionRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray

PREPROCESSING_VERSION = "1 stretch bilinear-antialias RGB"


@dataclass(frozen=True)
class PictureCache:
    """Pictures of ``image_ids`` as ``pictures[i]``, ``uint8`` of shape (size, size, 3), RGB.

    ``digests`` are SHA-256 of the pixels, ``fingerprint`` one SHA-256 over ids and digests, ``unreadable`` maps the
    ids that are not in the cache to what was wrong with them. ``difference_hashes`` are 64-bit perceptual hashes.
    """

    image_ids: tuple[str, ...]
    pictures: NDArray[np.uint8]
    digests: tuple[str, ...]
    difference_hashes: tuple[int, ...]
    unreadable: dict[str, str]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over image ids and pixel digests: names the exact pictures a model learnt from."""
        lines = "".join(f"{one} {digest}\n" for one, digest in zip(self.image_ids, self.digests, strict=True))
        return hashlib.sha256(lines.encode()).hexdigest()


def open_cache(records: Sequence[LesionRecord], size: int, folder: Path) -> PictureCache:
    """Return the cache of ``records`` at ``size`` pixels, building it under ``folder`` when there is none.

    Unreadable pictures are left out and named in ``unreadable``. Raises :class:`DataError` when nothing can be read.
    """
    key = _cache_key(records, size)
    array_path, index_path = folder / f"{key}.rgb", folder / f"{key}.json"
    if not (array_path.is_file() and index_path.is_file()):
        _build(records, size, array_path, index_path)
    index = json.loads(index_path.read_text(encoding="utf-8"))
    shape = (len(index["image_ids"]), size, size, 3)
    return PictureCache(
        image_ids=tuple(index["image_ids"]),
        pictures=np.memmap(array_path, np.uint8, mode="r", shape=shape),
        digests=tuple(index["digests"]),
        difference_hashes=tuple(int(value, 16) for value in index["difference_hashes"]),
        unreadable=index["unreadable"],
    )


def difference_hash(image_hwc: NDArray[np.uint8]) -> int:
    """64-bit difference hash of a picture (is each cell of a 9×8 grey thumbnail brighter than its left neighbour?)."""
    from PIL import Image

    thumbnail = Image.fromarray(image_hwc).convert("L").resize((9, 8), Image.Resampling.BOX)
    grey = np.asarray(thumbnail, dtype=np.int16)
    return int.from_bytes(np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes(), "big")


def _cache_key(records: Sequence[LesionRecord], size: int) -> str:
    digest = hashlib.sha256(f"{PREPROCESSING_VERSION} {size}\n".encode())
    for record in records:
        status = record.path.stat()
        line = f"{record.image_id} {record.path.resolve()} {status.st_size} {status.st_mtime_ns}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def _build(records: Sequence[LesionRecord], size: int, array_path: Path, index_path: Path) -> None:
    """Decode all pictures with every core and write both files, the index last."""

    def decode(record: LesionRecord) -> NDArray[np.uint8] | str:
        try:
            return load_image_hwc(record.path, size)
        except ImageError as error:
            return str(error)

    image_ids: list[str] = []
    digests: list[str] = []
    hashes: list[str] = []
    unreadable: dict[str, str] = {}
    with replacing(array_path) as temporary:
        with temporary.open("wb") as file, ThreadPoolExecutor(os.cpu_count()) as pool:
            progress = tqdm(total=len(records), desc="decoding pictures", unit="img", disable=not sys.stderr.isatty())
            for start in range(0, len(records), 256):  # in portions, so that memory does not grow with the data set
                portion = records[start : start + 256]
                for record, result in zip(portion, pool.map(decode, portion), strict=True):
                    if isinstance(result, str):
                        unreadable[record.image_id] = result
                    else:
                        file.write(result.tobytes())
                        image_ids.append(record.image_id)
                        digests.append(hashlib.sha256(result.tobytes()).hexdigest())
                        hashes.append(f"{difference_hash(result):016x}")
                    progress.update()
            progress.close()
            if not image_ids:
                first = next(iter(unreadable.values()), "no pictures")
                raise DataError(f"none of {len(records)} pictures can be read, the first because: {first}")
    index = {"image_ids": image_ids, "digests": digests, "difference_hashes": hashes, "unreadable": unreadable}
    write_text_atomically(index_path, json.dumps(index))
