"""A compact bundle predicts what the whole one does, with fewer files."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from edge_runtime import Classifier
from edge_runtime.bundle.manifest import read_manifest, verify_files, write_manifest
from edge_runtime.errors import ExportError
from export.bundle.compact import compact_bundle
from tests.conftest import blob_image


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def test_compact_bundle_predicts_the_same(bundle: Path, tiny_bundle: Path) -> None:
    compacted = compact_bundle(bundle, read_manifest(bundle))
    write_manifest(bundle, compacted)
    verify_files(bundle, compacted)
    assert {path.name for path in bundle.iterdir() if path.suffix in (".onnx", ".tflite")} == {
        f"{role}.{extension}"
        for role in ("features.int8", "head.fp32", "explain.fp32")
        for extension in ("onnx", "tflite")
    }
    for engine in ("onnx", "tflite"):
        with Classifier.load(bundle, engine=engine) as small, Classifier.load(tiny_bundle, engine=engine) as whole:
            predictions = [classifier.predict(blob_image(), explain=True) for classifier in (small, whole)]
            assert predictions[0].probabilities == predictions[1].probabilities


def test_nothing_to_keep(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    variants = {name: variant for name, variant in manifest.variants.items() if name.endswith("fp32")}
    with pytest.raises(ExportError, match="--compact keeps the int8 variants: expected int8 among --precisions"):
        compact_bundle(bundle, msgspec.structs.replace(manifest, variants=variants))
