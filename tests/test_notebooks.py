"""The notebooks are what the conventions say: short, stripped, offline, one question each."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MAX_LINES = 15

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path, kind=None):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if kind in (None, cell["cell_type"])]


def text(cell):
    return "".join(cell["source"])


def python(cell):
    """The cell without what only IPython understands."""
    return "\n".join(re.sub(r"^(\s*)[%!].*", r"\1pass", line) for line in text(cell).split("\n"))


def test_it_is_stripped(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert set(notebook["metadata"]) <= {"kernelspec", "language_info"}
    assert set(notebook["metadata"]["language_info"]) == {"name"}
    for cell in cells(path, "code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


def test_cells_are_short_and_not_empty(path):
    for cell in cells(path, "code"):
        assert 0 < len(text(cell).split("\n")) <= MAX_LINES, text(cell)


def test_ids_are_unique(path):
    ids = [cell["id"] for cell in cells(path)]
    assert len(set(ids)) == len(ids)


def test_it_opens_with_a_title_of_its_number_and_says_that_it_is_offline(path):
    first = cells(path)[0]
    assert first["cell_type"] == "markdown"
    title, _, lead = text(first).partition("\n\n")
    assert title.startswith(f"# {path.stem[:2]} · ")
    assert 2 <= len(re.findall(r"[.:](?:\s|$)", lead)) <= 4
    assert "offline" in lead


def test_it_has_prose_a_picture_and_says_what_not_to_conclude(path):
    prose = [text(cell) for cell in cells(path, "markdown")]
    assert prose[-1].startswith("## What not to conclude\n\n")
    assert len(prose[-1]) > 300
    assert any("a picture to share" in cell.lower() for cell in prose)


def test_everything_is_imported_in_the_cell_after_the_one_for_colab(path):
    colab, imports, *others = cells(path, "code")
    assert colab["metadata"] == {"tags": ["colab"]}
    assert "import satclip_explore as sx" in text(imports) or "from training" in text(imports)
    for cell in others:
        found = [
            n for n in ast.parse(python(cell)).body if isinstance(n, ast.Import | ast.ImportFrom)
        ]
        assert not found, text(cell)


def test_the_cell_for_colab_is_the_same_everywhere_and_does_nothing_elsewhere(path):
    colab = cells(path, "code")[0]
    assert text(colab) == text(cells(NOTEBOOKS[0], "code")[0])
    before = set(sys.modules)
    exec(compile(python(colab), path.name, "exec"), {})
    assert "google.colab" not in sys.modules
    assert set(sys.modules) == before


def test_nothing_is_fetched_unless_the_reader_asks(path):
    code = "\n".join(python(cell) for cell in cells(path, "code"))
    for word in ("download=True", "urlopen", "requests.", "http://", "shared/", "(online)"):
        assert word not in code


def test_what_it_imports_exists(path):
    from importlib import import_module

    for node in ast.walk(ast.parse("\n".join(python(cell) for cell in cells(path, "code")))):
        if not isinstance(node, ast.ImportFrom) or node.module.startswith("google"):
            continue
        if node.module.split(".")[0] in ("satclip_explore", "training"):
            module = import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names)


def test_ruff_finds_nothing(path):
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, str(path)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
