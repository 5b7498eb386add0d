"""The example notebook runs from top to bottom, with quick settings, and ends in predictions and a heat map."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed here")
NOTEBOOK = REPOSITORY / "examples" / "from_images_to_bundle.ipynb"
QUICK = """
from pathlib import Path
work, lesions, epochs, image_size = Path({folder!r}), 70, 1, 32
data = work / "images"
export_flags = (
    "--calibrator min-max --threads 1 --tolerance-int8-agreement 0 --tolerance-int8-explain-correlation 0"
    " --tolerance-accuracy-loss 1 --tolerance-balanced-accuracy-loss 1 --tolerance-recall-loss 1"
)
"""


def test_the_notebook_is_committed_without_outputs() -> None:
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_notebook_runs(tmp_path: Path) -> None:
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (settings,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    settings.source = QUICK.format(folder=str(tmp_path))
    NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(REPOSITORY)}}).execute()
    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    printed = "".join(output.get("text", "") for output in last.outputs)
    assert len(re.findall(r"^ISIC_\d+\.jpg: \w+ \d+% \(\w+\)$", printed, re.MULTILINE)) == 4
    assert any("image/png" in output.get("data", {}) for output in last.outputs)
    assert (tmp_path / "bundle" / "manifest.json").is_file()
