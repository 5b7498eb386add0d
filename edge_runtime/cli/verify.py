"""``python -m edge_runtime verify``: is this bundle intact, and does every variant run on this device?"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from edge_runtime.bundle.location import find_bundle
from edge_runtime.bundle.manifest import Manifest, read_manifest, verify_files
from edge_runtime.classifier import Classifier
from edge_runtime.cli.options import VerifyOptions
from edge_runtime.engines import installed_engines, usable_variants
from edge_runtime.errors import DermedgeError

NOT_INSTALLED = "its engine is not installed here"


def run_verify(options: VerifyOptions) -> int:
    """Check the checksums of manifest and graphs, then run every variant; returns 1 if one does not work."""
    bundle = find_bundle(options.bundle)
    manifest = read_manifest(bundle)
    verify_files(bundle, manifest)
    variants = {
        name: check_variant(bundle, manifest, name)
        for name in sorted({*manifest.variants, *usable_variants(manifest.variants)})
    }
    usable = [name for name, problem in variants.items() if problem is None]
    failed = not usable or any(problem not in (None, NOT_INSTALLED) for problem in variants.values())
    if options.json:
        print(json.dumps({"bundle": str(bundle), "verified": not failed, "variants": variants}))
        return int(failed)
    print(f"{bundle}: the checksums of the manifest and {len(manifest.graphs)} graph files match")
    for name, problem in variants.items():
        print(f"{name}: {problem or 'works'}")
    return int(failed)


def check_variant(bundle: Path, manifest: Manifest, name: str) -> str | None:
    """Return ``None`` when a variant classifies and explains an image of noise, else what is wrong."""
    engine, _, precision = name.partition("-")
    if engine not in installed_engines():
        return NOT_INSTALLED
    size = manifest.input.size
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    try:
        with Classifier.load(bundle, engine=engine, precision=precision, threads=1) as classifier:
            prediction = classifier.predict(noise, explain=True)
    except DermedgeError as error:
        return str(error)
    if abs(sum(prediction.probabilities.values()) - 1) > 1e-9:
        return f"its probabilities sum to {sum(prediction.probabilities.values())}"
    return None
