"""How well a model's outlier score separates lesions from other images: the table of the report."""

from __future__ import annotations

from typing import Any

import numpy as np

from train.evaluation.data import EvaluationData
from train.evaluation.non_lesions import other_images
from train.evaluation.robustness import balanced_sample
from train.evaluation.subject import Subject
from train.model.outlier_score import separation

LESIONS = 400


def measure_outliers(subject: Subject, data: EvaluationData, lesions: int = LESIONS) -> dict[str, Any] | None:
    """Return scores, areas under the ROC curve and the rejected share by kind of image; ``None`` without a score.

    At most ``lesions`` of the evaluated images stand for lesions, sampled at random, so with the prevalence of the
    data.
    """
    count = min(lesions, len(data.records))
    chosen = np.sort(np.random.default_rng(0).permutation(len(data.records))[:count])
    images = data.images[chosen]
    own = subject.outlier_scores(images)
    if own is None:
        return None
    limit = subject.facts.not_lesion_above
    some = data.select(balanced_sample(data.truth, 40, seed=0)).images[:]
    scores = {kind: subject.outlier_scores(others) for kind, others in other_images(len(some[0]), some).items()}
    rows = []
    for kind, values in scores.items():
        assert values is not None
        rejected = None if limit is None else float((values > limit).mean())
        rows.append(
            {
                "kind": kind,
                "images": len(values),
                "auc": separation(own, values),
                "rejected": rejected,
                "scores": values,
            }
        )
    everything = np.concatenate([row["scores"] for row in rows])
    return {
        "lesions": {"images": count, "scores": own},
        "not_lesion_above": limit,
        "false_positive_rate": None if limit is None else float((own > limit).mean()),
        "auc": separation(own, everything),
        "rejected": None if limit is None else float((everything > limit).mean()),
        "kinds": rows,
    }
