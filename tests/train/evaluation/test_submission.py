"""The official scorer of the ISIC challenge reads our file and agrees with our metrics to 1e-9."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.bundle.classes import ham10000, read_class_set, shipped_class_sets
from train.evaluation.submission import ISIC_2018_COLUMNS, write_ground_truth, write_submission
from train.metrics.classification import class_metrics, summary_metrics
from train.metrics.temperature import apply_temperature

scoring = pytest.importorskip("isic_challenge_scoring")


@pytest.fixture(scope="module")
def predictions() -> tuple[np.ndarray, np.ndarray, list[str]]:
    generator = np.random.default_rng(8)
    truth = np.concatenate([np.arange(7), generator.choice(7, size=200, p=[0.05, 0.05, 0.1, 0.02, 0.1, 0.65, 0.03])])
    logits = generator.normal(size=(207, 7)) * 2
    logits[np.arange(207), truth] += 1.5
    return truth, apply_temperature(logits), [f"ISIC_{number:07d}" for number in generator.permutation(207)]


@pytest.fixture(scope="module")
def score(predictions, tmp_path_factory):
    truth, probabilities, image_ids = predictions
    folder = tmp_path_factory.mktemp("challenge")
    return scoring.ClassificationScore.from_file(
        write_ground_truth(folder / "truth.csv", image_ids, truth, ham10000()),
        write_submission(folder / "submission.csv", image_ids, probabilities, ham10000()),
        scoring.ClassificationMetric.BALANCED_ACCURACY,
    )


pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:isic_challenge_scoring")


def test_the_official_score_is_our_balanced_accuracy(predictions, score):
    truth, probabilities, _ = predictions
    assert score.overall == pytest.approx(summary_metrics(truth, probabilities)["balanced_accuracy"], abs=1e-9)


def test_the_official_areas_are_ours(predictions, score):
    truth, probabilities, _ = predictions
    for one in class_metrics(truth, probabilities, ham10000().codes):
        row = score.per_category.loc[one.code.upper()]
        assert row["auc"] == pytest.approx(one.auc, abs=1e-9)
        assert row["ap"] == pytest.approx(one.average_precision, abs=1e-9)


def test_columns_are_those_of_the_challenge_in_its_order(predictions, tmp_path):
    _, probabilities, image_ids = predictions
    lines = write_submission(tmp_path / "s.csv", image_ids, probabilities, ham10000()).read_text().splitlines()
    assert lines[0] == "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC"
    first = lines[1].split(",")
    assert first[0] == image_ids[0]
    for column, value in zip(ISIC_2018_COLUMNS, first[1:], strict=True):
        assert float(value) == probabilities[0, ham10000().codes.index(column.lower())]


@pytest.mark.parametrize(
    ("name", "header"), [("isic2019", "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC"), ("binary-malignant", None)]
)
def test_other_classes_have_the_columns_of_their_own_challenge_or_no_file(name, header, tmp_path):
    classes = read_class_set(shipped_class_sets()[name])
    path = write_submission(tmp_path / "s.csv", ["a"], np.eye(len(classes))[:1], classes)
    assert (path is None) == (header is None)
    if path is not None:
        assert path.read_text().splitlines()[0] == header
