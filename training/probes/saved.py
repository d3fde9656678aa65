"""A fitted probe as one safetensors file: written, and read again without trusting it."""

from __future__ import annotations

import html
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.encoders.registry import load_encoder
from satclip_explore.files.atomic import write_whole
from training.probes.data import Scale
from training.probes.model import Predictor
from training.probes.registry import FORMER_NAMES, PROBES

FORMAT = "satclip_explore probe 1"
"""First line of the header of a saved probe."""

RESIDUALS = "test_residuals"
"""Name in files of the absolute errors at test places."""

FORMER_FACTS = {"task_licence": "task_license"}
"""Provenance in files of earlier versions, and what it is called now."""


@dataclass(frozen=True, eq=False, repr=False)
class ProbeModel(Predictor):
    """A probe that can be applied and saved; parameters are those of `Predictor`."""

    def save(self, path: str | Path) -> Path:
        """Write the probe, its scores and its provenance to a safetensors file; return its path."""
        from safetensors.torch import save

        header = {
            "format": FORMAT,
            "kind": self.probe.kind,
            "settings": json.dumps(self.probe.settings),
            "task": self.task,
            "classes": json.dumps(self.classes),
            "unit": self.unit,
            "scale": json.dumps([self.scale.mean, self.scale.deviation]),
            "link": "log" if self.scale.log else "identity",
            "facts": json.dumps(dict(self.facts)),
            "metrics": self.metrics.to_json(orient="split", double_precision=15),
            "covariates": json.dumps(self.covariates),
            "threshold": json.dumps(self.threshold),
        }
        tensors = {name: t.cpu().contiguous() for name, t in self.probe.tensors().items()}
        if self.residuals is not None:
            tensors[RESIDUALS] = torch.from_numpy(self.residuals)
        return write_whole(path, save(tensors, header))

    def __repr__(self) -> str:
        return f"ProbeModel({self.task!r}, {self.probe.kind} on {self.encoder.name})"

    def _repr_html_(self) -> str:
        title = html.escape(f"{self.task}: {self.probe.kind} on {self.encoder.name}")
        return f"<h4>{title}</h4>{self.metrics.to_html(float_format='%.3f', escape=True)}"


MAX_FILE_BYTES = 2_000_000_000
"""Larger files are not probes."""


def load_probe(path: str | Path, *, encoder: LocationEncoder | None = None) -> ProbeModel:
    """Read a probe that `save` wrote.

    Parameters
    ----------
    path : path
        The safetensors file.
    encoder : LocationEncoder, optional
        Default: the registered encoder of the name in the file.

    Returns
    -------
    ProbeModel

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a probe, or the encoder is not the one it was trained on.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no probe at {path}.")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"{path.name} is too large to be a probe ({path.stat().st_size:,} bytes).")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise ValueError(f"{path.name} is not a probe of this package.")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts = json.loads(header["facts"]).items()
        errors = tensors.pop(RESIDUALS, None)
        facts = {FORMER_FACTS.get(str(k), str(k)): str(v) for k, v in facts}
        classes = tuple(str(name) for name in json.loads(header["classes"]))
        mean, deviation = _scale(header["scale"])
        kind = FORMER_NAMES.get(header["kind"], header["kind"])
        if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
            raise ValueError(f"{path.name} holds weights that are not finite.")
        if not (math.isfinite(mean) and 0.0 < deviation < math.inf):
            raise ValueError(f"{path.name} has no usable scale: mean {mean}, sd {deviation}.")
        if kind not in PROBES:
            raise ValueError(f"unknown kind of probe {kind!r:.40}.")
        probe = PROBES[kind].from_tensors(tensors, json.loads(header["settings"]), len(classes))
        metrics = _metrics(json.loads(header["metrics"]))
        covariates = tuple(str(name) for name in json.loads(header.get("covariates", "[]")))
        threshold = json.loads(header.get("threshold", "null"))
        threshold = None if threshold is None else float(threshold)
    except SafetensorError as error:
        raise ValueError(f"{path.name} is not a safetensors file, or it is damaged.") from error
    except (KeyError, TypeError, AttributeError, OverflowError, json.JSONDecodeError) as error:
        raise ValueError(f"{path.name} is not a complete probe ({error}).") from error
    encoder = encoder or load_encoder(facts.get("encoder"))
    expected = facts.get("weights_hash", "none")
    if (encoder.weights_hash or "none") != expected:
        raise ValueError(
            f"{path.name} was trained on weights {expected} of {facts.get('encoder')}; "
            f"this {encoder.name} has {encoder.weights_hash or 'none'}."
        )
    unit, task = header.get("unit", ""), header.get("task", "")
    link = header.get("link", "identity")
    return ProbeModel(
        encoder, probe, task, classes, unit, Scale(mean, deviation, link == "log"), facts, metrics,
        None if errors is None else errors.double().numpy(), covariates, threshold,
    )  # fmt: skip


def _scale(text: str) -> tuple[float, float]:
    numbers = json.loads(text)
    if not isinstance(numbers, list) or len(numbers) != 2:
        raise TypeError("the scale is no pair of numbers")
    return float(numbers[0]), float(numbers[1])


def _metrics(content: Any) -> pd.DataFrame:
    return pd.DataFrame(content["data"], index=content["index"], columns=content["columns"])
