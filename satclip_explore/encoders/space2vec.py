"""Space2Vec, Sphere2Vec, xyz and wrap: the encoders that TorchSpatial and CSP publish."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from satclip_explore.encoders.base import LocationEncoder, resolve_device, resolve_dtype
from satclip_explore.encoders.baselines import scaled_lonlat, wrap, xyz
from satclip_explore.encoders.feed_forward import ACTIVATIONS, FeedForward, ResidualBlock
from satclip_explore.encoders.fitted_encodings import FITTED, fitted_features
from satclip_explore.encoders.position_encodings import POSITION_ENCODINGS
from satclip_explore.encoders.tensor_files import (
    plain_settings,
    read_torch_file,
    take_tensors,
    weights_hash,
)

LIMITS = {"frequency_num": 1024, "num_hidden_layer": 32, "hidden_dim": 8192, "num_filts": 8192}
"""Largest sizes that are built from a file."""

RESIDUAL_BLOCKS = 4
RESIDUAL_INPUTS = {
    "encode_cos_sin": (wrap, 4),
    "encode_none": (scaled_lonlat, 2),
    # The published 3-D input stretches latitude to a full turn, unlike xyz.
    "encode_3D": (lambda lonlat: xyz(lonlat * lonlat.new_tensor([1.0, 2.0])), 3),
}
"""Input of the published residual network for each `loc_encode`."""


class Space2Vec(LocationEncoder):
    """A fixed position encoding and a learned network.

    Parameters
    ----------
    features : callable
        Places (N, 2), float64 degrees, to features, float64.
    network : torch.nn.Module
        Features to embeddings.
    embed_dim : int
        Numbers per place.
    scaled : bool
        Divide longitude by 180 and latitude by 90 first.
    name, family, dtype, device : str
        As in `load_encoder`.
    """

    # The published code turns degrees at frequencies that are no whole numbers of turns.
    periodic = False

    def __init__(
        self,
        features: Any,
        network: nn.Module,
        embed_dim: int,
        *,
        scaled: bool = False,
        name: str,
        family: str = "torchspatial",
        dtype: str = "float32",
        device: str = "auto",
    ) -> None:
        self.name, self.family = name, family
        self.dtype, self.device = resolve_dtype(dtype), resolve_device(device)
        self.embed_dim, self.scaled = embed_dim, scaled
        self.network = network.to(self.device, self.dtype).eval().requires_grad_(False)
        self._features = features

    def encode(self, lonlat: torch.Tensor) -> torch.Tensor:
        """Encode one chunk of checked places; see `LocationEncoder.encode`.

        The published code takes float32 degrees. The finest waves turn so fast that this rounding
        shows, so it is kept, except with dtype="float64".
        """
        if self.dtype != torch.float64:
            lonlat = lonlat.float()
        lonlat = scaled_lonlat(lonlat) if self.scaled else lonlat
        return self.network(self._features(lonlat.double()).to(self.dtype))


def is_torchspatial(content: Mapping[str, Any]) -> bool:
    """Tell whether the content of a PyTorch file is laid out like TorchSpatial's or CSP's."""
    params = plain_settings(content.get("params"))
    return isinstance(params, Mapping) and "spa_enc_type" in params and "state_dict" in content


def read_space2vec(
    path: str | Path,
    *,
    scaled: bool = False,
    train_locs: Any = None,
    name: str = "",
    family: str = "torchspatial",
    dtype: str = "float32",
    device: str = "auto",
) -> Space2Vec:
    """Load a published .pth.tar file of TorchSpatial, Sphere2Vec, Space2Vec or CSP.

    Parameters
    ----------
    path : str or Path
        File with `params` and `state_dict`; the classifier in it is left alone.
    scaled : bool
        Divide longitude by 180 and latitude by 90 before they are encoded. The authors train on
        degrees; SatCLIP's comparison with CSP scales.
    train_locs : array_like, shape (M, 2), optional
        For files of rbf; see `fitted_encodings`.
    name, family, dtype, device : str
        As in `load_encoder`. A device stored in the file does not matter.

    Returns
    -------
    Space2Vec
        With the 256 (`num_filts`) outputs of the location encoder.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, would run code, holds another kind of encoder, or its weights do
        not fit its parameters.
    """
    path = Path(path)
    content = read_torch_file(path)
    state = content.get("state_dict")
    if not is_torchspatial(content) or not isinstance(state, Mapping):
        raise ValueError(f"{path.name} must hold params (with spa_enc_type) and state_dict.")
    params = plain_settings(content["params"])
    kind = params["spa_enc_type"]
    residual = kind in ("wrap", "geo_net")
    if (scaled and residual) or (train_locs is not None and kind != "rbf"):
        wish = "scaled" if scaled and residual else "train_locs"
        raise ValueError(f"{wish}= does not go with {path.name}, whose encoding is {kind!r:.60}.")
    try:
        if residual:
            features, network, marker = _residual(params)
        elif kind in FITTED:
            encoding = fitted_features(params, state, train_locs, path.name)
            features, network, marker = _with_network(*encoding, params)
        else:
            features, network, marker = _feed_forward(params)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
    weights = _weights(state, network, marker, path.name)
    network.load_state_dict(weights, strict=True)
    encoder = Space2Vec(
        features,
        network,
        params["num_filts"],
        scaled=scaled,
        name=(name or path.name.removesuffix(".tar").removesuffix(".pth"))
        + (":scaled" if scaled else ""),
        family=family,
        dtype=dtype,
        device=device,
    )
    settings = {"scaled": True} if scaled else {}
    if kind in FITTED:
        # What the file or the caller adds to the network: told apart by what it gives somewhere.
        probe = torch.tensor([[13.4, 52.5], [-100.0, 40.0]], dtype=torch.float64)
        settings["features"] = features(probe).tolist()
    encoder.weights_hash = weights_hash(weights, **settings)
    return encoder


def _feed_forward(params: Mapping[str, Any]) -> tuple[Any, nn.Module, str]:
    kind = params["spa_enc_type"]
    if kind not in POSITION_ENCODINGS:
        raise ValueError(
            f"spa_enc_type {kind!r:.60} cannot be read; those that can are "
            f"{', '.join([*POSITION_ENCODINGS, *FITTED])}, wrap, geo_net."
        )
    encoding, width = POSITION_ENCODINGS[kind], POSITION_ENCODINGS[kind].width
    frequencies = torch.empty(0, dtype=torch.float64)
    if encoding.frequencies is not None:
        # TorchSpatial never hands its NeRF the stored count and always uses 16.
        count = 16 if kind == "NeRF" else _size(params, "frequency_num", 2)
        radii = [_radius(params, key) for key in ("min_radius", "max_radius")]
        if kind != "NeRF" and params.get("freq_init", "geometric") != "geometric":
            raise ValueError(
                f"freq_init must be 'geometric', whose frequencies can be computed again; got "
                f"{params['freq_init']!r:.60}."
            )
        frequencies, width = encoding.frequencies(count, *radii), width * count

    def features(lonlat: torch.Tensor) -> torch.Tensor:
        return encoding.features(lonlat, frequencies.to(lonlat.device))

    return _with_network(features, width, params)


def _with_network(
    features: Any, width: int, params: Mapping[str, Any]
) -> tuple[Any, nn.Module, str]:
    """Add the feed-forward network that the parameters describe to features of a known width."""
    if params.get("spa_f_act") not in ACTIVATIONS:
        raise ValueError(
            f"spa_f_act must be one of {', '.join(ACTIVATIONS)}; got {params.get('spa_f_act')!r}."
        )
    hidden = [_size(params, "hidden_dim")] * _size(params, "num_hidden_layer", 0)
    network = FeedForward(
        [width, *hidden, _size(params, "num_filts")],
        params["spa_f_act"],
        bool(params.get("use_layn", True)),
        bool(params.get("skip_connection", True)),
    )
    return features, network, "spa_enc.ffn."


def _residual(params: Mapping[str, Any]) -> tuple[Any, nn.Module, str]:
    kind = params.get("loc_encode", "encode_cos_sin")
    if kind not in RESIDUAL_INPUTS or params.get("use_date_feats"):
        raise ValueError(
            f"loc_encode must be one of {', '.join(RESIDUAL_INPUTS)}, without dates; got {kind!r}."
        )
    features, width = RESIDUAL_INPUTS[kind]
    out = _size(params, "num_filts")
    blocks = [ResidualBlock(out) for _ in range(RESIDUAL_BLOCKS)]
    return features, nn.Sequential(nn.Linear(width, out), nn.ReLU(), *blocks), "feats."


def _weights(
    state: Mapping[Any, Any], network: nn.Module, marker: str, source: str
) -> dict[str, torch.Tensor]:
    """Take the network's weights from wherever the file nests them."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in state.items():
        head, mark, tail = f".{key}".partition(f".{marker}")
        if mark:
            found.setdefault(head, {})[tail] = value
    if not found:
        raise ValueError(f"{source} holds no location encoder (keys with {marker}).")
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    # CSP's files list the same network twice: as spa_enc and as loc_enc.spa_enc.
    first, *others = (take_tensors(weights, shapes, source) for weights in found.values())
    if any(not torch.equal(other[key], first[key]) for other in others for key in shapes):
        raise ValueError(f"{source} holds two location encoders that differ.")
    return first


def _size(params: Mapping[str, Any], key: str, smallest: int = 1) -> int:
    value = params.get(key)
    if type(value) is not int or not smallest <= value <= LIMITS[key]:
        raise ValueError(
            f"{key} must be a whole number from {smallest} to {LIMITS[key]}; got {value!r:.60}."
        )
    return value


def _radius(params: Mapping[str, Any], key: str) -> float:
    value = params.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e12:
        raise ValueError(f"{key} must be a number above 0; got {value!r:.60}.")
    return float(value)


def read_csp(
    path: str | Path,
    *,
    scaled: bool = False,
    name: str = "csp",
    dtype: str = "float32",
    device: str = "auto",
) -> Space2Vec:
    """Load a released .pth.tar file of CSP.

    Parameters
    ----------
    path : str or Path
        File with `params`, `state_dict` and `optimizer`. The encoder is read from its parameters:
        32 frequencies between 0.1 and 360, one hidden layer of 512 with layer norm, 256 outputs
        that pass the activation too (gelu for FMoW, leaky ReLU for iNaturalist).
    scaled : bool
        As in `read_space2vec`: what SatCLIP's comparison with CSP does.
    name, dtype, device : str
        As in `load_encoder`. A CUDA device stored in the file does not matter.

    Returns
    -------
    Space2Vec

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, would run code, or does not hold such an encoder.

    References
    ----------
    Mai et al. (2023), "CSP: Self-Supervised Contrastive Spatial Pre-Training for
    Geospatial-Visual Representations", ICML.
    """
    return read_space2vec(path, scaled=scaled, name=name, family="csp", dtype=dtype, device=device)
