"""The one table of image formats: which bytes are which format, what they are called, and whether they are decoded.

A file's content decides, never its name. Decoding, folders and the web app's page all read this table.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import NamedTuple

from edge_runtime.imaging.heif_boxes import read_brands, read_item_codec

HEAD_BYTES = 4096
"""So many bytes from the beginning of a file are enough to recognise it."""


class ImageFormat(NamedTuple):
    """One format of the table."""

    name: str
    """As messages and the page show it: ``JPEG``."""
    decoder: tuple[str, str] | None = None
    """Module and class of its Pillow plug-in; ``None`` for formats that are only recognised, to be refused by name."""
    media_types: tuple[str, ...] = ()
    """The registered type first, then those that programs send instead."""
    suffixes: tuple[str, ...] = ()
    """Usual endings of file names, lower case, with their dot."""
    requirement: tuple[str, str] = ("", "")
    """The module that must be importable for the decoder to work, and what to install in words."""
    noun: str = "image"
    """What a file of this format is: ``a GIF image``, ``a PDF document``."""

    @property
    def is_supported(self) -> bool:
        """Whether images of this format are decoded by this installation."""
        module = self.requirement[0]
        return self.decoder is not None and (not module or find_spec(module) is not None)

    @property
    def description(self) -> str:
        """Name and noun with their article: ``a JPEG image``."""
        sounds_open = self.name[0] in "AEIO" or self.name.startswith(("HTML", "MP", "SVG"))
        return f"{'an' if sounds_open else 'a'} {self.name} {self.noun}"


_AVIF_NEEDS = ("PIL._avif", "Pillow 11.3 or newer with AVIF support")

JPEG = ImageFormat(
    "JPEG",
    ("PIL.JpegImagePlugin", "JpegImageFile"),
    ("image/jpeg", "image/jpg", "image/pjpeg", "image/jfif", "image/mpo"),
    (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
)
PNG = ImageFormat(
    "PNG", ("PIL.PngImagePlugin", "PngImageFile"), ("image/png", "image/x-png", "image/apng"), (".png", ".apng")
)
WEBP = ImageFormat("WebP", ("PIL.WebPImagePlugin", "WebPImageFile"), ("image/webp",), (".webp",))
BMP = ImageFormat(
    "BMP", ("PIL.BmpImagePlugin", "BmpImageFile"), ("image/bmp", "image/x-ms-bmp", "image/x-bmp"), (".bmp", ".dib")
)
TIFF = ImageFormat("TIFF", ("PIL.TiffImagePlugin", "TiffImageFile"), ("image/tiff", "image/x-tiff"), (".tif", ".tiff"))
HEIC = ImageFormat(
    "HEIC",
    ("pillow_heif", "HeifImageFile"),
    ("image/heic", "image/heif", "image/heic-sequence", "image/heif-sequence"),
    (".heic", ".heif", ".hif"),
    ("pillow_heif", "the package pillow-heif"),
)
AVIF = ImageFormat(
    "AVIF", ("PIL.AvifImagePlugin", "AvifImageFile"), ("image/avif", "image/avif-sequence"), (".avif",), _AVIF_NEEDS
)
RAW_PHOTOGRAPH = ImageFormat("raw", noun="photograph")

FORMATS = (JPEG, PNG, WEBP, BMP, TIFF, HEIC, AVIF)
"""The formats that are decoded, the last two where what they need is installed."""

IMAGE_SUFFIXES = tuple(suffix for image_format in FORMATS for suffix in image_format.suffixes)
"""File name endings, lower case, of the formats in :data:`FORMATS`."""

_SIGNATURES = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"BM", BMP),
    (b"FUJIFILMCCD-RAW", RAW_PHOTOGRAPH),  # RAF
    (b"IIRO", RAW_PHOTOGRAPH),  # ORF, in three spellings
    (b"IIRS", RAW_PHOTOGRAPH),
    (b"MMOR", RAW_PHOTOGRAPH),
    (b"IIU\0", RAW_PHOTOGRAPH),  # RW2
    (b"FOVb", RAW_PHOTOGRAPH),  # X3F
    (b"\0MRM", RAW_PHOTOGRAPH),
    (b"II\x1a\0\0\0HEAPCCDR", RAW_PHOTOGRAPH),  # CRW
    (b"IIII", RAW_PHOTOGRAPH),  # IIQ
    (b"II*\0", TIFF),
    (b"MM\0*", TIFF),
    (b"II+\0", TIFF),
    (b"MM\0+", TIFF),
    (b"GIF8", ImageFormat("GIF")),
    (b"\xff\x0a", ImageFormat("JPEG XL")),
    (b"\0\0\0\x0cJXL ", ImageFormat("JPEG XL")),
    (b"\0\0\0\x0cjP  ", ImageFormat("JPEG 2000")),
    (b"\xffO\xffQ", ImageFormat("JPEG 2000")),
    (b"II\xbc\x01", ImageFormat("JPEG XR")),
    (b"8BPS", ImageFormat("Photoshop", noun="document")),
    (b"v/1\x01", ImageFormat("OpenEXR")),
    (b"#?RADIANCE", ImageFormat("Radiance HDR")),
    (b"\0\0\1\0", ImageFormat("Windows", noun="icon")),
    (b"%PDF", ImageFormat("PDF", noun="document")),
    (b"PK\3\4", ImageFormat("ZIP", noun="archive")),
    (b"\x1f\x8b", ImageFormat("gzip", noun="archive")),
    (b"\x1aE\xdf\xa3", ImageFormat("Matroska or WebM", noun="video")),
    (b"\0\5\x16\7", ImageFormat("macOS", noun="side file that holds no image (._…)")),
    (b"version https://git-lfs", ImageFormat("Git LFS", noun="pointer in place of the image")),
)
_MARKUP = (
    (re.compile(rb"<svg[\s>]", re.IGNORECASE), ImageFormat("SVG", noun="drawing")),
    (re.compile(rb"<(!doctype html|html|head|body)[\s>]", re.IGNORECASE), ImageFormat("HTML", noun="page")),
)
_DICOM = ImageFormat("DICOM", noun="file")
_VIDEO = ImageFormat("MP4 or QuickTime", noun="video")
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"mif1", b"mif2", b"msf1", b"miaf", b"jpeg", b"avci", b"vvic", b"j2ki"}
_CODECS = {b"hvc1": HEIC, b"hev1": HEIC, b"av01": AVIF}


def identify_format(data: bytes) -> ImageFormat | None:
    """Return the format that the first bytes of a file (:data:`HEAD_BYTES` or more) announce, or ``None``.

    Formats that are never decoded are among the results: they let a message say what was found. A raw photograph that
    is a TIFF file inside counts as TIFF here; :mod:`edge_runtime.imaging.tiff` finds it out.
    """
    if data[4:8] == b"ftyp":
        return _identify_boxes(data)
    if data.startswith(b"RIFF"):
        return WEBP if data[8:12] == b"WEBP" else ImageFormat("RIFF", noun="file (sound or video)")
    for signature, image_format in _SIGNATURES:
        if data.startswith(signature):
            return image_format
    if data[128:132] == b"DICM":
        return _DICOM
    beginning = data[:1024]
    if beginning.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return next((image_format for pattern, image_format in _MARKUP if pattern.search(beginning)), None)
    return None


def _identify_boxes(data: bytes) -> ImageFormat:
    """Tell the formats apart that share HEIF's boxes: by the photograph's codec, else by the brands."""
    brands = set(read_brands(data)) or {data[8:12]}
    if b"crx " in brands:
        return RAW_PHOTOGRAPH  # CR3
    codec = read_item_codec(data)
    if codec in _CODECS:
        return _CODECS[codec]
    if codec is not None and brands & _HEIF_BRANDS:
        return ImageFormat("HEIF", noun=f"image with the codec {codec.decode('latin-1')!r}")
    if brands & _AVIF_BRANDS:
        return AVIF
    return HEIC if brands & (_HEIC_BRANDS | _HEIF_BRANDS) else _VIDEO


def supported_formats() -> tuple[ImageFormat, ...]:
    """Return the formats that this installation decodes."""
    return tuple(image_format for image_format in FORMATS if image_format.is_supported)


def refusal_of(image_format: ImageFormat | None) -> str | None:
    """Return why images of this format are not decoded, without the file's name; ``None`` if they are."""
    if image_format is not None and image_format.is_supported:
        return None
    if image_format is not None and image_format.decoder is not None:
        return f"is {image_format.description}, which needs {image_format.requirement[1]}"
    found = image_format.description if image_format else "something else"
    return f"expected one of {', '.join(known.name for known in supported_formats())}, found {found}"
