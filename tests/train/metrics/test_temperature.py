"""The temperature undoes a known distortion, and thresholds keep the coverage they promise."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from edge_runtime.errors import DataError
from train.metrics import classification as metrics
from train.metrics import temperature as calibration


def sample(count: int = 4000, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Logits (count, 7) and truth sampled from their softmax, so that temperature 1 is right by construction."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(count, 7)) * 1.5
    cumulative = calibration.apply_temperature(logits).cumsum(axis=1)
    return logits, (generator.random((count, 1)) > cumulative).sum(axis=1).clip(max=6)


@pytest.mark.parametrize("distortion", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_known_distortion(distortion):
    logits, truth = sample()
    fitted = calibration.fit_temperature(distortion * logits, truth)
    assert fitted == pytest.approx(distortion, rel=0.06)


def test_the_temperature_is_the_minimum_of_the_log_loss():
    logits, truth = sample(500)
    logits = logits * 2.5
    fitted = calibration.fit_temperature(logits, truth)

    def loss(temperature: float) -> float:
        return sklearn_metrics.log_loss(truth, calibration.apply_temperature(logits, temperature), labels=range(7))

    assert loss(fitted) <= min(loss(fitted * factor) for factor in (0.97, 0.999, 1.001, 1.03))


def test_scaling_lowers_the_calibration_error_and_changes_no_prediction():
    logits, truth = sample()
    before = calibration.apply_temperature(3 * logits)
    after = calibration.apply_temperature(3 * logits, calibration.fit_temperature(3 * logits, truth))
    assert (before.argmax(axis=1) == after.argmax(axis=1)).all()
    assert metrics.expected_calibration_error(truth, after) < 0.03
    assert metrics.expected_calibration_error(truth, before) > 0.1


def test_perfect_logits_give_a_temperature_within_the_limits():
    lowest, highest = calibration.TEMPERATURE_LIMITS
    assert lowest <= calibration.fit_temperature(10 * np.eye(7), np.arange(7)) <= highest


@pytest.mark.parametrize("coverage", [0.5, 0.9, 1.0])
def test_the_threshold_keeps_the_promised_share(coverage):
    logits, _ = sample(1000)
    probabilities = calibration.apply_temperature(logits)
    threshold = calibration.choose_not_sure_threshold(probabilities, coverage)
    kept = (probabilities.max(axis=1) >= threshold).mean()
    assert coverage <= kept <= coverage + 2e-3


def test_selective_accuracy_of_a_hand_worked_case():
    probabilities = np.zeros((4, 7))
    probabilities[:, 5] = [0.9, 0.8, 0.8, 0.6]
    probabilities[:, 4] = 1 - probabilities[:, 5]
    coverage, accuracy = calibration.selective_curve(np.array([5, 5, 4, 4]), probabilities)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert accuracy == pytest.approx([1.0, 2 / 3, 2 / 3, 0.5])  # the tie at 0.8 is added together


def test_nothing_to_fit_on_is_refused():
    with pytest.raises(DataError, match="logits"):
        calibration.fit_temperature(np.zeros((0, 7)), np.zeros(0, dtype=int))
    with pytest.raises(DataError, match="finite"):
        calibration.fit_temperature(np.full((2, 7), np.nan), np.zeros(2, dtype=int))
    with pytest.raises(DataError, match="coverage"):
        calibration.choose_not_sure_threshold(np.eye(7), 0)
