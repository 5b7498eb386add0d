"""The manifest's round trip, and one test for each way to break a bundle."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_runtime import Classifier
from edge_runtime.bundle.location import find_bundle
from edge_runtime.bundle.manifest import (
    MANIFEST_NAME,
    fill_in_checksum,
    parse_manifest,
    read_manifest,
    verify_files,
    write_manifest,
)
from edge_runtime.errors import BundleError, EngineError


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle that a test may break."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def change(bundle: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Edit the manifest as plain JSON and fill in its checksum again."""
    path = bundle / MANIFEST_NAME
    document = json.loads(path.read_text())
    document["manifest_sha256"] = 64 * "0"
    edit(document)
    path.write_bytes(fill_in_checksum(json.dumps(document).encode()))


def test_round_trip(bundle: Path) -> None:
    before = (bundle / MANIFEST_NAME).read_bytes()
    manifest = read_manifest(bundle)
    write_manifest(bundle, manifest)
    assert (bundle / MANIFEST_NAME).read_bytes() == before
    verify_files(bundle, manifest)


def test_schema_version_1_is_read(bundle: Path) -> None:
    """Bundles from before ``weights.safetensors`` have no ``weights``."""

    def as_version_1(document: dict[str, Any]) -> None:
        document["schema_version"] = 1
        del document["weights"]

    change(bundle, as_version_1)
    manifest = read_manifest(bundle)
    assert manifest.weights is None
    verify_files(bundle, manifest)


def test_altered_weights_are_refused(bundle: Path) -> None:
    content = b"tensors"
    entry = {"file": "weights.safetensors", "size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    change(bundle, lambda document: document.update(weights=entry))
    manifest = read_manifest(bundle)
    with pytest.raises(BundleError, match=r"weights\.safetensors: named in manifest\.json but missing"):
        verify_files(bundle, manifest)
    (bundle / "weights.safetensors").write_bytes(content)
    verify_files(bundle, manifest)
    (bundle / "weights.safetensors").write_bytes(content[::-1])
    with pytest.raises(BundleError, match=r"weights\.safetensors: expected SHA-256"):
        verify_files(bundle, manifest)


def test_a_bundle_may_lack_the_whole_model(bundle: Path) -> None:
    def without_model(document: dict[str, Any]) -> None:
        for variant in document["variants"].values():
            del variant["model"]
        document["graphs"] = [graph for graph in document["graphs"] if graph["role"] != "model"]

    change(bundle, without_model)
    assert len(read_manifest(bundle).graphs) == 8


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json: cannot be read: No such file"):
        read_manifest(tmp_path)


def test_not_json(bundle: Path) -> None:
    (bundle / MANIFEST_NAME).write_text("{ not json")
    with pytest.raises(BundleError, match=r"manifest\.json: JSON is malformed"):
        read_manifest(bundle)


def break_manifest(edit: Callable[[dict[str, Any]], None], message: str) -> Any:
    return pytest.param(edit, message, id=message[:40])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        break_manifest(lambda m: m.update(schema_version=3), "expected schema version 1 or 2, found 3"),
        break_manifest(lambda m: m.update(colour_of_the_bundle="red"), "unknown field `colour_of_the_bundle`"),
        break_manifest(lambda m: m["graphs"][0].update(md5="0"), r"unknown field `md5`.*\$\.graphs\[0\]"),
        break_manifest(lambda m: m.pop("input"), "missing required field `input`"),
        break_manifest(lambda m: m["input"].update(size="224"), r"expected `int`, got `str`.*\$\.input\.size"),
        break_manifest(lambda m: m["input"].update(size=0), "expected an input size of 1 to 4096 pixels, found 0"),
        break_manifest(lambda m: m["input"].update(resize="crop"), r"invalid enum value 'crop'.*\$\.input\.resize"),
        break_manifest(lambda m: m["classes"].pop(), "expected logits of .* for 6 classes, found shape .*7"),
        break_manifest(lambda m: m["classes"].clear(), "expected at least two classes, found none"),
        break_manifest(lambda m: m["classes"][1].update(code="AKIEC"), "expected classes with distinct codes"),
        break_manifest(lambda m: m["classes"][1].update(code="label"), "expected a class code .*, found 'label'"),
        break_manifest(lambda m: m["classes"][1].update(group="benign"), "bcc: is of group 'benign', but malignant is"),
        break_manifest(lambda m: m["graphs"][0].update(file="../x.onnx"), r"expected a plain file name, found '\.\./x"),
        break_manifest(lambda m: m["graphs"].append(m["graphs"][0]), "is listed twice"),
        break_manifest(lambda m: m["variants"].clear(), "expected at least one variant, found none"),
        break_manifest(
            lambda m: m["variants"]["onnx-int8"].update(head="x"), "names 'x', which is not among the graph"
        ),
        break_manifest(
            lambda m: m["variants"]["onnx-int8"].update(head="features.int8.onnx"),
            "uses 'features.int8.onnx' as head, found features",
        ),
        break_manifest(
            lambda m: m["variants"].update({"onnx-fp16": m["variants"]["tflite-fp32"]}), "'onnx-fp16'.*which is tflite"
        ),
        break_manifest(lambda m: m["calibration"].update(temperature=0), "expected a positive temperature, found 0"),
    ],
)
def test_broken_manifest(bundle: Path, edit: Callable[[dict[str, Any]], None], message: str) -> None:
    change(bundle, edit)
    with pytest.raises(BundleError, match=rf"{MANIFEST_NAME}: .*{message}"):
        read_manifest(bundle)


@pytest.mark.slow
def test_every_single_flipped_bit_of_the_manifest_is_refused_by_name(bundle: Path) -> None:
    """All of them, one after the other: 8 × the size of the file."""
    path = bundle / MANIFEST_NAME
    original = path.read_bytes()
    damaged = bytearray(original)
    for position in range(len(original)):
        for bit in range(8):
            damaged[position] ^= 1 << bit
            with pytest.raises(BundleError, match=r"manifest\.json: "):
                parse_manifest(bytes(damaged), path)
            damaged[position] ^= 1 << bit
    assert parse_manifest(bytes(damaged), path) == read_manifest(bundle)


def test_a_changed_threshold_breaks_the_checksum(bundle: Path) -> None:
    path = bundle / MANIFEST_NAME
    path.write_bytes(path.read_bytes().replace(b'"temperature": 1.0', b'"temperature": 2.0'))
    with pytest.raises(BundleError, match=r"manifest\.json: altered or damaged: expected SHA-256 [0-9a-f]{64}, found"):
        read_manifest(bundle)


def test_no_checksum(bundle: Path) -> None:
    document = json.loads((bundle / MANIFEST_NAME).read_text())
    del document["manifest_sha256"]
    (bundle / MANIFEST_NAME).write_text(json.dumps(document))
    with pytest.raises(BundleError, match="expected 64 digits in manifest_sha256, found ''"):
        read_manifest(bundle)


def test_missing_graph(bundle: Path) -> None:
    (bundle / "features.int8.tflite").unlink()
    with pytest.raises(BundleError, match=r"features\.int8\.tflite: named in manifest\.json but missing"):
        Classifier.load(bundle, engine="tflite")


def test_shortened_graph(bundle: Path) -> None:
    path = bundle / "head.fp32.tflite"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError, match=r"head\.fp32\.tflite: expected \d+ bytes, found \d+"):
        Classifier.load(bundle, engine="tflite")


def test_swapped_graphs(bundle: Path) -> None:
    first, second = bundle / "features.fp32.tflite", bundle / "features.int8.tflite"
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)
    with pytest.raises(BundleError, match=r"features\.fp32\.tflite: expected (\d+ bytes|SHA-256)"):
        Classifier.load(bundle, engine="tflite", precision="fp32")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 10**9), bit=st.integers(0, 7))
def test_every_flipped_bit_of_a_graph_is_found(bundle: Path, position: int, bit: int) -> None:
    path = bundle / "features.int8.tflite"
    original = path.read_bytes()
    damaged = bytearray(original)
    damaged[position % len(damaged)] ^= 1 << bit
    path.write_bytes(damaged)
    try:
        with pytest.raises(BundleError, match=r"features\.int8\.tflite: expected SHA-256"):
            verify_files(bundle, read_manifest(bundle))
    finally:
        path.write_bytes(original)


def test_missing_variant(bundle: Path) -> None:
    change(bundle, lambda manifest: manifest["variants"].pop("tflite-fp32"))
    with pytest.raises(EngineError, match="has no variant 'tflite-fp32', only onnx-fp32, onnx-int8, tflite-int8"):
        Classifier.load(bundle, engine="tflite", precision="fp32")


def test_find_bundle_prefers_the_newest_that_is_no_demo(bundle: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    ages = {"old": ("2025-01-01", False), "new": ("2026-01-01", False), "demo": ("2027-01-01", True)}
    for name, (created, demo) in ages.items():
        copy = Path(shutil.copytree(bundle, models / name))
        change(copy, lambda manifest, created=created, demo=demo: manifest.update(demo=demo))
        change(copy, lambda manifest, created=created: manifest["provenance"].update(created=created))
    assert find_bundle(models=models).name == "new"
    shutil.rmtree(models / "old")
    shutil.rmtree(models / "new")
    assert find_bundle(models=models).name == "demo"
    shutil.rmtree(models / "demo")
    with pytest.raises(BundleError, match="no bundle found under"):
        find_bundle(models=models)


def test_find_bundle_takes_the_flag_then_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERMEDGE_BUNDLE", "from-variable")
    assert find_bundle("from-flag") == Path("from-flag")
    assert find_bundle() == Path("from-variable")
