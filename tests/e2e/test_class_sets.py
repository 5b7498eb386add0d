"""Two and eight classes travel the whole way: training, report, bundle, command line, API and page in a browser.

Seven of them do so in ``test_chain.py``. A shallow network and few images: what it learns does not matter here.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from edge_runtime import Classifier
from edge_runtime.bundle.classes import ham10000, read_class_set
from edge_runtime.bundle.manifest import read_manifest
from edge_runtime.cli.main import main as edge_main
from export.__main__ import main as export_main
from tests.export.networks import shallow_networks
from tests.webapp.conftest import running_server
from train.command_line import main as train_main
from train.evaluate import main as evaluate_main
from train.model.checkpoint import load_checkpoint
from webapp import create_app
from webapp.configuration import WebConfiguration

FOLDERS = ("Abscess", "common nevus", "cyst", "Melanoma", "scar", "tattoo", "wart", "Zoster")
FOLDER_CODES = ("Abscess", "common-nevus", "cyst", "Melanoma", "scar", "tattoo", "wart", "Zoster")
LOOSE = [
    "--calibration-images", "8", "--selection-images", "4", "--calibrator", "min-max", "--threads", "1",
    "--tolerance-int8-agreement", "0", "--tolerance-accuracy-loss", "1", "--tolerance-balanced-accuracy-loss", "1",
    "--tolerance-recall-loss", "1", "--tolerance-int8-explain-correlation", "-1",
]  # fmt: skip


@dataclass(frozen=True)
class Chain:
    """What came out of a chain: the run's folder, the bundle, an image, and the codes expected everywhere."""

    run: Path
    bundle: Path
    image: Path
    codes: tuple[str, ...]


def _save(path: Path, label: int, number: int) -> None:
    colour = np.random.default_rng(label).integers(30, 226, 3)
    noisy = colour + np.random.default_rng([label, number]).normal(0, 25, (64, 64, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path)


def write_diagnoses(folder: Path) -> Path:
    """HAM10000's layout and diagnoses, six images of each: read as two classes."""
    with (folder / "HAM10000_metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("lesion_id", "image_id", "dx"))
        for label, code in enumerate(ham10000().codes):
            for number in range(6):
                _save(folder / "images" / f"ISIC_{label}{number}.jpg", label, number)
                writer.writerow((f"HAM_{label}{number}", f"ISIC_{label}{number}", code))
    return folder


def write_folders(folder: Path) -> Path:
    """Eight folders of six images each, whose names are the classes."""
    for label, name in enumerate(FOLDERS):
        for number in range(6):
            _save(folder / name / f"{number}.jpg", label, number)
    return folder


SETS: dict[str, tuple[Callable[[Path], Path], str, tuple[str, ...], list[str]]] = {
    "two": (write_diagnoses, "binary-malignant", ("benign", "malignant"), ["onnx"]),
    "eight": (write_folders, "folders", FOLDER_CODES, ["onnx", "tflite"]),
}


@pytest.fixture(scope="module", params=SETS)
def chain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """Train for one epoch, evaluate and export."""
    write, classes, codes, formats = SETS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "data").mkdir()
    data = write(folder / "data")
    with shallow_networks():
        cache = ["--cache-folder", str(folder / "cache")]
        train_main([
            "--data", str(data), "--classes", classes, "--runs-folder", str(folder / "runs"), *cache, "--name", "run",
            "--architecture", "shallow_resnet", "--init", "none", "--epochs", "1", "--image-size", "64",
            "--batch-size", "8", "--precision", "fp32", "--validation-fraction", "0.3", "--test-fraction", "0.3",
        ])  # fmt: skip
        run = folder / "runs" / "run"
        flags = ["--run", "run", "--runs-folder", str(folder / "runs"), *cache]
        evaluate_main([*flags, "--bootstrap", "10", "--gallery", "2", "--corruption-images", "0"])
        export_main([
            "--checkpoint", str(run / "best.pt"), "--output", str(folder / "bundle"), "--formats", *formats, *LOOSE,
        ])  # fmt: skip
        with Classifier.load(folder / "bundle", engine="onnx") as classifier:  # the page explains no rejected image
            images = sorted(data.rglob("*.jpg"))
            image = next(path for path in images if classifier.predict(path).verdict != "not_a_lesion_image")
        yield Chain(run, folder / "bundle", image, codes)


def test_the_run_records_them(chain: Chain) -> None:
    classes = load_checkpoint(chain.run / "best.pt").classes
    assert classes.codes == chain.codes
    assert read_class_set(chain.run / "classes.toml") == classes
    assert tuple(json.loads((chain.run / "data_report.json").read_text())["by_class"]) == chain.codes


def test_the_report_is_about_them(chain: Chain) -> None:
    folder = chain.run / "evaluation-test"
    report = json.loads((folder / "report.json").read_text())
    assert tuple(row["code"] for row in report["classes"]) == chain.codes
    assert np.array(report["confusion_matrix"]).shape == (len(chain.codes), len(chain.codes))
    malignant = [row["code"] for row in report["classes"] if row["malignant"]]
    assert malignant == ["malignant" if len(chain.codes) == 2 else "Melanoma"]
    header = (folder / "predictions.csv").read_text().splitlines()[0]
    assert header.split(",") == ["image", "lesion", "truth", "label", *chain.codes]
    assert not (folder / "isic_submission.csv").exists(), "no challenge has these classes"
    page = (folder / "report.html").read_text()
    assert all(f">{code}</strong>" in page for code in chain.codes)


def test_the_bundle_carries_them(chain: Chain) -> None:
    classes = read_manifest(chain.bundle).class_set
    assert classes == load_checkpoint(chain.run / "best.pt").classes
    assert (chain.bundle / "labels.txt").read_text().split("\n")[:-1] == list(chain.codes)
    card = (chain.bundle / "README.md").read_text()
    assert all(
        f"`{code}` | {one.name} | {one.group} |" in card for code, one in zip(chain.codes, classes.classes, strict=True)
    )
    assert "seven" not in card
    assert "akiec" not in card


def test_command_line_and_api_predict_them(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    client = create_app(WebConfiguration(bundle=chain.bundle)).test_client()
    for engine in sorted({name.partition("-")[0] for name in read_manifest(chain.bundle).variants}):
        flags = [str(chain.image), "--bundle", str(chain.bundle), "--engine", engine]
        assert edge_main(["predict", *flags, "--json"]) == 0
        prediction = json.loads(capsys.readouterr().out)
        assert tuple(prediction["probabilities"]) == chain.codes
        assert sum(prediction["probabilities"].values()) == pytest.approx(1)
        assert edge_main(["predict", *flags, "--format", "csv"]) == 0
        (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
        assert [float(row[code]) for code in chain.codes] == list(prediction["probabilities"].values())
        upload = {"image": (io.BytesIO(chain.image.read_bytes()), "x.jpg"), "engine": engine}
        explained = client.post("/api/v1/predict", data={**upload, "explain_class": chain.codes[-1]}).get_json()
        assert explained["explained_class"] == chain.codes[-1]
        assert explained["probabilities"] == pytest.approx(prediction["probabilities"], abs=1e-9)


def test_the_page_shows_them(chain: Chain, open_page: Callable[..., Page]) -> None:
    with running_server(chain.bundle, engine="onnx") as (host, port):
        page = open_page(base=f"http://{host}:{port}")
        page.set_input_files("#choose", [chain.image])
        expect(page.locator("#bars .bar.top")).to_have_count(1)
        assert page.locator("#bars .bar").evaluate_all("bars => bars.map(bar => bar.dataset.code)") == list(chain.codes)
        page.locator(f'.bar[data-code="{chain.codes[-1]}"]').click()
        expect(page.locator(f'#heat[data-code="{chain.codes[-1]}"]')).to_have_count(1)
