"""Map tiles of any encoder at hand, for QGIS, Leaflet and others, as a plugin of `panel serve`.

``/tiles/mini-l40.biomes/3/4/2.png`` is a tile as in OpenStreetMap, ``/tiles/mini-l40.biomes.json``
its TileJSON. A layer is an encoder and its colors.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from tornado.web import HTTPError, RequestHandler

from satclip_explore.panes.served.settings import SETTINGS

COLORS = {"biomes": "biomes", "pca": "1 · 2 · 3", "detail": "detail"}
"""In an address, and among the components of the page."""

WORKERS = 2
MOST_WAITING = 64
"""Tiles that may be asked for at a time: a map of 4K shows fewer."""

_POOL = ThreadPoolExecutor(WORKERS, "satclip-tile")


def served() -> bool:
    """Tell whether this server gives tiles: it was started with this plugin."""
    return _State.registered


def layer_name(encoder: Any, components: Any) -> str | None:
    """Return the layer of an address that shows an encoder in some colors; None where none does."""
    from satclip_explore.panes.world import COMPONENTS
    from satclip_explore.store import RESULTS

    for word, label in COLORS.items():
        if COMPONENTS[label] == components and RESULTS.peek(("encoder", encoder.name)) is encoder:
            return f"{encoder.name}.{word}"
    return None


def being_painted() -> int:
    """Count the tiles that are asked for and not given yet."""
    return _State.waiting


class _State:
    registered = False
    waiting = 0


def _available() -> set[str]:
    from satclip_explore.encoders.registry import list_encoders

    table = list_encoders()
    return set(table["name"][table["available"]])


def paint(layer: str, z: int, x: int, y: int) -> bytes:
    """Return a tile as PNG, computed once per process.

    Raises
    ------
    LookupError
        If there is no such layer.
    ValueError
        If there is no such tile.
    """
    from satclip_explore.panes.world import COMPONENTS, projection_of
    from satclip_explore.shared_encoders import load_once
    from satclip_explore.store import RESULTS
    from satclip_explore.tiles import TileGrid, pca_tile

    name, _, word = layer.rpartition(".")
    # The registry looks at files, the store does not: a tile that is kept takes no time.
    known = RESULTS.peek(("encoder", name)) is not None
    if word not in COLORS or not (known or name in _available()):
        raise LookupError(
            "a layer is an encoder that is on this server, a point, and one of "
            f"{', '.join(COLORS)}: mini-l40.biomes, for one."
        )
    TileGrid.of(z, x, y)
    encoder = load_once(name)
    components = COMPONENTS[COLORS[word]]

    def draw() -> bytes:
        return pca_tile(encoder, z, x, y, projection=projection_of(encoder, components))

    return RESULTS.get(("tile", encoder, components, z, x, y), draw)


class _Public(RequestHandler):
    """What maps on other pages may read too; a refusal is one sentence."""

    def set_default_headers(self) -> None:
        """Let pages of other servers draw what is public anyway."""
        self.set_header("Access-Control-Allow-Origin", "*")
        self.set_header("Cache-Control", "public, max-age=3600")
        self.set_header("X-Content-Type-Options", "nosniff")

    def write_error(self, status_code: int, **facts: Any) -> None:
        """Write the reason as plain text."""
        error = facts.get("exc_info", (None, None))[1]
        reason = getattr(error, "log_message", None) or "the tile could not be painted."
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.finish(f"{reason}\n")

    async def tile(self, layer: str, z: int, x: int, y: int) -> bytes:
        """Paint beside the server's loop."""
        if _State.waiting >= MOST_WAITING:
            raise HTTPError(503, "too many tiles are being painted; ask again in some seconds.")
        _State.waiting += 1
        try:
            loop = asyncio.get_running_loop()
            painted = loop.run_in_executor(_POOL, paint, layer, z, x, y)
            return await asyncio.wait_for(painted, SETTINGS.request_seconds)
        except TimeoutError as error:
            words = f"the tile takes longer than {SETTINGS.request_seconds} s; ask again later."
            raise HTTPError(503, words) from error
        except (LookupError, ValueError) as error:
            raise HTTPError(404, str(error)) from error
        finally:
            _State.waiting -= 1


class Tile(_Public):
    """One tile of 256 x 256 pixels."""

    async def get(self, layer: str, z: str, x: str, y: str) -> None:
        """Answer with a PNG."""
        picture = await self.tile(layer, int(z), int(x), int(y))
        self.set_header("Content-Type", "image/png")
        self.finish(picture)


class TileJson(_Public):
    """What a map needs to know of a layer, as TileJSON 3.0.0."""

    async def get(self, layer: str) -> None:
        """Answer once the layer's first tile is there: what cannot be painted is not offered."""
        await self.tile(layer, 0, 0, 0)
        here = self.request.full_url().partition("?")[0].removesuffix(".json")
        self.finish(
            {
                "tilejson": "3.0.0",
                "name": layer,
                "tiles": [f"{here}/{{z}}/{{x}}/{{y}}.png"],
                "minzoom": 0,
                "maxzoom": 14,
                "bounds": [-180.0, -85.05112878, 180.0, 85.05112878],
                "attribution": "SatCLIP Explore",
            }
        )


def routes() -> list[tuple[str, type[RequestHandler]]]:
    """Return what is answered beside the page; longer names and numbers match nothing."""
    _State.registered = True
    return [
        (r"/tiles/([\w.+-]{1,80})/(\d{1,2})/(\d{1,9})/(\d{1,9})\.png", Tile),
        (r"/tiles/([\w.+-]{1,80})\.json", TileJson),
    ]


def json_address(layer: str) -> str:
    """Return where the TileJSON of a layer is, from the page."""
    return f"tiles/{quote(layer)}.json"


def __getattr__(name: str) -> Any:
    """Give `--plugins` its ROUTES. The page imports this module too, and asks for none."""
    if name == "ROUTES":
        return routes()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
