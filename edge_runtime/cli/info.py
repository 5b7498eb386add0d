"""``python -m edge_runtime info``: verify a bundle and show what it is."""

from __future__ import annotations

import msgspec

from edge_runtime.bundle.location import find_bundle
from edge_runtime.bundle.manifest import Manifest, read_manifest, verify_files
from edge_runtime.cli.options import InfoOptions
from edge_runtime.engines import backend, installed_engines
from edge_runtime.prediction import DEMO_WARNING


def run_info(options: InfoOptions) -> int:
    """Verify every file, then print the manifest (JSON) or its main facts."""
    bundle = find_bundle(options.bundle)
    manifest = read_manifest(bundle)
    verify_files(bundle, manifest)
    if options.json:
        print(msgspec.json.encode(manifest).decode())
        return 0
    print(f"bundle        {bundle} (all {len(manifest.graphs)} graph files verified)")
    print(_describe(manifest))
    versions = [backend(engine).version() for engine in installed_engines()]
    print(f"engines here  {', '.join(versions) or 'none'}")
    if manifest.demo:
        print(f"warning: {DEMO_WARNING}")
    return 0


def _describe(manifest: Manifest) -> str:
    measured = manifest.measured
    sizes = ", ".join(
        f"{name} {sum(manifest.graph(getattr(variant, role)).size_bytes for role in ('features', 'head')) / 1e6:.1f} MB"
        for name, variant in sorted(manifest.variants.items())
    )
    return "\n".join(
        (
            f"name          {manifest.name} ({manifest.architecture}, schema {manifest.schema_version})",
            f"classes       {' '.join(lesion_class.code for lesion_class in manifest.classes)}",
            f"variants      {sizes}",
            f"measured      accuracy {measured.accuracy:.1%}, balanced accuracy {measured.balanced_accuracy:.1%}, "
            f"ECE {measured.expected_calibration_error:.3f} on {measured.images} images ({measured.split})",
            f"data          {manifest.provenance.data} ({manifest.provenance.licence})",
            f"made          {manifest.provenance.created} by {manifest.provenance.code_version}",
        )
    )
