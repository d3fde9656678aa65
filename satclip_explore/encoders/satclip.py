"""SatCLIP's location encoder: spherical harmonics, then a Siren. Fast for points and for grids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from numpy.typing import NDArray

from satclip_explore.encoders.base import (
    LocationEncoder,
    Readout,
    resolve_device,
    resolve_dtype,
)
from satclip_explore.encoders.patch_series import PatchSeries, pays
from satclip_explore.encoders.siren import SatCLIPConfig, Siren, UpperLayers
from satclip_explore.encoders.spherical_harmonics import (
    harmonics_by_feature,
    legendre_rows,
    order_scale,
    trigonometric_rows,
)
from satclip_explore.encoders.tensor_files import weights_hash
from satclip_explore.geo import Grid, as_lonlat

ROWS_PER_TABLE = 64
"""Grid rows whose first layer is contracted together: large enough for the matrix product."""

PIXELS_PER_BLOCK = 3072
"""Pixels or places that pass through the layers together: their activations stay in the cache."""

ACCELERATOR_BLOCKS = 32
"""How many times more pass together on an accelerator, which small work leaves idle."""

MANY_PLACES = 20_000
"""From here on scattered places take a table of the first layer, which an encoder makes once at the
price of 6,000 to 15,000 places: its first call gains too."""


class SatCLIP(LocationEncoder):
    """Harmonics of L degrees and a Siren (Klemmer et al. 2023).

    Parameters
    ----------
    network : Siren
        Its input has L² features.
    legendre_polys : int
        Number of degrees L.
    harmonics_calculation : {"analytic", "closed-form"}
        The convention that the weights were learned on.
    name : str
        How results and files call this encoder.
    dtype : {"float32", "float64", "bfloat16"}
        Arithmetic of the network. Harmonics are always computed in float64.
    device : str
        Where the network runs.
    """

    family = "satclip"

    def __init__(
        self,
        network: Siren,
        legendre_polys: int,
        *,
        harmonics_calculation: str = "analytic",
        name: str = "satclip",
        dtype: str | torch.dtype = "float32",
        device: str | torch.device = "cpu",
    ) -> None:
        order_scale(legendre_polys, harmonics_calculation)
        if network.hidden_layers[0].in_features != legendre_polys**2:
            raise ValueError(
                f"a network for L = {legendre_polys} needs {legendre_polys**2} input features; "
                f"got {network.hidden_layers[0].in_features}."
            )
        self.legendre_polys = legendre_polys
        self.harmonics_calculation = harmonics_calculation
        self.name = name
        self.dtype = resolve_dtype(dtype)
        self.device = torch.device(device)
        self.network = network.to(self.device, self.dtype).eval()
        self.embed_dim = network.last_layer.out_features
        self.chunk_size = self._chunk_size()
        # At most one, with the weights and biases it was made of.
        self._series: list[tuple[PatchSeries, torch.Tensor, torch.Tensor]] = []

    @property
    def config(self) -> SatCLIPConfig:
        """The sizes and conventions that, with the weights, make this encoder."""
        return SatCLIPConfig(
            legendre_polys=self.legendre_polys,
            hidden_dim=self.network.last_layer.in_features,
            num_layers=len(self.network.layers),
            embed_dim=self.embed_dim,
            harmonics_calculation=self.harmonics_calculation,
            w0_initial=self.network.frequencies[0],
            w0=self.network.w0,
            name=self.name,
        )

    def save(self, path: str | Path) -> Path:
        """Write the encoder to a folder that `load_encoder` opens; see `save_encoder`."""
        from satclip_explore.encoders.checkpoint import save_encoder

        return save_encoder(self, path)

    def to_onnx(self, path: str | Path) -> Path:
        """Write the encoder as an ONNX graph; see `write_onnx`."""
        from satclip_explore.encoders.onnx_files import write_onnx

        return write_onnx(self, path)

    def to(self, device: str | torch.device) -> Self:
        """Move the encoder to a device and return it; see `LocationEncoder.to`."""
        self._series.clear()
        super().to(device)
        self.chunk_size = self._chunk_size()
        return self

    def _chunk_size(self) -> int:
        """Count the places of a chunk: harmonics of about 16 MB on a CPU, 512 MB elsewhere."""
        return max(256, 2_000_000 // self.legendre_polys**2) * self._blocks()

    def _blocks(self) -> int:
        return 1 if self.device.type == "cpu" else ACCELERATOR_BLOCKS

    def features(self, lonlat: torch.Tensor) -> torch.Tensor:
        """Return the harmonics of places, shape (N, L²), in the network's dtype."""
        harmonics = harmonics_by_feature(lonlat, self.legendre_polys, self.harmonics_calculation)
        return harmonics.to(self.dtype).T

    def encode(self, lonlat: torch.Tensor) -> torch.Tensor:
        """Encode one chunk of checked places; see `LocationEncoder.encode`. Differentiable."""
        return self.network(self.features(lonlat))

    @torch.no_grad()
    def embed_places(self, lonlat: Any) -> NDArray[Any]:
        """Encode places; see `LocationEncoder.embed`.

        Many places on a CPU in float32 take `PatchSeries` in place of the harmonics: within 1e-5
        of float64, whatever their order and company.
        """
        lonlat = as_lonlat(lonlat)
        if (
            len(lonlat) < MANY_PLACES
            or self.dtype != torch.float32
            or self.device.type != "cpu"
            or not pays(self.legendre_polys, self.network.last_layer.in_features)
        ):
            return super().embed_places(lonlat)
        series = self._patch_series()
        upper = UpperLayers(self.network, self.dtype)
        order, patch, inside = series.sort(torch.from_numpy(lonlat))
        out = torch.empty(len(lonlat), self.embed_dim)
        phase = torch.empty(PIXELS_PER_BLOCK, self.network.last_layer.in_features)
        for start in range(0, len(lonlat), PIXELS_PER_BLOCK):
            block = slice(start, start + PIXELS_PER_BLOCK)
            rows = order[block]
            out[rows] = upper(series.phases(patch[block], inside[:, block], phase[: len(rows)]))
        return out.numpy()

    def _patch_series(self) -> PatchSeries:
        """Return the table of the first layer, made anew when its weights have changed."""
        layer = self.network.hidden_layers[0]
        for series, weight, bias in self._series:
            if torch.equal(weight, layer.weight) and torch.equal(bias, layer.bias):
                return series
        by_order = self._first_layer_by_order().float()
        series = PatchSeries(
            lambda lat: self._first_layer_by_row(lat, by_order),
            self.legendre_polys,
            self.harmonics_calculation,
            layer.out_features,
        )
        self._series = [(series, layer.weight.clone(), layer.bias.clone())]
        return series

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_series": []}

    @torch.no_grad()
    def iter_grid(
        self, grid: Grid, readout: Readout | None = None, *, precision: str | None = None
    ) -> Iterator[tuple[slice, torch.Tensor]]:
        """Encode a grid by its rows and columns apart; see `LocationEncoder.iter_grid`.

        On a grid Y_lm = P_lm(lat) · trig(m·lon). The first layer is contracted over l once per
        row, into 2L-1 terms; a pixel then costs those in place of L² harmonics. A readout is
        folded into the last layer, and the frequencies into the weights.
        """
        dtype = self.dtype if precision is None else resolve_dtype(precision)
        # bfloat16 holds 8 bits: too few for the phase of the first sines, enough after them.
        first_dtype = torch.float32 if dtype == torch.bfloat16 else dtype
        upper = UpperLayers(self.network, dtype, readout)
        by_order = self._first_layer_by_order().to(first_dtype)
        trig = self._trig(grid).to(first_dtype).contiguous()

        height, width = grid.shape
        lat = torch.from_numpy(grid.lat).to(self.device)
        tabled = ROWS_PER_TABLE * self._blocks()
        step = max(1, min(tabled, PIXELS_PER_BLOCK * self._blocks() // width))
        # A reused buffer: fresh ones of this size cost more in page faults than the sines.
        phase = torch.empty(step, width, by_order.shape[-1], dtype=first_dtype, device=self.device)
        for top in range(0, height, tabled):
            table = self._first_layer_by_row(lat[top : top + tabled], by_order)
            for start in range(0, len(table), step):
                block = table[start : start + step]
                if trig.is_cuda:
                    torch.matmul(trig, block, out=phase[: len(block)])
                else:
                    # One product a row: a batched one takes twice as long on a CPU.
                    for row, out in zip(block, phase, strict=False):
                        torch.mm(trig, row, out=out)
                x = upper(phase[: len(block)].flatten(0, 1))
                rows = slice(top + start, top + start + len(block))
                yield rows, x.reshape(len(block), width, -1)

    def _trig(self, grid: Grid) -> torch.Tensor:
        """Return the trigonometric factors of every column, shape (W, 2L-1), float64."""
        lon = torch.from_numpy(grid.lon).to(self.device)
        return trigonometric_rows(lon, self.legendre_polys, self.harmonics_calculation).T

    def _first_layer_by_order(self) -> torch.Tensor:
        """Sort the first layer's weights by order: (2L-1, L, hidden), float64, zero for l < |m|."""
        L = self.legendre_polys
        layer = self.network.hidden_layers[0]
        weight = layer.weight.double() * self.network.frequencies[0]
        by_order = weight.new_zeros(2 * L - 1, L, weight.shape[0])
        for m in range(L):
            l = torch.arange(m, L, device=weight.device)
            by_order[m, m:] = weight[:, l * l + l + m].T
            if m:
                by_order[L - 1 + m, m:] = weight[:, l * l + l - m].T
        return by_order

    def _first_layer_by_row(self, lat: torch.Tensor, by_order: torch.Tensor) -> torch.Tensor:
        """Contract the first layer over degrees for each row: (rows, 2L-1, hidden)."""
        L = self.legendre_polys
        legendre = torch.zeros(L, len(lat), L, dtype=torch.float64, device=lat.device)
        for l, row in enumerate(legendre_rows(lat, L)):
            legendre[: l + 1, :, l] = row
        orders = [*range(L), *range(1, L)]
        table = torch.bmm(legendre[orders].to(by_order), by_order)
        # The trigonometric factor of m = 0 is constant: the bias rides on that term.
        layer = self.network.hidden_layers[0]
        scale = order_scale(L, self.harmonics_calculation)[0].item()
        table[0] += (layer.bias * self.network.frequencies[0] / scale).to(table)
        return table.transpose(0, 1).contiguous()


def build_encoder(
    config: SatCLIPConfig,
    state: Mapping[str, torch.Tensor],
    *,
    name: str = "",
    dtype: str | torch.dtype = "float32",
    device: str | torch.device = "auto",
) -> SatCLIP:
    """Make an encoder of a checked description and its weights.

    Parameters
    ----------
    config : SatCLIPConfig
        Sizes and conventions.
    state : mapping of str to torch.Tensor
        Weights, with the keys of `config.shapes()`.
    name, dtype, device : str
        As in `load_encoder`; default the name in the description.

    Returns
    -------
    SatCLIP
        With `weights_hash` set.
    """
    network = Siren(
        config.legendre_polys**2,
        config.hidden_dim,
        config.embed_dim,
        config.num_layers,
        w0_initial=config.w0_initial,
        w0=config.w0,
        seed=None,
    ).to(resolve_dtype(dtype))
    network.load_state_dict(state, strict=True)
    encoder = SatCLIP(
        network,
        config.legendre_polys,
        harmonics_calculation=config.harmonics_calculation,
        name=name or config.name,
        dtype=dtype,
        device=resolve_device(device),
    )
    encoder.weights_hash = weights_hash(state)
    return encoder


def hidden_layer(encoder: LocationEncoder, layer: int) -> SatCLIP:
    """Make an encoder of one hidden layer of a SatCLIP encoder.

    The network is cut after the layer and ends in the identity, so that grids keep their fast path.

    Parameters
    ----------
    encoder : LocationEncoder
        A SatCLIP encoder.
    layer : int
        Which hidden layer, from 0.

    Raises
    ------
    ValueError
        If the encoder has no Siren, or no such layer.
    """
    if not isinstance(encoder, SatCLIP):
        raise ValueError(
            f"layer= needs an encoder with a Siren; {encoder.name} is of family {encoder.family!r}."
        )
    count = len(encoder.network.layers)
    if type(layer) is not int or not 0 <= layer < count:
        raise ValueError(f"layer must lie in 0 … {count - 1} for {encoder.name}; got {layer}.")
    width = encoder.network.hidden_layers[layer].out_features
    config = replace(
        encoder.config,
        num_layers=layer + 1,
        embed_dim=width,
        name=f"{encoder.name}:layer{layer}",
    )
    state = {key: encoder.network.state_dict()[key] for key in config.shapes() if "last" not in key}
    state["last_layer.weight"] = torch.eye(width).to(state["layers.0.weight"])
    state["last_layer.bias"] = torch.zeros(width).to(state["layers.0.weight"])
    return build_encoder(config, state, dtype=encoder.dtype, device=encoder.device)
