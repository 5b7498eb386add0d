"""Heat lies where the evidence is."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from edge_runtime.imaging.overlay import encode_png, render_heat, render_overlay, render_side_by_side, upsample_map


@pytest.fixture
def corner_map() -> np.ndarray:
    array = np.zeros((7, 7), dtype=np.float32)
    array[0, 6] = 3.0
    return array


def test_map_is_scaled_to_its_peak_and_enlarged(corner_map: np.ndarray) -> None:
    enlarged = upsample_map(corner_map, 140, 70)
    assert enlarged.shape == (70, 140)
    assert enlarged[2, 137] == pytest.approx(1, abs=0.05)
    assert enlarged[60, 10] == 0


def test_overlay_changes_only_the_evidence(corner_map: np.ndarray) -> None:
    image = np.full((70, 70, 3), 90, dtype=np.uint8)
    overlay = np.asarray(render_overlay(image, corner_map))
    np.testing.assert_array_equal(overlay[40:, :30], image[40:, :30])
    assert np.abs(overlay[1, 68].astype(int) - 90).max() > 40


def test_no_evidence_leaves_the_image_alone() -> None:
    image = np.full((70, 70, 3), 90, dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(render_overlay(image, np.zeros((7, 7), np.float32))), image)


def test_heat_alone_is_transparent_without_evidence(corner_map: np.ndarray) -> None:
    heat = np.asarray(render_heat(corner_map, 70, 70))
    assert heat[60, 5, 3] == 0
    assert heat[1, 68, 3] == 255


def test_side_by_side_png(corner_map: np.ndarray) -> None:
    image = np.full((70, 90, 3), 90, dtype=np.uint8)
    side_by_side = Image.open(io.BytesIO(encode_png(render_side_by_side(image, corner_map))))
    assert side_by_side.size == (180, 70)
    np.testing.assert_array_equal(np.asarray(side_by_side)[:, :90], image)
