"""Python cells that make what a pane shows, from the public names of the package alone."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from satclip_explore.encoders.registry import load_encoder

WIDE = 88
"""Characters of a line, at most, before each argument gets one of its own."""


class Code(str):
    """Text that stands in a call as it is."""


def call(function: str, *arguments: Any, **settings: Any) -> Code:
    """Write a call; a `Code` stands in it as it is, anything else as Python writes it.

    Examples
    --------
    >>> call("sx.embed_grid", Code("encoder"), 1.0, bounds=(0, 0, 10, 10))
    'sx.embed_grid(encoder, 1.0, bounds=(0, 0, 10, 10))'
    """
    written = [_literal(value) for value in arguments]
    written += [f"{name}={_literal(value)}" for name, value in settings.items()]
    line = f"{function}({', '.join(written)})"
    if len(line) <= WIDE:
        return Code(line)
    listed = "".join(f"    {argument},\n" for argument in written)
    return Code(f"{function}(\n{listed})")


def cell(encoders: dict[str, Any], *lines: str, imports: tuple[str, ...] = ()) -> str:
    """Write a cell: imports, encoders by the names of their variables, then what is done with them.

    An encoder that was made in code, and that no call loads, is named in a comment.
    """
    loaded = [f"{variable} = {load(encoder)}" for variable, encoder in encoders.items()]
    return "\n".join(["import satclip_explore as sx", *imports, "", *loaded, *lines, ""])


def load(encoder: Any) -> str:
    """Write the call that loads an encoder again."""
    if encoder.origin is None:
        return f"...  # {encoder.name!r:.60} was made in code: put it here"
    given = dict(encoder.origin)
    wanted = given.pop("name_or_path")
    defaults = inspect.signature(load_encoder).parameters
    known = {
        name: value
        for name, value in given.items()
        if name not in defaults or value != defaults[name].default
    }
    return call("sx.load_encoder", wanted, **known)


def _literal(value: Any) -> str:
    if isinstance(value, Code):
        return str(value)
    if isinstance(value, np.generic):
        return repr(value.item())
    if isinstance(value, tuple):
        inside = ", ".join(_literal(each) for each in value)
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if isinstance(value, list):
        return f"[{', '.join(_literal(each) for each in value)}]"
    return repr(value)
