"""Put together a folder that is ready to be pushed to a Hugging Face Space.

python deploy/make_space.py --bundle models/ham10000-resnet18 --output ../space
cd ../space && git init && git add -A && git commit -m dermedge
git push --force https://huggingface.co/spaces/USER/dermedge HEAD:main
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from edge_runtime.bundle.manifest import read_manifest, verify_files  # noqa: E402
from edge_runtime.errors import DermedgeError, run_command_line  # noqa: E402

_IGNORED = shutil.ignore_patterns("__pycache__", "node_modules", "litert", "litert.partial")
_LARGE = "*.onnx filter=lfs diff=lfs merge=lfs -text\n*.tflite filter=lfs diff=lfs merge=lfs -text\n"


def make_space(bundle: Path, output: Path) -> Path:
    """Write the Space into the new folder ``output``. Raises :class:`DermedgeError` for a bad bundle or folder."""
    verify_files(bundle, read_manifest(bundle))
    if output.exists():
        raise DermedgeError(f"{output}: expected a new folder, found one that exists")
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for package in ("edge_runtime", "webapp"):
        shutil.copytree(REPOSITORY / package, partial / package, ignore=_IGNORED)
    (partial / "requirements").mkdir()
    for name in ("edge.txt", "web.txt"):
        shutil.copy(REPOSITORY / "requirements" / name, partial / "requirements")
    for name in ("README.md", "Dockerfile"):
        shutil.copy(REPOSITORY / "deploy" / "space" / name, partial)
    shutil.copytree(bundle, partial / "bundle")
    (partial / ".gitattributes").write_text(_LARGE, encoding="utf-8")
    partial.rename(output)
    return output


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Put together a folder to push to a Hugging Face Space.")
    parser.add_argument("--bundle", type=Path, required=True, help="bundle folder to serve")
    parser.add_argument("--output", type=Path, required=True, help="folder to write, must not exist")
    arguments = parser.parse_args()
    print(make_space(arguments.bundle, arguments.output))
    return 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
