"""The classes that a model tells apart: what each is called, its group, and what it means.

A bundle's manifest lists its classes, and every reader takes them from there. :data:`HAM10000` is only the default of
training, and where bundles whose manifest has no plain-language sentences get them from.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

import msgspec

from edge_runtime.errors import DataError

Group = Literal["malignant", "benign", "other"]

CLASS_SETS_FOLDER = Path(__file__).parent / "class_sets"
RESERVED_CODES = frozenset({
    "image", "label", "confidence", "verdict", "engine", "precision", "views", "decode_ms", "features_ms", "head_ms",
    "warnings", "error", "bundle", "age", "sex", "site", "heat_map", "size_bytes",
    "modified_ns", "changed_ns",
})  # fmt: skip
"""Columns that result tables have beside one for each class, so no class may be called so."""

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")


class LesionClass(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One class: its code, the name people read, and its group.

    ``malignant`` says whether ``group`` is "malignant"; manifests without ``group`` mean "benign" otherwise.
    ``meaning`` is one sentence or two in plain language; ``synonyms`` are further words for the class in data sets.
    """

    code: str
    name: str
    malignant: bool
    group: Group | None = None
    meaning: str = ""
    synonyms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _CODE.fullmatch(self.code) or self.code.lower() in RESERVED_CODES:
            raise ValueError(
                f"expected a class code of at most 40 letters, digits, '_', '.' or '-' that is no column of result "
                f"tables, found {self.code!r}"
            )
        if not self.name.strip() or not self.name.isprintable():
            raise ValueError(f"class {self.code}: expected a name of one line, found {self.name!r}")
        if self.group is not None and self.malignant != (self.group == "malignant"):
            raise ValueError(f"class {self.code}: is of group {self.group!r}, but malignant is {self.malignant}")


@dataclass(frozen=True)
class ClassSet:
    """The classes of a model or data set, in the order of every array: at least two, with distinct codes.

    Raises :class:`ValueError` for anything else, and where one word means two classes.
    """

    classes: tuple[LesionClass, ...]

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise ValueError(f"expected at least two classes, found {' '.join(self.codes) or 'none'}")
        codes = [code.lower() for code in self.codes]
        for code in codes:
            if codes.count(code) > 1:
                raise ValueError(f"expected classes with distinct codes, found {code!r} {codes.count(code)} times")
        self._index_of_word  # noqa: B018  raises for a word of two classes

    def __len__(self) -> int:
        return len(self.classes)

    @cached_property
    def codes(self) -> tuple[str, ...]:
        """The codes in class order."""
        return tuple(one.code for one in self.classes)

    @cached_property
    def malignant_indices(self) -> tuple[int, ...]:
        """Indices of the malignant group, none for a set without one."""
        return tuple(index for index, one in enumerate(self.classes) if one.malignant)

    @cached_property
    def _index_of_word(self) -> dict[str, int]:
        words: dict[str, int] = {}
        for index, one in enumerate(self.classes):
            for word in (one.code, one.name, *one.synonyms):
                if words.setdefault(_plain(word), index) != index:
                    raise ValueError(f"{word!r} means both {self.codes[words[_plain(word)]]} and {one.code}")
        return words

    def index_of(self, word: str) -> int | None:
        """Return the index of the class that a code, name or synonym in any case means, ``None`` for no class."""
        return self._index_of_word.get(_plain(word))


def read_class_set(path: Path) -> ClassSet:
    """Read a TOML file with one ``[CODE]`` table per class: ``name``, ``group``, ``meaning`` and ``synonyms``.

    Raises :class:`DataError` naming the file and what is wrong in it.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        classes = [_class_of_table(code, msgspec.convert(table, _Table)) for code, table in tables.items()]
        return ClassSet(tuple(classes))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError, ValueError) as error:
        message = str(error)
        raise DataError(f"{path}: {message[:1].lower()}{message[1:]}") from None


def shipped_class_sets() -> dict[str, Path]:
    """Return the class sets that come with the program: name → TOML file."""
    return {path.stem: path for path in sorted(CLASS_SETS_FOLDER.glob("*.toml"))}


@cache
def ham10000() -> ClassSet:
    """Return the seven diagnoses of HAM10000 (Tschandl, Rosendahl, Kittler, Scientific Data 5:180161, 2018)."""
    return read_class_set(CLASS_SETS_FOLDER / "ham10000.toml")


def with_meanings(classes: Sequence[LesionClass]) -> tuple[LesionClass, ...]:
    """Return the classes with group and meaning filled in, as manifests before 0.2.0 do not have them."""
    return tuple(_with_meaning(one) for one in classes)


def _with_meaning(one: LesionClass) -> LesionClass:
    group: Group = one.group or ("malignant" if one.malignant else "benign")
    meaning = one.meaning
    if one.group is None and not meaning:
        known = next((each for each in ham10000().classes if (each.code, each.name) == (one.code, one.name)), None)
        meaning = known.meaning if known else ""
    return msgspec.structs.replace(one, group=group, meaning=meaning)


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    name: str = ""
    group: Group = "other"
    meaning: str = ""
    synonyms: tuple[str, ...] = ()


def _class_of_table(code: str, table: _Table) -> LesionClass:
    return LesionClass(code, table.name or code, table.group == "malignant", table.group, table.meaning, table.synonyms)


def _plain(word: str) -> str:
    return re.sub(r"[\W_]+", " ", word.casefold()).strip()
