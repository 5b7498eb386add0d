"""Run a bundle's int8 graphs on emulated CPUs and compare their predictions with this machine's.

    python tests/instruction_sets/run_instruction_sets.py --bundle models/demo [--arm64] [--log FILE]

Engines choose their kernels by what the CPU supports, so each kind of CPU may round, and in the worst case saturate, in
its own way. ``qemu-x86_64-static`` (Debian's ``qemu-user-static``) emulates x86-64 with AVX2 but
without VNNI, and without AVX at all; ``--arm64`` adds the Raspberry Pi's CPUs in the Debian that
``tests/arm64/run_arm64.py`` builds. The table goes into the bundle as ``instruction_sets.json`` and onto its
``report.html``. It shows what is predicted, not how fast.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from edge_runtime.bundle.classes import ham10000  # noqa: E402
from edge_runtime.bundle.location import find_bundle  # noqa: E402
from edge_runtime.bundle.manifest import read_manifest  # noqa: E402
from export.report.page import INSTRUCTION_SETS_NAME, write_bundle_page  # noqa: E402
from tests.arm64 import run_arm64  # noqa: E402
from train.demo.dataset import draw_phantom  # noqa: E402
from train.files import write_text_atomically  # noqa: E402

X86 = {"Haswell": "x86-64 with AVX2, without VNNI", "Nehalem": "x86-64 with SSE4.2, without AVX"}
ARM64 = {
    "cortex-a72": "arm64 with NEON, without dot products (Raspberry Pi 4)",
    "cortex-a76": "arm64 with dot products (Raspberry Pi 5)",
}
RELEASE = "bookworm"
SATURATION = "tests/instruction_sets/saturation.py"

Predictions = list[dict[str, float]]
Run = Callable[..., str]
"""Runs Python with arguments on some CPU and returns what it printed."""


def main() -> int:
    """Measure, write the bundle's table and page, print it; returns 1 when any prediction differs."""
    options = parse_arguments()
    bundle = find_bundle(options.bundle)
    variants = [name for name in read_manifest(bundle).variants if name.endswith("-int8")]
    images = options.images or draw_images(options.work / "images", options.drawn)
    expected = {variant: predict(run_here, bundle, images, variant) for variant in variants}
    rows, control = [], []
    for cpu, instruction_set in X86.items():
        run = emulated_x86(cpu)
        for variant in variants:
            found = predict(run, bundle, images, variant)
            rows.append(compare(instruction_set, cpu, variant, expected[variant], found))
        control.append({"cpu": cpu, **json.loads(run(SATURATION))})
    if options.arm64:
        rows += measure_arm64(options.work, bundle, images, expected)
    content = {"images": len(images), "emulator": emulator(), "native": native_instructions(), "rows": rows,
               "control": control}  # fmt: skip
    write_text_atomically(bundle / INSTRUCTION_SETS_NAME, json.dumps(content, indent=1) + "\n")
    text = table(bundle.name, content)
    print(text, end="")
    if options.log:
        options.log.write_text(text, encoding="utf-8")
    refresh_page(bundle)
    return 0 if all(row["same"] == row["images"] for row in rows) else 1


def parse_arguments() -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("images", nargs="*", type=Path, help="images to classify (default: drawn ones)")
    parser.add_argument("--bundle", help="bundle to run (default: as the command line finds it)")
    parser.add_argument("--drawn", type=int, default=14, help="images to draw when none are named")
    parser.add_argument("--arm64", action="store_true", help="emulate a Raspberry Pi too: needs root and debootstrap")
    parser.add_argument("--work", type=Path, default=REPOSITORY / "build/instruction-sets", help="working folder")
    parser.add_argument("--log", type=Path, help="write the table into this file too")
    options = parser.parse_args()
    for tool in ("qemu-x86_64-static", *(("debootstrap", "qemu-aarch64-static") if options.arm64 else ())):
        if shutil.which(tool) is None:
            parser.exit(2, f"error: {tool} is missing: apt-get install debootstrap qemu-user-static\n")
    return options


def draw_images(folder: Path, count: int) -> list[Path]:
    """Draw phantoms of all classes in turn, the same in every run, and return their files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        code = ham10000().codes[number % len(ham10000().codes)]
        paths.append(folder / f"{number:02d}-{code}.png")
        draw_phantom(code, seed=number).save(paths[-1])
    return paths


def run_here(*arguments: str | Path) -> str:
    """Run Python on this machine's own CPU."""
    return _run([sys.executable], *arguments)


def emulated_x86(cpu: str) -> Run:
    """Return a function that runs this Python on an emulated CPU."""
    command = [shutil.which("qemu-x86_64-static") or "", "-cpu", cpu, sys.executable]
    return lambda *arguments: _run(command, *arguments)


def _run(command: list[str], *arguments: str | Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS")}
    environment["PYTHONPATH"] = str(REPOSITORY)
    finished = subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, check=False, cwd=REPOSITORY, env=environment
    )
    if finished.returncode != 0:
        raise SystemExit(f"error: {' '.join(map(str, [*command, *arguments]))}\n{finished.stdout}{finished.stderr}")
    return finished.stdout


def predict(run: Run, bundle: Path | str, images: list[Path] | list[str], variant: str) -> Predictions:
    """Return the probabilities of every image from a bundle's variant, on one thread."""
    engine, precision = variant.split("-", 1)
    flags = ["--bundle", str(bundle), "--engine", engine, "--precision", precision, "--threads", "1", "--json"]
    lines = run("-m", "edge_runtime", "predict", *images, *flags).splitlines()
    return [json.loads(line)["probabilities"] for line in lines]


def measure_arm64(
    work: Path, bundle: Path, images: list[Path], expected: dict[str, Predictions]
) -> list[dict[str, Any]]:
    """Return the rows of the Raspberry Pi's CPUs, with this checkout's wheel in an emulated Debian."""
    root = work.parent / "arm64" / f"root-{RELEASE}"  # the one that run_arm64.py builds and keeps
    if not (root / "usr/bin/python3-unpacked").exists():
        run_arm64.unpack_debian(root, RELEASE)
    run_arm64.install_wheel(root, root.parent, run_arm64.RELEASES[RELEASE])
    there, names = run_arm64.copy_inputs(root, bundle, images)
    rows = []
    for cpu, instruction_set in ARM64.items():
        os.environ["QEMU_CPU"] = cpu  # read by qemu-aarch64-static alone

        def run(*arguments: str | Path) -> str:
            return run_arm64.run_arm64(root, RELEASE, *map(str, arguments))

        for variant, predictions in expected.items():
            found = predict(run, there, names, variant)
            rows.append(compare(instruction_set, cpu, variant, predictions, found))
    return rows


def compare(instruction_set: str, cpu: str, variant: str, expected: Predictions, found: Predictions) -> dict[str, Any]:
    """Return a row of the table."""
    pairs = list(zip(expected, found, strict=True))
    return {
        "instruction_set": instruction_set,
        "cpu": cpu,
        "variant": variant,
        "images": len(pairs),
        "same": sum(max(one, key=one.__getitem__) == max(other, key=other.__getitem__) for one, other in pairs),
        "largest_difference": max(abs(one[code] - other[code]) for one, other in pairs for code in one),
    }


def emulator() -> str:
    """Return the emulator's name and version."""
    text = subprocess.run(["qemu-x86_64-static", "--version"], capture_output=True, text=True, check=True).stdout
    return "qemu " + text.split()[2]


def native_instructions() -> str:
    """Return which of the instructions that matter to 8-bit computation this machine's CPU has."""
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    known = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "VNNI", "avx_vnni": "AVX-VNNI", "amx_int8": "AMX",
             "asimddp": "dot products"}  # fmt: skip
    return ", ".join(name for flag, name in known.items() if flag in flags) or "none of AVX2, VNNI, AMX"


def table(name: str, content: dict[str, Any]) -> str:
    """Return the table as text."""
    lines = [f"bundle {name}, {content['images']} images, {content['emulator']}, compared with {content['native']}"]
    for row in content["rows"]:
        lines.append(
            f"{row['instruction_set']:<55} {row['variant']:<12} same prediction {row['same']} of {row['images']}, "
            f"largest difference of a probability {row['largest_difference']:.2g}"
        )
    for one in content["control"]:
        lines.append(
            f"control, {one['cpu']}: a saturating convolution is wrong by {one['eight_bits']:.1%} with weights "
            f"of 8 bits, by {one['seven_bits']:.1%} with 7"
        )
    return "\n".join(lines) + "\n"


def refresh_page(bundle: Path) -> None:
    """Put the table onto the bundle's page, where the bundle has one."""
    path = bundle / "report.json"
    report = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if "training" in report:
        write_bundle_page(bundle, read_manifest(bundle), report)


if __name__ == "__main__":
    sys.exit(main())
