"""What a cell shows where every output has a frame of its own and Panel has no channel: Colab."""

import os
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

ROOT = Path(__file__).resolve().parents[1]
COLAB = """
import sys, types
google, colab, output = (types.ModuleType(n) for n in
                         ("google", "google.colab", "google.colab.output"))
output.enable_custom_widget_manager = lambda: None
google.colab, colab.output = colab, output
sys.modules |= {"google": google, "google.colab": colab, "google.colab.output": output}
import satclip_explore as sx
from satclip_explore.panes.map import MapPane
from satclip_explore.panes.pca import PCAPane
encoder = sx.load_encoder("mini-l10")
"""
VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(scope="module")
def executed():
    cells = [COLAB, "MapPane(encoder)", "PCAPane(encoder)"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(ROOT)
    try:
        nbclient.NotebookClient(notebook, timeout=300).execute()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return notebook


def below(state, model_id):
    """Names of the widget models that one holds, itself included."""
    model = state[model_id]
    found = {model["model_name"]}
    for child in model["state"].get("children", ()):
        found |= below(state, child.removeprefix("IPY_MODEL_"))
    return found


def shown(notebook, cell):
    """The models of the widget that a cell shows."""
    outputs = [out.data for out in notebook.cells[cell].outputs if VIEW in out.get("data", {})]
    (view,) = [data[VIEW] for data in outputs]
    (manager,) = notebook.metadata["widgets"].values()
    return below(manager["state"], view["model_id"])


@pytest.mark.slow
def test_the_map_is_ipyleaflets_with_ipywidgets_beside_it(executed):
    models = shown(executed, 1)
    assert {"LeafletMapModel", "DropdownModel", "TextModel", "HTMLModel"} <= models
    assert "BokehModel" not in models


@pytest.mark.slow
def test_figures_are_widgets_and_every_cell_has_its_scripts(executed):
    assert "BokehModel" in shown(executed, 2)
    for cell in (1, 2):
        scripts = [
            out.data["application/javascript"]
            for out in executed.cells[cell].outputs
            if "application/javascript" in out.get("data", {})
        ]
        assert max(map(len, scripts)) > 1_000_000
        assert not any("src='https://" in script for script in scripts)
