"""Does an image look like the images a model learned from at all? A score from the pooled features.

The training images' pooled feature vectors, scaled to length one, are described by a probabilistic principal
component model (Tipping, Bishop: J R Stat Soc B 61:611, 1999). The score is the squared Mahalanobis distance under it,
divided by the number of features, so about 1 for images like those learned from and larger for others (Lee et al.,
NeurIPS 2018, use such distances to find outliers; without the scaling, strong features of ordinary lesions drown the
odd ones). It needs one small matrix, so it fits into a bundle's ``head`` graph beside the logits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from edge_runtime.errors import CheckpointError, DataError
from train.model.architectures import Head, LesionModel
from train.model.checkpoint import Checkpoint

if TYPE_CHECKING:
    from numpy.typing import NDArray

COMPONENTS = 64
_SMALLEST_LENGTH = 1e-6
CHECKPOINT_KEY = "outlier_score"
"""Where :attr:`train.model.checkpoint.Checkpoint.extra` keeps the fitted buffers, threshold and error rate."""


class OutlierScore(nn.Module):
    """Feature map float [N, C, h, w] → score float [N], ≥ 0, higher = less like what was learned from."""

    mean: Tensor
    components: Tensor
    residual_precision: Tensor

    def __init__(self, mean: Tensor, components: Tensor, residual_precision: Tensor) -> None:
        """``mean`` [C]; ``components`` [C, K], scaled so that their squared projections are the score's excess."""
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("components", components)
        self.register_buffer("residual_precision", residual_precision)

    def forward(self, feature_map: Tensor) -> Tensor:
        """Return the score of each image."""
        return self.from_pooled(feature_map.mean(dim=(2, 3)))

    def from_pooled(self, pooled: Tensor) -> Tensor:
        """Return the score from pooled features [N, C]."""
        centred = to_unit_length(pooled) - self.mean
        # |x|²/σ² everywhere, less what the model's wide directions explain: no C × C matrix is needed
        everywhere = (centred * centred).sum(dim=1) * self.residual_precision
        explained = centred @ self.components
        return (everywhere - (explained * explained).sum(dim=1)) / centred.shape[1]


def to_unit_length(pooled: Tensor) -> Tensor:
    """Return the rows [N, C] scaled to length one; a row of zeros stays zero."""
    return pooled / torch.sqrt((pooled * pooled).sum(dim=1, keepdim=True) + _SMALLEST_LENGTH**2)


class HeadWithOutlierScore(nn.Module):
    """A head that also says how unusual the image is: what the export puts into the bundle."""

    def __init__(self, head: Head, outlier_score: OutlierScore) -> None:
        super().__init__()
        self.head = head
        self.outlier_score = outlier_score

    def forward(self, feature_map: Tensor, metadata: Tensor | None = None) -> dict[str, Tensor]:
        """Return ``logits`` [N, classes] and ``outlier_score`` [N]."""
        return self.from_pooled(feature_map.mean(dim=(2, 3)), metadata)

    def from_pooled(self, pooled: Tensor, metadata: Tensor | None = None) -> dict[str, Tensor]:
        """Return the same from pooled features [N, C]."""
        return {
            "logits": self.head.from_pooled(pooled, metadata),
            "outlier_score": self.outlier_score.from_pooled(pooled),
        }


def fit_outlier_score(pooled: NDArray[np.floating[Any]], components: int = COMPONENTS) -> OutlierScore:
    """Fit the score to pooled features of training images, (N, C). Raises :class:`DataError` for fewer than two."""
    table = np.asarray(pooled, dtype=np.float64)
    if table.ndim != 2 or len(table) < 2 or not np.isfinite(table).all():
        raise DataError(f"outlier score: expected finite features (N, C) of 2 images or more, found {table.shape}")
    table = to_unit_length(torch.from_numpy(table)).numpy()
    mean = table.mean(axis=0)
    _, singular, directions = np.linalg.svd(table - mean, full_matrices=False)
    shrinkage = float(ledoit_wolf_shrinkage(table))
    variances = np.zeros(table.shape[1])
    variances[: len(singular)] = singular**2 / len(table)
    variances = (1 - shrinkage) * variances + shrinkage * variances.mean()
    kept = min(components, len(singular), table.shape[1] - 1)
    residual_precision = 1.0 / variances[kept:].mean()
    gain = np.sqrt(np.clip(residual_precision - 1.0 / variances[:kept], 0.0, None))
    scaled = directions[:kept].T * gain
    return OutlierScore(
        torch.tensor(mean, dtype=torch.float32),
        torch.tensor(scaled, dtype=torch.float32),
        torch.tensor(residual_precision, dtype=torch.float32),
    )


def outlier_threshold(scores: NDArray[np.floating[Any]], false_alarm_rate: float) -> float:
    """Return the score that at most ``false_alarm_rate`` of the given lesions exceed."""
    if not 0 <= false_alarm_rate < 1:
        raise DataError(f"false-alarm rate: expected a fraction from 0 to below 1, found {false_alarm_rate}")
    allowed = int(false_alarm_rate * len(scores) + 1e-9)
    return float(np.sort(np.asarray(scores, dtype=np.float64))[len(scores) - 1 - allowed])


def outlier_extra(score: OutlierScore, threshold: float, false_alarm_rate: float) -> dict[str, Any]:
    """Return what a checkpoint keeps of it in ``extra``: the buffers, the threshold, and the measured rate."""
    return {
        CHECKPOINT_KEY: dict(score.state_dict()),
        "not_lesion_above": threshold,
        "false_alarm_rate": false_alarm_rate,
    }


def checkpoint_outlier_score(checkpoint: Checkpoint) -> OutlierScore | None:
    """Return the score fitted for this checkpoint, ``None`` if it has none. Raises :class:`CheckpointError`."""
    buffers = checkpoint.extra.get(CHECKPOINT_KEY)
    if buffers is None:
        return None
    try:
        return OutlierScore(**buffers).eval()
    except TypeError as error:
        raise CheckpointError(f"outlier score: damaged in this checkpoint: {error}") from None


def head_for_export(head: Head, checkpoint: Checkpoint) -> Any:
    """Return the head with the checkpoint's outlier score as a second output; the head itself if there is none."""
    score = checkpoint_outlier_score(checkpoint)
    return head if score is None else HeadWithOutlierScore(head, score).eval()


def separation(lesions: NDArray[np.floating[Any]], others: NDArray[np.floating[Any]]) -> float:
    """Return the area under the ROC curve of telling ``others`` from ``lesions`` by their scores."""
    truth = np.concatenate([np.zeros(len(lesions)), np.ones(len(others))])
    return float(roc_auc_score(truth, np.concatenate([lesions, others])))


def model_for_export(model: LesionModel, checkpoint: Checkpoint) -> LesionModel:
    """Return the model with :func:`head_for_export` as its head, sharing all weights; ``model`` itself stays as is."""
    return LesionModel(model.architecture, model.features, head_for_export(model.head, checkpoint), model.stages).eval()
