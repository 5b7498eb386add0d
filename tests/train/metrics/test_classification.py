"""The metrics agree with scikit-learn, with hand-worked cases, and refuse nonsense."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from edge_runtime.bundle.classes import ham10000
from edge_runtime.errors import DataError
from train.metrics import classification as metrics


@pytest.fixture(scope="module")
def predictions() -> tuple[np.ndarray, np.ndarray]:
    """Truth (400,) and probabilities (400, 7) of an imperfect, overconfident classifier with rare classes."""
    generator = np.random.default_rng(3)
    truth = generator.choice(7, size=400, p=[0.05, 0.05, 0.1, 0.02, 0.1, 0.65, 0.03])
    logits = generator.normal(size=(400, 7)) * 2
    logits[np.arange(400), truth] += 2
    exponentials = np.exp(logits)
    return truth, exponentials / exponentials.sum(axis=1, keepdims=True)


def test_summary_agrees_with_scikit_learn(predictions):
    truth, probabilities = predictions
    predicted = probabilities.argmax(axis=1)
    summary = metrics.summary_metrics(truth, probabilities)
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(truth, predicted),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(truth, predicted),
        "weighted_f1": sklearn_metrics.f1_score(truth, predicted, average="weighted"),
        "macro_f1": sklearn_metrics.f1_score(truth, predicted, average="macro"),
        "log_loss": sklearn_metrics.log_loss(truth, probabilities, labels=range(7)),
        "brier_score": sklearn_metrics.brier_score_loss(truth, probabilities, labels=range(7), scale_by_half=False),
    }
    for name, value in expected.items():
        assert summary[name] == pytest.approx(value, abs=1e-9), name


def test_class_metrics_agree_with_scikit_learn(predictions):
    truth, probabilities = predictions
    predicted = probabilities.argmax(axis=1)
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
        truth, predicted, labels=range(7), zero_division=np.nan
    )
    for index, one in enumerate(metrics.class_metrics(truth, probabilities, ham10000().codes)):
        is_class = truth == index
        assert one.code == ham10000().codes[index]
        assert one.support == support[index]
        assert one.sensitivity == pytest.approx(recall[index], abs=1e-9)
        assert one.precision == pytest.approx(precision[index], abs=1e-9)
        assert one.f1 == pytest.approx(f1[index], abs=1e-9)
        specificity = sklearn_metrics.recall_score(~is_class, predicted != index)
        assert one.specificity == pytest.approx(specificity, abs=1e-9)
        auc = sklearn_metrics.roc_auc_score(is_class, probabilities[:, index])
        assert one.auc == pytest.approx(auc, abs=1e-9)
        average_precision = sklearn_metrics.average_precision_score(is_class, probabilities[:, index])
        assert one.average_precision == pytest.approx(average_precision, abs=1e-9)


def test_a_class_without_images_has_no_sensitivity_and_does_not_count():
    probabilities = np.eye(7)[[5, 5, 4, 6]]
    truth = np.array([5, 5, 4, 5])
    by_code = {one.code: one for one in metrics.class_metrics(truth, probabilities, ham10000().codes)}
    assert np.isnan(by_code["df"].sensitivity)
    assert np.isnan(by_code["df"].auc)
    assert by_code["vasc"].precision == 0
    assert metrics.summary_metrics(truth, probabilities)["balanced_accuracy"] == pytest.approx((1 + 2 / 3) / 2)


def test_calibration_error_of_a_hand_worked_case():
    probabilities = np.full((4, 7), 0.0)
    probabilities[:, 5] = [0.9, 0.9, 0.6, 0.6]
    probabilities[:, 4] = 1 - probabilities[:, 5]
    truth = np.array([5, 4, 5, 5])  # confidence 0.9: half right; confidence 0.6: all right
    assert metrics.expected_calibration_error(truth, probabilities) == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)


def test_calibration_bins_hold_every_image_once(predictions):
    truth, probabilities = predictions
    bins = metrics.calibration_bins(truth, probabilities)
    assert len(bins) == metrics.CALIBRATION_BINS
    assert sum(one.count for one in bins) == len(truth)
    assert all(one.lower < one.confidence <= one.upper for one in bins if one.count)


def test_perfect_certainty_lands_in_the_last_bin():
    bins = metrics.calibration_bins(np.array([0]), np.eye(7)[:1])
    assert bins[-1].count == 1


def test_sensitivity_at_specificity_matches_every_threshold(predictions):
    truth, probabilities = predictions
    scores = metrics.malignancy_score(probabilities, ham10000().malignant_indices)
    positive = np.isin(truth, [0, 1, 4])
    for specificity in metrics.FIXED_SPECIFICITIES:
        sensitivity, threshold = metrics.sensitivity_at_specificity(positive, scores, specificity)
        assert (scores[~positive] < threshold).mean() >= specificity
        assert sensitivity == (scores[positive] >= threshold).mean()
        allowed = [cut for cut in scores if (scores[~positive] < cut).mean() >= specificity]
        assert sensitivity == max((scores[positive] >= cut).mean() for cut in allowed)


def test_malignant_group_is_akiec_bcc_mel():
    assert [ham10000().codes[index] for index in ham10000().malignant_indices] == ["akiec", "bcc", "mel"]
    assert (metrics.malignancy_score(np.eye(3), ()) == 0).all()


def test_two_classes_have_the_metrics_of_scikit_learn():
    truth, scores = np.array([0, 1, 1, 0, 1]), np.array([0.2, 0.9, 0.4, 0.6, 0.7])
    summary = metrics.summary_metrics(truth, np.stack([1 - scores, scores], axis=1))
    assert summary["brier_score"] == pytest.approx(2 * sklearn_metrics.brier_score_loss(truth, scores))
    assert summary["log_loss"] == pytest.approx(sklearn_metrics.log_loss(truth, scores))
    assert summary["accuracy"] == 0.6


def test_probabilities_in_low_precision_are_accepted(predictions):
    truth, probabilities = predictions
    half = probabilities.astype(np.float16)
    assert np.abs(half.sum(axis=1, dtype=np.float64) - 1).max() > 1e-5, "else this proves nothing"
    expected = metrics.summary_metrics(truth, probabilities)
    assert metrics.summary_metrics(truth, half) == pytest.approx(expected, abs=2e-2)


@pytest.mark.parametrize(
    ("truth", "probabilities", "message"),
    [
        (np.zeros(0, dtype=int), np.zeros((0, 7)), "at least one image"),
        (np.zeros(2, dtype=int), np.zeros((3, 7)), "expected truth"),
        (np.zeros(2, dtype=int), np.zeros((2, 1)), "expected truth"),
        (np.zeros(1, dtype=int), np.full((1, 7), np.nan), "finite"),
        (np.zeros(2, dtype=int), np.full((2, 7), [[1 / 7], [0.2]]), "sum to one, found a sum of 1.4"),
    ],
)
def test_nonsense_is_refused(truth, probabilities, message):
    with pytest.raises(DataError, match=message):
        metrics.summary_metrics(truth, probabilities)
