"""``/api/v1/predict``, ``/predict/batch`` and ``/explain``: predictions and refusals."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image

from edge_runtime import Classifier
from edge_runtime.bundle.classes import ham10000
from edge_runtime.bundle.manifest import read_manifest
from edge_runtime.engines import usable_variants
from edge_runtime.imaging.formats import identify_format, refusal_of
from edge_runtime.imaging.overlay import render_overlay
from tests.conftest import TINY_BUNDLE, blob_image, encoded
from tests.webapp.conftest import form
from webapp.configuration import MEBIBYTE


def test_prediction_is_the_command_lines_object(client: FlaskClient, jpeg: bytes) -> None:
    body = client.post("/api/v1/predict", **form(jpeg)).get_json()
    with Classifier.load(TINY_BUNDLE, engine="onnx") as classifier:
        expected = classifier.predict(jpeg).to_json("lesion-0.jpg")
    assert set(body) == set(expected)
    assert list(body["probabilities"]) == list(ham10000().codes)
    for field in set(expected) - {"timing_ms", "probabilities"}:
        assert body[field] == expected[field]
    assert body["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-9)
    assert set(body["timing_ms"]) == {"decode", "features", "head"}
    assert body["timing_ms"]["decode"] > 0


@pytest.mark.parametrize("engine", ["onnx", "tflite"])
@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_chosen_variant_is_used(client: FlaskClient, jpeg: bytes, engine: str, precision: str) -> None:
    body = client.post("/api/v1/predict", **form(jpeg, engine=engine, precision=precision)).get_json()
    assert (body["engine"], body["precision"]) == (engine, precision)


def test_explain_adds_the_overlay_as_a_data_url(client: FlaskClient, jpeg: bytes) -> None:
    body = client.post("/api/v1/predict", **form(jpeg, explain="1")).get_json()
    assert body["explained_class"] == body["label"]
    kind, _, data = body["overlay"].partition(",")
    assert kind == "data:image/png;base64"
    overlay = Image.open(io.BytesIO(base64.b64decode(data)))
    with Classifier.load(TINY_BUNDLE, engine="onnx") as classifier:
        prediction = classifier.predict(jpeg, explain=True)
    assert prediction.class_activation_map is not None
    expected = render_overlay(prediction.image_hwc, prediction.class_activation_map)
    assert np.array_equal(np.asarray(overlay), np.asarray(expected))
    assert np.allclose(body["class_activation_map"], prediction.class_activation_map, rtol=1e-5)


def test_explain_map_has_numbers_and_no_overlay(client: FlaskClient, jpeg: bytes) -> None:
    body = client.post("/api/v1/predict", **form(jpeg, explain="map", explain_class="mel")).get_json()
    assert body["explained_class"] == "mel"
    assert np.asarray(body["class_activation_map"]).shape == (7, 7)
    assert "overlay" not in body


def test_image_adds_what_the_model_saw(client: FlaskClient) -> None:
    deep = encoded(blob_image(300, 200), "TIFF")
    body = client.post("/api/v1/predict", **form(deep, picture="1")).get_json()
    seen = Image.open(io.BytesIO(base64.b64decode(body["picture"].partition(",")[2])))
    expected = blob_image(300, 200).resize((224, 224), Image.Resampling.BILINEAR)
    assert np.array_equal(np.asarray(seen), np.asarray(expected))


def test_explain_endpoint_returns_a_png(client: FlaskClient, jpeg: bytes) -> None:
    response = client.post("/api/v1/explain", **form(jpeg, explain_class="nv"))
    assert response.content_type == "image/png"
    assert response.headers["X-Explained-Class"] == "nv"
    assert response.headers["X-Label"] in ham10000().codes
    assert Image.open(io.BytesIO(response.data)).size == (224, 224)


def test_options_may_come_in_the_query_string(client: FlaskClient, jpeg: bytes) -> None:
    body = client.post("/api/v1/predict?precision=fp32&engine=", **form(jpeg)).get_json()
    assert (body["engine"], body["precision"]) == ("onnx", "fp32")


def test_batch_keeps_the_order_and_survives_an_unusable_image(client: FlaskClient, jpeg: bytes) -> None:
    other = encoded(blob_image(seed=1))
    results = client.post("/api/v1/predict/batch", **form(jpeg, b"no image", other)).get_json()["results"]
    assert [result["image"] for result in results] == ["lesion-0.jpg", "lesion-1.jpg", "lesion-2.jpg"]
    assert results[1] == {
        "image": "lesion-1.jpg",
        "error": refusal_of(None),
    }
    single = client.post("/api/v1/predict", **form(other)).get_json()
    assert results[2]["probabilities"] == single["probabilities"]


def refusal(client: FlaskClient, path: str = "/api/v1/predict", **post: object) -> tuple[int, str]:
    response = client.post(path, **post)
    assert response.content_type == "application/problem+json"
    body = response.get_json()
    assert body["status"] == response.status_code
    assert body["request_id"] == response.headers["X-Request-ID"]
    return response.status_code, body["detail"]


def test_refusal_without_a_body(client: FlaskClient) -> None:
    status, detail = refusal(client)
    assert (status, detail.partition(", found ")[2]) == (415, "no content type")


def test_refusal_of_two_images(client: FlaskClient, jpeg: bytes) -> None:
    assert refusal(client, **form(jpeg, jpeg)) == (400, "expected at most 1 image, found 2")


def test_refusal_of_a_large_batch(client: FlaskClient) -> None:
    found = refusal(client, "/api/v1/predict/batch", **form(*[b"x"] * 17))
    assert found == (400, "expected at most 16 images, found 17")


def test_refusal_of_an_empty_file(client: FlaskClient) -> None:
    assert refusal(client, **form(b"")) == (422, "expected an image, found an empty file")


def test_refusal_of_a_truncated_image(client: FlaskClient, jpeg: bytes) -> None:
    status, detail = refusal(client, **form(jpeg[: len(jpeg) // 2]))
    assert status == 422
    assert "damaged image" in detail


@pytest.mark.parametrize("kind", ["GIF", "ICO", "PPM"])
def test_refusal_of_other_formats(client: FlaskClient, kind: str) -> None:
    data = encoded(blob_image(48, 48), kind)
    assert refusal(client, **form(data)) == (422, refusal_of(identify_format(data)))


def test_refusal_of_too_many_pixels(make_client) -> None:
    client = make_client(max_megapixels=0.01)
    status, detail = refusal(client, **form(encoded(Image.new("RGB", (200, 100)), "PNG")))
    assert (status, detail) == (422, "expected at most 0 megapixels, found 200×100")


def test_refusal_of_too_many_bytes(make_client, jpeg: bytes) -> None:
    client = make_client(max_upload_mib=1024 / MEBIBYTE)
    found = refusal(client, **form(jpeg))
    assert found == (413, "expected a request of at most 0.000977 MiB, found a larger one")


def test_refusal_of_too_many_form_parts(client: FlaskClient) -> None:
    data = {f"field-{number}": "x" for number in range(2000)}
    status, _ = refusal(client, data=data, content_type="multipart/form-data")
    assert status == 413


def test_refusal_of_an_unknown_engine(client: FlaskClient, jpeg: bytes) -> None:
    assert refusal(client, **form(jpeg, engine="tpu")) == (400, "field 'engine': invalid enum value 'tpu'")


def test_refusal_of_a_variant_that_is_not_there(client: FlaskClient, jpeg: bytes) -> None:
    found = refusal(client, **form(jpeg, precision="fp16"))
    choices = ", ".join(usable_variants(read_manifest(TINY_BUNDLE).variants))
    assert found == (400, f"expected one of the variants {choices}, found 'onnx-fp16'")


def test_refusal_of_an_unknown_class(client: FlaskClient, jpeg: bytes) -> None:
    status, detail = refusal(client, **form(jpeg, explain_class="cat"))
    assert status == 400
    assert detail.startswith("field 'explain_class': ")


def test_wrong_method_and_address_are_problems_too(client: FlaskClient) -> None:
    wrong_method = client.get("/api/v1/predict")
    assert (wrong_method.status_code, wrong_method.content_type) == (405, "application/problem+json")
    assert "POST" in wrong_method.headers["Allow"]
    wrong_address = client.get("/api/v1/nothing")
    assert (wrong_address.status_code, wrong_address.content_type) == (404, "application/problem+json")
