"""Folds that leave out a whole kind of image: another colour (camera, light), anatomical site or way of diagnosis.

Ordinary cross-validation samples both sides from the same clinics and cameras, and so is optimistically biased.
Validating on a cluster that the model has not seen says more about other clinics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from sklearn.cluster import KMeans

from edge_runtime.errors import DataError
from train.data.records import LesionRecord
from train.data.split import Split, group_records, make_split

if TYPE_CHECKING:
    from numpy.typing import NDArray


def make_cluster_folds(
    records: Sequence[LesionRecord],
    images: NDArray[np.uint8],
    kind: str,
    folds: int,
    seed: int = 0,
    test_fraction: float = 0.15,
    *,
    same: Iterable[tuple[str, str]] = (),
) -> list[Split]:
    """Keep the test set of :func:`train.data.split.make_split`; each fold validates on clusters of its own.

    ``images`` uint8 [N, H, W, 3] belong to ``records``. Raises :class:`DataError` when there are fewer clusters
    than folds.
    """
    same = list(same)
    names = _cluster_names(records, images, kind, folds, seed)
    groups = group_records(records, same)
    name_of_group = {key: names[key] for key in groups}  # a lesion goes with its first image
    sizes = Counter(name_of_group.values())
    if len(sizes) < folds:
        raise DataError(f"--folds: expected at most {len(sizes)} with --fold-by {kind}, found {folds}")
    filled = [0] * folds
    fold_of_name: dict[str, int] = {}
    for name, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        fold_of_name[name] = min(range(folds), key=lambda fold: filled[fold])
        filled[fold_of_name[name]] += size
    reference = make_split(records, seed, 0.1, test_fraction, same=same).subsets
    in_test = {image_id for image_id, subset in reference.items() if subset == "test"}
    splits: list[dict[str, str]] = [{} for _ in range(folds)]
    for key, members in groups.items():
        for image_id in (records[index].image_id for index in members):
            for fold, subsets in enumerate(splits):
                chosen = "validation" if fold_of_name[name_of_group[key]] == fold else "train"
                subsets[image_id] = "test" if image_id in in_test else chosen
    return [Split(subsets) for subsets in splits]


def colour_statistics(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean and standard deviation of log R/G, log B/G and brightness over the skin at the border, float64 [N, 6].

    The border tells the camera and the light; the middle would tell the diagnosis.
    """
    rows = []
    for image in images:
        edge = max(1, image.shape[0] // 10)
        mask = np.ones(image.shape[:2], dtype=bool)
        mask[edge:-edge, edge:-edge] = False
        red, green, blue = np.moveaxis(np.log(image[mask].astype(np.float64) + 8.0), 1, 0)
        channels = np.stack((red - green, blue - green, (red + green + blue) / 3.0))
        rows.append(np.concatenate((channels.mean(axis=1), channels.std(axis=1))))
    return np.array(rows)


def _cluster_names(
    records: Sequence[LesionRecord], images: NDArray[np.uint8], kind: str, folds: int, seed: int
) -> list[str]:
    if kind == "site":
        return [record.site or "unknown" for record in records]
    if kind == "confirmation":
        return [record.dx_type or "unknown" for record in records]
    statistics = colour_statistics(images)
    statistics = (statistics - statistics.mean(axis=0)) / (statistics.std(axis=0) + 1e-9)
    clusters = KMeans(n_clusters=folds, n_init=10, random_state=seed).fit_predict(statistics)
    return [str(cluster) for cluster in clusters]
