"""Write the repository's address where readers need it: Colab's cell, Binder's links, the citation.

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

PLACE = re.compile(rf"(?<=https://github\.com/){NAME}")
"""The address in a notebook, which links to nothing else on that host; a test says so."""

MARKED = re.compile(r"(<!-- repository -->).*?(<!-- /repository -->)", re.DOTALL)
LINKS = """
[Open the dashboard on Binder](https://mybinder.org/v2/gh/{name}/HEAD?urlpath=panel%2Fapp) ·
[notebooks on Binder](https://mybinder.org/v2/gh/{name}/HEAD?urlpath=lab%2Ftree%2Fnotebooks) ·
[first notebook on Colab](https://colab.research.google.com/github/{name}/blob/HEAD/notebooks/01_a_place.ipynb)
"""
"""What the README shows once the address is known; until then, nothing."""

CODE = re.compile(r"^repository-code: .*\n", re.MULTILINE)


def repository(root: Path = ROOT) -> str:
    """Return OWNER/NAME as pyproject.toml has it."""
    urls = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    return str(urls["Repository"]).removeprefix("https://github.com/")


def pages(root: Path = ROOT) -> dict[Path, str]:
    """Return the files that hold the address, as they should be."""
    name = repository(root)
    known = "<" not in name
    texts = {
        path: PLACE.sub(name, path.read_text(encoding="utf-8"))
        for path in sorted((root / "notebooks").glob("*.ipynb"))
    }
    readme, citation = root / "README.md", root / "CITATION.cff"
    links = LINKS.format(name=name) if known else ""
    texts[readme] = MARKED.sub(rf"\g<1>{links}\g<2>", readme.read_text(encoding="utf-8"))
    line = f'repository-code: "https://github.com/{name}"\n' if known else ""
    texts[citation] = CODE.sub("", citation.read_text(encoding="utf-8")) + line
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
