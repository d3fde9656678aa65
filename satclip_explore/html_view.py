"""How an object shows itself in a notebook: a small table of facts, every word escaped."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any


def facts_table(caption: str, facts: Mapping[str, Any]) -> str:
    """Write facts as an HTML table; empty ones are left out.

    Parameters
    ----------
    caption : str
        What is described.
    facts : mapping of str to object
        Name and value; both are escaped.

    Examples
    --------
    >>> facts_table("<b>", {"places": 3, "unit": ""})
    '<table><caption>&lt;b&gt;</caption><tr><th>places</th><td>3</td></tr></table>'
    """
    rows = "".join(
        f"<tr><th>{html.escape(str(name))}</th><td>{html.escape(str(value))}</td></tr>"
        for name, value in facts.items()
        if str(value) != ""
    )
    return f"<table><caption>{html.escape(caption)}</caption>{rows}</table>"
