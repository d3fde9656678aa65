"""The repository's address stands in one place, and everything that readers press follows it."""

import json
import shutil

import pytest

from scripts.set_repository import ROOT, pages, repository, set_repository


@pytest.fixture
def copy(tmp_path):
    """A copy of the files that hold the address."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    for name in ("README.md", "CITATION.cff", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_every_place_says_what_pyproject_says():
    for path, text in pages().items():
        assert path.read_text(encoding="utf-8") == text, path.name


def test_a_new_owner_is_written_everywhere(copy):
    set_repository("some-body/sat.explore", copy)
    assert repository(copy) == "some-body/sat.explore"
    for path, text in pages(copy).items():
        assert path.read_text(encoding="utf-8") == text
        assert "<owner>" not in text
        assert "some-body/sat.explore" in text
    for path in (copy / "notebooks").glob("*.ipynb"):
        cell = "".join(json.loads(path.read_text())["cells"][1]["source"])
        assert "git+https://github.com/some-body/sat.explore" in cell


def test_it_can_be_written_again(copy):
    set_repository("a/satclip_explore", copy)
    before = {path: path.read_text(encoding="utf-8") for path in pages(copy)}
    set_repository("some-body/sat.explore", copy)
    set_repository("a/satclip_explore", copy)
    for path, text in before.items():
        assert path.read_text(encoding="utf-8") == text


def test_links_to_others_stay(copy):
    readme = copy / "README.md"
    words = "\nSee https://github.com/microsoft/satclip.\n"
    readme.write_text(readme.read_text(encoding="utf-8") + words, encoding="utf-8")
    set_repository("a/b", copy)
    assert readme.read_text(encoding="utf-8").endswith(words)


def test_links_open_the_app_on_binder_and_a_notebook_on_colab(copy):
    set_repository("a/b", copy)
    text = (copy / "README.md").read_text(encoding="utf-8")
    assert "https://mybinder.org/v2/gh/a/b/HEAD?urlpath=panel%2Fapp" in text
    first = sorted((ROOT / "notebooks").glob("*.ipynb"))[0].name
    assert f"https://colab.research.google.com/github/a/b/blob/HEAD/notebooks/{first}" in text
    citation = (copy / "CITATION.cff").read_text(encoding="utf-8")
    assert citation.count('repository-code: "https://github.com/a/b"') == 1


def test_without_an_address_nothing_leads_nowhere():
    if "<" not in repository():
        pytest.skip("the repository has its address")
    for name in ("README.md", "CITATION.cff"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "<owner>" not in text
        assert "mybinder.org" not in text


@pytest.mark.parametrize(
    "name", ["owner", "a/b/c", "<owner>/x", "a/b\nc", "https://github.com/a/b"]
)
def test_what_is_no_repository_is_refused(copy, name):
    with pytest.raises(ValueError, match="OWNER/NAME"):
        set_repository(name, copy)
    assert repository(copy) == repository()
