"""A model that takes patient metadata becomes int8 TFLite too, and the patient's vector goes in as float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter

from export.formats.tflite_composition import compose_model
from export.formats.tflite_graphs import whole_model_plan
from export.formats.tflite_quantisation import quantise_int8, record_statistics
from export.formats.tflite_writer import convert_tflite
from export.int8.activation_ranges import choose_ranges
from export.roles.split_model import split_model
from train.model.architectures import build_model


def predict(graph: bytes, image_hwc: np.ndarray, patient: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(model_content=graph, num_threads=1)
    run = interpreter.get_signature_runner()
    assert run.get_input_details()["metadata"]["dtype"] == np.float32
    return run(image_nhwc=image_hwc[np.newaxis], metadata=patient[np.newaxis])["probabilities"][0]


@pytest.mark.slow
def test_int8_takes_a_patient_as_float_does() -> None:
    torch.manual_seed(0)
    model = build_model("shallow_resnet", classes=7, metadata_size=5).eval()
    torch.nn.init.normal_(model.head.metadata_evidence[2].weight, std=1.0)
    graphs = split_model(model, "NHWC", size=64, metadata_size=5)
    backbone = convert_tflite(graphs["features"])
    whole = compose_model(backbone, convert_tflite(graphs["head"]))
    images = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    ranges, float_scopes = whole_model_plan(
        backbone, whole, choose_ranges(record_statistics(backbone, images, 1), "min-max")
    )
    quantised = quantise_int8(whole, ranges, float_scopes)
    unknown, known = np.zeros(5, np.float32), np.array([1, 0.8, 1, 0, 1], np.float32)
    for patient in (unknown, known):
        expected = predict(whole, images[0], patient)
        np.testing.assert_allclose(predict(quantised, images[0], patient), expected, atol=0.05)
    assert np.abs(predict(quantised, images[0], unknown) - predict(quantised, images[0], known)).max() > 0.05
