"""Data folders as programs, archives and people leave them: what is not meant is named, nothing disappears silently."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from edge_runtime.bundle.classes import ham10000
from edge_runtime.errors import DataError, run_command_line
from tests.conftest import REPOSITORY
from train.data.folder import load_records, read_data_folder
from train.data.report import main as report_main

CASES = REPOSITORY.parent / "shared" / "cases"
HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization\n"
APPLE_DOUBLE = b"\0\x05\x16\7\0\2\0\0Mac OS X        "


def draw(path: Path, shade: int = 120) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 9), (200, shade, 100)).save(path)
    return path


def ham(folder: Path, rows: str, name: str = "HAM10000_metadata.csv") -> Path:
    """Write a table of these rows, and for A and B an image."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(HEADER + rows)
    for image_id in "AB":
        draw(folder / "images" / f"{image_id}.jpg")
    return folder


ROWS = "L1,A,nv,histo,5,male,back\nL2,B,mel,histo,,,\n"


def ids(folder: Path) -> list[str]:
    return [record.image_id for record in load_records(folder)]


@pytest.mark.parametrize("name", ["HAM10000_metadata.tab", "HAM10000_metadata", "ham10000_metadata.CSV"])
def test_the_table_as_dataverse_and_kaggle_call_it(tmp_path: Path, name: str) -> None:
    folder = ham(tmp_path, ROWS, name)
    (folder / name).write_text((folder / name).read_text().replace(",", "\t"))
    assert ids(folder) == ["A", "B"]


def test_a_table_one_folder_down(tmp_path: Path) -> None:
    ham(tmp_path / "dataverse_files", ROWS)
    assert ids(tmp_path) == ["A", "B"]


def test_two_data_sets_in_one_folder_are_refused_by_name(tmp_path: Path) -> None:
    for name in ("one", "two"):
        ham(tmp_path / name, ROWS.replace("L1", name))
    with pytest.raises(DataError, match=r"expected one data set, found .*one/HAM.*csv and .*two/HAM.*csv; name one's"):
        load_records(tmp_path)


def test_ids_that_carry_a_suffix_or_a_folder(tmp_path: Path) -> None:
    folder = ham(tmp_path, ROWS.replace(",A,", ",A.jpg,").replace(",B,", r",images\B.JPG,"))
    assert ids(folder) == ["A", "B"]
    (folder / "HAM10000_metadata.csv").write_text(HEADER + ROWS + "L1,A.png,nv,,,,\n")
    with pytest.raises(DataError, match="line 4: duplicate image id 'A'"):
        load_records(folder)


def test_words_for_unknown_are_no_site_and_no_lesion(tmp_path: Path) -> None:
    folder = ham(tmp_path, "N/A,A,nv,-,None,NA,N/A\nN/A,B,mel,null,n/a,?,None\n")
    for record in load_records(folder):
        assert (record.age, record.sex, record.site, record.dx_type) == (None, None, None, None)
        assert record.lesion_id == record.image_id, "two images of unknown lesions are not one lesion"


def test_what_other_programs_keep_is_passed_over_and_named(tmp_path: Path) -> None:
    folder = ham(tmp_path, ROWS)
    draw(folder / "@eaDir" / "A.jpg", 1)
    draw(folder / ".Trash-1000" / "A.jpg", 2)
    draw(folder / "images" / ".ipynb_checkpoints" / "A.jpg", 3)
    (folder / "._HAM10000_metadata.csv").write_bytes(APPLE_DOUBLE)
    found = read_data_folder(folder)
    assert [record.image_id for record in found.records] == ["A", "B"]
    text = "\n".join(found.passed_over)
    for name in ("@eaDir", ".Trash-1000", ".ipynb_checkpoints", "._HAM10000_metadata.csv"):
        assert name in text


def test_apple_double_tables_are_not_tables(tmp_path: Path) -> None:
    draw(tmp_path / "ISIC2018_Task3_Training_Input" / "ISIC_A.jpg")
    truth = tmp_path / "ISIC2018_Task3_Training_GroundTruth.csv"
    truth.write_text("image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nISIC_A,0,0,0,0,0,0,1\n")
    for folder in (tmp_path, tmp_path / "__MACOSX"):
        folder.mkdir(exist_ok=True)
        (folder / f"._{truth.name}").write_bytes(APPLE_DOUBLE)
    (tmp_path / "__MACOSX" / truth.name).write_bytes(APPLE_DOUBLE)
    (record,) = load_records(tmp_path)
    assert record.subset is None, "a table that is not one makes no second subset"


def test_a_subfolder_that_cannot_be_read_stops_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path / "mel" / "1.png")
    draw(tmp_path / "nv" / "2.png")
    original = os.scandir

    def scandir(path: str) -> object:  # root may read every folder, so permissions cannot be taken away in a test
        if str(path).endswith("nv"):
            raise PermissionError(13, "Permission denied")
        return original(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert run_command_line(lambda: report_main(["--data", str(tmp_path)])) == 1
    message = f"error: {tmp_path}/nv: cannot be read: Permission denied; without it the data set would be incomplete\n"
    assert capsys.readouterr().err == message


def test_a_link_to_nothing_is_named_and_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw(tmp_path / "mel" / "1.png")
    (tmp_path / "nv").mkdir()
    (tmp_path / "nv" / "2.png").symlink_to(tmp_path / "gone.png")
    os.mkfifo(tmp_path / "nv" / "3.png")
    flags = ["--data", str(tmp_path), "--cache-folder", str(tmp_path / "cache")]
    assert run_command_line(lambda: report_main(flags)) == 1, "something could not be read"
    output = capsys.readouterr()
    assert "unreadable: 1: " in output.out
    assert "nv/2.png: is a link whose target does not exist" in output.out
    assert "passed over 1 (pipe, socket or device): " in output.out
    assert output.err == ""


def test_an_id_with_two_different_images_is_refused(tmp_path: Path) -> None:
    folder = ham(tmp_path, ROWS)
    shutil.copytree(folder / "images", folder / "copies")
    assert ids(folder) == ["A", "B"], "the same image twice is one image"
    draw(folder / "copies" / "A.jpg", 7)
    with pytest.raises(DataError, match=r"image id 'A' has two different images, .*copies/A\.jpg and .*images/A\.jpg"):
        load_records(folder)


def test_class_folders_keep_images_of_one_name(tmp_path: Path) -> None:
    for name in ("mel/a/1.png", "mel/b/1.png", "nv/1.png", "nv/1.jpg", "nv/2.png"):
        draw(tmp_path / name)
    assert ids(tmp_path) == ["2", "mel__a__1", "mel__b__1", "nv__1.jpg", "nv__1.png"]


def test_class_folders_one_folder_down_and_images_beside_them(tmp_path: Path) -> None:
    draw(tmp_path / "unpacked" / "mel" / "1.png")
    draw(tmp_path / "unpacked" / "nv" / "2.png")
    assert ids(tmp_path) == ["1", "2"]
    draw(tmp_path / "unpacked" / "overview.png")
    found = read_data_folder(tmp_path)
    assert len(found.records) == 2
    assert any("not in a folder named like a class" in line and "overview.png" in line for line in found.passed_over)


def test_a_workbook_and_a_strange_table_are_named(tmp_path: Path) -> None:
    draw(tmp_path / "1.png")
    (tmp_path / "labels.csv").write_text("file;class\n1.png;mel\n")
    with pytest.raises(DataError, match=r"found the table .*labels\.csv with columns file, class"):
        load_records(tmp_path)
    (tmp_path / "HAM10000_metadata.xlsx").write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError, match=r"found the workbook .*HAM10000_metadata\.xlsx; save it as CSV"):
        load_records(tmp_path)


ARCHIVE_HEADER = (
    "isic_id,attribution,copyright_license,age_approx,anatom_site_general,diagnosis_1,diagnosis_2,diagnosis_3,"
    "diagnosis_4,diagnosis_5,diagnosis_confirm_type,image_type,lesion_id,sex\n"
)
ARCHIVE = {
    "nv": 'Benign,Benign melanocytic proliferations,Nevus,"Nevus, Atypical, Dysplastic, or Clark","Nevus, Clark"',
    "mel": "Malignant,Malignant melanocytic proliferations (Melanoma),Melanoma Invasive,,",
    "bcc": "Malignant,Malignant adnexal epithelial proliferations - Follicular,Basal cell carcinoma,,",
    "akiec": "Indeterminate,Indeterminate epidermal proliferations,Solar or actinic keratosis,,",
    "bkl": "Benign,Benign epidermal proliferations,Pigmented benign keratosis,,",
    "df": "Benign,Benign soft tissue proliferations - Fibro-histiocytic,Dermatofibroma,,",
    "vasc": "Benign,Benign soft tissue proliferations - Vascular,Hemangioma,,",
}


def archive_row(image_id: str, diagnosis: str, image_type: str = "dermoscopic", lesion: str = "") -> str:
    return f"{image_id},Somebody,CC-BY-NC,45,anterior torso,{diagnosis},histopathology,{image_type},{lesion},female\n"


def test_the_isic_archive(tmp_path: Path) -> None:
    rows = [archive_row(f"ISIC_{code}", diagnosis) for code, diagnosis in ARCHIVE.items()]
    rows.append(
        archive_row("ISIC_bowen", "Malignant,Malignant epidermal proliferations,Squamous cell carcinoma in situ,,")
    )
    others = {
        "ISIC_x1": 'Malignant,Malignant epidermal proliferations,"Squamous cell carcinoma, NOS",,',
        "ISIC_x2": "Malignant,Malignant melanocytic proliferations (Melanoma),Melanoma metastasis,,",
        "ISIC_x3": "Benign,,,,",
        "ISIC_x4": ",,,,",
    }
    rows += [archive_row(image_id, diagnosis) for image_id, diagnosis in others.items()]
    rows.append(archive_row("ISIC_x5", ARCHIVE["nv"], "clinical: close-up"))
    (tmp_path / "metadata.csv").write_text(ARCHIVE_HEADER + "".join(rows))
    for row in rows:
        draw(tmp_path / f"{row.split(',')[0]}.jpg")
    found = read_data_folder(tmp_path)
    labels = {record.image_id.removeprefix("ISIC_"): ham10000().codes[record.label] for record in found.records}
    assert labels == {code: code for code in ham10000().codes} | {"bowen": "akiec"}
    first = found.records[0]
    assert (first.age, first.sex, first.site, first.dx_type) == (45.0, "female", "anterior torso", "histopathology")
    assert found.licences == ("CC-BY-NC",)
    text = "\n".join(found.passed_over)
    for reason in (
        "Squamous cell carcinoma, NOS",
        "Melanoma metastasis",
        "Benign",
        "no diagnosis",
        "clinical: close-up",
    ):
        assert reason in text
    assert all(image_id in text for image_id in (*others, "ISIC_x5"))


def test_the_isic_archives_older_column_and_lesions(tmp_path: Path) -> None:
    header = "isic_id,diagnosis,lesion_id\n"
    rows = "ISIC_1,nevus,IL_1\nISIC_2,seborrheic keratosis,IL_1\nISIC_3,verruca,\n"
    (tmp_path / "collection").mkdir()
    (tmp_path / "collection" / "metadata.csv").write_text(header + rows)
    for number in (1, 2, 3):
        draw(tmp_path / f"ISIC_{number}.jpg")
    records = load_records(tmp_path)
    assert [(ham10000().codes[one.label], one.lesion_id) for one in records] == [("nv", "IL_1"), ("bkl", "IL_1")]
    (tmp_path / "metadata.csv").write_text(header + "ISIC_1,melanoma,IL_1\n")
    with pytest.raises(DataError, match="image 'ISIC_1' has another diagnosis than before, 'nevus'"):
        load_records(tmp_path)


def test_isic2019_with_its_two_further_columns(tmp_path: Path) -> None:
    columns = ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"]
    lines = ["image," + ",".join(columns)]
    for number, name in enumerate(columns):
        draw(tmp_path / "ISIC_2019_Training_Input" / f"ISIC_{number}.jpg")
        lines.append(f"ISIC_{number}," + ",".join("1.0" if one == name else "0.0" for one in columns))
    (tmp_path / "ISIC_2019_Training_GroundTruth.csv").write_text("\n".join(lines) + "\n")
    metadata = (
        "image,age_approx,anatom_site_general,lesion_id,sex\nISIC_0,55.0,anterior torso,BCN_1,female\nISIC_1,,,,\n"
    )
    (tmp_path / "ISIC_2019_Training_Metadata.csv").write_text(metadata)
    found = read_data_folder(tmp_path)
    assert [ham10000().codes[one.label] for one in found.records] == ["mel", "nv", "bcc", "akiec", "bkl", "df", "vasc"]
    first, second = found.records[:2]
    assert (first.lesion_id, first.age, first.sex, first.site) == ("BCN_1", 55.0, "female", "anterior torso")
    assert (second.lesion_id, second.age) == ("ISIC_1", None)
    assert "passed over 1 (squamous cell carcinoma): ISIC_7" in found.passed_over
    assert "passed over 1 (unknown diagnosis): ISIC_8" in found.passed_over


@pytest.mark.skipif(not CASES.is_dir(), reason=f"the cases are not at {CASES}")
@pytest.mark.parametrize("name", ["table-dataverse", "table-appledouble"])
def test_the_collected_cases(name: str) -> None:
    found = read_data_folder(CASES / name)
    assert len(found.records) > 7
    assert found.missing == ()
