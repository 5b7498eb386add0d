"""Flags of ``python -m train``: one for each option of the configuration, with its help and default from there."""

from __future__ import annotations

import argparse
import dataclasses
import json
import typing
from pathlib import Path
from typing import Any

from edge_runtime.errors import DataError
from edge_runtime.settings import OneLineParser
from train.configuration import PRESETS, TrainingConfiguration, configuration_from_dict, resolve_configuration

EXAMPLE = """example:
  python -m train --data data/ham10000 --name first --epochs 12
  python -m train --name first --resume
"""


def main(arguments: list[str] | None = None) -> int:
    """Train as the flags say, one run or all folds; returns the exit status."""
    flags = make_parser().parse_args(arguments)
    configuration = read_configuration(flags)
    from train.learning.loop import Interrupted  # after the flags are read, so that --help is quick

    try:
        if configuration.folds is not None and configuration.fold is None:
            _run_folds(configuration, resume=flags.resume)
        else:
            _run_once(configuration, resume=flags.resume)
    except Interrupted:
        print(f"stopped; go on with: python -m train --name {configuration.name} --resume")
        return 130
    return 0


def _run_once(configuration: TrainingConfiguration, *, resume: bool) -> None:
    from train.run import train_run

    result = train_run(configuration, resume=resume)
    if not result.is_first_worker:
        return
    figures = result.metrics
    print(
        f"best epoch {result.best_epoch}: balanced accuracy {figures['balanced_accuracy']:.3f}, accuracy "
        f"{figures['accuracy']:.3f}, macro F1 {figures['macro_f1']:.3f} (validation)\n"
        f"outputs: {result.folder}/best.pt, metrics.jsonl, split.csv; tensorboard --logdir {result.folder}/tensorboard"
    )


def _run_folds(configuration: TrainingConfiguration, *, resume: bool) -> None:
    from train.folds import train_folds

    result = train_folds(configuration, resume=resume)
    print(f"mean ± standard deviation over {configuration.folds} folds (validation):")
    for name in result.mean:
        print(f"  {name:28} {result.mean[name]:.4f} ± {result.deviation[name]:.4f}")
    print(f"outputs: {result.folder}/folds.json, {result.folder}/fold-*/best.pt")


def make_parser() -> argparse.ArgumentParser:
    """One flag per field of :class:`TrainingConfiguration`, plus --preset, --config and --resume."""
    parser = OneLineParser(
        prog="python -m train",
        description="Fine-tune a skin-lesion classifier. Without --data: on generated demo images.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--preset", choices=sorted(PRESETS), help="start from these settings")
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file of settings; flags override it")
    parser.add_argument("--resume", action="store_true", help="go on with the run --name from its last.pt")
    hints = typing.get_type_hints(TrainingConfiguration)
    for option in dataclasses.fields(TrainingConfiguration):
        flag = "--" + option.name.replace("_", "-")
        text = f"{option.metadata['help']} (default: {option.default})".strip().replace("%", "%%")
        kind = next(kind for kind in (typing.get_args(hints[option.name]) or (hints[option.name],)))
        if kind is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
        else:
            choices = option.metadata["choices"]
            metavar = None if choices else {int: "N", float: "X", str: "TEXT"}[kind]
            parser.add_argument(flag, type=kind, choices=choices, metavar=metavar, default=None, help=text)
    return parser


def read_configuration(flags: argparse.Namespace) -> TrainingConfiguration:
    """The configuration that the flags ask for; with --resume the saved one. Raises :class:`DataError`."""
    names = [option.name for option in dataclasses.fields(TrainingConfiguration)]
    overrides = {name: getattr(flags, name) for name in names if getattr(flags, name) is not None}
    if not flags.resume:
        return resolve_configuration(flags.preset, flags.config, overrides)
    folder = resolve_configuration(overrides={k: overrides[k] for k in ("name", "runs_folder") if k in overrides})
    return _saved_configuration(folder.run_folder / "config.json", overrides)


def _saved_configuration(path: Path, overrides: dict[str, Any]) -> TrainingConfiguration:
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read, so there is nothing to resume: {error.strerror}") from None
    except ValueError:
        raise DataError(f"{path}: expected JSON written by an earlier run") from None
    configuration = configuration_from_dict(saved, str(path))
    for name, value in overrides.items():
        if getattr(configuration, name) != value and name not in ("runs_folder", "name", "threads", "cache_folder"):
            flag = "--" + name.replace("_", "-")
            raise DataError(f"{flag}: a resumed run keeps {getattr(configuration, name)!r}, found {value!r}")
    return dataclasses.replace(configuration, **overrides)
