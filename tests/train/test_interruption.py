"""Real processes, really killed: by SIGKILL and by SIGTERM, then resumed to the very weights of an unbroken run."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow

STEPS_PER_EPOCH = 3


def start(flags: list[str], folder: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "train", *flags]
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    for _ in range(6000):
        if path.exists() or process.poll() is not None:
            break
        time.sleep(0.02)
    assert path.exists(), process.communicate()


def finish(process: subprocess.Popen[str], status: int) -> str:
    output, errors = process.communicate(timeout=300)
    assert process.returncode == status, errors
    return output


def outcome(folder: Path) -> tuple[str, list[dict[str, float]]]:
    """SHA-256 over the learned and the averaged weights, and the rows of metrics without their times."""
    content = torch.load(folder / "last.pt", weights_only=True)
    digest = hashlib.sha256()
    for weights in (content["state_dict"], content["training_state"]["model"]):
        for name, tensor in weights.items():
            digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    times = ("seconds", "images_per_second")
    return digest.hexdigest(), [{key: value for key, value in row.items() if key not in times} for row in rows]


def test_killed_terminated_and_resumed(tiny_ham10000: Path, tmp_path: Path) -> None:
    flags = ["--data", str(tiny_ham10000), "--runs-folder", str(tmp_path), "--cache-folder", str(tmp_path / "cache")]
    flags += ["--architecture", "mobilenet_v3_small", "--init", "none", "--image-size", "32", "--batch-size", "8"]
    flags += ["--epochs", "8", "--augmentation", "strong", "--ema", "0.9", "--mixup", "0.2", "--precision", "fp32"]
    flags += ["--validation-fraction", "0.25", "--test-fraction", "0.25", "--no-tensorboard"]
    flags += ["--threads", "1", "--save-every-steps", "1"]
    finish(start([*flags, "--name", "unbroken"], tmp_path), 0)
    resume = ["--runs-folder", str(tmp_path), "--name", "broken", "--resume"]

    process = start([*flags, "--name", "broken"], tmp_path)
    wait_for(tmp_path / "broken" / "last.pt", process)
    process.kill()
    finish(process, -signal.SIGKILL)
    done = torch.load(tmp_path / "broken" / "last.pt", weights_only=True)["training_state"]["progress"]["step"]

    process = start(resume, tmp_path)
    before = (tmp_path / "broken" / "last.pt").stat().st_mtime_ns
    for _ in range(6000):
        if (tmp_path / "broken" / "last.pt").stat().st_mtime_ns != before:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output = finish(process, 128 + signal.SIGTERM)
    assert f"resuming after {done // STEPS_PER_EPOCH} epochs and {done} steps" in output
    assert output.endswith("stopped; resume with: python -m train --name broken --resume\n")

    finish(start(resume, tmp_path), 0)
    assert outcome(tmp_path / "broken") == outcome(tmp_path / "unbroken")
