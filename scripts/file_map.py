"""Keep docs/file-map.md true: every module with the first line of its docstring.

Run ``python -m scripts.file_map`` in the repository root after a module was added or renamed.
"""

from __future__ import annotations

import ast
import itertools
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("benchmarks", "satclip_explore", "scripts", "training")
PAGE = ROOT / "docs" / "file-map.md"
HEADING = """# File map

Every module with the first line of its docstring; `python -m scripts.file_map` writes this page.

"""
REST = """
**satclip_explore/data/** embedded encoders, atlas, outlines, each with source and license ·
**notebooks/** · **docs/** the site · **tests/** mirrors the packages, browser/ drives the app
"""


def first_line(path: Path) -> str:
    """Say what a module, or a configuration, is for."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".toml":
        return str(tomllib.loads(text).get("description", ""))
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]


def file_map(root: Path = ROOT) -> str:
    """List modules and configurations by folder, as Markdown."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *FOLDERS]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    paths = [root / line for line in listed.splitlines() if line.endswith((".py", ".toml"))]
    paths = sorted(path for path in paths if path.is_file() and first_line(path))
    parts = []
    for folder, members in itertools.groupby(sorted(paths, key=_by_folder), _folder):
        lines = [f"- `{path.name}` {first_line(path)}" for path in members]
        parts.append(f"**{folder.relative_to(root)}/**\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts) + REST


def _folder(path: Path) -> Path:
    return path.parent


def _by_folder(path: Path) -> tuple[str, str]:
    return str(path.parent), path.name


def main() -> None:
    """Write the page."""
    PAGE.write_text(HEADING + file_map(), encoding="utf-8")


if __name__ == "__main__":
    main()
