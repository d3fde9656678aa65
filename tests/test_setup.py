"""The files that set a machine up say the same thing."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def name_of(requirement):
    return re.match(r"[\w.-]+", requirement).group().lower().replace("_", "-")


def pinned():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return {
        name_of(line): line.split("#")[0].strip() for line in lines if line and line[0] not in "#"
    }


def declared():
    """Everything but the backbones' packages: torchvision's wheels need a torch built for CUDA."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    groups = [project["dependencies"], *(extras[name] for name in extras if name != "sentinel")]
    return {name_of(line): line for group in groups for line in group}


def test_the_pinned_set_is_what_pyproject_declares():
    names = {name for name in declared() if name != "satclip-explore"}
    assert set(pinned()) == names


@pytest.mark.parametrize("line", pinned().values())
def test_every_pin_is_exact(line):
    assert re.fullmatch(r"[\w.-]+==[\w.]+", line)


def test_pins_satisfy_the_declared_ranges():
    specifiers = pytest.importorskip("packaging.specifiers")
    for name, line in declared().items():
        if name in pinned():
            wanted = specifiers.SpecifierSet(re.sub(r"^[\w.-]+(\[.*\])?", "", line))
            assert wanted.contains(pinned()[name].split("==")[1]), line


def test_conda_installs_the_same_set():
    text = (ROOT / "environment.yml").read_text()
    assert "- -r requirements.txt" in text
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    minimum = required.removeprefix(">=")
    assert f"python={minimum}" in text


def test_the_readme_says_make_app_and_make_test():
    text = (ROOT / "README.md").read_text()
    assert "make app" in text
    assert "make test" in text
