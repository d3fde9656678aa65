"""The folder of a finished run: a path like any other, that shows in a notebook what is in it."""

from __future__ import annotations

from pathlib import Path

from satclip_explore.encoders.checkpoint import read_config
from satclip_explore.html_view import facts_table


class RunFolder(type(Path())):  # type: ignore[misc]
    """What `pretrain` returns; `load_encoder` opens it.

    Any other use of a path works as usual. A path below it is a `RunFolder` too, and shows itself
    as a plain path where there is no encoder.
    """

    def _repr_html_(self) -> str | None:
        try:
            config = read_config(self)
        except (OSError, ValueError):
            return None
        card = config.get("card")
        card = card if isinstance(card, dict) else {}
        data, found = (
            value if isinstance(value := card.get(name), dict) else {}
            for name in ("data", "validation")
        )
        return facts_table(
            str(config.get("name", self.name)),
            {
                "folder": self,
                "degrees L": config.get("legendre_polys", ""),
                "numbers per place": config.get("embed_dim", ""),
                "imagery": data.get("source", ""),
                "training places": card.get("training_places", ""),
                "epochs": card.get("epochs", ""),
                "minutes": card.get("training_minutes", ""),
                "found at first try": _share(found.get("recall_at_1"), found.get("candidates")),
                "open it": "sx.load_encoder(…), sx.explore(…)",
            },
        )


def _share(recall: object, candidates: object) -> str:
    if not isinstance(recall, float | int) or not isinstance(candidates, int):
        return ""
    return f"{recall:.0%} of {candidates:,} unseen images"
