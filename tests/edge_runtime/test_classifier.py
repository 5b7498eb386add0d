"""Predictions: engines agree, the map belongs to the class, threads share a classifier, no error passes silently."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge_runtime import Classifier
from edge_runtime.bundle.classes import ham10000
from edge_runtime.bundle.manifest import Thresholds, read_manifest
from edge_runtime.engines import installed_engines
from edge_runtime.engines import selection as engine_choice
from edge_runtime.engines.selection import choose_engine
from edge_runtime.errors import EngineError, ImageError
from edge_runtime.prediction import calibrated_probabilities
from tests.conftest import REFERENCE_BUNDLE, blob_image, encoded

ENGINES = installed_engines()


@pytest.fixture(params=[(engine, precision) for engine in ENGINES for precision in ("int8", "fp32")], ids="-".join)
def classifier(request: pytest.FixtureRequest, tiny_bundle: Path) -> Any:
    engine, precision = request.param
    with Classifier.load(tiny_bundle, engine=engine, precision=precision, threads=1, replicas=2) as loaded:
        yield loaded


def test_prediction(classifier: Classifier) -> None:
    prediction = classifier.predict(blob_image())
    assert tuple(prediction.probabilities) == ham10000().codes
    assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-12)
    assert prediction.label == max(prediction.probabilities, key=prediction.probabilities.__getitem__)
    assert prediction.confidence == prediction.probabilities[prediction.label]
    assert prediction.class_activation_map is None
    assert set(prediction.timing_ms) == {"decode", "features", "head"}
    assert "demo model" in prediction.warnings[0]
    assert prediction.to_json("a.jpg")["image"] == "a.jpg"


def test_path_bytes_image_and_array_agree(classifier: Classifier, tmp_path: Path) -> None:
    image = blob_image()
    path = tmp_path / "a.png"
    image.save(path)
    predictions = [
        classifier.predict(source) for source in (image, path, str(path), path.read_bytes(), np.array(image))
    ]
    assert all(prediction.probabilities == predictions[0].probabilities for prediction in predictions)


def test_all_variants_agree(tiny_bundle: Path) -> None:
    image = blob_image(seed=5)
    predictions = [
        list(Classifier.load(tiny_bundle, engine=engine, precision=precision).predict(image).probabilities.values())
        for engine in ENGINES
        for precision in ("int8", "fp32")
    ]
    assert np.ptp(predictions, axis=0).max() < 0.02
    assert (
        np.ptp(predictions, axis=1).min() > 0.05
    )  # the images' predictions differ between classes, so agreement means something


def test_map_is_the_closed_form_of_a_pooled_linear_head(classifier: Classifier) -> None:
    """Grad-CAM of a pooled linear head: the sum of the logit's map over positions is the logit's linear part."""
    prediction = classifier.predict(blob_image(seed=2), explain=True)
    assert prediction.explained_class == prediction.label
    assert prediction.class_activation_map is not None
    assert prediction.class_activation_map.shape == (7, 7)
    assert prediction.class_activation_map.min() >= 0
    assert "explain" in prediction.timing_ms
    maps = [
        classifier.predict(blob_image(seed=2), explain_class=code).class_activation_map
        for code in classifier.class_codes
    ]
    assert len({array.tobytes() for array in maps if array is not None}) > 1


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("views", [4, 8])
def test_views_are_averaged_as_probabilities(engine: str, views: int) -> None:
    """With the reference bundle: the tiny one's network predictions a rotated image as the upright one."""
    image = np.array(blob_image(seed=3).resize((224, 224)))
    quarters = [np.rot90(image, count) for count in range(4)]
    shown = quarters if views == 4 else [*quarters, *(quarter[:, ::-1] for quarter in quarters)]
    with Classifier.load(REFERENCE_BUNDLE, engine=engine, threads=1) as single:
        separate = [single.predict(np.ascontiguousarray(view), explain=True) for view in shown]
    expected = np.mean([list(prediction.probabilities.values()) for prediction in separate], axis=0)
    with Classifier.load(REFERENCE_BUNDLE, engine=engine, threads=1, views=views) as classifier:
        alone = classifier.predict(image)
        upright = classifier.predict(image, explain_class=separate[0].label)
        batch = classifier.predict_batch([image[:, ::-1].copy(), image])
    assert list(alone.probabilities.values()) == pytest.approx(expected, abs=1e-9)
    assert batch[1].probabilities == pytest.approx(alone.probabilities, abs=1e-5)
    assert list(alone.probabilities.values()) != pytest.approx(list(separate[0].probabilities.values()), abs=1e-3)
    assert (alone.views, alone.to_json()["views"], "views" in separate[0].to_json()) == (views, views, False)
    np.testing.assert_array_equal(upright.class_activation_map, separate[0].class_activation_map)
    assert upright.outlier_score == separate[0].outlier_score


def test_a_wrong_number_of_views(tiny_bundle: Path) -> None:
    with pytest.raises(EngineError, match="expected 1, 4, 8 views, found 3"):
        Classifier.load(tiny_bundle, views=3)


def test_unknown_class_to_explain(classifier: Classifier) -> None:
    with pytest.raises(EngineError, match="unknown class 'wart', expected one of akiec bcc"):
        classifier.predict(blob_image(), explain_class="wart")


def test_eight_threads_share_one_classifier(classifier: Classifier) -> None:
    images = [blob_image(seed=seed) for seed in range(8)]
    expected = [classifier.predict(image).probabilities for image in images]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda image: classifier.predict(image).probabilities, images * 8))
    assert found == expected * 8


def test_predict_many_keeps_order_and_continues_after_a_bad_image(classifier: Classifier) -> None:
    sources = [encoded(blob_image(seed=seed)) for seed in range(20)]
    sources[7] = b"not an image"
    predictions = list(classifier.predict_many(iter(sources)))
    assert [source for source, _ in predictions] == sources
    assert isinstance(predictions[7][1], ImageError)
    assert predictions[8][1].probabilities == classifier.predict(sources[8]).probabilities  # type: ignore[union-attr]


def test_predict_many_holds_few_images(classifier: Classifier) -> None:
    taken = []

    def endless() -> Any:
        while True:
            taken.append(1)
            yield encoded(blob_image())

    predictions = classifier.predict_many(endless())
    next(predictions)
    assert len(taken) <= 4 * classifier.replicas + 1
    predictions.close()  # type: ignore[attr-defined]


def test_the_pixel_limit_of_a_classifier_holds_for_every_way_in(tiny_bundle: Path, tmp_path: Path) -> None:
    image = blob_image(60, 50)
    path = tmp_path / "a.png"
    image.save(path)
    with Classifier.load(tiny_bundle, engine=ENGINES[0], max_pixels=2999) as classifier:
        for source in (path, path.read_bytes(), image):
            with pytest.raises(ImageError, match="megapixels, found 60×50"):
                classifier.predict(source)
        ((_, found),) = classifier.predict_many([path])
        assert isinstance(found, ImageError)
    with Classifier.load(tiny_bundle, engine=ENGINES[0], max_pixels=3000) as classifier:
        assert classifier.predict(path).label in ham10000().codes


def test_closed_classifier(tiny_bundle: Path) -> None:
    classifier = Classifier.load(tiny_bundle, engine=ENGINES[0])
    classifier.close()
    with pytest.raises(EngineError, match="this classifier is closed"):
        classifier.predict(blob_image())


def test_not_sure_below_the_threshold(classifier: Classifier) -> None:
    import msgspec

    confidence = classifier.predict(blob_image()).confidence
    for threshold, verdict in ((confidence + 0.01, "not_sure"), (confidence - 0.01, "diagnosis")):
        thresholds = Thresholds(not_sure_below=threshold, coverage=0.9)
        classifier.manifest = msgspec.structs.replace(classifier.manifest, thresholds=thresholds)
        prediction = classifier.predict(blob_image())
        assert prediction.verdict == verdict
        assert any("not sure" in warning for warning in prediction.warnings) == (verdict == "not_sure")


def test_nan_is_an_error_not_an_answer() -> None:
    with pytest.raises(EngineError, match="not finite"):
        calibrated_probabilities(np.array([[0.0, np.nan]]))


def test_softmax_of_large_logits() -> None:
    np.testing.assert_allclose(calibrated_probabilities(np.array([[1000.0, 1000.0]])), [[0.5, 0.5]])


def test_unknown_engine(tiny_bundle: Path) -> None:
    with pytest.raises(EngineError, match="unknown engine 'tpu', expected one of onnx, tflite, openvino"):
        Classifier.load(tiny_bundle, engine="tpu")


def test_auto_measures_once_and_remembers(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    manifest = read_manifest(tiny_bundle)
    first = choose_engine(tiny_bundle, manifest, "int8", 1)
    assert first in ENGINES
    if len(ENGINES) == 1:
        return
    (remembered,) = tmp_path.glob("dermedge/engine-*.json")
    other = next(engine for engine in ENGINES if engine != first)
    remembered.write_text(f'{{"engine": "{other}"}}')
    assert choose_engine(tiny_bundle, manifest, "int8", 1) == other
    remembered.write_text("damaged")
    assert choose_engine(tiny_bundle, manifest, "int8", 1) in ENGINES
    assert choose_engine(tiny_bundle, manifest, "int8", 2) in ENGINES
    assert len(list(tmp_path.glob("dermedge/engine-*.json"))) == 2


def test_auto_finds_the_faster_engine_on_a_busy_machine(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most measurements are disturbed, the faster engine's more; the choice is still within ten percent of the best."""
    milliseconds = {"onnx": 4.0, "tflite": 3.0}
    calls = dict.fromkeys(milliseconds, 0)
    clock = [0.0]

    def fake_backend(engine: str) -> Any:
        def run(_: object) -> None:
            calls[engine] += 1
            disturbed = calls[engine] % 3 if engine == "tflite" else calls[engine] % 2
            clock[0] += milliseconds[engine] / 1e3 + 0.02 * bool(disturbed)

        return SimpleNamespace(load_graph=lambda *_: run)

    monkeypatch.setattr(engine_choice, "backend", fake_backend)
    monkeypatch.setattr(engine_choice, "perf_counter", lambda: clock[0])
    measured = engine_choice.measure_engines(tiny_bundle, read_manifest(tiny_bundle), list(milliseconds), "int8", 1)
    assert min(measured, key=measured.__getitem__) == "tflite"
    assert measured == pytest.approx(milliseconds)


def test_auto_without_a_usable_variant(tiny_bundle: Path) -> None:
    with pytest.raises(EngineError, match="no usable variant of precision 'fp16': the bundle has onnx-fp32, onnx-int8"):
        Classifier.load(tiny_bundle, precision="fp16")
