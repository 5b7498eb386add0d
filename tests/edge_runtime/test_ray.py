"""On a local two-worker cluster, archive scoring gives folder mode's predictions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_runtime.engines import installed_engines
from tests.conftest import REPOSITORY

pytest.importorskip("ray.data", reason="Ray is not installed here")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def run(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    environment = {**os.environ, "RAY_worker_niceness": "0"}  # Ray's own choice starves on a busy machine
    return subprocess.run(
        command, capture_output=True, text=True, cwd=REPOSITORY, check=False, timeout=280, env=environment
    )


def test_a_folder_and_a_parquet_file_give_the_answers_of_folder_mode(
    image_folder: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    import pyarrow
    import pyarrow.parquet

    engine = installed_engines()[0]
    flags = ("--bundle", tiny_bundle, "--engine", engine)
    lines = run("edge_runtime", "predict", image_folder, *flags, "--json", "--threads", "1").stdout.splitlines()
    expected = {line["image"]: line["probabilities"] for line in map(json.loads, lines)}
    names = [*expected, "damaged.jpg"]
    data = [Path(name).read_bytes() for name in expected] + [b"no image"]
    archive = tmp_path / "archive.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"image": names, "bytes": data}), archive)
    for source, status in ((image_folder, 0), (archive, 1)):
        output = tmp_path / f"scores-{source.name}"
        finished = run("edge_runtime.ray", source, "--output", output, *flags, "--workers", "2", "--batch", "2")
        assert finished.returncode == status, finished.stderr
        rows = {row["image"]: row for row in pyarrow.parquet.read_table(output).to_pylist()}
        assert {name: {code: rows[name][code] for code in expected[name]} for name in expected} == expected
        assert set(rows) - set(expected) == ({"damaged.jpg"} if status else set())
    assert "found something else" in rows["damaged.jpg"]["error"]
