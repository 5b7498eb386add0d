"""The seven diagnoses of HAM10000, in the one order that every array of this project uses.

Tschandl, Rosendahl, Kittler: The HAM10000 dataset. Scientific Data 5:180161 (2018).
"""

from __future__ import annotations

import msgspec


class LesionClass(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One diagnosis: the data set's code, the name people read, and whether it is in the malignant group."""

    code: str
    name: str
    malignant: bool


CLASSES: tuple[LesionClass, ...] = (
    LesionClass("akiec", "Actinic keratosis / intraepithelial carcinoma", True),
    LesionClass("bcc", "Basal cell carcinoma", True),
    LesionClass("bkl", "Benign keratosis-like lesion", False),
    LesionClass("df", "Dermatofibroma", False),
    LesionClass("mel", "Melanoma", True),
    LesionClass("nv", "Melanocytic nevus", False),
    LesionClass("vasc", "Vascular lesion", False),
)
CLASS_CODES: tuple[str, ...] = tuple(lesion_class.code for lesion_class in CLASSES)
