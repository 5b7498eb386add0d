"""Ask the package index, for each device platform, whether every wheel the runtime needs exists.

    python tests/edge_runtime/resolve_wheels.py

Prints the table of docs/reference/platforms.md. Nothing is installed: ``pip install --dry-run`` for a foreign
platform, wheels only.
Needs the index, so it is outside the default tests.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = {
    machine: [f"manylinux2014_{machine}", *(f"manylinux_2_{minor}_{machine}" for minor in range(17, 37))]
    for machine in ("x86_64", "aarch64")
} | {
    "armv7l": ["linux_armv7l", "manylinux2014_armv7l", "manylinux_2_17_armv7l", "manylinux_2_31_armv7l"],
}
"""What pip accepts on Bookworm, whose glibc is 2.36, and on everything newer."""

EXTRAS = ("onnx", "tflite", "openvino", "web", "camera", "heic")
SHOWN = (
    "numpy", "pillow", "msgspec", "onnxruntime", "ai-edge-litert", "openvino", "flask", "opencv-python-headless",
    "pillow-heif", "tflite-runtime",
)  # fmt: skip


def main() -> int:
    """Print one row for each platform, Python and extra; returns 1 when a 64-bit one does not resolve."""
    print("| platform | Python | extra | resolves to |\n|---|---|---|---|")
    failures = 0
    for machine, platforms in PLATFORMS.items():
        for python in PYTHONS:
            wanted = [[f"{REPOSITORY}[{extra}]"] for extra in EXTRAS] if machine != "armv7l" else []
            names = list(EXTRAS)
            if machine == "armv7l":
                wanted, names = [["-r", str(REPOSITORY / "requirements/edge-legacy.txt")]], ["edge-legacy.txt"]
            for name, requirement in zip(names, wanted, strict=True):
                found = resolve(requirement, platforms, python)
                failures += found is None and machine != "armv7l"
                print(f"| {machine} | {python} | `{name}` | {found or '**none**'} |", flush=True)
    return 1 if failures else 0


def resolve(requirement: list[str], platforms: list[str], python: str) -> str | None:
    """Return the versions pip would install, or ``None`` when there is no such set of wheels."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        target = ["--target", folder, "--python-version", python, "--implementation", "cp", "--only-binary=:all:"]
        finished = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run",
             "--ignore-installed", "--report", str(report), *target,
             *[f"--platform={platform}" for platform in platforms], *local_as_requirements(requirement)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if finished.returncode != 0:
            return None
        installed = json.loads(report.read_text())["install"]
    versions = {item["metadata"]["name"].lower().replace("_", "-"): item["metadata"]["version"] for item in installed}
    return ", ".join(f"{name} {versions[name]}" for name in SHOWN if name in versions)


def local_as_requirements(requirement: list[str]) -> list[str]:
    """Replace this checkout by what its pyproject.toml asks for: pip takes no source tree for a foreign platform."""
    if not requirement[0].endswith("]"):
        return requirement
    import tomllib

    extra = requirement[0].rpartition("[")[2].rstrip("]")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *project["optional-dependencies"][extra]]


if __name__ == "__main__":
    sys.exit(main())
