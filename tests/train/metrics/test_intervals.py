"""Weighted metrics equal scikit-learn's to 1e-9, intervals cover the truth, and lesions stay together."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from edge_runtime.bundle.classes import ham10000
from train.metrics import classification as metrics
from train.metrics.intervals import bootstrap_intervals, lesion_weights, paired_intervals, weighted_metrics
from train.metrics.temperature import apply_temperature


def sample(count: int, seed: int, sharpness: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = generator.choice(7, size=count, p=[0.05, 0.05, 0.1, 0.02, 0.1, 0.65, 0.03])
    logits = generator.normal(size=(count, 7)) * 1.5
    logits[np.arange(count), truth] += sharpness
    return truth, apply_temperature(np.round(logits, 1))  # rounding makes ties


def test_weights_of_one_give_the_plain_metrics():
    truth, probabilities = sample(300, 0)
    weighted = {
        name: float(values[0])
        for name, values in weighted_metrics(truth, probabilities, np.ones((1, 300)), ham10000()).items()
    }
    for name, value in metrics.summary_metrics(truth, probabilities).items():
        assert weighted[name] == pytest.approx(value, abs=1e-9), name
    for one in metrics.class_metrics(truth, probabilities, ham10000().codes):
        for name in ("sensitivity", "specificity", "precision", "f1", "auc", "average_precision"):
            assert weighted[f"{name}/{one.code}"] == pytest.approx(getattr(one, name), abs=1e-9, nan_ok=True), name
    positive, scores = np.isin(truth, [0, 1, 4]), metrics.malignancy_score(probabilities, [0, 1, 4])
    assert weighted["malignancy_auc"] == pytest.approx(sklearn_metrics.roc_auc_score(positive, scores), abs=1e-9)
    for specificity in metrics.FIXED_SPECIFICITIES:
        expected, _ = metrics.sensitivity_at_specificity(positive, scores, specificity)
        assert weighted[f"malignancy_sensitivity/{specificity:.2f}"] == pytest.approx(expected, abs=1e-9)


def test_whole_weights_equal_scikit_learn_on_repeated_images():
    truth, probabilities = sample(200, 1)
    weights = np.random.default_rng(2).integers(0, 4, (3, 200)).astype(float)
    weighted = weighted_metrics(truth, probabilities, weights, ham10000())
    for row in range(3):
        repeats = weights[row].astype(int)
        again_truth, again = np.repeat(truth, repeats), np.repeat(probabilities, repeats, axis=0)
        predicted = again.argmax(axis=1)
        assert weighted["balanced_accuracy"][row] == pytest.approx(
            metrics.balanced_accuracy(again_truth, predicted), abs=1e-9
        )
        macro = sklearn_metrics.f1_score(again_truth, predicted, average="macro", zero_division=0)
        assert weighted["macro_f1"][row] == pytest.approx(macro, abs=1e-9)
        error = metrics.expected_calibration_error(again_truth, again)
        assert weighted["expected_calibration_error"][row] == pytest.approx(error, abs=1e-9)
        for index, code in enumerate(ham10000().codes):
            if not (again_truth == index).any():
                continue
            area = sklearn_metrics.roc_auc_score(again_truth == index, again[:, index])
            assert weighted[f"auc/{code}"][row] == pytest.approx(area, abs=1e-9)
            precision = sklearn_metrics.average_precision_score(again_truth == index, again[:, index])
            assert weighted[f"average_precision/{code}"][row] == pytest.approx(precision, abs=1e-9)


def test_images_of_one_lesion_are_sampled_together():
    weights = lesion_weights(["a", "b", "a", "c"], 50, np.random.default_rng(0))
    assert (weights[:, 0] == weights[:, 2]).all()
    lesions = weights[:, 0] + weights[:, 1] + weights[:, 3]
    assert (lesions == 3).all()
    assert weights.std() > 0


def test_intervals_hold_their_value_and_narrow_with_more_lesions():
    few, many = (
        bootstrap_intervals(*sample(count, 4), [str(i) for i in range(count)], ham10000(), replicates=200)
        for count in (80, 1200)
    )
    for intervals in (few, many):
        assert intervals["accuracy"].low <= intervals["accuracy"].value <= intervals["accuracy"].high
    assert many["accuracy"].high - many["accuracy"].low < 0.5 * (few["accuracy"].high - few["accuracy"].low)


def test_the_interval_of_accuracy_is_the_binomial_one():
    truth, probabilities = sample(1000, 5)
    found = bootstrap_intervals(truth, probabilities, [str(i) for i in range(1000)], ham10000(), replicates=1000)[
        "accuracy"
    ]
    deviation = np.sqrt(found.value * (1 - found.value) / 1000)
    assert found.high - found.low == pytest.approx(2 * 1.96 * deviation, rel=0.12)


def test_a_class_that_does_not_occur_has_no_interval():
    truth, probabilities = sample(60, 6)
    truth[truth == 3] = 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = bootstrap_intervals(truth, probabilities, [str(i) for i in range(60)], ham10000(), replicates=20)
    assert np.isnan(found["sensitivity/df"].value)
    assert np.isnan(found["auc/df"].low)


def test_the_same_seed_gives_the_same_intervals():
    truth, probabilities = sample(60, 7)
    lesions = [str(i // 2) for i in range(60)]
    assert repr(bootstrap_intervals(truth, probabilities, lesions, ham10000(), replicates=20)) == repr(
        bootstrap_intervals(truth, probabilities, lesions, ham10000(), replicates=20)
    )


def test_paired_change_of_a_model_to_itself_is_nothing():
    truth, probabilities = sample(200, 3)
    lesions = [f"L{index // 2}" for index in range(200)]
    for name, interval in paired_intervals(
        truth, probabilities, probabilities, lesions, ham10000(), replicates=50
    ).items():
        expected = 1.0 if name == "agreement" else 0.0
        assert (interval.value, interval.low, interval.high) == (expected, expected, expected), name


def test_paired_intervals_are_narrower_than_what_two_models_alone_allow():
    truth, probabilities = sample(400, 4)
    other = probabilities.copy()
    other[:8] = np.roll(other[:8], 1, axis=1)  # eight images of 400 get another prediction
    lesions = [f"L{index}" for index in range(400)]
    changes = paired_intervals(truth, other, probabilities, lesions, ham10000())
    own = bootstrap_intervals(truth, probabilities, lesions, ham10000())["accuracy"]
    predicted, changed = probabilities.argmax(axis=1), other.argmax(axis=1)
    assert changes["agreement"].value == (predicted == changed).mean()
    assert changes["accuracy"].value == pytest.approx((changed == truth).mean() - (predicted == truth).mean())
    assert changes["accuracy"].high - changes["accuracy"].low < 0.5 * (own.high - own.low)
    assert changes["accuracy"].low <= changes["accuracy"].value <= changes["accuracy"].high
