"""The rules of the house, read from the imports."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from scripts.file_map import HEADING, PAGE, file_map

ROOT = Path(__file__).resolve().parents[1]
UI = {
    *("panel", "param", "holoviews", "datashader", "bokeh", "ipyleaflet", "ipywidgets"),
    *("panel_material_ui", "ipywidgets_bokeh"),
}
MATH = {"torch", "scipy", "sklearn"}


@cache
def tree(path):
    return ast.parse(path.read_text())


def imports(path):
    """Every module that a file imports, at any depth of the code."""
    for node in ast.walk(tree(path)):
        yield from imports_of(node)


def imports_when_loaded(path):
    """Every module that a file imports when it is imported itself."""
    nodes = list(tree(path).body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports_of(node)
        elif isinstance(node, ast.If | ast.Try):
            typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            nodes += [] if typing_only else ast.iter_child_nodes(node)


def imports_of(node):
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative import"
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def cycle(graph):
    """Return the nodes of one cycle of a graph, or nothing."""
    state = {}

    def visit(node, trail):
        if state.get(node) == "done":
            return None
        if node in trail:
            return trail[trail.index(node) :]
        for other in graph.get(node, ()):
            if found := visit(other, [*trail, node]):
                return found
        state[node] = "done"
        return None

    return next((found for node in graph if (found := visit(node, []))), None)


def layer(path):
    parts = path.relative_to(ROOT).parts
    if parts[0] == "training":
        return "training"
    if parts[1] in {"address.py", "app.py", "explorer.py", "notebook.py"}:
        return "app"
    return "panes" if parts[1] == "panes" else "compute"


FILES = sorted([*(ROOT / "satclip_explore").rglob("*.py"), *(ROOT / "training").rglob("*.py")])


def forbidden(path, module):
    """Say why a file may not import a module, or nothing."""
    top, here = module.split(".")[0], layer(path)
    if here in {"compute", "training"} and top in UI:
        return "compute imports no user interface"
    if here in {"panes", "app"} and top in MATH:
        return "user interface holds no math"
    if here == "compute" and top == "training":
        return "compute never imports training"
    if here in {"compute", "training"} and module.startswith(
        (
            "satclip_explore.panes",
            "satclip_explore.app",
            "satclip_explore.explorer",
            "satclip_explore.address",
        )
    ):
        return "imports point one way"
    return None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    # The public names are listed for type checkers; nothing is imported there.
    found = imports_when_loaded(path) if path.name == "__init__.py" else imports(path)
    broken = {module: why for module in found if (why := forbidden(path, module))}
    assert not broken, f"{path.name}: {broken}"


@pytest.mark.parametrize(
    ("file", "module"),
    [
        ("satclip_explore/geo.py", "panel"),
        ("satclip_explore/geo.py", "training.probe"),
        ("satclip_explore/geo.py", "satclip_explore.panes.map"),
        ("satclip_explore/app.py", "torch"),
        ("satclip_explore/panes/map.py", "scipy.spatial"),
        ("training/pretraining/loss.py", "ipywidgets"),
    ],
)
def test_the_rule_catches_violations(file, module):
    assert forbidden(ROOT / file, module)


def test_files_stay_short():
    long = {p.name: n for p in FILES if (n := len(p.read_text().splitlines())) > 350}
    assert not long


def test_no_import_runs_in_a_circle():
    names = {module_name(path) for path in FILES}
    graph = {
        module_name(path): {m for m in imports_when_loaded(path) if m in names} for path in FILES
    }
    # A package and its own parts are one: the parts are loaded through it.
    for name, others in graph.items():
        others -= {other for other in others if name.startswith(f"{other}.")} | {name}
    assert not cycle(graph)
    assert cycle({"a": ["b"], "b": ["c"], "c": ["a"]}) == ["a", "b", "c"]


def test_rooms_of_panes_never_import_one_another():
    def room(module):
        parts = module.split(".")
        inside = parts[:2] == ["satclip_explore", "panes"] and len(parts) > 2
        folder = ROOT.joinpath(*parts[:3]) if inside else ROOT
        return parts[2] if inside and folder.is_dir() else None

    # `jupyter` shows the other rooms as widgets, `served` brings what all of them show.
    broken = {
        (room(module_name(path)), there)
        for path in FILES
        if (here := room(module_name(path))) and here != "jupyter"
        for module in imports(path)
        if (there := room(module)) and there not in {here, "served", "jupyter"}
    }
    assert not broken


def test_public_names_are_found_by_python_and_by_type_checkers():
    import satclip_explore as sx

    tree = ast.parse((ROOT / "satclip_explore/__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {alias.asname: node.module for node in block.body for alias in node.names}
    assert typed == sx._HOME
    for name in sx.__all__:
        assert getattr(sx, name) is not None
    assert (ROOT / "satclip_explore/py.typed").exists()


PRONOUNS = {"one", "those", "these", "them", "what"}


def test_names_say_what_they_hold():
    found = set()
    for path in FILES:
        nodes = list(ast.walk(tree(path)))
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        names |= {node.arg for node in nodes if isinstance(node, ast.arg)}
        found |= {f"{path.relative_to(ROOT)}: {name}" for name in names & PRONOUNS}
    assert not found


BRITISH = re.compile(
    r"(?<![\"`_\w])(licence|labelled|colour|neighbour|behaviour|towards|(kilo)?metres?|catalogue)(?!\w)",
    re.IGNORECASE,
)


def test_spelling_is_american():
    texts = [
        *FILES,
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("notebooks/*.ipynb"),
    ]
    assert [path.name for path in texts if BRITISH.search(path.read_text(encoding="utf-8"))] == []


def test_there_is_no_drawer_for_odds_and_ends():
    assert not [p for p in FILES if p.name == "utils.py"]


def test_importing_the_package_loads_neither_ui_nor_training():
    code = (
        "import sys, satclip_explore as sx; sx.load_encoder; sx.nearest_neighbors; "
        f"print([m for m in {sorted(UI | {'training', 'timm', 'sklearn', 'rasterio'})!r} "
        "if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert out.stdout.strip() == "[]"


def test_importing_the_package_takes_under_a_second():
    code = "import time; a = time.perf_counter(); import satclip_explore; " \
        "print(time.perf_counter() - a)"  # fmt: skip
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                             check=True, cwd=ROOT).stdout)
        for _ in range(3)
    ]  # fmt: skip
    # The least of three: the machine may be busy with something else.
    assert min(times) < 1.0


def test_unknown_public_names_fail_as_usual():
    import satclip_explore

    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = satclip_explore.nonsense
    assert "train_probe" in dir(satclip_explore)


def test_the_file_map_is_true():
    if not (ROOT / ".git").exists():
        pytest.skip("a copy without git does not say which files belong to it")
    written = PAGE.read_text(encoding="utf-8")
    assert written == HEADING + file_map(), "run python -m scripts.file_map"
