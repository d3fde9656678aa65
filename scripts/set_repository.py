"""Write the repository's address where readers need it: Colab's cell, badges, the proxy of Binder.

``python -m scripts.set_repository OWNER/NAME`` once, when the repository has found its home. The
address is kept in one place, pyproject.toml's ``Repository``; everything else follows from it.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAME = r"(?:<owner>|[\w.-]+)/[\w.-]+"
"""Owner and name, or what stands for an owner that is not known yet."""

PLACES = (
    rf"(?<=https://github\.com/){NAME}",
    rf"(?<=https://mybinder\.org/v2/gh/){NAME}",
    rf"(?<=https://colab\.research\.google\.com/github/){NAME}",
)
"""Addresses that hold the repository."""

MARKED = re.compile(r"(<!-- repository -->)(.*?)(<!-- /repository -->)", re.DOTALL)
"""The part of the README that may be written: the papers' repositories are linked too."""


def repository(root: Path = ROOT) -> str:
    """Return OWNER/NAME as pyproject.toml has it."""
    urls = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    return str(urls["Repository"]).removeprefix("https://github.com/")


def written(text: str, name: str) -> str:
    """Return a text with the repository in every address."""
    for place in PLACES:
        text = re.sub(place, lambda _: name, text)
    return text


def pages(root: Path = ROOT) -> dict[Path, str]:
    """Return the files that hold the address, as they should be."""
    name, texts = repository(root), {}
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        # The notebooks link to nothing else on those hosts; a test says so.
        texts[path] = written(path.read_text(encoding="utf-8"), name)
    readme = root / "README.md"
    texts[readme] = MARKED.sub(
        lambda found: found[1] + written(found[2], name) + found[3],
        readme.read_text(encoding="utf-8"),
    )
    return texts


def set_repository(name: str, root: Path = ROOT) -> None:
    """Write OWNER/NAME into pyproject.toml and everything that follows from it.

    Raises
    ------
    ValueError
        If the name is not OWNER/NAME.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise ValueError(f"the repository must be OWNER/NAME; got {name!r}.")
    path = root / "pyproject.toml"
    line = re.compile(rf'^(Repository = "https://github\.com/){NAME}"', re.MULTILINE)
    text = path.read_text(encoding="utf-8")
    path.write_text(line.sub(lambda found: f'{found[1]}{name}"', text), encoding="utf-8")
    for page, content in pages(root).items():
        page.write_text(content, encoding="utf-8")


def main() -> None:
    """Take the name from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="OWNER/NAME")
    set_repository(parser.parse_args().name)


if __name__ == "__main__":
    main()
