"""Install the wheel in an emulated Debian arm64 and compare its predictions with this machine's.

    python tests/arm64/run_arm64.py [--bundle models/ham10000-resnet18] [--log docs/arm64.log] IMAGE...

Needs root, Debian's ``debootstrap`` and ``qemu-user-static``, and the package mirrors; minutes long, so it is outside
the default tests. Nothing is registered with the kernel: packages are unpacked without running their scripts, and the
interpreter is started through ``qemu-aarch64-static`` by name. It proves that the code is right, not that it is fast.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from edge_runtime.bundle.location import find_bundle  # noqa: E402
from edge_runtime.bundle.manifest import read_manifest  # noqa: E402

RELEASES = {"bookworm": "3.11", "trixie": "3.13"}
"""Debian's, and so Raspberry Pi OS's, Python of each release."""

PACKAGES = ("libstdc++6", "libgcc-s1", "zlib1g", "libssl3", "libexpat1", "libffi8", "libbz2-1.0", "liblzma5")
TOLERANCE = {"int8": 0.02, "dynamic": 0.02, "fp16": 5e-3, "fp32": 1e-3}
"""Largest difference of a probability from this machine's. Int8 rounds differently on the two CPUs' kernels."""


def main() -> int:
    """Build the root, run every variant in it and here, compare; returns 0 when labels and probabilities agree."""
    options = parse_arguments()
    root = options.work / f"root-{options.release}"
    lines: list[str] = []
    if not (root / "usr/bin/python3-unpacked").exists():
        unpack_debian(root, options.release)
    install_wheel(root, options.work, RELEASES[options.release])
    source = find_bundle(options.bundle)
    bundle, images = copy_inputs(root, source, options.images)
    report(lines, f"bundle {source.name}, {len(images)} images, Debian {options.release}")
    report(lines, run_arm64(root, options.release, "-c", "import platform; print(platform.platform())").strip())
    report(lines, run_arm64(root, options.release, "-m", "edge_runtime", "info", "--bundle", bundle).strip())
    failures = 0
    for variant in sorted(read_manifest(source).variants):
        failures += compare(root, options, bundle, images, *variant.split("-"), lines)
    report(lines, "FAILED" if failures else "all labels the same and all probabilities within the tolerance")
    if options.log:
        options.log.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 1 if failures else 0


def parse_arguments() -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("images", nargs="*", type=Path, default=[REPOSITORY / "tests/fixtures/golden.jpg"])
    parser.add_argument("--bundle", help="bundle to run (default: as the command line finds it)")
    parser.add_argument("--release", choices=sorted(RELEASES), default="bookworm", help="Debian release to emulate")
    parser.add_argument(
        "--work", type=Path, default=REPOSITORY / "build/arm64", help="where the root is built and kept"
    )
    parser.add_argument("--log", type=Path, help="write the report into this file too")
    options = parser.parse_args()
    for tool in ("debootstrap", "qemu-aarch64-static", "dpkg-deb"):
        if shutil.which(tool) is None:
            parser.exit(2, f"error: {tool} is missing: apt-get install debootstrap qemu-user-static\n")
    return options


def unpack_debian(root: Path, release: str) -> None:
    """Download a minimal release for arm64 and unpack its packages without running their scripts."""
    python = f"python{RELEASES[release]}"
    wanted = [*PACKAGES, f"{python}-minimal", f"lib{python}-minimal", f"lib{python}-stdlib", "libsqlite3-0"]
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    subprocess.run(
        [
            "debootstrap",
            "--foreign",
            "--arch=arm64",
            "--variant=minbase",
            f"--include={','.join(wanted)}",
            release,
            root,
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    for package in sorted((root / "var/cache/apt/archives").glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", package, root], check=True)
    shutil.copy(shutil.which("qemu-aarch64-static") or "", root / "usr/bin")
    (root / "usr/bin/python3-unpacked").touch()


def install_wheel(root: Path, work: Path, python: str) -> None:
    """Build this checkout's wheel and install it with its aarch64 dependencies into the root."""
    wheels = work / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    shutil.rmtree(REPOSITORY / "build/lib", ignore_errors=True)  # setuptools would ship what is no longer in the source
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", wheels, REPOSITORY], check=True)
    (wheel,) = wheels.glob("dermedge-*.whl")
    target = root / "opt/dermedge"
    shutil.rmtree(target, ignore_errors=True)
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in (17, 27, 28, 31, 34)]
    subprocess.run(
        [*pip, "install", "--target", target, *platforms, "--platform=manylinux2014_aarch64", "--only-binary=:all:",
         "--python-version", python, "--implementation", "cp", "--no-compile", f"{wheel}[onnx,tflite]"],
        check=True,
    )  # fmt: skip


def copy_inputs(root: Path, bundle: Path, images: list[Path]) -> tuple[str, list[str]]:
    """Copy bundle and images into the root; return their paths there."""
    shutil.rmtree(root / "data", ignore_errors=True)
    shutil.copytree(bundle, root / "data/bundle")
    names = []
    for number, image in enumerate(images):
        name = f"/data/{number}-{image.name}"
        shutil.copy(image, root / name.lstrip("/"))
        names.append(name)
    return "/data/bundle", names


def run_arm64(root: Path, release: str, *arguments: str) -> str:
    """Run the emulated interpreter in the root and return what it printed."""
    command = ["chroot", str(root), "/usr/bin/qemu-aarch64-static", "-E", "PYTHONPATH=/opt/dermedge", "-E", "HOME=/tmp"]
    finished = subprocess.run(
        [*command, f"/usr/bin/python{RELEASES[release]}", *arguments], capture_output=True, text=True, check=False
    )
    if finished.returncode != 0:
        raise SystemExit(f"error: in the arm64 root: {' '.join(arguments)}\n{finished.stdout}{finished.stderr}")
    return finished.stdout


def compare(
    root: Path, options: argparse.Namespace, bundle: str, images: list[str], engine: str, precision: str,
    lines: list[str],
) -> int:  # fmt: skip
    """Predict all images there and here; report and count the disagreements."""
    flags = ["--engine", engine, "--precision", precision, "--threads", "1", "--json"]
    started = time.monotonic()
    there = run_arm64(root, options.release, "-m", "edge_runtime", "predict", *images, "--bundle", bundle, *flags)
    seconds = time.monotonic() - started
    here = subprocess.run(
        [sys.executable, "-m", "edge_runtime", "predict", *[str(root) + image for image in images], "--bundle",
         str(root) + bundle, *flags],
        capture_output=True, text=True, check=True, cwd=REPOSITORY,
    ).stdout  # fmt: skip
    predictions = [(json.loads(a), json.loads(b)) for a, b in zip(there.splitlines(), here.splitlines(), strict=True)]
    differences = [largest_difference(arm, native) for arm, native in predictions]
    labels = sum(arm["label"] == native["label"] for arm, native in predictions)
    report(
        lines,
        f"{engine:<7}{precision:<5} labels {labels} of {len(predictions)}, largest difference of a probability "
        f"{max(differences):.2g} (at most {TOLERANCE[precision]}), {seconds:.0f} s emulated",
    )
    return len(predictions) - labels + sum(difference > TOLERANCE[precision] for difference in differences)


def largest_difference(first: dict[str, Any], second: dict[str, Any]) -> float:
    """Return the largest difference of a class's probability between two predictions."""
    return max(abs(first["probabilities"][code] - second["probabilities"][code]) for code in first["probabilities"])


def report(lines: list[str], text: str) -> None:
    """Print a line and remember it for the log."""
    print(text, flush=True)
    lines.append(text)


if __name__ == "__main__":
    sys.exit(main())
