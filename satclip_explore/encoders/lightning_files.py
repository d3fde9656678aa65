"""The published layouts of SatCLIP's weights: Lightning checkpoints and the hub's safetensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from satclip_explore.encoders.satclip import SatCLIP
from satclip_explore.encoders.siren import SatCLIPConfig
from satclip_explore.encoders.tensor_files import plain_settings, take_tensors, write_torch_file

PUBLISHED_NAMES = {
    "legendre_polys": "legendre_polys",
    "hidden_dim": "capacity",
    "num_layers": "num_hidden_layers",
    "embed_dim": "embed_dim",
    "harmonics_calculation": "harmonics_calculation",
}
"""Our name of a setting, and its name among the published hyper-parameters."""

PUBLISHED_KINDS = {"le_type": "sphericalharmonics", "pe_type": "siren"}
"""The one combination of position encoding and network that SatCLIP's weights use."""

PUBLISHED_W0 = (30.0, 1.0)
"""First and other frequencies of every published Siren; the files do not store them."""

OTHER_HYPER_PARAMETERS: dict[str, Any] = {
    "image_resolution": 256,
    "vision_layers": "moco_resnet18",
    "vision_width": 768,
    "vision_patch_size": 32,
    "in_channels": 13,
    "frequency_num": 16,
    "max_radius": 260,
    "min_radius": 1,
    "sh_embedding_dims": 16,
    "learning_rate": 1e-4,
    "weight_decay": 0.01,
    "eval_downstream": False,
    "air_temp_data_path": "",
    "election_data_path": "",
}
"""The rest of what microsoft/satclip's loaders expect; none of it reaches the location encoder."""

LOCATION_PREFIXES = ("model.nnet.", "model.location.nnet.")
"""A full file lists the same network under two names."""

INITIAL_LOGIT_SCALE = math.log(1 / 0.07)
"""Where CLIP starts its learned scale (Radford et al. 2021)."""


def is_satclip(content: Mapping[str, Any]) -> bool:
    """Tell whether content is laid out like a SatCLIP checkpoint, or like the hub's weights."""
    state = content.get("state_dict", content)
    return isinstance(state, Mapping) and any(_prefix(key) is not None for key in state)


def from_published(
    content: Mapping[str, Any], source: str
) -> tuple[SatCLIPConfig, dict[str, torch.Tensor]]:
    """Take the location network out of a checkpoint's content.

    Parameters
    ----------
    content : mapping
        `hyper_parameters` and `state_dict`; everything but the location network is left alone.
    source : str
        Name of the file, for messages.

    Returns
    -------
    config : SatCLIPConfig
    state : dict of str to torch.Tensor
        Keys as in `SatCLIPConfig.shapes`.

    Raises
    ------
    ValueError
        If parts are missing, the settings are not SatCLIP's, or weights do not fit them.
    """
    hyper, state = plain_settings(content.get("hyper_parameters")), content.get("state_dict")
    if not isinstance(hyper, Mapping) or not isinstance(state, Mapping):
        raise ValueError(
            f"{source} is not a SatCLIP checkpoint: it must hold hyper_parameters and state_dict."
        )
    for key, expected in PUBLISHED_KINDS.items():
        if hyper.get(key, expected) != expected:
            raise ValueError(
                f"{source} has {key}={hyper[key]!r:.60}; only {expected!r} makes a SatCLIP encoder."
            )
    values = {ours: hyper[theirs] for ours, theirs in PUBLISHED_NAMES.items() if theirs in hyper}
    lacking = PUBLISHED_NAMES.keys() - values.keys() - {"harmonics_calculation"}
    if lacking:
        raise ValueError(f"{source} lacks the hyper-parameter {PUBLISHED_NAMES[min(lacking)]}.")
    w0_initial, w0 = PUBLISHED_W0
    try:
        config = SatCLIPConfig(**values, w0_initial=w0_initial, w0=w0, name=Path(source).stem)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    return config, _location_network(state, config, source)


def from_hub(
    state: Mapping[str, Any], source: str
) -> tuple[SatCLIPConfig, dict[str, torch.Tensor]]:
    """Take the location network out of safetensors without settings (`MVRL/satclip-loc-enc-*`).

    Sizes are read from the weights; the harmonics are the analytic ones, as published.

    Parameters
    ----------
    state : mapping
        Every tensor of the file by its key.
    source : str
        Name of the file, for messages.

    Returns
    -------
    config : SatCLIPConfig
    state : dict of str to torch.Tensor
        Keys as in `SatCLIPConfig.shapes`.

    Raises
    ------
    ValueError
        If weights are missing or do not fit one another.
    """
    ends = {key.partition("nnet.")[2]: value for key, value in state.items()}
    count = sum(1 for key in ends if key.startswith("layers.") and key.endswith(".weight"))
    ins, outs = (ends.get(f"{key}.weight") for key in ("layers.0", "last_layer"))
    if any(not isinstance(w, torch.Tensor) or w.ndim != 2 for w in (ins, outs)):
        raise ValueError(f"{source} lacks the first or the last layer of SatCLIP's network.")
    assert ins is not None
    assert outs is not None
    w0_initial, w0 = PUBLISHED_W0
    try:
        config = SatCLIPConfig(
            legendre_polys=math.isqrt(ins.shape[1]),
            hidden_dim=ins.shape[0],
            num_layers=count,
            embed_dim=outs.shape[0],
            w0_initial=w0_initial,
            w0=w0,
            name=Path(source).stem,
        )
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    return config, _location_network(state, config, source)


def _location_network(
    state: Mapping[Any, Any], config: SatCLIPConfig, source: str
) -> dict[str, torch.Tensor]:
    networks: dict[str, dict[str, Any]] = {}
    for key, value in state.items():
        prefix = _prefix(key)
        if prefix is not None:
            networks.setdefault(prefix, {})[key[len(prefix) :]] = value
    if not networks:
        raise ValueError(f"{source} holds no location network (keys with nnet.).")
    shapes = config.shapes()
    first, *others = (take_tensors(network, shapes, source) for network in networks.values())
    if any(not torch.equal(other[key], first[key]) for other in others for key in shapes):
        raise ValueError(f"{source} holds two location networks that differ.")
    return first


def _prefix(key: Any) -> str | None:
    """Return what precedes the layers in `model.location.nnet.layers.0.weight`, or None."""
    head, found, _ = f".{key}".partition(".nnet.")
    return f"{head}{found}"[1:] if found and isinstance(key, str) else None


def export_lightning(
    encoder: SatCLIP,
    path: str | Path,
    image_state: Mapping[str, torch.Tensor] | None = None,
    *,
    hyper_parameters: Mapping[str, Any] | None = None,
    logit_scale: float = INITIAL_LOGIT_SCALE,
) -> Path:
    """Write an encoder as a checkpoint that microsoft/satclip opens.

    `get_satclip_loc_encoder` needs the location network only; `get_satclip` builds the image
    encoder too, so give its weights for that.

    Parameters
    ----------
    encoder : SatCLIP
        With the published frequencies, w0_initial = 30 and w0 = 1: the layout cannot state others.
    path : str or Path
        File to write; replaced only when complete.
    image_state : mapping, optional
        State of the image encoder that `vision_layers` names, without prefix.
    hyper_parameters : mapping, optional
        What differs from the published settings, e.g. `vision_layers`, `in_channels`.
    logit_scale : float
        Learned log of the inverse temperature.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        If the frequencies are not the published ones, or a hyper-parameter is unknown or would
        contradict the encoder.
    """
    config = encoder.config
    if (config.w0_initial, config.w0) != PUBLISHED_W0:
        raise ValueError(
            "the published layout fixes w0_initial=30 and w0=1; got "
            f"{config.w0_initial:g} and {config.w0:g}. Use save_encoder."
        )
    own = {theirs: getattr(config, ours) for ours, theirs in PUBLISHED_NAMES.items()}
    hyper = {**OTHER_HYPER_PARAMETERS, **PUBLISHED_KINDS, **own}
    for key, value in (hyper_parameters or {}).items():
        if key not in OTHER_HYPER_PARAMETERS:
            raise ValueError(
                f"hyper_parameters may hold {', '.join(OTHER_HYPER_PARAMETERS)}; got {key!r}."
            )
        hyper[key] = value
    state = {"model.logit_scale": torch.tensor(float(logit_scale))}
    weights = {key: value.detach().cpu() for key, value in encoder.network.state_dict().items()}
    for prefix in LOCATION_PREFIXES:
        # The published location network is float64, and a strict loader compares no dtypes.
        state |= {f"{prefix}{key}": value.double() for key, value in weights.items()}
    state |= {f"model.visual.{k}": v.detach().cpu() for k, v in (image_state or {}).items()}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_torch_file(
        path,
        {
            "epoch": 0,
            "global_step": 0,
            "pytorch-lightning_version": "2.0.0",
            "hyper_parameters": hyper,
            "state_dict": state,
        },
    )
