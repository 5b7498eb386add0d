"""Requests that no honest client sends: damaged, disguised, oversized and malformed, from a seed."""

from __future__ import annotations

import base64
import io
import json
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from PIL import Image

BOUNDARY = "edge-of-the-form"
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP")


@dataclass(frozen=True)
class HostileRequest:
    """One request to ``POST /api/v1/predict``. ``may_pass``: it may still hold a decodable image."""

    kind: str
    body: bytes
    content_type: str
    may_pass: bool = False


def hostile_requests(count: int, seed: int) -> Iterator[HostileRequest]:
    """Yield ``count`` requests, all kinds in turn, the same for the same seed."""
    dice = random.Random(seed)  # noqa: S311 -- variety, not secrecy
    images = _images()
    for number in range(count):
        yield _MAKERS[number % len(_MAKERS)](dice, images)


def form_body(data: bytes, name: str = "image", filename: str = "x.jpg", fields: dict[str, str] | None = None) -> bytes:
    """Return a multipart form with one file and some fields."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode()
        for field, value in (fields or {}).items()
    ]
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
    return (
        b"".join(parts)
        + head.encode()
        + b"Content-Type: image/jpeg\r\n\r\n"
        + data
        + f"\r\n--{BOUNDARY}--\r\n".encode()
    )


FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY}"

Dice = random.Random
Images = dict[str, bytes]


def _images() -> Images:
    noise = Image.frombytes("RGB", (96, 72), random.Random(0).randbytes(96 * 72 * 3))  # noqa: S311
    images = {}
    for file_format in FORMATS:
        buffer = io.BytesIO()
        noise.save(buffer, format=file_format)
        images[file_format] = buffer.getvalue()
    return images


def _upload(kind: str, data: bytes, may_pass: bool = False) -> HostileRequest:
    return HostileRequest(kind, form_body(data), FORM_TYPE, may_pass)


def _truncated(dice: Dice, images: Images) -> HostileRequest:
    file_format = dice.choice(FORMATS)
    data = images[file_format]
    return _upload(f"truncated {file_format}", data[: dice.randrange(1, len(data))], may_pass=True)


def _flipped(dice: Dice, images: Images) -> HostileRequest:
    file_format = dice.choice(FORMATS)
    data = bytearray(images[file_format])
    for _ in range(dice.choice((1, 4, 16, 64))):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return _upload(f"bit-flipped {file_format}", bytes(data), may_pass=True)


def _flipped_header(dice: Dice, images: Images) -> HostileRequest:
    file_format = dice.choice(FORMATS)
    data = bytearray(images[file_format])
    for _ in range(dice.choice((1, 2, 3))):
        data[dice.randrange(min(64, len(data)))] = dice.randrange(256)
    return _upload(f"broken header {file_format}", bytes(data), may_pass=True)


def _spliced(dice: Dice, images: Images) -> HostileRequest:
    first, second = (images[name] for name in dice.sample(FORMATS, 2))
    return _upload(
        "spliced", first[: dice.randrange(len(first))] + second[dice.randrange(len(second)) :], may_pass=True
    )


def _polyglot(dice: Dice, images: Images) -> HostileRequest:
    prefix = dice.choice((b"%PDF-1.4\n", b"GIF89a", b"PK\x03\x04", b"#!/bin/sh\n", b"<html><script>alert(1)</script>"))
    image = images[dice.choice(FORMATS)]
    return _upload("polyglot", prefix + image if dice.random() < 0.5 else image + prefix, may_pass=True)


def _markup(dice: Dice, _: Images) -> HostileRequest:
    entity = '<!DOCTYPE svg [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>' if dice.random() < 0.5 else ""
    svg = f'{entity}<svg xmlns="http://www.w3.org/2000/svg"><script>alert({dice.random()})</script></svg>'
    return _upload("SVG", b'<?xml version="1.0"?>' + svg.encode())


def _png(width: int, height: int, data: bytes, extra: bytes = b"") -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _pixel_bomb(dice: Dice, _: Images) -> HostileRequest:
    width, height = dice.choice(((60_000, 60_000), (2**31 - 1, 1), (1, 2**31 - 1), (30_000, 20_000), (0, 0)))
    if dice.random() < 0.5:
        return _upload("pixel bomb PNG", _png(width, height, zlib.compress(bytes(100_000))))
    header = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 1000, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return _upload("pixel bomb BMP", header + bytes(100))


def _text_bomb(dice: Dice, _: Images) -> HostileRequest:
    body = b"Comment\0\0" + zlib.compress(bytes(dice.choice((8, 32)) * 1024 * 1024))
    text = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    return _upload("text bomb PNG", _png(8, 8, zlib.compress(bytes(200)), text), may_pass=True)


def _noise(dice: Dice, _: Images) -> HostileRequest:
    return _upload("random bytes", dice.randbytes(dice.choice((0, 1, 100, 5000))))


def _empty(dice: Dice, _: Images) -> HostileRequest:
    return HostileRequest("zero bytes", b"", dice.choice((FORM_TYPE, "image/jpeg", "")))


def _wrong_type(dice: Dice, images: Images) -> HostileRequest:
    kinds = (
        "text/plain",
        "application/json",
        "image/jpeg",
        "",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    )
    return HostileRequest("wrong Content-Type", form_body(images["JPEG"]), dice.choice(kinds))


def _broken_json(dice: Dice, images: Images) -> HostileRequest:
    text = base64.b64encode(images[dice.choice(FORMATS)])
    bodies = (
        b"[" * 50_000,
        b'{"image": "' + text[: dice.randrange(len(text))],
        b'{"image": "' + bytes([dice.randrange(128, 256)]) + text + b'"}',
        b'{"image": ' + b"9" * 400 + b"}",
        b'{"image": ["", {}, null]}',
    )
    return HostileRequest("broken JSON", dice.choice(bodies), "application/json")


def _broken_form(dice: Dice, images: Images) -> HostileRequest:
    body = form_body(images["JPEG"])
    if dice.random() < 0.5:
        return HostileRequest("cut form", body[: dice.randrange(1, 150)], FORM_TYPE)
    return HostileRequest("form with bare LF", body.replace(b"\r\n", b"\n"), FORM_TYPE, may_pass=True)


def _many_parts(dice: Dice, images: Images) -> HostileRequest:
    fields = {f"field-{number}": "x" for number in range(2000)}
    return HostileRequest("2,000 form parts", form_body(images["JPEG"], fields=fields), FORM_TYPE)


def _odd_names(dice: Dice, images: Images) -> HostileRequest:
    filename = dice.choice(("../../etc/passwd", "x" * 20_000, "a\\\x00b", "<script>.jpg", "CON", "\u202egpj.exe"))
    field = dice.choice(("image", "image[]", "", "__proto__"))
    return HostileRequest("odd names", form_body(images["JPEG"], field, filename), FORM_TYPE, may_pass=True)


def _odd_options(dice: Dice, images: Images) -> HostileRequest:
    value = dice.choice(("-1", "1e999", "nan", "'; DROP TABLE", "x" * 5000, json.dumps({"a": []}), "\u0000"))
    field = dice.choice(("engine", "precision", "explain", "explain_class"))
    return HostileRequest("odd options", form_body(images["JPEG"], fields={field: value}), FORM_TYPE)


_MAKERS: tuple[Callable[[Dice, Images], HostileRequest], ...] = (
    _truncated, _flipped, _flipped_header, _spliced, _polyglot, _markup, _pixel_bomb, _noise, _wrong_type, _broken_form,
    _broken_json, _odd_names, _odd_options,
    _truncated, _flipped, _flipped_header, _text_bomb, _empty, _flipped, _many_parts,
)  # fmt: skip
