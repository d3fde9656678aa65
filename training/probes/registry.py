"""Every probe, by name: what `train_probe`, the command line, menus and files know."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType

from training.probes.base import Probe
from training.probes.full_batch_mlp import FullBatchMLPProbe
from training.probes.knn import KNNProbe
from training.probes.kriging import KrigingProbe
from training.probes.linear import LinearProbe
from training.probes.mlp import MLPProbe
from training.probes.nearest import NearestProbe

PROBES: Mapping[str, type[Probe]] = MappingProxyType(
    {
        probe.kind: probe
        for probe in (
            LinearProbe,
            MLPProbe,
            KNNProbe,
            KrigingProbe,
            NearestProbe,
            FullBatchMLPProbe,
        )
    }
)
"""Probes by `kind`. A new one is a line here."""

MODELS = tuple(kind for kind, probe in PROBES.items() if probe.uses_embedding)
"""What `train_probe(model=…)` takes: "nearest" says nothing of an encoder."""

MENU: Mapping[str, str] = MappingProxyType({PROBES[kind].label: kind for kind in MODELS})
"""The same for menus: kind by label."""

FORMER_NAMES: Mapping[str, str] = MappingProxyType({"kernel": "kriging"})
"""Names in files of earlier versions, and what they are now."""


def find_model(name: str) -> type[Probe]:
    """Look up a probe on embeddings.

    Raises
    ------
    ValueError
        If there is none of that name; the close match is offered.
    """
    if name in MODELS:
        return PROBES[name]
    close = [FORMER_NAMES.get(str(name), ""), *get_close_matches(str(name), MODELS, n=1)]
    hint = next((f" Did you mean {match!r}?" for match in close if match), "")
    raise ValueError(f"model must be one of {', '.join(MODELS)}; got {name!r}.{hint}")
