"""The model card ``README.md`` of a bundle, in Hugging Face's format, written from measurements only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_runtime.bundle.manifest import Manifest
from edge_runtime.errors import BundleError
from export.card import parity
from export.card.cross_validation import cross_validation_section
from export.card.hub_metadata import front_matter
from export.card.results import results_section
from export.card.weaknesses import weaknesses_section
from export.report.data import REPORT_NAME
from export.report.page import describe_code_version, read_json
from train.data.split import SUBSETS, read_split
from train.files import write_text_atomically

CARD_NAME = "README.md"

DEMO_NOTICE = """> **Demo.** This model was trained on generated phantoms, not on images of patients.
> Its predictions have no medical meaning.

"""

USE = """## Intended use

For research and teaching: how a small network classifies dermoscopic images on a device without a network connection,
and how well. **Not a medical device.** No diagnosis, treatment, triage or reassurance may be based on a prediction; a
lesion that worries somebody should be seen by a dermatologist, whatever this model predicts.

Out of scope: photographs taken without a dermatoscope, mucosa and nails, diagnoses other than those below, and people
unlike those in the data."""

HAM10000_POPULATION = " HAM10000 comes from one clinic in Austria and one in Australia, and shows mostly light skin."


def write_card(folder: Path, manifest: Manifest, report: dict[str, Any]) -> Path:
    """Write the card of a bundle from its manifest, its report and, where it has one, its ``evaluation.json``."""
    from export.card.evaluations import read_evaluations  # needs the libraries of evaluation, --help does not

    path = folder / CARD_NAME
    write_text_atomically(path, card_text(manifest, report, read_evaluations(folder), count_subsets(folder)))
    return path


def card_text(
    manifest: Manifest, report: dict[str, Any], stored: dict[str, Any], subsets: dict[str, int] | None = None
) -> str:
    """Return the card: metadata for the hub, then prose and tables.

    ``stored`` is what :func:`export.card.evaluations.read_evaluations` returns, ``subsets`` the images of each subset.
    """
    evaluations = stored["evaluations"]
    return "".join(
        (
            front_matter(manifest, evaluations),
            f"# {manifest.name}\n\n",
            DEMO_NOTICE if manifest.demo else "",
            f"{manifest.architecture} that classifies dermoscopic images into {len(manifest.classes)} classes, as "
            "graphs for ONNX Runtime and LiteRT (TFLite) that need no GPU.\n\n"
            "**Research only. Not a medical device; no diagnosis, treatment or triage may be based on it.**\n\n",
            USE + (HAM10000_POPULATION if "HAM10000" in manifest.provenance.data else "") + "\n\n",
            _classes(manifest),
            results_section(manifest, evaluations),
            cross_validation_section(stored.get("cross_validation"), manifest.class_set.codes),
            weaknesses_section(evaluations),
            parity.graphs(manifest, report),
            parity.size_and_energy(manifest, report),
            _training(manifest, report, stored["initialisation"], subsets),
            _input(manifest),
            _provenance(manifest),
        )
    )


def count_subsets(folder: Path) -> dict[str, int] | None:
    """Return how many images each subset of the bundle's split has, ``None`` where no split travels with it."""
    path = folder / "split.csv"
    if not path.is_file():
        return None
    found = list(read_split(path).subsets.values())
    return {subset: found.count(subset) for subset in SUBSETS}


def _classes(manifest: Manifest) -> str:
    rows = (
        f"| {index} | `{one.code}` | {one.name} | {one.group} | {one.meaning} |\n"
        for index, one in enumerate(manifest.class_set.classes)
    )
    return "## Classes\n\n| index | code | name | group | meaning |\n|---|---|---|---|---|\n" + "".join(rows) + "\n"


def _training(
    manifest: Manifest, report: dict[str, Any], initialisation: str | None, subsets: dict[str, int] | None
) -> str:
    facts = report["training"]
    counted = (
        "" if subsets is None else " (" + ", ".join(f"{count} {subset}" for subset, count in subsets.items()) + ")"
    )
    settings = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts["settings"].items())
    seconds = facts["seconds"]
    lines = [
        "## Training\n",
        f"- data: {manifest.provenance.data} (fingerprint `{manifest.provenance.data_fingerprint[:16]}`)",
        f"- split: `{manifest.provenance.split_hash[:16]}`{counted}, by lesion; nothing was chosen on the test set",
        f"- licence of the data, which also governs the use of this model: {manifest.provenance.licence}",
        f"- initial weights: {initialisation or facts['initialisation'] or 'not recorded'}",
        f"- epochs: {facts['epochs'] or 'not recorded'}, weights from epoch {facts['epoch']}",
        *([f"- training time: {seconds / 3600:.1f} hours, summed over the epochs"] if seconds else []),
        *([f"- settings: {settings}"] if settings else []),
    ]
    return "\n".join(lines) + "\n\n"


def _input(manifest: Manifest) -> str:
    size = manifest.input.size
    return (
        f"## Input\n\nThe decoded image itself, RGB, stretched to {size}×{size} with an antialiased bilinear filter, "
        "`uint8` NHWC. Normalisation and the calibration temperature are inside the graphs.\n\n"
    )


def _provenance(manifest: Manifest) -> str:
    provenance = manifest.provenance
    return (
        f"## Provenance\n\n- checkpoint: SHA-256 `{provenance.checkpoint_sha256}`\n"
        f"- exported {provenance.created} by dermedge {describe_code_version(provenance.code_version)}\n"
        "- all measurements: `report.html` and `report.json`; results on the test set: `evaluation.json`\n"
    )


def read_report(bundle: Path) -> dict[str, Any]:
    """Return a bundle's ``report.json``. Raises :class:`BundleError` for one that lacks what a card needs."""
    report = read_json(bundle / REPORT_NAME)
    missing = [name for name in ("measured", "intervals", "tolerances", "training") if name not in report]
    if missing:
        path, found = bundle / REPORT_NAME, " ".join(missing)
        raise BundleError(f"{path}: expected the report of this version, found one without {found}: export again")
    return report
