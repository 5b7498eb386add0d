"""Classes come from the manifest: any set of at least two, in its order, wherever a prediction is shown."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import msgspec
import pytest

from edge_runtime import Classifier
from edge_runtime.bundle.classes import (
    RESERVED_CODES,
    ClassSet,
    LesionClass,
    ham10000,
    read_class_set,
    shipped_class_sets,
    with_meanings,
)
from edge_runtime.bundle.manifest import read_manifest, write_manifest
from edge_runtime.cli.main import main
from edge_runtime.engines import installed_engines
from edge_runtime.errors import DataError, EngineError
from edge_runtime.io.output import csv_columns, result_columns
from tests.conftest import TINY_BUNDLE, blob_image

ENGINE = installed_engines()[0]
CODES = ("zoster", "common-nevus", "b", "c", "d", "e", "a")


@pytest.fixture
def renamed(tmp_path: Path) -> Path:
    """The tiny bundle with seven other classes, in an order of their own."""
    bundle = Path(shutil.copytree(TINY_BUNDLE, tmp_path / "renamed"))
    classes = [LesionClass(code, f"Name of {code}", False, "other", f"About {code}.") for code in CODES]
    write_manifest(bundle, msgspec.structs.replace(read_manifest(bundle), classes=classes))
    return bundle


def test_predictions_have_the_manifests_classes(renamed: Path) -> None:
    image = blob_image()
    with Classifier.load(TINY_BUNDLE, engine=ENGINE) as before, Classifier.load(renamed, engine=ENGINE) as after:
        expected = before.predict(image)
        found = after.predict(image, explain_class="common-nevus")
        assert list(found.probabilities.items()) == list(zip(CODES, expected.probabilities.values(), strict=True))
        assert found.label == CODES[before.class_codes.index(expected.label)]
        assert found.explained_class == "common-nevus"
        with pytest.raises(EngineError, match=r"unknown class 'mel', expected one of zoster common-nevus b c d e a"):
            after.predict(image, explain_class="mel")


def test_every_output_format_follows(
    renamed: Path, image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [str(image_folder), "--bundle", str(renamed), "--engine", ENGINE]
    assert main(["predict", *flags, "--json"]) == 0
    predictions = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(tuple(one["probabilities"]) == CODES for one in predictions)
    assert main(["predict", *flags, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert tuple(rows[0]) == csv_columns(CODES)
    assert [row["label"] for row in rows] == [one["label"] for one in predictions]
    assert main(["predict", *flags]) == 0
    assert f"(Name of {predictions[0]['label']})" in capsys.readouterr().out
    assert main(["predict", *flags, "--format", "table"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert {len(line[: line.index("%")]) for line in lines} == {header.index("confidence") + len("confidence") - 1}


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_a_result_file_of_other_classes_is_not_continued(
    suffix: str, renamed: Path, image_folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / f"results.{suffix}"
    flags = ["predict", str(image_folder), "--engine", ENGINE, "--output", str(output), "--resume"]
    assert main([*flags, "--bundle", str(TINY_BUNDLE)]) == 0
    with pytest.raises(DataError, match=r"classes|bundle \w+, but this run uses bundle"):
        main([*flags, "--bundle", str(renamed)])


def test_classes_of_old_manifests_get_groups_and_meanings() -> None:
    old = [LesionClass(one.code, one.name, one.malignant) for one in ham10000().classes]
    assert [(one.code, one.group, one.meaning) for one in with_meanings(old)] == [
        (one.code, one.group, one.meaning) for one in ham10000().classes
    ]
    (wart,) = with_meanings([LesionClass("mel", "Our own word", True)])
    assert (wart.group, wart.meaning) == ("malignant", "")


def test_columns_of_tables_are_no_class_codes() -> None:
    assert set(result_columns(())) == RESERVED_CODES


@pytest.mark.parametrize(("name", "count"), [("ham10000", 7), ("isic2019", 8), ("binary-malignant", 2)])
def test_shipped_sets(name: str, count: int) -> None:
    classes = read_class_set(shipped_class_sets()[name])
    assert len(classes) == count
    assert all(one.meaning.endswith(".") and one.group in ("malignant", "benign") for one in classes.classes)
    assert {classes.classes[classes.index_of(word) or 0].group for word in ("mel", "BCC", "Melanoma")} == {"malignant"}
    for one in ham10000().classes:
        index = classes.index_of(one.code)
        assert index is not None
        assert classes.classes[index].group == one.group
    assert classes.index_of("wart") is None


def test_words_mean_a_class_in_any_case_and_spelling() -> None:
    classes = ClassSet((LesionClass("a", "Common Nevus", False), LesionClass("b", "Other", False, synonyms=("x-y",))))
    assert [classes.index_of(word) for word in ("A", "common_nevus", "COMMON  nevus", "X Y", "x")] == [0, 0, 0, 1, None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a]\n", "expected at least two classes, found a"),
        ("", "expected at least two classes, found none"),
        ("[a]\n[A]\n", "expected classes with distinct codes, found 'a' 2 times"),
        ("[a]\nname='x'\n[b]\nsynonyms=['X']\n", "'X' means both a and b"),
        ("[a]\n[label]\n", "expected a class code of .*, found 'label'"),
        ("[a]\n['b,c']\n", "expected a class code of .*, found 'b,c'"),
        ("[a]\n[b]\nname='x\\ny'\n", None),
        ('[a]\n[b]\nname="x\\ny"\n', "class b: expected a name of one line"),
        ("[a]\n[b]\ngroup='bad'\n", "invalid enum value 'bad'"),
        ("[a]\n[b]\ncolour='red'\n", "unknown field `colour`"),
        ("[a\n", "expected"),
        ("a = 1\n", "expected `object`"),
    ],
)
def test_a_file_of_classes(text: str, message: str | None, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text)
    if message is None:
        assert read_class_set(path).codes == ("a", "b")
        return
    with pytest.raises(DataError, match=f"own.toml: .*{message}"):
        read_class_set(path)
    with pytest.raises(DataError, match=r"none.toml: cannot be read: No such file"):
        read_class_set(tmp_path / "none.toml")
