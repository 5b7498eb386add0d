"""Which classes a data set is read with: ``--classes`` names a set that comes along, a file, or "folders"."""

from __future__ import annotations

import json
import re
from pathlib import Path

from edge_runtime.bundle.classes import ClassSet, Group, LesionClass, ham10000, read_class_set, shipped_class_sets
from edge_runtime.errors import DataError
from train.data.layouts.class_folders import class_folder_names
from train.data.layouts.contents import read_contents

FOLDERS = "folders"
"""The choice that makes each folder's name a class."""


def choose_classes(choice: str | None, data: Path) -> ClassSet:
    """Return the classes that ``--classes`` asks for; without it those of HAM10000. Raises :class:`DataError`."""
    if choice is None:
        return ham10000()
    if choice == FOLDERS:
        return classes_of_folders(data)
    shipped = shipped_class_sets()
    path = shipped.get(choice, Path(choice))
    if choice not in shipped and not path.exists():
        raise DataError(f"--classes: expected {', '.join([*shipped, FOLDERS])} or a TOML file, found {choice!r}")
    return read_class_set(path)


def classes_of_folders(data: Path) -> ClassSet:
    """Return one class for each folder of images, in the order of their names.

    The group is that of the diagnosis that the name means, "other" where it means none that is known.
    """
    if not data.is_dir():
        raise DataError(f"{data}: expected a data folder, found {'a file' if data.exists() else 'nothing'}")
    names = class_folder_names(read_contents(data))
    groups = read_class_set(shipped_class_sets()["binary-malignant"])
    try:
        return ClassSet(tuple(_class_of(name, groups) for name in names))
    except ValueError as error:
        raise DataError(f"{data}: its folders are not usable as classes: {error}") from None


def write_class_set(classes: ClassSet) -> str:
    """Return the TOML text that :func:`edge_runtime.bundle.classes.read_class_set` reads back."""
    return "\n".join(_table(one) for one in classes.classes)


def _class_of(name: str, groups: ClassSet) -> LesionClass:
    index = groups.index_of(name)
    group: Group = "other" if index is None else groups.classes[index].group or "other"
    code = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-._")[:40]
    return LesionClass(code, name, group == "malignant", group)


def _table(one: LesionClass) -> str:
    values = {"name": one.name, "group": one.group or ("malignant" if one.malignant else "benign")}
    values |= {"meaning": one.meaning} if one.meaning else {}
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    if one.synonyms:
        lines.append(f"synonyms = {json.dumps(list(one.synonyms), ensure_ascii=False)}")
    return "\n".join([f"[{json.dumps(one.code)}]", *lines]) + "\n"
