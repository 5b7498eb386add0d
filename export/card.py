"""The model card ``README.md`` of a bundle, in Hugging Face's format, from measured facts only.

python -m export.card --bundle models/ham10000-resnet18 --data ../shared/data/ham10000-224

judges the bundle's graphs on the held-out pictures, stores the figures as ``evaluation.json``, and writes card and
``report.html`` anew. The manifest's seal covers neither, so the graphs stay as they were signed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from edge_runtime.errors import BundleError, run_command_line
from edge_runtime.manifest import Manifest, read_manifest, verify_files
from export import card_figures, card_parity
from export.card_metadata import front_matter
from export.cross_validation import cross_validation_section, read_cross_validation
from export.report import REPORT_NAME
from export.report_page import read_json, write_bundle_page
from train.files import write_text_atomically
from train.split import PARTS, read_split

CARD_NAME = "README.md"

DEMO_NOTICE = """> **Demo.** This model was trained on generated phantoms, not on patients' pictures.
> Its answers mean nothing medically.

"""

USE = """## Intended use

For research and teaching: how a small network sorts dermatoscopic pictures on a device without a network connection,
and how well it does. **Not a medical device.** No diagnosis, treatment, triage or reassurance may rest on an answer; a
lesion that worries somebody belongs before a dermatologist whatever this model says.

Out of scope: photographs without a dermatoscope, mucosa and nails, diagnoses other than the seven, and people unlike
those in the data."""

HAM10000_POPULATION = " HAM10000 comes from one clinic in Austria and one in Australia and shows mostly light skin."


def write_card(folder: Path, manifest: Manifest, report: dict[str, Any]) -> Path:
    """Write the card of a bundle from its manifest, its report and, where it has one, its ``evaluation.json``."""
    from export.held_out import read_evaluations  # it needs the evaluation's libraries, --help does not

    path = folder / CARD_NAME
    write_text_atomically(path, card_text(manifest, report, read_evaluations(folder), count_parts(folder)))
    return path


def card_text(
    manifest: Manifest, report: dict[str, Any], stored: dict[str, Any], parts: dict[str, int] | None = None
) -> str:
    """Return the card: a head for the hub, then prose and tables.

    ``stored`` is what :func:`export.held_out.read_evaluations` returns, ``parts`` the pictures of each part.
    """
    evaluations = stored["evaluations"]
    return "".join(
        (
            front_matter(manifest, evaluations),
            f"# {manifest.name}\n\n",
            DEMO_NOTICE if manifest.demo else "",
            f"{manifest.architecture} that sorts dermatoscopic pictures into seven diagnoses, as graphs for ONNX "
            "Runtime and LiteRT (TFLite) that run on a processor alone.\n\n"
            "**Research only. Not a medical device; no diagnosis, treatment or triage may rest on it.**\n\n",
            USE + ("" if manifest.demo else HAM10000_POPULATION) + "\n\n",
            _classes(manifest),
            card_figures.held_out(manifest, evaluations),
            cross_validation_section(stored.get("cross_validation")),
            card_figures.weaknesses(evaluations),
            card_parity.graphs(manifest, report),
            card_parity.size_and_energy(manifest, report),
            _training(manifest, report, stored["initialisation"], parts),
            _input(manifest),
            _provenance(manifest),
        )
    )


def count_parts(folder: Path) -> dict[str, int] | None:
    """Return how many pictures each part of the bundle's split has, ``None`` where no split travels with it."""
    path = folder / "split.csv"
    if not path.is_file():
        return None
    found = list(read_split(path).parts.values())
    return {part: found.count(part) for part in PARTS}


def _classes(manifest: Manifest) -> str:
    rows = (
        f"| {index} | `{one.code}` | {one.name} | {'malignant' if one.malignant else 'benign'} |\n"
        for index, one in enumerate(manifest.classes)
    )
    return "## Classes\n\n| index | code | name | group |\n|---|---|---|---|\n" + "".join(rows) + "\n"


def _training(
    manifest: Manifest, report: dict[str, Any], initialisation: str | None, parts: dict[str, int] | None
) -> str:
    facts = report["training"]
    counted = "" if parts is None else " (" + ", ".join(f"{count} {part}" for part, count in parts.items()) + ")"
    settings = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts["settings"].items())
    seconds = facts["seconds"]
    lines = [
        "## Training\n",
        f"- data: {manifest.provenance.data} (fingerprint `{manifest.provenance.data_fingerprint[:16]}`)",
        f"- split: `{manifest.provenance.split_hash[:16]}`{counted}, no lesion in two parts; test chose nothing",
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
        f"## Input\n\nThe decoded picture itself, RGB, stretched to {size}×{size} with an antialiased bilinear filter, "
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


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        "python -m export.card",
        description="Judge a bundle's graphs on the held-out pictures and write its card and report anew.",
        epilog="example: python -m export.card --bundle models/demo",
        allow_abbrev=False,
    )
    parser.add_argument("--bundle", type=Path, required=True, metavar="DIR", help="the bundle")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data folder (default: the run's own)")
    parser.add_argument("--evaluation", type=Path, nargs="+", metavar="FILE",
        help="use these report.json of python -m train.evaluate --bundle instead of evaluating now")  # fmt: skip
    parser.add_argument("--cross-validation", type=Path, metavar="DIR",
        help="tell of this folder of python -m train --folds, too")  # fmt: skip
    parser.add_argument("--initialisation", metavar="TEXT", help="what to say of the weights training started from")
    parser.add_argument(
        "--no-evaluation", action="store_true", help="only write card and report anew from what is known"
    )
    parser.add_argument("--runs-folder", type=Path, default=Path("runs"), metavar="DIR",
        help="where runs and the evaluations' reports are (runs)")  # fmt: skip
    parser.add_argument("--cache-folder", type=Path, default=Path("data/cache"), metavar="DIR",
        help="decoded pictures (data/cache)")  # fmt: skip
    return parser


def main() -> int:
    """Do as the command line says, and print where the card is."""
    flags = build_parser().parse_args()
    manifest, report = read_manifest(flags.bundle), read_report(flags.bundle)
    from export.held_out import evaluate_bundle, store_evaluations

    folds = read_cross_validation(flags.cross_validation, manifest) if flags.cross_validation else None
    reports = flags.evaluation or []
    if not reports and not flags.no_evaluation:
        verify_files(flags.bundle, manifest)
        folders = ["--runs-folder", str(flags.runs_folder), "--cache-folder", str(flags.cache_folder)]
        reports = evaluate_bundle(flags.bundle, manifest, flags.data, folders)
    if reports or flags.initialisation or folds:
        store_evaluations(flags.bundle, manifest, reports, flags.initialisation, folds)
    write_bundle_page(flags.bundle, manifest, report)
    print(f"card: {write_card(flags.bundle, manifest, report)}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
