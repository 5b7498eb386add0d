"""What is known about each image of a data set, whichever layout it came in.

Class codes, ages, sexes and sites have one spelling here; :mod:`train.data.folder` reads the records of a data folder.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

_BAND_STARTS = (30, 45, 60, 75)
AGE_BANDS = ("under 30", "30–44", "45–59", "60–74", "75 and over")
"""The age bands of all reports, youngest first, in years."""


@dataclass(frozen=True)
class LesionRecord:
    """One image of a lesion.

    ``label`` indexes :data:`edge_runtime.bundle.classes.CLASS_CODES`; ``age`` is in years. ``None`` means unknown.
    ``subset`` is "train", "validation" or "test" where the data set itself prescribes it.
    """

    image_id: str
    path: Path
    lesion_id: str
    label: int
    age: float | None = None
    sex: str | None = None
    site: str | None = None
    dx_type: str | None = None
    subset: str | None = None

    @property
    def age_band(self) -> str | None:
        """The one of :data:`AGE_BANDS` that the age falls into, ``None`` for an unknown age."""
        return None if self.age is None else AGE_BANDS[bisect_right(_BAND_STARTS, self.age)]
