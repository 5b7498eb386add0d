"""Invented patients for phantoms: age, sex and site, likelier where the real diagnosis is, with gaps as in HAM10000."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.random import Generator

MISSING_AGE_SHARE = 0.03
UNKNOWN_SEX_SHARE = 0.02
UNKNOWN_SITE_SHARE = 0.05


@dataclass(frozen=True)
class Patient:
    """Cells of the metadata table: ``age`` in years as "45.0" or "", ``sex`` and ``site`` possibly "unknown"."""

    age: str
    sex: str
    site: str
    dx_type: str


_AGE_MEAN_AND_DEVIATION = {
    "akiec": (67, 11),
    "bcc": (66, 12),
    "bkl": (63, 13),
    "df": (50, 13),
    "mel": (60, 15),
    "nv": (44, 15),
    "vasc": (50, 18),
}
_SITES = {
    "akiec": ("face", "face", "scalp", "hand", "upper extremity", "ear"),
    "bcc": ("face", "back", "back", "chest", "neck", "upper extremity"),
    "bkl": ("back", "face", "trunk", "chest", "abdomen", "upper extremity"),
    "df": ("lower extremity", "lower extremity", "lower extremity", "upper extremity", "trunk"),
    "mel": ("back", "back", "lower extremity", "upper extremity", "chest", "trunk"),
    "nv": ("back", "trunk", "abdomen", "lower extremity", "chest", "foot"),
    "vasc": ("trunk", "abdomen", "back", "chest", "lower extremity", "neck"),
}
_CONFIRMATION = {
    "akiec": ("histo",),
    "bcc": ("histo",),
    "mel": ("histo",),
    "bkl": ("histo", "histo", "consensus", "confocal"),
    "df": ("histo", "consensus"),
    "vasc": ("histo", "consensus"),
    "nv": ("follow_up", "follow_up", "histo", "consensus"),
}


def draw_patient(code: str, generator: Generator) -> Patient:
    """Draw the metadata of one lesion of the class ``code``; ages are multiples of five up to 85."""
    mean, deviation = _AGE_MEAN_AND_DEVIATION[code]
    age = min(max(5 * round(generator.normal(mean, deviation) / 5), 5), 85)
    age_missing = generator.random() < MISSING_AGE_SHARE
    sex = "unknown" if generator.random() < UNKNOWN_SEX_SHARE else str(generator.choice(["male", "female"]))
    site = "unknown" if generator.random() < UNKNOWN_SITE_SHARE else str(generator.choice(_SITES[code]))
    return Patient("" if age_missing else f"{age}.0", sex, site, str(generator.choice(_CONFIRMATION[code])))
