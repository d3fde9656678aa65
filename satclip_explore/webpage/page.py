"""One HTML file with an encoder in it: globe, click, embedding, likeness, neighbors; offline."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satclip_explore.atlas import codes_at, country_table, land_mask, load_atlas, outlines
from satclip_explore.biome_colors import BIOMES, fit_biome_colors
from satclip_explore.checks import known_keywords
from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.encoders.satclip import SatCLIP
from satclip_explore.encoders.spherical_harmonics import order_scale
from satclip_explore.fields import one_place
from satclip_explore.files.atomic import write_whole
from satclip_explore.geo import Grid
from satclip_explore.projection import pca_raster
from satclip_explore.provenance import provenance

MAX_BYTES = 8_000_000
"""What a page may have: it is sent by mail and opened on phones."""

STEPS = (1.5, 2.0, 2.5, 3.0, 4.0, 6.0)
"""Spacings, in degrees, of the places that are compared; the finest that fits is taken."""

TEXTURE_DEGREES = 0.25
"""Size of a pixel of the picture that the globe is painted with."""

SEA = (14, 21, 34)
"""Encoders see little of the sea, and biomes are those of land: it has one color."""

HERE = Path(__file__).parent


@known_keywords
def to_html(
    encoder: LocationEncoder,
    path: str | Path,
    *,
    title: str = "",
    start: Any = (36.8, -1.3),
) -> Path:
    """Write one HTML file that runs an encoder in the browser, without a server or network.

    The page has a globe to click, the embedding of the place, a map of what is like it, and the
    most alike places; it works on a phone.

    Parameters
    ----------
    encoder : LocationEncoder
        A SatCLIP encoder: harmonics and a Siren, as the embedded ones and the published weights.
    path : str or Path
        Where to write it.
    title : str
        Heading; default names the encoder.
    start : array_like
        The place that is chosen first, (lon, lat) in degrees.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    ModuleNotFoundError
        If Pillow, which packs the picture, is not installed.
    ValueError
        If the encoder is of another family, or too large for a page of 8 MB.
    """
    return write_whole(path, html_bytes(encoder, title=title, start=start))


def html_bytes(encoder: LocationEncoder, *, title: str = "", start: Any = (36.8, -1.3)) -> bytes:
    """Make the page; see `to_html`."""
    if not isinstance(encoder, SatCLIP):
        raise ValueError(
            f"a page runs encoders of harmonics and a Siren; {encoder.name} is of family "
            f"{encoder.family!r}. Show it with sx.explore(encoder)."
        )
    facts = _facts(encoder) | {"start": one_place(start)[0].tolist()}
    script = "".join(
        (HERE / f"{name}.js").read_text("utf-8") for name in ("encoder", "globe", "page")
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    made = provenance(encoder)
    about = (
        f"Encoder {made['encoder']}, weights {made['weights_hash']}, {encoder.legendre_polys} "
        f"degrees of spherical harmonics. Made with {made['software']}. Country names and coasts: "
        "Natural Earth, public domain."
    )
    parts = {
        "title": html.escape(title or f"What {encoder.name} knows of the Earth"),
        "style": (HERE / "page.css").read_text("utf-8"),
        "script_hash": f"'sha256-{digest}'",
        "dim": str(encoder.embed_dim),
        "about": html.escape(about),
        # "<" would end the element that holds the numbers.
        "facts": json.dumps(facts).replace("<", "\\u003c"),
        "script": script,
    }
    page = (HERE / "page.html").read_text("utf-8")
    pieces = page.split("{{")
    filled = pieces[0] + "".join(
        parts[name] + rest for name, rest in (piece.split("}}", 1) for piece in pieces[1:])
    )
    return filled.encode()


def _facts(encoder: SatCLIP) -> dict[str, Any]:
    """Collect what the page computes with; numbers are base64 of little-endian arrays."""
    network = encoder.network
    layers = [*network.hidden_layers, network.last_layer]
    weights = np.concatenate(
        [
            p.detach().double().cpu().numpy().ravel()
            for layer in layers
            for p in (layer.weight, layer.bias)
        ]
    )
    # Rounding to 16 bits would cost a thousandth, unless the weights were stored so.
    with np.errstate(over="ignore"):
        exact = np.array_equal(weights, weights.astype(np.float16))
    sample = encoder.embed(load_atlas().lonlat[:4000]).astype(np.float64)
    facts: dict[str, Any] = {
        "legendre_polys": encoder.legendre_polys,
        "hidden_dim": encoder.config.hidden_dim,
        "num_layers": encoder.config.num_layers,
        "embed_dim": encoder.embed_dim,
        "frequencies": [float(value) for value in network.frequencies],
        "order_scale": order_scale(encoder.legendre_polys, encoder.harmonics_calculation).tolist(),
        "weight_bits": 16 if exact else 32,
        "weights": _packed(weights, "<f2" if exact else "<f4"),
        "mean": _packed(sample.mean(axis=0), "<f4"),
        "spread": _packed(sample.std(axis=0), "<f4"),
        "texture": _texture(encoder),
        "sea": int.from_bytes((*SEA, 255), "little"),
        "biomes": [pair for pair in BIOMES.values() if pair[0]],
        "coast": _coast(),
        "ground": _ground(),
    }
    # The page's own words and code take less than what is kept free here.
    room = MAX_BYTES - sum(len(str(value)) for value in facts.values()) - 100_000
    # Each place takes its vector and two numbers of 16 bits, and base64 adds a third.
    for step in STEPS:
        places = _land(step)
        if len(places) * (encoder.embed_dim + 4) * 4 / 3 < room:
            return facts | {"grid": _grid(encoder, places, step)}
    raise ValueError(
        f"a page may have {MAX_BYTES / 1e6:g} MB and {encoder.name} alone takes "
        f"{len(weights) * (2 if exact else 4) * 4 / 3e6:.1f}; take an encoder with fewer degrees, "
        "or show it with sx.explore(encoder)."
    )


def _packed(values: NDArray[Any], kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values).astype(kind).tobytes()).decode()


def _land(step: float) -> NDArray[np.float64]:
    """List the cells of a grid of which some part is land, (N, 2): their centers."""
    grid, fine = Grid.from_resolution(step), Grid.from_resolution(step / 5)
    land = land_mask(fine).reshape(grid.shape[0], 5, grid.shape[1], 5).any(axis=(1, 3))
    return grid.lonlat[land.ravel()]


def _grid(encoder: SatCLIP, places: NDArray[np.float64], step: float) -> dict[str, Any]:
    """Embed the places that are compared; a vector's length plays no part in a cosine."""
    vectors = encoder.embed(places).astype(np.float64)
    stored = np.rint(127 * vectors / np.abs(vectors).max(axis=1, keepdims=True))
    return {
        "step": step,
        "places": _packed(np.rint(places * 100), "<i2"),
        "vectors": _packed(stored, "i1"),
    }


def _texture(encoder: SatCLIP) -> str:
    """Paint the biomes that the encoder knows of, as a data URL."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ModuleNotFoundError(
            "pages need Pillow, which packs their picture; install it with: pip install pillow"
        ) from error
    field = pca_raster(encoder, TEXTURE_DEGREES, projection=fit_biome_colors(encoder))
    grid = Grid.from_resolution(TEXTURE_DEGREES)
    colors = field.to_numpy().astype(np.float64)
    colors[~land_mask(grid)] = SEA
    sink = io.BytesIO()
    Image.fromarray(colors.clip(0, 255).astype(np.uint8)).save(sink, "WEBP", quality=82, method=4)
    return "data:image/webp;base64," + base64.b64encode(sink.getvalue()).decode()


def _coast() -> dict[str, Any]:
    lines = [line for line in outlines("land") if len(line) > 3]
    points = np.rint(np.concatenate(lines) * 100)
    return {"lengths": [len(line) for line in lines], "points": _packed(points, "<i2")}


def _ground() -> dict[str, Any]:
    """Name the country of every half degree, run by run."""
    codes = codes_at(Grid.from_resolution(0.5).lonlat)
    starts = np.flatnonzero(np.diff(codes.astype(int), prepend=-1))
    # A run is at most what 16 bits count.
    cuts = np.unique(np.concatenate([starts, np.arange(0, len(codes), 60_000)]))
    runs = np.stack([np.diff(cuts, append=len(codes)), codes[cuts]], axis=1)
    return {"names": ["", *country_table()["country"]], "runs": _packed(runs, "<u2")}
