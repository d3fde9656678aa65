"""STAC files as lists of rasters of vectors: an item, an item collection, a collection's links.

References
----------
SpatioTemporal Asset Catalog 1.0 and 1.1, https://stacspec.org, with its raster and projection
extensions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from satclip_explore.encoders.base import LocationEncoder, Times
from satclip_explore.encoders.products import GEOTIFF, NETCDF, PARQUET
from satclip_explore.encoders.products.headers import Header, need_rasterio, read_header, version
from satclip_explore.encoders.products.hrefs import Listing
from satclip_explore.encoders.products.raster import Kind
from satclip_explore.encoders.products.tiles import Bounds, ListedTile, Tile, TiledProduct, meet
from satclip_explore.encoders.remote_files import FetchedList, is_address
from satclip_explore.files.columns import listed

MAX_FETCHED = 1000
"""Items and catalogs that are fetched one by one."""

MAX_DEPTH = 8
"""Catalogs in catalogs."""


def is_stac(path: Path) -> bool:
    """Tell a STAC file by its content."""
    try:
        with path.open("rb") as file:
            head = file.read(4096).lstrip()
    except OSError:
        return False
    if not head.startswith(b"{"):
        return False
    if b'"stac_version"' in head:
        return True
    try:
        said = json.loads(path.read_bytes())
        items = said.get("features", [said])
        return "stac_version" in said or any("assets" in item for item in items[:1])
    except (ValueError, TypeError, AttributeError, RecursionError):
        return False


@dataclass(frozen=True)
class Item:
    """An item, and the one of its assets that holds vectors.

    Parameters
    ----------
    name, time : str
        Its id, and when it begins, as an ISO date.
    bounds : tuple of float
        As in `Tile`.
    asset : mapping
        What is said of it, its href among that.
    listing : Listing
        The file that says so.
    """

    name: str
    time: str
    bounds: Bounds
    asset: dict[str, Any]
    listing: Listing

    @property
    def href(self) -> str:
        """Of the asset."""
        return str(self.asset["href"])

    def settled(self, header: Header) -> Header:
        """Add what the item alone says: nodata, scale and offset of its bands."""
        bands = _dicts(self.asset.get("raster:bands") or self.asset.get("bands"))
        nodata = {_number(band.get("nodata", self.asset.get("nodata"))) for band in bands} - {None}
        if header.nodata is None and len(nodata) == 1:
            header = replace(header, nodata=nodata.pop())
        factors = [_number(b.get("scale", b.get("raster:scale"))) for b in bands]
        shifts = [_number(b.get("offset", b.get("raster:offset"))) for b in bands]
        if header.scaled or not any(value is not None for value in (*factors, *shifts)):
            return header
        if len(bands) != len(header.scales):
            raise ValueError(
                f"item {self.name:.60} describes {len(bands)} bands of {header.name}, which has "
                f"{len(header.scales)}."
            )
        return replace(
            header,
            scales=tuple(1.0 if value is None else value for value in factors),
            offsets=tuple(0.0 if value is None else value for value in shifts),
        )


def read_stac(
    path: Path | FetchedList,
    *,
    asset: str | None = None,
    product: str | None = None,
    year: int | None = None,
    time: str | None = None,
    method: str = "nearest",
    name: str = "",
    dtype: str = "float32",
    device: str = "auto",
    cache: str | Path | None = None,
    download: bool = False,
) -> LocationEncoder:
    """Open the rasters that a STAC file lists as one encoder; each is opened where places are.

    Parameters
    ----------
    path : Path or FetchedList
        An item, an item collection, or a collection or catalog with links to them. Assets lie in
        its folder, or are fetched over https as those of an address are.
    asset : str, optional
        Key of the vectors among the assets of an item, where several could hold them.
    product, method
        As in `read_rasters`.
    year, time : int and str, optional
        Use the items alone that begin in this year, or whose date begins like this.
    name, dtype, device, cache, download
        As in `load_encoder`.

    Raises
    ------
    FileNotFoundError
        If a file that is named is not there; `WeightsNotFoundError` if it may not be fetched.
    ValueError
        If it is no STAC, a path leads out of its folder, items are of several years and none is
        said, or a raster is refused as by `read_rasters`.
    """
    need_rasterio()
    listing = Listing.of(path, cache, download)
    items = list(_items(listing, asset))
    title = name or listing.path.name.partition(".")[0]
    common: dict[str, Any] = {"dtype": dtype, "device": device}
    if len(items) == 1 and _kind(items[0].asset) == "store":
        return _one_store(
            items[0], common | {"name": title}, product=product, method=method, year=year, time=time
        )
    years = sorted({int(item.time[:4]) for item in items if item.time[:4].isdecimal()})
    items = _of_time(items, listing.path.name, time if time is not None else year)
    places = [item.listing.find(item.href) for item in items]
    first = items[0].listing.raster(places[0])
    header = items[0].settled(read_header(first)[0])
    kind = Kind.of(header, product, header.scaled)

    def open_tile(number: int) -> Tile:
        item = items[number]
        file = first if not number else item.listing.raster(places[number])
        header, bands = read_header(file)
        header = item.settled(header)
        if header.scaled and kind.profile.name != "plain" and product is None:
            raise ValueError(f"{header.name} states scales, unlike {kind.first.name}.")
        tile = kind.tile(file, header, bands)
        if not meet(tile.bounds, item.bounds):
            raise ValueError(
                f"item {item.name:.60} says that it lies in {item.bounds}, and {header.name} lies "
                f"in {tuple(round(edge, 2) for edge in tile.bounds)}."
            )
        return tile

    stats = [version(place) if isinstance(place, Path) else place for place in places]
    encoder = TiledProduct(
        [ListedTile(item.bounds, partial(open_tile, n)) for n, item in enumerate(items)],
        kind.bands,
        (stats, version(first), [item.asset.get("raster:bands") for item in items]),
        product=kind.profile.name,
        method=method,
        name=title if name or year is None else f"{title}:year{year}",
        family="stac",
        **common,
    )
    if year is not None and time is None:
        encoder.times = Times("year", tuple(years))
    return encoder


def _one_store(item: Item, common: dict[str, Any], **wishes: Any) -> LocationEncoder:
    """Open what one item alone can list: a store of arrays, or places with a vector each."""
    place = item.listing.product(item.listing.find(item.href))
    if item.href.lower().endswith(PARQUET):
        from satclip_explore.encoders.products.points import read_points

        return read_points(place, year=wishes["year"], **common)
    from satclip_explore.encoders.products.arrays import read_arrays

    return read_arrays(place, **wishes, **common)


def _items(listing: Listing, asset: str | None, depth: int = 0) -> Iterator[Item]:
    """Read the items of a STAC file and of those that it links to."""
    said = _read_json(listing)
    kind, links = said.get("type"), _dicts(said.get("links"))
    if kind == "Feature":
        yield _item(said, asset, listing)
    elif kind == "FeatureCollection":
        yield from _pages(listing, said, asset)
    elif kind in ("Collection", "Catalog"):
        links = [link for link in links if link.get("rel") in ("item", "child")]
        if depth == MAX_DEPTH:
            raise ValueError(f"catalogs may lie {MAX_DEPTH} deep in one another.")
        for number, link in enumerate(links):
            below = listing.below(str(link.get("href", "")))
            if isinstance(below.place, str) and number == MAX_FETCHED:
                raise ValueError(
                    f"{MAX_FETCHED:,} items are fetched one by one; {listing.path.name} has "
                    f"{len(links):,}. Save those that are needed as one item collection."
                )
            yield from _items(below, asset, depth + 1)
    else:
        raise ValueError(f"{listing.path.name} is no STAC item, item collection or collection.")


def _pages(listing: Listing, said: dict[str, Any], asset: str | None) -> Iterator[Item]:
    """Read the items of a collection, page by page where it is an answer of a search."""
    seen: set[object] = set()
    while True:
        seen.add(listing.place)
        for feature in _dicts(said.get("features")):
            yield _item(feature, asset, listing)
        following = [link for link in _dicts(said.get("links")) if link.get("rel") == "next"]
        if not following:
            return
        href = str(following[0].get("href", ""))
        away = is_address(href) and isinstance(listing.place, Path) and not listing.download
        if away or str(following[0].get("method", "GET")).upper() != "GET":
            raise ValueError(
                f"{listing.path.name} is one page of a search, and its link next leads to more; "
                "save all pages as one item collection, or pass download=True where the link is "
                "an address."
            )
        listing = listing.below(href)
        if listing.place in seen or len(seen) == MAX_FETCHED:
            raise ValueError(
                f"{listing.path.name} is a page of a search that goes round, or has more than "
                f"{MAX_FETCHED:,} pages; save its items as one item collection."
            )
        said = _read_json(listing)


def _read_json(listing: Listing) -> dict[str, Any]:
    try:
        said = json.loads(listing.content())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{listing.path.name} is damaged: it does not read as JSON.") from error
    if not isinstance(said, dict):
        raise ValueError(f"{listing.path.name} is no STAC item, item collection or collection.")
    return said


def _item(said: dict[str, Any], asset: str | None, listing: Listing) -> Item:
    """Check an item, and choose its asset."""
    name = str(said.get("id", "without an id"))
    assets = {
        key: value for key, value in _dict(said.get("assets")).items() if isinstance(value, dict)
    }
    key = asset if asset is not None else _vectors_among(assets, name)
    if key not in assets or not assets[key].get("href"):
        raise ValueError(f"item {name:.60} has no asset {key!r:.60}; it has {listed(assets)}.")
    properties = _dict(said.get("properties"))
    start = properties.get("start_datetime") or properties.get("datetime") or ""
    return Item(name, str(start), _bounds(said.get("bbox"), name), assets[key], listing)


def _vectors_among(assets: dict[str, dict[str, Any]], name: str) -> str:
    """Choose the asset of an item that holds vectors: the only one, or as it is called."""
    found = {key: asset for key, asset in assets.items() if _kind(asset)}
    called = {key: {key, *_roles(asset)} for key, asset in found.items()}
    for words in ({"embedding", "embeddings"}, {"data"}):
        chosen = list(found) if len(found) == 1 else [k for k in found if called[k] & words]
        if len(chosen) == 1:
            return chosen[0]
    raise ValueError(
        f"item {name:.60} has the assets {listed(assets)}; say with asset= which holds the vectors."
    )


def _roles(asset: dict[str, Any]) -> list[str]:
    roles = asset.get("roles")
    return [str(role) for role in roles] if isinstance(roles, list) else []


def _kind(asset: dict[str, Any]) -> str:
    """Tell what an asset is by its media type or its ending; empty for what holds no vectors."""
    ending = Path(str(asset.get("href", "")).partition("?")[0].rstrip("/")).suffix.lower()
    media = str(asset.get("type", ""))
    if {"thumbnail", "overview", "visual", "metadata"}.intersection(_roles(asset)):
        return ""
    if ending in GEOTIFF or media.startswith("image/tiff"):
        return "raster"
    if ending in (".zarr", *NETCDF, *PARQUET) or "zarr" in media or "parquet" in media:
        return "store"
    return ""


def _bounds(said: Any, name: str) -> Bounds:
    """Read a bbox of two or three axes: degrees, west above east across the antimeridian."""
    try:
        edges = [float(edge) for edge in said]
        west, south, east, north = edges if len(edges) == 4 else [edges[i] for i in (0, 1, 3, 4)]
    except (TypeError, ValueError, IndexError):
        raise ValueError(f"item {name:.60} has no bbox of 4 numbers; got {said!r:.60}.") from None
    if not (np.isfinite(edges).all() and -90 <= south <= north <= 90 and abs(west) <= 360):
        raise ValueError(
            f"item {name:.60} has the bbox {edges}; it must be west, south, east, north in degrees."
        )
    return west, south, east, north


def _of_time(items: list[Item], name: str, wanted: object) -> list[Item]:
    """Keep the items that begin when it was said; without that there must be one time alone."""
    times = sorted({item.time[:10] for item in items})
    began = ", ".join(times[:12]) + (" …" if len(times) > 12 else "")
    if wanted is not None:
        items = [item for item in items if item.time.startswith(str(wanted))]
    if not items:
        raise ValueError(f"{name} lists no item of {wanted!s:.40}; they begin {began or 'never'}.")
    at_a_place = len({(item.bounds, item.time) for item in items}) > len({i.bounds for i in items})
    if at_a_place or len({item.time[:4] for item in items}) > 1:
        raise ValueError(f"{name} lists items that begin {began}; say which, with year= or time=.")
    return items


def _number(said: Any) -> float | None:
    """Read a number of an item; "nan" is none that a pixel can equal."""
    try:
        return float(said) if np.isfinite(float(said)) else None
    except (TypeError, ValueError):
        return None


def _dict(said: Any) -> dict[str, Any]:
    return said if isinstance(said, dict) else {}


def _dicts(said: Any) -> list[dict[str, Any]]:
    return [value for value in said if isinstance(value, dict)] if isinstance(said, list) else []
