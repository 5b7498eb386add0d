"""The bundle's manifest: its schema, reading with every check, and writing.

A bundle is a folder with ``manifest.json`` (this schema), the graph files it names, ``labels.txt`` and a model card
``README.md``. :func:`read_manifest` refuses unknown schema versions and keys and any altered bit of the manifest
itself; :func:`verify_files` refuses missing and altered graphs, by name. ``export`` writes with
:func:`write_manifest`, so there is one definition of the format.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import msgspec

from edge_runtime.bundle.classes import ClassSet, LesionClass, with_meanings
from edge_runtime.errors import BundleError
from edge_runtime.vocabulary import ROLES as ROLES
from edge_runtime.vocabulary import GraphFormat, Precision
from edge_runtime.vocabulary import Role as Role

SCHEMA_VERSION = 2
"""What is written: version 2 has ``weights``."""
READABLE_VERSIONS = (1, 2)
MANIFEST_NAME = "manifest.json"


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all sections of the manifest: immutable, and strict about keys."""


class TensorSpec(_Section, frozen=True):
    """A graph's input or output. A dimension of -1 is the dynamic batch."""

    name: str
    dtype: Literal["uint8", "float32"]
    shape: list[int]


class GraphFile(_Section, frozen=True):
    """One graph of the bundle. ``sha256`` is lower-case hexadecimal; ``size_bytes`` is the exact file size."""

    file: str
    role: Role
    format: GraphFormat
    precision: Precision
    size_bytes: int
    sha256: str
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]


class WeightsFile(_Section, frozen=True):
    """The network itself in the safetensors format, for training and export; no device loads it."""

    file: str
    size_bytes: int
    sha256: str


class Variant(_Section, frozen=True):
    """The files that a device loads together, by role. ``model`` is for other programs; a small bundle may lack it."""

    features: str
    head: str
    explain: str
    model: str | None = None


class InputSpec(_Section, frozen=True):
    """How an image is prepared for the graph: everything but normalisation, which is inside the graph."""

    size: int
    resize: Literal["stretch"] = "stretch"
    interpolation: Literal["bilinear-antialias"] = "bilinear-antialias"
    colour: Literal["RGB"] = "RGB"
    layout: Literal["NHWC"] = "NHWC"
    dtype: Literal["uint8"] = "uint8"


class PatientMetadataSpec(_Section, frozen=True):
    """How age, sex and site become the ``metadata`` input (see :mod:`edge_runtime.bundle.patient`)."""

    age_scale_years: float
    sexes: list[str]
    sites: list[str]


class Calibration(_Section, frozen=True):
    """Temperature scaling (Guo et al., ICML 2017), already applied inside ``head`` and ``model``."""

    temperature: float
    fitted_on: str


class Thresholds(_Section, frozen=True):
    """When the device gives no diagnosis. ``None`` where the model has no such threshold.

    ``not_sure_below``: confidence below which the verdict is "not sure"; ``coverage`` is the fraction of validation
    images at or above it. ``not_lesion_above``: value of the head's optional output ``outlier_score`` above which
    the image "does not look like a dermoscopic image"; ``false_alarm_rate`` is the fraction of validation images
    above it, the false-positive rate.
    """

    not_sure_below: float | None = None
    coverage: float | None = None
    not_lesion_above: float | None = None
    false_alarm_rate: float | None = None


class Parity(_Section, frozen=True):
    """One graph chain against the PyTorch model, on ``images`` validation images."""

    variant: str
    role: str
    images: int
    top1_agreement: float
    max_probability_difference: float
    accuracy_change: float
    balanced_accuracy_change: float
    size_bytes: int
    latency_ms: float


class Measured(_Section, frozen=True):
    """Metrics measured at export. Accuracies are fractions 0..1 on the named split."""

    split: str
    images: int
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    expected_calibration_error: float
    parity: list[Parity]


class Provenance(_Section, frozen=True):
    """Where the model comes from. Hashes are SHA-256 in hexadecimal; dates are ISO 8601."""

    data: str
    data_fingerprint: str
    split_hash: str
    checkpoint_sha256: str
    code_version: str
    created: str
    licence: str


class Manifest(_Section, frozen=True):
    """``manifest.json``. ``demo`` marks a model trained on generated phantoms: not for any medical purpose.

    ``manifest_sha256`` is the manifest's own checksum: SHA-256 of the file's bytes with these 64 digits replaced by
    zeros. It detects a flipped bit in a threshold as surely as the graphs' checksums detect one in a weight.
    :func:`write_manifest` fills it in.
    """

    schema_version: int
    name: str
    architecture: str
    demo: bool
    classes: list[LesionClass]
    input: InputSpec
    graphs: list[GraphFile]
    variants: dict[str, Variant]
    calibration: Calibration
    thresholds: Thresholds
    measured: Measured
    provenance: Provenance
    patient_metadata: PatientMetadataSpec | None = None
    weights: WeightsFile | None = None
    manifest_sha256: str = ""

    @property
    def class_set(self) -> ClassSet:
        """The classes with their groups and meanings."""
        return ClassSet(with_meanings(self.classes))

    def graph(self, file: str) -> GraphFile:
        """Return the entry of a graph file; the manifest was checked, so a variant's file always has one."""
        return next(graph for graph in self.graphs if graph.file == file)


def read_manifest(bundle: Path) -> Manifest:
    """Read and check ``bundle/manifest.json``. Raises :class:`BundleError` naming what is wrong."""
    path = bundle / MANIFEST_NAME
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror or error}") from None
    return parse_manifest(data, path)


def parse_manifest(data: bytes, path: Path) -> Manifest:
    """Decode and check the bytes of a manifest; ``path`` names it in errors."""
    try:
        version = msgspec.json.decode(data, type=_VersionOnly).schema_version
        if version not in READABLE_VERSIONS:
            expected = " or ".join(map(str, READABLE_VERSIONS))
            raise BundleError(f"{path}: expected schema version {expected}, found {version}")
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = str(error)
        if not message.startswith("JSON"):
            message = message[:1].lower() + message[1:]
        raise BundleError(f"{path}: {message}") from None
    _check_checksum(manifest, data, path)
    _check_consistency(manifest, path)
    return manifest


def write_manifest(bundle: Path, manifest: Manifest) -> Path:
    """Write ``bundle/manifest.json`` and return its path. The caller makes the whole bundle appear atomically."""
    path = bundle / MANIFEST_NAME
    _check_consistency(manifest, path)
    without = msgspec.structs.replace(manifest, manifest_sha256=_ZEROS)
    path.write_bytes(fill_in_checksum(msgspec.json.format(msgspec.json.encode(without), indent=2) + b"\n"))
    return path


def fill_in_checksum(data: bytes) -> bytes:
    """Return a manifest's bytes with ``manifest_sha256`` filled in; its value before must be 64 zeros."""
    key = b'"manifest_sha256": "'
    if data.count(key + _ZEROS.encode()) != 1:
        raise ValueError("expected one manifest_sha256 of 64 zeros")
    return data.replace(key + _ZEROS.encode(), key + hashlib.sha256(data).hexdigest().encode())


def verify_files(bundle: Path, manifest: Manifest, files: set[str] | None = None) -> None:
    """Check size and SHA-256 of graphs and weights (all, or only ``files``) before anything reads them."""
    entries: list[GraphFile | WeightsFile] = [*manifest.graphs]
    if manifest.weights is not None:
        entries.append(manifest.weights)
    for entry in entries:
        if files is None or entry.file in files:
            read_verified(bundle, entry)


def read_verified(bundle: Path, entry: GraphFile | WeightsFile) -> bytes:
    """Return a file's bytes after checking size and checksum: the engine gets exactly the bytes that were checked."""
    path = bundle / entry.file
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise BundleError(f"{path}: named in {MANIFEST_NAME} but missing") from None
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(data) != entry.size_bytes:
        raise BundleError(f"{path}: expected {entry.size_bytes} bytes, found {len(data)}")
    digest = hashlib.sha256(data).hexdigest()
    if digest != entry.sha256:
        raise BundleError(f"{path}: expected SHA-256 {entry.sha256}, found {digest}")
    return data


class _VersionOnly(msgspec.Struct):
    schema_version: int


_ZEROS = 64 * "0"


def _check_checksum(manifest: Manifest, data: bytes, path: Path) -> None:
    stated = manifest.manifest_sha256.encode()
    if len(stated) != 64 or data.count(stated) != 1:
        raise BundleError(f"{path}: expected 64 digits in manifest_sha256, found {stated.decode()!r}")
    found = hashlib.sha256(data.replace(stated, _ZEROS.encode())).hexdigest()
    if found != stated.decode():
        raise BundleError(f"{path}: altered or damaged: expected SHA-256 {stated.decode()}, found {found}")


def _check_consistency(manifest: Manifest, path: Path) -> None:
    """Refuse what types alone cannot: unusable classes, dangling or escaping file names, impossible numbers."""
    _check_classes(manifest, path)
    files = [graph.file for graph in manifest.graphs]
    named = files if manifest.weights is None else [*files, manifest.weights.file]
    for file in named:
        if "/" in file or "\\" in file or file.startswith("."):
            raise BundleError(f"{path}: expected a plain file name, found {file!r}")
        if named.count(file) > 1:
            raise BundleError(f"{path}: {file!r} is listed twice")
    if not manifest.variants:
        raise BundleError(f"{path}: expected at least one variant, found none")
    for name, variant in manifest.variants.items():
        for role in ROLES:
            file = getattr(variant, role)
            if file is None:
                continue
            if file not in files:
                raise BundleError(f"{path}: variant {name!r} names {file!r}, which is not among the graphs")
            graph = manifest.graph(file)
            if graph.role != role:
                raise BundleError(f"{path}: variant {name!r} uses {file!r} as {role}, found {graph.role}")
            if graph.format != name.partition("-")[0]:
                raise BundleError(f"{path}: variant {name!r} uses {file!r}, which is {graph.format}")
    if not 0 < manifest.calibration.temperature < float("inf"):
        raise BundleError(f"{path}: expected a positive temperature, found {manifest.calibration.temperature}")
    if not 1 <= manifest.input.size <= 4096:
        raise BundleError(f"{path}: expected an input size of 1 to 4096 pixels, found {manifest.input.size}")


_OF_CLASSES = ("class_weights", "logits", "probabilities")
"""Tensors with one value for each class in their last dimension."""


def _check_classes(manifest: Manifest, path: Path) -> None:
    try:
        count = len(manifest.class_set)
    except ValueError as error:
        raise BundleError(f"{path}: {error}") from None
    for graph in manifest.graphs:
        for tensor in (*graph.inputs, *graph.outputs):
            if tensor.name in _OF_CLASSES and tensor.shape[-1:] != [count]:
                raise BundleError(
                    f"{path}: expected {tensor.name} of {graph.file!r} for {count} classes, found shape {tensor.shape}"
                )
