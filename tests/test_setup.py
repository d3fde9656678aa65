"""The files that set a machine up say the same thing."""

import re
import shutil
import subprocess
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


def test_the_lock_file_has_every_pin_but_torch_with_hashes_and_no_address():
    text = (ROOT / "requirements.lock").read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    locked = {name_of(entry): entry.split()[0].partition("==")[2] for entry in entries}
    wanted = {name: pin.partition("==")[2] for name, pin in pinned().items() if name != "torch"}
    assert wanted.items() <= locked.items()
    assert "torch" not in locked
    for entry in entries:
        assert re.fullmatch(
            r"[\w.-]+==\S+( ; [^\\]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+", entry
        )


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


@pytest.fixture
def set_up(tmp_path):
    """Run `make setup` with a python that writes down what it is asked; gives output and calls."""
    if shutil.which("make") is None:
        pytest.skip("there is no make: apt-get install make")
    python, calls = tmp_path / "python", tmp_path / "calls"
    # Only the ordinary index can be reached.
    python.write_text(
        f'#!/bin/sh\necho "$@" >> {calls}\ncase "$*" in *--index-url*) exit 1;; esac\n'
    )
    python.chmod(0o755)

    def run(torch):
        made = [f"PYTHON={python}", f"BIN={tmp_path}", f"READY={tmp_path / 'ready'}"]
        done = subprocess.run(
            ["make", "setup", f"TORCH={torch}", *made], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout, calls.read_text().splitlines()

    return run


def test_without_a_gpu_the_cpu_build_of_torch_comes_first_and_fails_softly(set_up):
    output, calls = set_up("cpu")
    (asked,) = [call for call in calls if "--index-url" in call]
    assert asked.endswith(pinned()["torch"])
    assert "--no-deps" in asked
    locked, rest = (i for i, call in enumerate(calls) if "--requirement" in call)
    assert calls[locked].endswith("--no-deps --require-hashes --requirement requirements.lock")
    assert calls.index(asked) < locked < rest
    assert output.index("Downloading less than 1 GB") < output.index("--index-url")
    assert "CPU builds cannot be reached" in output


def test_pip_chooses_torch_where_it_is_asked_to(set_up):
    output, calls = set_up("default")
    assert not any("index-url" in call for call in calls)
    assert output.index("several GB") < output.index("--requirement")


def test_every_check_is_part_of_make_check_and_ci_runs_it():
    recipe = (ROOT / "Makefile").read_text().split("\ncheck:")[1].split("\n\n")[0]
    made = " ".join(re.findall(r"\$\(MAKE\)(?: --\S+)*(.+)", recipe)).split()
    assert made == ["lint", "docs", "notebooks", "binder", "test"]
    assert (ROOT / ".ci" / "run").read_text().endswith("\nmake check\n")
