"""Training on other classes than HAM10000's: which are chosen, what a run keeps of them, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edge_runtime.bundle.classes import ham10000, read_class_set, shipped_class_sets
from edge_runtime.errors import CheckpointError, DataError
from train.configuration import TrainingConfiguration
from train.data.classes import choose_classes, write_class_set
from train.data.folder import load_records, read_data_folder
from train.model.architectures import build_model
from train.model.checkpoint import load_checkpoint
from train.model.initial_weights import initialise
from train.run import train_run

Quick = Callable[..., TrainingConfiguration]


def write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(len(str(path))).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("blue nevus", "Melanoma", "wart"):
        for number in range(3):
            write_image(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


def test_folders_are_classes_in_the_order_of_their_names(photos: Path) -> None:
    classes = choose_classes("folders", photos)
    assert [(one.code, one.name, one.group) for one in classes.classes] == [
        ("blue-nevus", "blue nevus", "other"),
        ("Melanoma", "Melanoma", "malignant"),
        ("wart", "wart", "other"),
    ]
    labels = {(record.path.parent.name, record.label) for record in load_records(photos, classes)}
    assert labels == {("blue nevus", 0), ("Melanoma", 1), ("wart", 2)}
    with pytest.raises(DataError, match=r"unknown class .*, expected one of akiec bcc .*; --classes takes others"):
        load_records(photos)


def test_a_file_may_give_several_folders_one_class(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        '[mole]\nname = "Mole"\ngroup = "benign"\nsynonyms = ["blue nevus", "wart"]\n[mel]\nname = "Melanoma"\n'
        'group = "malignant"\nmeaning = "Cancer \\"of\\" the pigment cells – serious."\n'
    )
    classes = choose_classes(str(path), photos)
    assert sorted({(one.path.parent.name, classes.codes[one.label]) for one in load_records(photos, classes)}) == [
        ("Melanoma", "mel"),
        ("blue nevus", "mole"),
        ("wart", "mole"),
    ]
    (tmp_path / "again.toml").write_text(write_class_set(classes), encoding="utf-8")
    assert read_class_set(tmp_path / "again.toml") == classes


@pytest.mark.parametrize("name", shipped_class_sets())
def test_shipped_sets_are_written_and_read_back(name: str, tmp_path: Path) -> None:
    classes = choose_classes(name, tmp_path)
    (tmp_path / "copy.toml").write_text(write_class_set(classes), encoding="utf-8")
    assert read_class_set(tmp_path / "copy.toml") == classes


def test_wrong_choices_are_one_line(tmp_path: Path) -> None:
    assert choose_classes(None, tmp_path) == ham10000()
    with pytest.raises(DataError, match=r"--classes: expected .*isic2019, folders or a TOML file, found 'nine'"):
        choose_classes("nine", tmp_path)
    write_image(tmp_path / "data" / "only" / "a.png")
    with pytest.raises(DataError, match="its folders are not usable as classes: expected at least two"):
        choose_classes("folders", tmp_path / "data")
    with pytest.raises(DataError, match="expected a data folder, found nothing"):
        choose_classes("folders", tmp_path / "nowhere")


def test_isic_2019_has_its_eighth_class(tmp_path: Path) -> None:
    columns = ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"]
    lines = ["image," + ",".join(columns)]
    for index, column in enumerate(columns):
        lines.append(f"ISIC_{column}," + ",".join(str(float(index == one)) for one in range(len(columns))))
        write_image(tmp_path / "images" / f"ISIC_{column}.jpg")
    (tmp_path / "ISIC_2019_Training_GroundTruth.csv").write_text("\n".join(lines) + "\n")
    for choice in ("isic2019", "binary-malignant", "ham10000"):
        found = read_data_folder(tmp_path, choose_classes(choice, tmp_path))
        labels = {one.image_id.removeprefix("ISIC_"): found.classes.codes[one.label] for one in found.records}
        assert ("SCC" in labels) == (choice != "ham10000")
        if choice == "isic2019":
            assert labels == {column: column.lower() for column in columns if column != "UNK"}
        if choice == "binary-malignant":
            assert {column for column, code in labels.items() if code == "malignant"} == {"MEL", "BCC", "AK", "SCC"}


def test_a_diagnosis_of_ham10000_that_is_no_class_is_passed_over(tiny_ham10000: Path, tmp_path: Path) -> None:
    path = tmp_path / "two.toml"
    path.write_text("[mel]\n[nv]\n")
    found = read_data_folder(tiny_ham10000, choose_classes(str(path), tiny_ham10000))
    assert {one.label for one in found.records} == {0, 1}
    assert any("none of the classes: df" in line for line in found.passed_over)


def test_a_run_is_not_resumed_with_other_classes(quick: Quick, tmp_path: Path) -> None:
    configuration = quick(runs_folder=str(tmp_path), name="two", classes="binary-malignant", epochs=1)
    train_run(configuration)
    checkpoint = load_checkpoint(configuration.run_folder / "best.pt")
    assert checkpoint.classes.codes == ("benign", "malignant")
    assert tuple(json.loads((configuration.run_folder / "data_report.json").read_text())["by_class"]) == (
        "benign",
        "malignant",
    )
    with pytest.raises(CheckpointError, match="expected the classes benign malignant, found akiec bcc"):
        train_run(quick(runs_folder=str(tmp_path), name="two", epochs=1), resume=True)
    text = (configuration.run_folder / "classes.toml").read_text()
    (tmp_path / "renamed.toml").write_text(text.replace("A harmless lesion", "Something harmless"))
    with pytest.raises(CheckpointError, match="meanings or synonyms of benign changed since"):
        train_run(
            quick(runs_folder=str(tmp_path), name="two", classes=str(tmp_path / "renamed.toml"), epochs=1), resume=True
        )


def test_weights_of_other_classes_give_their_backbone_only(quick: Quick, tmp_path: Path) -> None:
    configuration = quick(runs_folder=str(tmp_path), name="two", classes="binary-malignant", epochs=1)
    train_run(configuration)
    path = configuration.run_folder / "best.pt"
    two = read_class_set(shipped_class_sets()["binary-malignant"])
    model = build_model("tiny", classes=2)
    assert initialise(model, str(path), two).random == ()
    (tmp_path / "other.toml").write_text("[a]\n[b]\n")
    other = build_model("tiny", classes=2)
    report = initialise(other, str(path), read_class_set(tmp_path / "other.toml"))
    assert report.random == ("head.classifier.weight", "head.classifier.bias")
    assert torch.equal(other.features.state_dict()["stem.0.weight"], model.features.state_dict()["stem.0.weight"])
