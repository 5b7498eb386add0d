"""Every way in which clients send an image, and what they are told when they send something else."""

from __future__ import annotations

import base64
import json
import tempfile
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.conftest import REPOSITORY, blob_image, encoded

CASES = REPOSITORY.parent / "shared" / "cases" / "form-parts"
PREDICT = "/api/v1/predict"


def part(data: bytes, *headers: str, name: str = "image") -> bytes:
    """One part of a form: its headers, then its bytes. Without a header of its own it has a name and no file name."""
    lines = [f'Content-Disposition: form-data; name="{name}"', *headers]
    return b"--edge\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\n" + data + b"\r\n"


def multipart(*parts: bytes) -> dict[str, Any]:
    return {"data": b"".join(parts) + b"--edge--\r\n", "content_type": "multipart/form-data; boundary=edge"}


def as_json(**content: Any) -> dict[str, Any]:
    return {"data": json.dumps(content), "content_type": "application/json"}


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def large_jpeg() -> bytes:
    """More than the 256 kB that the text fields of a form may have together."""
    data = encoded(blob_image(1800, 1400), quality=100, subsampling=0)
    assert len(data) > 330_000
    return data


@pytest.fixture
def expected(client: FlaskClient, jpeg: bytes) -> dict[str, float]:
    """The probabilities of ``jpeg`` when it is sent as a browser does."""
    named = part(jpeg).replace(b'name="image"', b'name="image"; filename="x.jpg"')
    return client.post(PREDICT, **multipart(named)).get_json()["probabilities"]


def ways_to_send(jpeg: bytes) -> dict[str, dict[str, Any]]:
    text = in_base64(jpeg)
    wrapped = "\r\n".join(text[at : at + 76] for at in range(0, len(text), 76))
    url_safe = text.replace("+", "-").replace("/", "_").rstrip("=")
    option = part(b"fp32", name="precision")
    return {
        "part without a file name": multipart(part(jpeg)),
        "with a type": multipart(part(jpeg, "Content-Type: image/jpeg")),
        "with another type": multipart(part(jpeg, "Content-Type: text/plain; charset=utf-8")),
        "with a length": multipart(part(jpeg, f"Content-Length: {len(jpeg)}")),
        "field before": multipart(option.replace(b"fp32", b"int8"), part(jpeg)),
        "field after": multipart(part(jpeg), option.replace(b"fp32", b"int8")),
        "empty file name": multipart(part(jpeg).replace(b'"image"', b'"image"; filename=""')),
        "file name in Latin-1": multipart(part(jpeg).replace(b'"image"', b'"image"; filename="l\xe4sion.jpg"')),
        "part in base64": multipart(part(text.encode())),
        "part in wrapped base64": multipart(part(wrapped.encode())),
        "part with an encoding": multipart(part(wrapped.encode(), "Content-Transfer-Encoding: BASE64")),
        "part with a data URL": multipart(part(b"data:image/jpeg;base64," + text.encode())),
        "body": {"data": jpeg, "content_type": "image/jpeg"},
        "body of any image type": {"data": jpeg, "content_type": "image/*"},
        "body image/jpg": {"data": jpeg, "content_type": "image/jpg"},
        "body of bytes": {"data": jpeg, "content_type": "application/octet-stream"},
        "body without a type": {"data": jpeg},
        "curl --data-binary": {"data": jpeg, "content_type": "application/x-www-form-urlencoded"},
        "JSON": as_json(image=text),
        "JSON data URL": as_json(image="data:image/jpeg;base64," + text),
        "JSON data URL with parameters": as_json(image="data:image/jpeg;name=a.jpg;base64," + text),
        "JSON URL-safe": as_json(image=url_safe),
        "JSON wrapped": as_json(image=wrapped),
        "JSON with options": as_json(image=text, explain=False, age=None, precision="int8"),
        "JSON type with a suffix": {"data": json.dumps({"image": text}), "content_type": "application/vnd.lab+json"},
    }


WAYS = tuple(ways_to_send(b"\xff\xd8\xff"))


@pytest.mark.parametrize("way", WAYS)
def test_image_is_taken_however_it_is_sent(
    client: FlaskClient, jpeg: bytes, expected: dict[str, float], way: str
) -> None:
    response = client.post(PREDICT, **ways_to_send(jpeg)[way])
    assert response.status_code == 200, response.get_json()
    assert response.get_json()["probabilities"] == expected


@pytest.mark.parametrize("way", ["part without a file name", "part in base64", "body", "JSON"])
def test_large_images_are_taken_too(client: FlaskClient, large_jpeg: bytes, way: str) -> None:
    assert client.post(PREDICT, **ways_to_send(large_jpeg)[way]).status_code == 200


def test_formats_other_than_jpeg_are_taken(client: FlaskClient) -> None:
    for kind in ("PNG", "WEBP", "BMP", "TIFF"):
        data = encoded(blob_image(60, 40), kind)
        for way in ("part without a file name", "part in base64", "body of bytes", "JSON"):
            assert client.post(PREDICT, **ways_to_send(data)[way]).status_code == 200, (kind, way)


def test_options_come_along_in_every_way(client: FlaskClient, jpeg: bytes) -> None:
    sent = [
        client.post(PREDICT, **multipart(part(jpeg), part(b"fp32", name="precision"), part(b"map", name="explain"))),
        client.post(f"{PREDICT}?precision=fp32&explain=map", data=jpeg, content_type="image/jpeg"),
        client.post(PREDICT, **as_json(image=in_base64(jpeg), precision="fp32", explain="map")),
    ]
    for response in sent:
        assert response.get_json()["precision"] == "fp32"
        assert response.get_json()["class_activation_map"]
    assert client.post(PREDICT, **as_json(image=in_base64(jpeg), explain=True)).get_json()["overlay"]


def test_batch_takes_parts_without_file_names_and_lists(client: FlaskClient, jpeg: bytes) -> None:
    other = encoded(blob_image(seed=1))
    form = client.post(f"{PREDICT}/batch", **multipart(part(jpeg), part(other))).get_json()["results"]
    listed = client.post(f"{PREDICT}/batch", **as_json(image=[in_base64(jpeg), in_base64(other)])).get_json()["results"]
    assert [each["probabilities"] for each in form] == [each["probabilities"] for each in listed]
    assert form[0]["probabilities"] != form[1]["probabilities"]


@pytest.mark.parametrize(
    ("sent", "status", "detail"),
    [
        (
            multipart(part(b"x", name="photo")),
            400,
            "expected an image in the form field 'image', found 'photo' (text, ",
        ),
        (multipart(), 400, "expected an image in the form field 'image', found a form without parts"),
        (multipart(part(b"[object Object]")), 400, "in the part 'image', found the text '[object Object]'"),
        (multipart(part(b"file:///storage/1.jpg")), 400, "found the text 'file:///storage/1.jpg'"),
        (multipart(part(b"")), 422, "expected an image, found an empty file"),
        (multipart(part(b"x" * 300_000, name="notes"), part(b"")), 413, "found 'notes' (text, 300000 bytes)"),
        (multipart(part(b"data:image/jpeg,abc")), 400, "found a data URL without ';base64'"),
        (
            {"data": part(b"\xff\xd8\xff")[:-20], "content_type": "multipart/form-data; boundary=edge"},
            400,
            "found one that is cut off or malformed before its first part",
        ),
        ({"data": part(b"\xff\xd8\xff"), "content_type": "multipart/form-data; boundary=edge"}, 400, "is cut off"),
        ({"data": b"x", "content_type": "multipart/form-data"}, 400, "expected a boundary in the header"),
        ({"data": part(b"x"), "content_type": "multipart/form-data; boundary=other"}, 400, "with the boundary that"),
        ({"data": b"", "content_type": "image/jpeg"}, 422, "expected an image, found an empty file"),
        ({"data": b"hello", "content_type": "text/plain"}, 415, "or application/json, found text/plain"),
        ({"data": b"{", "content_type": "application/json"}, 400, "found malformed JSON"),
        ({"data": b"[" * 100_000, "content_type": "application/json"}, 400, "found malformed JSON"),
        ({"data": b'{"image": "\xff"}', "content_type": "application/json"}, 400, "found malformed JSON"),
        ({"data": b'{"image": 1e999}', "content_type": "application/json"}, 400, "found malformed JSON"),
        ({"data": b"[1]", "content_type": "application/json"}, 400, "found another JSON value"),
        (as_json(photo="x"), 400, "expected the key 'image' with an image in base64, found 'photo'"),
        (as_json(image=5), 400, "key 'image': expected text in base64"),
        (as_json(image="https://example.org/1.jpg"), 400, "found the address of one"),
        (as_json(image="AA%%"), 400, "expected base64 in the key 'image', found the character '%'"),
        (as_json(image="AAAAA"), 400, "found text that is cut off"),
        (as_json(image="AAAA"), 422, "found something else"),
    ],
)
def test_refusal_says_what_is_wrong(client: FlaskClient, sent: dict[str, Any], status: int, detail: str) -> None:
    response = client.post(PREDICT, **sent)
    assert response.content_type == "application/problem+json"
    assert detail in response.get_json()["detail"]
    assert response.status_code == status


def test_nothing_is_buffered_in_a_file(client: FlaskClient, large_jpeg: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a temporary file was asked for")

    for name in ("TemporaryFile", "NamedTemporaryFile", "SpooledTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    for way in ("part without a file name", "empty file name", "body", "JSON"):
        assert client.post(PREDICT, **ways_to_send(large_jpeg)[way]).status_code == 200


@pytest.mark.skipif(not CASES.is_dir(), reason=f"the cases are not at {CASES}")
def test_bodies_that_were_seen_are_taken(client: FlaskClient) -> None:
    kind = "multipart/form-data; boundary=scoutboundary"
    bodies = sorted(CASES.glob("*.body"))
    assert bodies
    for path in bodies:
        assert client.post(PREDICT, data=path.read_bytes(), content_type=kind).status_code == 200, path.name
