"""The layouts are recognised by themselves, and every malformed input is named in one line."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from edge_runtime.bundle.classes import ham10000
from edge_runtime.errors import DataError
from train.data.folder import load_records, read_data_folder
from train.demo.marker import is_demo

HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization\n"


def draw(path: Path, colour: tuple[int, int, int] = (200, 120, 100)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 9), colour).save(path)
    return path


def ham(folder: Path, rows: str, header: str = HEADER) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "HAM10000_metadata.csv").write_text(header + rows)
    for row in rows.splitlines():
        name = row.split(",")[1]
        if name:
            draw(folder / "HAM10000_images_part_1" / f"{name}.jpg")
    return folder


def test_ham10000(tiny_ham10000: Path) -> None:
    found = read_data_folder(tiny_ham10000)
    assert found.layout == "HAM10000"
    assert Counter(record.label for record in found.records) == dict.fromkeys(range(7), 8)
    assert [record.image_id for record in found.records] == sorted(record.image_id for record in found.records)
    assert len({record.lesion_id for record in found.records}) == 28
    first = found.records[0]
    assert (first.age, first.sex, first.site, first.dx_type) == (40.0, "female", "back", "histo")
    assert found.records[1].age is None
    assert found.records[2].sex is None
    assert not is_demo(tiny_ham10000)


def test_both_parts_merged_and_kaggles_lower_case_copy(tmp_path: Path) -> None:
    folder = ham(tmp_path / "kaggle", "L1,A,nv,histo,5,male,back\nL2,B,MEL,histo,,,\n")
    shutil.copytree(folder / "HAM10000_images_part_1", folder / "ham10000_images_part_1")
    (folder / "HAM10000_images_part_1" / "B.jpg").rename(folder / "HAM10000_images_part_1" / "B.JPG")
    records = load_records(folder)
    assert [(one.image_id, ham10000().codes[one.label]) for one in records] == [("A", "nv"), ("B", "mel")]


def test_missing_images_are_reported(tmp_path: Path) -> None:
    folder = ham(tmp_path / "data", "L1,A,nv,histo,5,male,back\nL2,B,mel,histo,,,\n")
    (folder / "HAM10000_images_part_1" / "A.jpg").unlink()
    found = read_data_folder(folder)
    assert found.missing == ("A",)
    assert [one.image_id for one in found.records] == ["B"]


def test_isic2018_keeps_the_official_parts(tmp_path: Path) -> None:
    header = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n"
    for subset, ids in {"Training": "AB", "Validation": "C", "Test": "D"}.items():
        folder = tmp_path / f"ISIC2018_Task3_{subset}_GroundTruth"
        folder.mkdir()
        rows = "".join(f"ISIC_{one},0.0,0.0,0.0,1.0,0.0,0.0,0.0\n" for one in ids)
        (folder / f"ISIC2018_Task3_{subset}_GroundTruth.csv").write_text(header + rows)
        for one in ids:
            draw(tmp_path / f"ISIC2018_Task3_{subset}_Input" / f"ISIC_{one}.jpg")
    groupings = "image,lesion_id,diagnosis_confirm_type\nISIC_A,HAM_1,histopathology\nISIC_B,HAM_1,histopathology\n"
    (tmp_path / "ISIC2018_Task3_Training_LesionGroupings.csv").write_text(groupings)
    found = read_data_folder(tmp_path)
    assert found.layout == "ISIC challenge"
    assert [one.subset for one in found.records] == ["train", "train", "validation", "test"]
    assert [one.lesion_id for one in found.records] == ["HAM_1", "HAM_1", "ISIC_C", "ISIC_D"]
    assert {ham10000().codes[one.label] for one in found.records} == {"akiec"}


def test_isic2018_columns_go_by_name(tmp_path: Path) -> None:
    draw(tmp_path / "images" / "ISIC_A.jpg")
    truth = "image,VASC,DF,BKL,AKIEC,BCC,NV,MEL\nISIC_A,0,0,0,0,0,0,1\n"
    (tmp_path / "ISIC2018_Task3_Training_GroundTruth.csv").write_text(truth)
    (record,) = load_records(tmp_path)
    assert ham10000().codes[record.label] == "mel"
    assert record.subset is None, "with the training set alone the split is ours"


def test_isic2018_needs_one_class(tmp_path: Path) -> None:
    draw(tmp_path / "ISIC_A.jpg")
    truth = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nISIC_A,1.0,1.0,0.0,0.0,0.0,0.0,0.0\n"
    (tmp_path / "ISIC2018_Task3_Training_GroundTruth.csv").write_text(truth)
    with pytest.raises(DataError, match=r"GroundTruth\.csv, line 2: expected a single 1\.0 among its 7 classes"):
        load_records(tmp_path)


def test_folder_per_class(tmp_path: Path) -> None:
    draw(tmp_path / "mel" / "1.png")
    draw(tmp_path / "NV" / "1.png")
    draw(tmp_path / "Basal cell carcinoma" / "x.jpeg")
    records = load_records(tmp_path)
    assert [(one.image_id, ham10000().codes[one.label]) for one in records] == [
        ("NV__1", "nv"),
        ("mel__1", "mel"),
        ("x", "bcc"),
    ]
    assert len({one.lesion_id for one in records}) == 3


def test_folder_per_class_with_parts(tmp_path: Path) -> None:
    for subset, name in (("train", "a"), ("val", "b"), ("test", "c")):
        draw(tmp_path / subset / "df" / f"{name}.jpg")
    assert [one.subset for one in load_records(tmp_path)] == ["train", "validation", "test"]


def test_unknown_class_folder(tmp_path: Path) -> None:
    draw(tmp_path / "mel" / "1.png")
    draw(tmp_path / "scc" / "2.png")
    with pytest.raises(DataError, match=r"scc: unknown class 'scc', expected one of akiec bcc"):
        load_records(tmp_path)


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ("L1,A,nv,histo,5,male,back\n", HEADER.replace("dx,", "diagnosis,"), "missing column 'dx'"),
        ("L1,A,scc,histo,5,male,back\n", HEADER, r"line 2: unknown class 'scc', expected one of akiec bcc bkl df"),
        ("L1,A,nv,histo,-5,male,back\n", HEADER, r"line 2: expected an age of 0 to 130 years, found '-5'"),
        ("L1,A,nv,histo,old,male,back\n", HEADER, r"line 2: expected an age in years, found 'old'"),
        ("L1,A,nv,,,,\nL2,A,nv,,,,\n", HEADER, r"line 3: duplicate image id 'A'"),
        ("L1,,nv,,,,\n", HEADER, r"line 2: empty image id"),
    ],
)
def test_bad_table(tmp_path: Path, rows: str, header: str, message: str) -> None:
    folder = ham(tmp_path / "data", rows, header)
    with pytest.raises(DataError, match=rf"HAM10000_metadata\.csv.*{message}"):
        load_records(folder)


def test_nothing_usable(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: expected a data folder, found nothing"):
        load_records(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"expected one of the layouts: HAM10000 .*; found none of them"):
        load_records(tmp_path)
    folder = ham(tmp_path / "data", "L1,A,nv,,,,\n")
    shutil.rmtree(folder / "HAM10000_images_part_1")
    with pytest.raises(DataError, match=r"data: expected images, found none \(1 are named but missing, such as A\)"):
        load_records(folder)


def test_not_a_table(tmp_path: Path) -> None:
    (tmp_path / "HAM10000_metadata.csv").write_bytes(b"\xff\xfe\x00broken")
    with pytest.raises(DataError, match=r"HAM10000_metadata\.csv: expected a CSV table"):
        load_records(tmp_path)
