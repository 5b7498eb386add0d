"""Patient metadata becomes one vector in one way; what is unknown is zeros."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.bundle.manifest import PatientMetadataSpec
from edge_runtime.bundle.patient import PatientMetadata, encode_patient, encode_patients, metadata_size
from edge_runtime.errors import DataError

SPEC = PatientMetadataSpec(age_scale_years=100.0, sexes=["female", "male"], sites=["back", "ear", "lower extremity"])


def test_everything_known() -> None:
    vector = encode_patient(PatientMetadata(45.0, "male", "lower extremity"), SPEC)
    assert vector.dtype == np.float32
    assert metadata_size(SPEC) == len(vector) == 7
    assert vector.tolist() == pytest.approx([1, 0.45, 0, 1, 0, 0, 1])


def test_unknown_is_zeros() -> None:
    for patient in (None, PatientMetadata(), PatientMetadata(None, "unknown", ""), PatientMetadata(sex=" Unknown ")):
        assert not encode_patient(patient, SPEC).any()


def test_several_patients_are_a_row_each() -> None:
    patients = (PatientMetadata(45.0, "male", "ear"), None, PatientMetadata(sex="female"))
    assert np.array_equal(encode_patients(patients, SPEC), [encode_patient(one, SPEC) for one in patients])
    assert encode_patients((), SPEC).shape == (0, metadata_size(SPEC))
    assert metadata_size(None) == 0


def test_newborn_is_not_unknown() -> None:
    assert encode_patient(PatientMetadata(age=0.0), SPEC).tolist() == [1, 0, 0, 0, 0, 0, 0]


def test_words_in_any_case() -> None:
    shouted = encode_patient(PatientMetadata(sex="FEMALE", site=" Ear "), SPEC)
    assert np.array_equal(shouted, encode_patient(PatientMetadata(sex="female", site="ear"), SPEC))


@pytest.mark.parametrize(
    ("patient", "message"),
    [
        (PatientMetadata(age=-1.0), r"age: expected 0 to 130 years, found -1\.0"),
        (PatientMetadata(age=131.0), "age: expected 0 to 130 years, found 131"),
        (PatientMetadata(age=float("nan")), "age: expected 0 to 130 years, found nan"),
        (PatientMetadata(sex="m"), "sex: expected one of female, male or unknown, found 'm'"),
        (PatientMetadata(site="knee"), "site: expected one of back, ear, lower extremity or unknown, found 'knee'"),
    ],
)
def test_bad_values(patient: PatientMetadata, message: str) -> None:
    with pytest.raises(DataError, match=message):
        encode_patient(patient, SPEC)
