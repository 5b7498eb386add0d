"""Finding the bundle to use, and reading the files of a variant, verified."""

from __future__ import annotations

import os
from pathlib import Path

from edge_runtime.bundle.manifest import MANIFEST_NAME, Manifest, read_manifest, read_verified
from edge_runtime.errors import BundleError, EngineError
from edge_runtime.vocabulary import ROLES

BUNDLE_VARIABLE = "DERMEDGE_BUNDLE"
MODELS_FOLDER = Path("models")


def find_bundle(explicit: str | os.PathLike[str] | None = None, models: Path | None = None) -> Path:
    """Return the folder of the bundle to use.

    In this order: ``explicit``; ``$DERMEDGE_BUNDLE``; the newest bundle (``provenance.created``) under ``models/`` of
    the working directory, or of the checkout this package lies in, that is not a demo; the newest demo.
    Raises :class:`BundleError` when there is none.
    """
    chosen = explicit if explicit is not None else os.environ.get(BUNDLE_VARIABLE)
    if chosen is not None and str(chosen):
        return Path(chosen)
    checkout_models = Path(__file__).resolve().parents[2] / "models"
    folders = [models] if models is not None else [MODELS_FOLDER, checkout_models]
    for folder in folders:
        candidates = [path.parent for path in sorted(folder.glob(f"*/{MANIFEST_NAME}"))]
        if candidates:
            return max(candidates, key=_preference)
    raise BundleError(
        f"no bundle found under {folders[0]}/: "
        f"name one with --bundle or ${BUNDLE_VARIABLE}, or make one with `make demo`"
    )


def _preference(bundle: Path) -> tuple[bool, str]:
    manifest = read_manifest(bundle)
    return (not manifest.demo, manifest.provenance.created)


def read_variant_files(bundle: Path, manifest: Manifest, variant_name: str) -> dict[str, bytes]:
    """Return the verified bytes of ``features``, ``head`` and ``explain`` of one variant, by role."""
    variant = manifest.variants.get(variant_name)
    if variant is None:
        raise EngineError(f"{bundle}: has no variant {variant_name!r}, only {', '.join(sorted(manifest.variants))}")
    return {role: read_verified(bundle, manifest.graph(getattr(variant, role))) for role in ROLES if role != "model"}
