"""Every program of ``examples/`` runs as its first lines say, on small data, and prints what it promises."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

from edge_runtime import Classifier
from edge_runtime.bundle.classes import ham10000
from edge_runtime.engines import installed_engines
from tests.conftest import REPOSITORY, TINY_BUNDLE, blob_image
from tests.webapp.conftest import running_server

EXAMPLES = sorted(path.stem for path in (REPOSITORY / "examples").glob("[!_]*.py"))


def run_example(name: str, *arguments: object, status: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"examples.{name}", *map(str, arguments)]
    finished = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert finished.returncode == status, finished.stderr
    return finished


@contextmanager
def started_example(name: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", f"examples.{name}", *map(str, arguments)]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        try:
            yield child
        finally:
            child.terminate()


def png_size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return image.size


@pytest.fixture(scope="module")
def classifiers() -> Iterator[list[Classifier]]:
    """Every installed engine: an example takes the fastest, and on a model this small they disagree now and then."""
    with ExitStack() as stack:
        yield [stack.enter_context(Classifier.load(TINY_BUNDLE, engine=engine)) for engine in installed_engines()]


def labels_of(source: Path | Image.Image, classifiers: list[Classifier]) -> set[str]:
    """Return the labels that the engines predict."""
    image = np.asarray(source) if isinstance(source, Image.Image) else source
    return {classifier.predict(image).label for classifier in classifiers}


@pytest.fixture(scope="module")
def class_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder per class, named as a clinic might, of 64 × 48 images whose colour tells the class."""
    folder = tmp_path_factory.mktemp("clinic")
    generator = np.random.default_rng(0)
    for label, code in enumerate(ham10000().codes):
        (folder / f"our {code}").mkdir()
        for number in range(10):
            coarse = 40 + 25 * label + generator.normal(0, 20, (6, 8, 3))
            image = Image.fromarray(coarse.clip(0, 255).astype(np.uint8)).resize((64, 48), Image.Resampling.BICUBIC)
            image.save(folder / f"our {code}" / f"{number}.jpg")
    return folder


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_first_lines_say_how_to_run_it(name: str) -> None:
    text = (REPOSITORY / "examples" / f"{name}.py").read_text(encoding="utf-8")
    assert re.match(rf'"""[^\n]+\n\npython -m examples\.{name} ', text), "expected the command under the first line"
    assert "usage:" in run_example(name, "--help").stdout
    assert f"def test_{name}(" in Path(__file__).read_text(encoding="utf-8"), "this example has no test"


def test_classify_folder(image_folder: Path, classifiers: list[Classifier], tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"not an image")
    for image in image_folder.glob("*.jpg"):
        (tmp_path / image.name).symlink_to(image)
    finished = run_example("classify_folder", tmp_path, "--bundle", TINY_BUNDLE, status=1)
    rows = {Path(row["image"]).name: row for row in csv.DictReader(io.StringIO(finished.stdout))}
    assert len(rows) == 7
    assert "broken.jpg" in rows["broken.jpg"]["error"] and not rows["broken.jpg"]["label"]
    for number in range(6):
        row = rows[f"lesion-{number}.jpg"]
        assert row["label"] in labels_of(image_folder / f"lesion-{number}.jpg", classifiers)
        assert 1 / 7 < float(row["confidence"]) < 1 and not row["error"]


def test_camera_loop(classifiers: list[Classifier], tmp_path: Path) -> None:
    for number in range(4):
        blob_image(300, 300, 1).save(tmp_path / f"{number}.png")
    finished = run_example("camera_loop", tmp_path, "--bundle", TINY_BUNDLE, "--steady", 3)
    (line,) = finished.stdout.splitlines()
    assert line.split()[0] in labels_of(tmp_path / "0.png", classifiers) and "over 3 frames" in line
    assert not run_example("camera_loop", tmp_path, "--bundle", TINY_BUNDLE, "--steady", 5).stdout
    missing = run_example("camera_loop", tmp_path / "none", "--bundle", TINY_BUNDLE, status=1)
    assert missing.stderr.startswith("error: ") and missing.stderr.count("\n") == 1


def test_call_api(image_folder: Path, classifiers: list[Classifier], tmp_path: Path) -> None:
    image, overlay = image_folder / "lesion-0.jpg", tmp_path / "overlay.png"
    with running_server() as (host, port):
        url = f"http://{host}:{port}"
        reply = json.loads(run_example("call_api", image, "--url", url, "--overlay", overlay).stdout)
        (tmp_path / "broken.jpg").write_bytes(b"not an image")
        refused = run_example("call_api", tmp_path / "broken.jpg", "--url", url, status=1)
    assert reply["label"] in labels_of(image, classifiers)
    assert png_size(overlay) == 2 * (classifiers[0].manifest.input.size,)
    assert refused.stderr.startswith("error 4")


def test_evaluate_your_data(classifiers: list[Classifier], tmp_path: Path) -> None:
    images = [blob_image(224, 224, seed) for seed in range(12)]
    agreed = [(image, labels_of(image, classifiers)) for image in images]
    label = next(next(iter(labels)) for _, labels in agreed if len(labels) == 1)
    other = next(code for code in ham10000().codes if code != label)
    for number, (image, labels) in enumerate(agreed):
        if labels == {label}:
            for code in (label, other):  # right in one folder, wrong in the other
                (tmp_path / code).mkdir(exist_ok=True)
                image.save(tmp_path / code / f"{number}.png")
    finished = run_example("evaluate_your_data", tmp_path, "--bundle", TINY_BUNDLE)
    assert re.search(rf"^ *{label}  sensitivity 1\.000 ", finished.stdout, re.MULTILINE)
    assert re.search(rf"^ *{other}  sensitivity 0\.000 ", finished.stdout, re.MULTILINE)
    assert "balanced accuracy 0.500 over 2 classes" in finished.stdout
    assert "expected images" in run_example("evaluate_your_data", tmp_path / "none", status=1).stderr


def test_heat_map_for_any_class(image_folder: Path, classifiers: list[Classifier], tmp_path: Path) -> None:
    image = image_folder / "lesion-1.jpg"
    run_example("heat_map_for_any_class", image, tmp_path, "--classes", "mel", "vasc", "--bundle", TINY_BUNDLE)
    maps = {path.name.split("-")[2]: path for path in tmp_path.iterdir()}
    assert set(maps) == {"mel", "vasc"}
    size = classifiers[0].manifest.input.size
    assert all(png_size(path) == (2 * size, size) for path in maps.values())
    assert maps["mel"].read_bytes() != maps["vasc"].read_bytes()


def test_kiosk(image_folder: Path) -> None:
    with started_example("kiosk", image_folder, "--bundle", TINY_BUNDLE, "--port", 0) as child:
        assert child.stdout is not None
        address = child.stdout.readline().strip()
        with urlopen(address, timeout=60) as reply:
            page = reply.read().decode()
    assert re.search(r'src="data:image/png;base64,[\w+/=]{1000,}"', page)
    label = re.search(r"<h1>(\w+) ", page)
    assert label and label[1] in ham10000().codes


@pytest.fixture(scope="module")
def trained_run(class_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The run and data folder that ``train_on_your_images`` makes with quick settings."""
    runs, data = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("data")
    classes = [f"our {code}={code}" for code in ham10000().codes]
    run_example(
        "train_on_your_images", class_folders, *classes, "--name", "mine", "--data-folder", data, "--",
        "--runs-folder", runs, "--cache-folder", tmp_path_factory.mktemp("cache"), "--init", "none", "--epochs", 1,
        "--image-size", 32, "--batch-size", 16, "--threads", 1, "--no-tensorboard", "--precision", "fp32",
    )  # fmt: skip
    return runs / "mine", data / "mine"


@pytest.mark.slow
def test_train_on_your_images(class_folders: Path, trained_run: tuple[Path, Path]) -> None:
    run, data = trained_run
    assert (run / "best.pt").is_file()
    assert len(list(data.glob("*/*.jpg"))) == 70
    assert (data / "mel" / "our-mel-0.jpg").samefile(class_folders / "our mel" / "0.jpg")
    refused = run_example("train_on_your_images", class_folders, "our mel=melanoma", status=2)
    assert "our mel=melanoma" in refused.stderr


@pytest.mark.slow
def test_export_your_checkpoint(class_folders: Path, trained_run: tuple[Path, Path], tmp_path: Path) -> None:
    images = sorted((class_folders / "our nv").iterdir())[:2]
    finished = run_example(
        "export_your_checkpoint", trained_run[0] / "best.pt", tmp_path / "bundle", *images, "--",
        "--formats", "onnx", "--calibration-images", 14, "--calibrator", "min-max", "--int8-goal", 10, "--threads", 1,
        "--tolerance-int8-agreement", 0.5,  # one epoch leaves the classes nearly equal
    )  # fmt: skip
    assert re.search(r"^0\.jpg: fp32 \w+ 0\.\d+, int8 \w+ 0\.\d+,", finished.stdout, re.MULTILINE)
    assert re.search(r"the same label on \d of 2 images", finished.stdout)
