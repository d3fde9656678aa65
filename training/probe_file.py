"""Reading a saved probe: nothing in the file is trusted until it is checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.encoders.registry import load_encoder
from training.heads import Head
from training.kernel import KernelHead, KernelSettings
from training.linear import LinearHead
from training.mlp import MLPHead
from training.neighbor_probes import NeighborHead
from training.predictions import Scale
from training.probe_model import FORMAT, ProbeModel

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
        facts = {str(k): str(v) for k, v in json.loads(header["facts"]).items()}
        classes = tuple(str(name) for name in json.loads(header["classes"]))
        mean, deviation = (float(number) for number in json.loads(header["scale"]))
        head = _head(header["kind"], tensors, json.loads(header["settings"]), len(classes))
        metrics = _metrics(json.loads(header["metrics"]))
    except SafetensorError as error:
        raise ValueError(f"{path.name} is not a safetensors file, or it is damaged.") from error
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path.name} is not a complete probe ({error}).") from error
    encoder = encoder or load_encoder(facts.get("encoder"))
    expected = facts.get("weights_hash", "none")
    if (encoder.weights_hash or "none") != expected:
        raise ValueError(
            f"{path.name} was trained on weights {expected} of {facts.get('encoder')}; "
            f"this {encoder.name} has {encoder.weights_hash or 'none'}."
        )
    unit, task = header.get("unit", ""), header.get("task", "")
    return ProbeModel(encoder, head, task, classes, unit, Scale(mean, deviation), facts, metrics)


def _metrics(content: Any) -> pd.DataFrame:
    return pd.DataFrame(content["data"], index=content["index"], columns=content["columns"])


def _head(
    kind: str, tensors: dict[str, torch.Tensor], settings: dict[str, Any], n_classes: int
) -> Head:
    """Build a head from tensors of an unknown file, and check that they belong together."""
    n_outputs = n_classes or 1
    shapes: dict[str, tuple[int, ...]]
    if kind == "linear":
        _check(tensors, {"weight": (1, n_outputs, -1), "bias": (1, n_outputs)})
        return LinearHead(tensors["weight"], tensors["bias"], settings)
    if kind == "mlp":
        shapes = {"w1": (-1, -1, -1), "b1": (-1, 1, -1), "w2": (-1, -1, n_outputs)}
        _check(tensors, shapes | {"b2": (-1, 1, n_outputs)})
        weights = [tensors[name] for name in ("w1", "b1", "w2", "b2")]
        seeds, _, hidden = weights[0].shape
        _check(
            tensors,
            {"b1": (seeds, 1, hidden), "w2": (seeds, hidden, -1), "b2": (seeds, 1, -1)},
        )
        return MLPHead(weights, settings)
    if kind not in ("knn", "nearest", "kernel"):
        raise ValueError(f"unknown kind of probe {kind!r:.40}.")
    places = len(tensors["values"])
    width = len(tensors["mean"])
    shapes = {"mean": (width,), "scale": (width,), "values": (places,)}
    shapes["points"] = (places, width)
    _check(tensors, shapes)
    values = tensors["values"]
    if n_classes and not (
        values.dtype == torch.int64 and 0 <= int(values.min()) <= int(values.max()) < n_classes
    ):
        raise ValueError("the labels in the probe are not class codes.")
    names = ("points", "values", "mean", "scale")
    if kind == "kernel":
        _check(tensors, {"vectors": (places, 3)})
        checked = KernelSettings(**{key: float(value) for key, value in settings.items()})
        kernel = [tensors[name] for name in ("vectors", *names)]
        return KernelHead(kernel, n_classes, checked.__dict__)
    known = {
        "space": "place" if kind == "nearest" else "embedding",
        "n_neighbors": max(1, int(settings["n_neighbors"])),
        "power": float(settings["power"]),
    }
    return NeighborHead([tensors[name] for name in names], n_classes, known)


def _check(tensors: dict[str, torch.Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in shapes.items():
        found = tuple(tensors[name].shape)
        fits = len(found) == len(shape) and all(
            want in (-1, got) for want, got in zip(shape, found, strict=True)
        )
        if not fits:
            raise ValueError(f"tensor {name!r} of the probe has shape {found}; expected {shape}.")
