"""Defaults < preset < TOML < flags; every wrong value is named with its option."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.errors import DataError, run_command_line
from edge_runtime.settings import settings_of
from train.augmentation.strengths import PRESETS as AUGMENTATIONS
from train.command_line import LaunchOptions, main, make_parser, read_configuration
from train.configuration import PRESETS, TrainingConfiguration, configuration_from_dict, resolve_configuration


def test_flags_override_toml_which_overrides_the_preset(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("epochs = 3\nlearning-rate = 1\nbatch_size = 16\n")
    flags = make_parser().parse_args(["--preset", "demo", "--config", str(file), "--batch-size", "4"])
    configuration = read_configuration(flags)
    assert configuration.batch_size == 4
    assert configuration.epochs == 3
    assert configuration.learning_rate == 1.0
    assert configuration.init == PRESETS["demo"]["init"]
    assert configuration.weight_decay == TrainingConfiguration().weight_decay


def test_every_option_is_a_flag_with_help_and_default() -> None:
    text = " ".join(make_parser().format_help().split())
    for setting in settings_of(TrainingConfiguration):
        assert setting.description, setting.name
        assert f"{setting.flag} " in text
        if setting.default is not None and setting.default is not False:
            assert f"(default: {setting.default})" in text


def test_the_offered_presets_are_those_that_exist() -> None:
    offered = {setting.name: set(setting.choices) for setting in settings_of(TrainingConfiguration)}
    assert offered["augmentation"] == set(AUGMENTATIONS)
    assert {setting.name: set(setting.choices) for setting in settings_of(LaunchOptions)}["preset"] == set(PRESETS)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_valid(preset: str) -> None:
    assert resolve_configuration(preset) != TrainingConfiguration()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", r"/run\.toml: unknown key 'epoch'"),
        ("epochs = 3.5", r"--epochs: expected a whole number from 0 to 100000, found 3\.5"),
        ('epochs = "many"', r"--epochs: expected a whole number from 0 to 100000, found 'many'"),
        ("patient_metadata = 1", r"--patient-metadata: expected true or false, found 1"),
        ("batch_size = true", r"--batch-size: expected a whole number from 2 to 65536, found True"),
        ('loss = "hinge"', r"--loss: expected one of cross-entropy, .*, weighted-cross-entropy, found 'hinge'"),
        ("label_smoothing = 1.5", r"--label-smoothing: expected a number from 0 to 0\.9, found 1\.5"),
        ("learning_rate = -1", r"--learning-rate: expected a number from 0 to 100, found -1"),
        ("learning_rate = nan", r"--learning-rate: expected a number from 0 to 100, found nan"),
        ("folds = 3\nfold = 3", r"--fold: expected a number below --folds \(3\), found 3"),
        ("batch_size = 4\naccumulate = 8", r"--accumulate: expected at most --batch-size \(4\), found 8"),
        ("epochs = [", r"run\.toml: expected TOML"),
    ],
)
def test_bad_settings(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        resolve_configuration(file=file)


def test_a_value_out_of_range_is_named_with_the_file_it_stands_in(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("epochs = -1\n")
    with pytest.raises(DataError, match=r"/run\.toml: --epochs: expected a whole number from 0 to 100000, found -1"):
        resolve_configuration(file=file)


def test_a_configuration_saved_under_former_names_is_read() -> None:
    saved = {"teacher_answers": "drawn", "epochs": 3}
    configuration = configuration_from_dict(saved, "config.json")
    assert configuration == TrainingConfiguration(teacher_predictions="sampled", epochs=3)
    with pytest.raises(DataError, match=r"config\.json: unknown key 'colour'"):
        configuration_from_dict({"colour": 3}, "config.json")


def test_unknown_preset_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--preset: expected one of demo"):
        resolve_configuration("best")
    with pytest.raises(DataError, match=r"none\.toml: cannot be read: No such file"):
        resolve_configuration(file=tmp_path / "none.toml")


def test_command_line_says_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    status = run_command_line(lambda: main(["--data", "nowhere", "--name", "x"]))
    assert status == 1
    assert capsys.readouterr().err == "error: nowhere: expected a data folder, found nothing\n"
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"runs/x/config\.json: cannot be read, so there is nothing to resume"):
        main(["--name", "x", "--resume"])


def test_every_option_is_documented() -> None:
    docs = Path(__file__).resolve().parents[2] / "docs"
    text = "".join((docs / folder / "train.md").read_text(encoding="utf-8") for folder in ("reference", "how-to"))
    for setting in settings_of(TrainingConfiguration):
        assert f"| `{setting.flag}` |" in text
    for preset in PRESETS:
        assert f"--preset {preset}" in text
