"""Sphinx: the site of docs/, docstrings and notebooks; nothing is fetched, nothing is executed."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

# Pages that docs/ shares with the rest of the repository are copied in when the site is built.
NOTEBOOKS = Path(__file__).parent / "notebooks"

project = "satclip_explore"
author = "the satclip_explore authors"
copyright = "2026, the satclip_explore authors"
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx.ext.doctest",
    "numpydoc",
    "myst_nb",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "satclip_explore"
html_static_path: list[str] = []

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc states them, with shapes and units
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # `make notebooks` runs them


def link_notebooks() -> None:
    """Copy the notebooks beside the pages, so that Sphinx finds them; drop those that are gone."""
    NOTEBOOKS.mkdir(exist_ok=True)
    here = {path.name: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
    for old in NOTEBOOKS.glob("*.ipynb"):
        if old.name not in here:
            old.unlink()
    for name, path in here.items():
        target = NOTEBOOKS / name
        # Only when something changed: Sphinx builds again what is newer.
        if not target.is_file() or target.read_bytes() != path.read_bytes():
            target.write_bytes(path.read_bytes())


link_notebooks()
