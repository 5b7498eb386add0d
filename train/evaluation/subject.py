"""One interface for what can be evaluated: a checkpoint in PyTorch, or a bundle with any engine and precision.

The rest of an evaluation only sees images go in and logits and heat maps come out, so the deployed int8 model gets the
same report as the network it was exported from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from tqdm import tqdm

from edge_runtime.bundle.classes import ClassSet
from edge_runtime.bundle.manifest import PatientMetadataSpec
from edge_runtime.bundle.patient import PatientMetadata
from edge_runtime.classifier import Classifier
from train.data.records import LesionRecord, encode_records, patient_of
from train.model.architectures import normalise
from train.model.bundle_weights import load_network
from train.model.checkpoint import build_checkpoint_model
from train.model.gradcam import grad_cam
from train.model.outlier_score import checkpoint_outlier_score

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Images = NDArray[np.uint8]
    from train.evaluation.data import SelectedImages

    Logits = NDArray[np.float64]

_SMALLEST_PROBABILITY = np.finfo(np.float64).tiny
_CHUNK = 64
"""Images between two steps of the progress bar."""


@dataclass(frozen=True)
class SubjectFacts:
    """What a report says about the evaluated model. Thresholds are ``None`` where it has none."""

    title: str
    source: Path
    input_size: int
    temperature: float
    demo: bool
    split_hash: str
    data_name: str
    licence: str
    classes: ClassSet
    not_sure_below: float | None = None
    coverage: float | None = None
    not_lesion_above: float | None = None
    metadata_spec: PatientMetadataSpec | None = None
    details: dict[str, str] = field(default_factory=dict)


class Subject(Protocol):
    """A loaded model. ``images`` are uint8 (N, size, size, 3); ``records`` hold the patients, in the same order."""

    facts: SubjectFacts

    def predict_logits(self, images: Images, records: Sequence[LesionRecord]) -> Logits:
        """Return calibrated logits, float64 (N, C): their softmax is the predicted probabilities."""

    def explain(self, image_hwc: Images, record: LesionRecord, class_index: int) -> NDArray[np.float32]:
        """Return the class-activation map of one class, float32 (h, w), ≥ 0."""

    def outlier_scores(self, images: Images) -> NDArray[np.float64] | None:
        """Return outlier scores, float64 (N,), higher = less like a dermoscopic image; ``None`` without a score."""


class CheckpointSubject:
    """A checkpoint or a bundle's ``weights.safetensors``, evaluated in float32 on the CPU."""

    batch_size = 32

    def __init__(self, path: Path) -> None:
        checkpoint = load_network(path)
        self.score = checkpoint_outlier_score(checkpoint)
        self.model = build_checkpoint_model(checkpoint).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.facts = SubjectFacts(
            title=f"{checkpoint.architecture}, checkpoint, PyTorch fp32",
            source=path,
            input_size=checkpoint.input_size,
            temperature=checkpoint.temperature,
            demo=checkpoint.demo,
            split_hash=checkpoint.split_hash,
            data_name=checkpoint.data_name,
            licence=checkpoint.licence,
            classes=checkpoint.classes,
            not_sure_below=checkpoint.not_sure_below,
            coverage=checkpoint.coverage,
            not_lesion_above=checkpoint.extra.get("not_lesion_above"),
            metadata_spec=checkpoint.metadata_spec,
            details={
                "architecture": checkpoint.architecture,
                "epoch": str(checkpoint.epoch),
                "checkpoint SHA-256": hashlib.sha256(path.read_bytes()).hexdigest(),
            },
        )

    def predict_logits(self, images: Images, records: Sequence[LesionRecord]) -> Logits:
        """See :class:`Subject`."""
        rows = []
        for start in range(0, len(images), self.batch_size):
            chunk = slice(start, start + self.batch_size)
            with torch.inference_mode():
                logits = self.model(_as_batch(images[chunk]), self._metadata(records[chunk]))
            rows.append(logits.double().numpy() / self.facts.temperature)
        return np.concatenate(rows)

    def explain(self, image_hwc: Images, record: LesionRecord, class_index: int) -> NDArray[np.float32]:
        """See :class:`Subject`."""
        batch = _as_batch(image_hwc[np.newaxis])
        return grad_cam(self.model, batch, torch.tensor([class_index]), self._metadata([record]))[0].numpy()

    def outlier_scores(self, images: Images) -> NDArray[np.float64] | None:
        """See :class:`Subject`."""
        if self.score is None:
            return None
        rows = []
        for start in range(0, len(images), self.batch_size):
            with torch.inference_mode():
                feature_map = self.model.features(_as_batch(images[start : start + self.batch_size]))
                rows.append(self.score(feature_map).double().numpy())
        return np.concatenate(rows)

    def _metadata(self, records: Sequence[LesionRecord]) -> torch.Tensor | None:
        spec = self.facts.metadata_spec
        if spec is None:
            return None
        return torch.from_numpy(encode_records(records, spec))


class BundleSubject:
    """A bundle's variant, evaluated with the same code that runs on the device."""

    def __init__(self, bundle: Path, engine: str, precision: str, threads: int | None = None, views: int = 1) -> None:
        self.classifier = Classifier.load(bundle, engine=engine, precision=precision, threads=threads, views=views)
        self.upright = self.classifier  # for heat maps and outlier scores, which are those of the image as it is
        if views > 1:
            self.upright = Classifier.load(bundle, engine=self.classifier.engine, precision=precision, threads=threads)
        manifest = self.classifier.manifest
        variant = f"{self.classifier.engine}-{self.classifier.precision}"
        self.facts = SubjectFacts(
            title=f"{manifest.architecture}, bundle {manifest.name}, {variant}"
            + (f", {views} views" if views > 1 else ""),
            source=self.classifier.bundle,
            input_size=manifest.input.size,
            temperature=manifest.calibration.temperature,
            demo=manifest.demo,
            split_hash=manifest.provenance.split_hash,
            data_name=manifest.provenance.data,
            licence=manifest.provenance.licence,
            classes=manifest.class_set,
            not_sure_below=manifest.thresholds.not_sure_below,
            coverage=manifest.thresholds.coverage,
            not_lesion_above=manifest.thresholds.not_lesion_above,
            metadata_spec=manifest.patient_metadata,
            details={
                "architecture": manifest.architecture,
                "variant": variant,
                "checkpoint SHA-256": manifest.provenance.checkpoint_sha256,
                "exported": manifest.provenance.created,
            },
        )

    def predict_logits(self, images: Images, records: Sequence[LesionRecord]) -> Logits:
        """See :class:`Subject`. The device returns probabilities; their logarithm is the logits up to a constant."""
        rows = np.empty((len(images), len(self.facts.classes)))
        for row, (image_hwc, record) in enumerate(zip(images, records, strict=True)):
            prediction = self.classifier.predict(image_hwc, patient=self._patient(record))
            rows[row] = list(prediction.probabilities.values())
        return np.log(np.maximum(rows, _SMALLEST_PROBABILITY))

    def explain(self, image_hwc: Images, record: LesionRecord, class_index: int) -> NDArray[np.float32]:
        """See :class:`Subject`."""
        code = self.facts.classes.codes[class_index]
        prediction = self.upright.predict(image_hwc, explain_class=code, patient=self._patient(record))
        assert prediction.class_activation_map is not None
        return prediction.class_activation_map

    def outlier_scores(self, images: Images) -> NDArray[np.float64] | None:
        """See :class:`Subject`."""
        scores = [self.upright.predict(image_hwc).outlier_score for image_hwc in images]
        return None if None in scores else np.array(scores, dtype=np.float64)

    def _patient(self, record: LesionRecord) -> PatientMetadata | None:
        spec = self.facts.metadata_spec
        return None if spec is None else patient_of(record, spec)


def predict_all(subject: Subject, images: SelectedImages, records: Sequence[LesionRecord]) -> Logits:
    """Return the calibrated logits of all images, float64 (N, C), with a progress bar."""
    rows = []
    with tqdm(total=len(records), desc="predicting", unit="image", leave=False, disable=None) as bar:
        for start in range(0, len(records), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            rows.append(subject.predict_logits(images[chunk], records[chunk]))
            bar.update(len(rows[-1]))
    return np.concatenate(rows)


def _as_batch(images: Images) -> Any:
    return normalise(torch.from_numpy(np.array(images))).contiguous(memory_format=torch.channels_last)
