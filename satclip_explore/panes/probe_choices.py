"""What the probe pane lets a reader choose from."""

from __future__ import annotations

from typing import Any

OWN = "your own table"
MODELS = {
    "linear": "linear",
    "one hidden layer": "mlp",
    "nearest embeddings": "knn",
    "embedding and place (kriging)": "kernel",
}
HOLD_OUTS = {
    "half of the places, at random": "random",
    "blocks of 1,000 km": "blocks",
    "Africa": "Africa",
    "Asia": "Asia",
    "Europe": "Europe",
    "North America": "North America",
    "South America": "South America",
    "Oceania": "Oceania",
    "a region drawn on the map": "drawn",
    "a country or box, as typed": "typed",
    "what the world view shows": "view",
}
KINDS = {"as the values look": "auto", "classes": "classification", "numbers": "regression"}
SHARES = {"0.1 % of it": 0.001, "1 % of it": 0.01, "5 % of it": 0.05, "20 % of it": 0.2}
MAX_FILE = "50MB"


def box_or_name(text: str) -> Any:
    """Read four numbers as a box, anything else as the name of a country or continent."""
    parts = [part.strip() for part in text.split(",")]
    try:
        return tuple(float(part) for part in parts) if len(parts) == 4 else text.strip()
    except ValueError:
        return text.strip()
