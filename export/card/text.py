"""The model card ``README.md`` of a bundle, in Hugging Face's format, from measured facts only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_runtime.bundle.manifest import Manifest
from edge_runtime.errors import BundleError
from export.card import figures as card_figures
from export.card import parity as card_parity
from export.card.cross_validation import cross_validation_section
from export.card.hub_metadata import front_matter
from export.report.data import REPORT_NAME
from export.report.page import read_json
from train.data.split import SUBSETS, read_split
from train.files import write_text_atomically

CARD_NAME = "README.md"

DEMO_NOTICE = """> **Demo.** This model was trained on generated phantoms, not on patients' images.
> Its answers mean nothing medically.

"""

USE = """## Intended use

For research and teaching: how a small network sorts dermatoscopic images on a device without a network connection,
and how well it does. **Not a medical device.** No diagnosis, treatment, triage or reassurance may rest on an answer; a
lesion that worries somebody belongs before a dermatologist whatever this model says.

Out of scope: photographs without a dermatoscope, mucosa and nails, diagnoses other than the seven, and people unlike
those in the data."""

HAM10000_POPULATION = " HAM10000 comes from one clinic in Austria and one in Australia and shows mostly light skin."


def write_card(folder: Path, manifest: Manifest, report: dict[str, Any]) -> Path:
    """Write the card of a bundle from its manifest, its report and, where it has one, its ``evaluation.json``."""
    from export.card.held_out import read_evaluations  # it needs the evaluation's libraries, --help does not

    path = folder / CARD_NAME
    write_text_atomically(path, card_text(manifest, report, read_evaluations(folder), count_subsets(folder)))
    return path


def card_text(
    manifest: Manifest, report: dict[str, Any], stored: dict[str, Any], subsets: dict[str, int] | None = None
) -> str:
    """Return the card: a head for the hub, then prose and tables.

    ``stored`` is what :func:`export.card.held_out.read_evaluations` returns, ``subsets`` the images of each subset.
    """
    evaluations = stored["evaluations"]
    return "".join(
        (
            front_matter(manifest, evaluations),
            f"# {manifest.name}\n\n",
            DEMO_NOTICE if manifest.demo else "",
            f"{manifest.architecture} that sorts dermatoscopic images into seven diagnoses, as graphs for ONNX "
            "Runtime and LiteRT (TFLite) that run on a processor alone.\n\n"
            "**Research only. Not a medical device; no diagnosis, treatment or triage may rest on it.**\n\n",
            USE + ("" if manifest.demo else HAM10000_POPULATION) + "\n\n",
            _classes(manifest),
            card_figures.held_out(manifest, evaluations),
            cross_validation_section(stored.get("cross_validation")),
            card_figures.weaknesses(evaluations),
            card_parity.graphs(manifest, report),
            card_parity.size_and_energy(manifest, report),
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
        f"| {index} | `{one.code}` | {one.name} | {'malignant' if one.malignant else 'benign'} |\n"
        for index, one in enumerate(manifest.classes)
    )
    return "## Classes\n\n| index | code | name | group |\n|---|---|---|---|\n" + "".join(rows) + "\n"


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
        f"- split: `{manifest.provenance.split_hash[:16]}`{counted}, no lesion in two subsets; test chose nothing",
        f"- licence of the data, and so of this model's use: {manifest.provenance.licence}",
        f"- first weights: {initialisation or facts['initialisation'] or 'not recorded'}",
        f"- epochs: {facts['epochs'] or 'not recorded'}, weights of epoch {facts['epoch']}",
        *([f"- time: {seconds / 3600:.1f} hours, the sum of the epochs"] if seconds else []),
        *([f"- settings: {settings}"] if settings else []),
    ]
    return "\n".join(lines) + "\n\n"


def _input(manifest: Manifest) -> str:
    size = manifest.input.size
    return (
        f"## Input\n\nThe decoded image itself, RGB, stretched to {size}×{size} with an antialiased bilinear filter, "
        "`uint8` NHWC. Normalisation is inside the graphs, and so is the calibration temperature.\n\n"
    )


def _provenance(manifest: Manifest) -> str:
    provenance = manifest.provenance
    return (
        f"## Where it comes from\n\n- checkpoint: SHA-256 `{provenance.checkpoint_sha256}`\n"
        f"- made {provenance.created} by dermedge {provenance.code_version}\n"
        "- everything measured: `report.html` and `report.json`; held-out figures: `evaluation.json`\n"
    )


def read_report(bundle: Path) -> dict[str, Any]:
    """Return a bundle's ``report.json``. Raises :class:`BundleError` for one that says too little for a card."""
    report = read_json(bundle / REPORT_NAME)
    missing = [name for name in ("measured", "intervals", "tolerances", "training") if name not in report]
    if missing:
        path, found = bundle / REPORT_NAME, " ".join(missing)
        raise BundleError(f"{path}: expected the report of this version, found one without {found}: export again")
    return report
