"""Virtual rasters of GDAL as lists of GeoTIFFs: parsed here, so that none opens any other file.

References
----------
"GDAL Virtual Format", https://gdal.org/en/stable/drivers/raster/vrt.html.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree

from satclip_explore.encoders.products.georeference import checked_crs
from satclip_explore.encoders.products.headers import Header, need_rasterio, read_header, version
from satclip_explore.encoders.products.hrefs import Listing, Place
from satclip_explore.encoders.products.raster import Kind, RasterTile
from satclip_explore.encoders.products.tiles import (
    ListedTile,
    Tile,
    TiledProduct,
    degrees_of,
    is_geographic,
)
from satclip_explore.encoders.remote_files import FetchedList
from satclip_explore.files.containers import check_xml

Element = ElementTree.Element

KINDS = {
    "Byte": "uint8",
    "Int8": "int8",
    "UInt16": "uint16",
    "Int16": "int16",
    "UInt32": "uint32",
    "Int32": "int32",
    "Float16": "float16",
    "Float32": "float32",
    "Float64": "float64",
}
"""Names of kinds of numbers in GDAL and in NumPy."""

OF_A_MOSAIC = {
    "SRS", "GeoTransform", "Metadata", "OverviewList", "MaskBand", "BlockXSize", "BlockYSize",
    "VRTRasterBand",
}  # fmt: skip
OF_A_BAND = {
    "Description", "NoDataValue", "HideNoDataValue", "ColorInterp", "ColorTable", "CategoryNames",
    "Scale", "Offset", "UnitType", "Metadata", "Histograms", "Overview", "SimpleSource",
    "ComplexSource",
}  # fmt: skip
OF_A_SOURCE = {"SourceFilename", "SourceBand", "SourceProperties", "SrcRect", "DstRect", "NODATA"}
"""What is read or may be passed over; anything else is computed by GDAL alone."""

Rect = tuple[float, float, float, float]
"""Column, row, width and height."""


@dataclass(frozen=True)
class Piece:
    """A band of a file, and where it lies among the pixels of a mosaic.

    Parameters
    ----------
    file : str
        As the mosaic calls it.
    band : int
        From 1.
    source, target : tuple of float
        Its part in pixels of the file, and of the mosaic.
    nodata : float or None
        Number of the file that leaves a pixel to the sources below.
    """

    file: str
    band: int
    source: Rect
    target: Rect
    nodata: float | None


@dataclass(frozen=True)
class Mosaic:
    """Files side by side, or one for each band.

    Parameters
    ----------
    said : Header
        What the virtual raster says of its numbers and their position.
    layers : list of list of Piece
        The uppermost first; each has a piece for every band, all at one place.
    """

    said: Header
    layers: list[list[Piece]]

    def files(self) -> list[str]:
        """Name every file once."""
        return list(dict.fromkeys(piece.file for layer in self.layers for piece in layer))

    def header(self, found: Header, layer: list[Piece], bands: tuple[int, ...]) -> Header:
        """Join what a file says of its numbers with what is said of them here."""
        said = self.said
        if found.dtype != said.dtype or not {piece.band for piece in layer} <= {*bands}:
            raise ValueError(
                f"{said.name} takes bands of {said.dtype} out of {found.name}, which has "
                f"{len(bands)} of {found.dtype}."
            )
        nodata = (layer[0].nodata, said.nodata, found.nodata)
        return replace(
            said,
            block=found.block,
            masked=found.masked,
            nodata=next((value for value in nodata if value is not None), None),
        )

    def tile(
        self, layer: list[Piece], kind: Kind, places: dict[str, Place], listing: Listing
    ) -> ListedTile:
        """Place the pixels of files where the mosaic has them."""
        (left, top, width, height), target = layer[0].source, layer[0].target
        corner = math.floor(top), math.floor(left)
        shape = math.ceil(top + height) - corner[0], math.ceil(left + width) - corner[1]
        across, down = target[2] / width, target[3] / height
        column = target[0] + (corner[1] - left) * across
        row = target[1] + (corner[0] - top) * down
        a, b, c, d, e, f = self.said.transform
        transform = (
            a * across, b * down, c + a * column + b * row,
            d * across, e * down, f + d * column + e * row,
        )  # fmt: skip

        def open_files() -> RasterTile:
            parts = []
            for file, pieces in groupby(layer, key=lambda piece: piece.file):
                raster, taken = listing.raster(places[file]), list(pieces)
                found, bands = read_header(raster)
                if corner[0] + shape[0] > found.shape[0] or corner[1] + shape[1] > found.shape[1]:
                    raise ValueError(f"{self.said.name} takes pixels that {found.name} lacks.")
                header = self.header(found, taken, bands)
                parts.append((raster, tuple(piece.band for piece in taken)))
            header = replace(header, transform=transform, shape=shape)
            return RasterTile(header, parts, kind.profile, corner)

        return ListedTile(degrees_of(self.said.crs, transform, shape), open_files)


def read_vrt(
    path: Path | FetchedList,
    *,
    product: str | None = None,
    method: str = "nearest",
    name: str = "",
    dtype: str = "float32",
    device: str = "auto",
    cache: str | Path | None = None,
    download: bool = False,
) -> TiledProduct:
    """Open the GeoTIFFs of a virtual raster as one encoder; each is opened where places are.

    Parameters
    ----------
    path : Path or FetchedList
        A mosaic, also of bands that lie in a file each, as gdalbuildvrt and gdal_translate write
        it, or a folder with one. Of one that warps a single file, that file's pixels are read.
    product, method
        As in `read_rasters`.
    name, dtype, device, cache, download
        As in `load_encoder`.

    Raises
    ------
    FileNotFoundError
        If a source is not there; `WeightsNotFoundError` if it may not be fetched.
    ValueError
        If it is damaged, has no map position, computes its numbers, or a path leads out of its
        folder.
    """
    need_rasterio()
    if isinstance(path, Path) and path.is_dir():
        path = _only_one(path)
    listing = Listing.of(path, cache, download)
    root = _parse(listing)
    warped = root.get("subClass") == "VRTWarpedDataset"
    mosaic = None if warped else _mosaic(root, listing.path.name)
    names = mosaic.files() if mosaic else [_warped_file(root, listing.path.name)]
    places = {file: listing.find(file) for file in names}
    first = listing.raster(places[names[0]])
    header, bands = read_header(first)
    tiles: list[Tile | ListedTile]
    if mosaic:
        kind = Kind.of(mosaic.said, product, mosaic.said.scaled)
        tiles = [mosaic.tile(layer, kind, places, listing) for layer in mosaic.layers]
    else:
        kind = Kind.of(header, product, header.scaled)
        tiles = [kind.tile(first, header, bands)]
    stats = [version(place) if isinstance(place, Path) else place for place in places.values()]
    return TiledProduct(
        tiles,
        kind.bands,
        (hashlib.sha256(listing.content()).hexdigest(), stats, version(first)),
        product=kind.profile.name,
        method=method,
        name=name or Path(listing.path.name).stem,
        family="vrt",
        dtype=dtype,
        device=device,
    )


def _only_one(folder: Path) -> Path:
    found = sorted(file for file in folder.iterdir() if file.suffix.lower() == ".vrt")
    if len(found) != 1:
        raise ValueError(
            f"{folder.name} holds {len(found)} virtual rasters; pass the path of one, or join "
            "them with gdalbuildvrt."
        )
    return found[0]


def _parse(listing: Listing) -> Element:
    content = listing.content()
    check_xml(content)
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ValueError(f"{listing.path.name} is damaged: it does not read as XML.") from error
    if root.tag != "VRTDataset":
        raise ValueError(f"{listing.path.name} is no virtual raster of GDAL (<VRTDataset>).")
    return root


def _warped_file(root: Element, name: str) -> str:
    file = root.findtext("GDALWarpOptions/SourceDataset")
    if not file or root.find("GDALWarpOptions/Cutline") is not None:
        raise _computed(name, "a warp of something else than a file")
    return file


def _computed(name: str, part: str) -> ValueError:
    return ValueError(
        f"{name} holds {part:.80}, which GDAL alone computes; write it as a GeoTIFF with "
        "gdal_translate."
    )


def _mosaic(root: Element, name: str) -> Mosaic:
    """Read a mosaic from XML."""
    strange = [child.tag for child in root if child.tag not in OF_A_MOSAIC]
    if strange or root.get("subClass"):
        raise _computed(name, root.get("subClass") or strange[0])
    bands = [
        band
        for band in root.findall("VRTRasterBand")
        if (band.findtext("ColorInterp") or "").lower() != "alpha"
    ]
    srs, stated = root.find("SRS"), root.findtext("GeoTransform")
    if not bands or srs is None or not stated:
        raise ValueError(f"{name} has no bands, or no map position (SRS and GeoTransform).")
    kinds = {band.get("dataType", "Byte") for band in bands}
    if len(kinds) > 1 or not kinds <= KINDS.keys():
        raise ValueError(f"{name} mixes kinds of numbers among its bands, or has complex ones.")
    try:
        c, a, b, f, d, e = (float(text) for text in stated.split(","))
        by_band = [_pieces(band, name) for band in bands]
        nodata = {_number(band.findtext("NoDataValue")) for band in bands}
        scales = tuple(float(band.findtext("Scale") or 1.0) for band in bands)
        offsets = tuple(float(band.findtext("Offset") or 0.0) for band in bands)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        if str(error).endswith("."):
            raise
        raise ValueError(f"{name} is damaged: a position or band is no number.") from error
    layers = [list(layer) for layer in zip(*by_band, strict=False)][::-1]
    uneven = len({len(pieces) for pieces in by_band}) > 1
    if not layers or uneven or any(len({*map(_at, layer)}) > 1 for layer in layers):
        raise _computed(name, "bands with sources in different places")
    crs = checked_crs(srs.text)
    if srs.get("dataAxisToSRSAxisMapping", "2,1") != "2,1" and is_geographic(crs):
        raise _computed(name, "latitude along its rows")
    said = Header(
        name, crs, (a, b, c, d, e, f), (0, 0), (1, 1), KINDS[kinds.pop()],
        nodata.pop() if len(nodata) == 1 else None, scales, offsets, False,
    )  # fmt: skip
    return Mosaic(said, layers)


def _pieces(band: Element, name: str) -> list[Piece]:
    """Read the sources of a band, the lowest first."""
    strange = [child.tag for child in band if child.tag not in OF_A_BAND]
    if strange or band.get("subClass"):
        raise _computed(name, band.get("subClass") or strange[0])
    pieces = []
    for source in band:
        if source.tag not in ("SimpleSource", "ComplexSource"):
            continue
        strange = [child.tag for child in source if child.tag not in OF_A_SOURCE]
        number = source.findtext("SourceBand") or "1"
        if strange or not number.isdecimal():
            raise _computed(name, strange[0] if strange else f"a source's {number}")
        piece = Piece(
            source.findtext("SourceFilename") or "",
            int(number),
            _rect(source.find("SrcRect")),
            _rect(source.find("DstRect")),
            _number(source.findtext("NODATA")),
        )
        pieces.append(piece)
    return pieces


def _rect(element: Element | None) -> Rect:
    if element is None:
        raise ValueError("a source needs SrcRect and DstRect, as gdalbuildvrt writes them.")
    keys = ("xOff", "yOff", "xSize", "ySize")
    x, y, width, height = (float(element.get(key, "")) for key in keys)
    if not all(math.isfinite(value) for value in (x, y, width, height)) or min(width, height) <= 0:
        raise ValueError("a source's SrcRect and DstRect must have a size above 0.")
    return x, y, width, height


def _at(piece: Piece) -> tuple[float, ...]:
    return (*(round(value, 3) for value in (*piece.source, *piece.target)), piece.nodata or 0.0)


def _number(text: str | None) -> float | None:
    """Read a number; NaN is none that a pixel can equal."""
    value = math.nan if text is None else float(text)
    return value if math.isfinite(value) else None
