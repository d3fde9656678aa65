"""What a file of embeddings says of itself: the geoemb: attributes of Zarr, and a STAC item.

References
----------
github.com/geo-embeddings: embeddings-zarr-convention, and embeddings-stac-specification 0.0.1.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.encoders.cards import CARDS
from satclip_explore.geo import Grid
from satclip_explore.provenance import provenance

METERS_PER_DEGREE = 111_195.0

CONVENTIONS = [
    {
        "name": "proj:",
        "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
        "schema_url": "https://raw.githubusercontent.com/zarr-experimental/geo-proj/refs/tags/v1/"
        "schema.json",
    },
    {
        "name": "spatial:",
        "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
        "schema_url": "https://raw.githubusercontent.com/zarr-conventions/spatial/refs/tags/v1/"
        "schema.json",
    },
    {
        "name": "geoemb:",
        "uuid": "61c12cc5-0e28-4056-999a-480cf3fb7e4c",
        "spec_url": "https://github.com/geo-embeddings/embeddings-zarr-convention",
    },
]


def zarr_attributes(encoder: LocationEncoder, grid: Grid, stored: str) -> dict[str, Any]:
    """Return the attributes of a Zarr group of embeddings.

    Parameters
    ----------
    encoder : LocationEncoder
        Made the embeddings.
    grid : Grid
        Pixel centers.
    stored : {"float32", "float16", "int8"}
        Kind of the numbers in the file.
    """
    card = CARDS.get(encoder.name)
    (dx, dy), (west, south, east, north) = grid.resolution, grid.bounds
    attributes: dict[str, Any] = {
        "Conventions": "CF-1.11",
        **provenance(encoder, grid),
        "zarr_conventions": CONVENTIONS,
        "proj:code": "EPSG:4326",
        "spatial:dimensions": ["lat", "lon"],
        "spatial:transform": [dx, 0.0, west, 0.0, -dy, north],
        "spatial:shape": list(grid.shape),
        "spatial:bbox": [west, south, east, north],
        "spatial:registration": "pixel",
        "geoemb:type": "pixel",
        "geoemb:dimensions": encoder.embed_dim,
        "geoemb:model": (card.source if card else "") or encoder.name,
        "geoemb:source_data": [card.training_data] if card else [],
        "geoemb:data_type": stored,
        "geoemb:gsd": dy * METERS_PER_DEGREE,
        "geoemb:spatial_layout": "global",
        "geoemb:build_version": provenance()["software"],
    }
    if stored == "int8":
        attributes["geoemb:quantization"] = {
            "method": "per_pixel_scale",
            "original_dtype": "float32",
            "quantized_dtype": "int8",
            "scale": {"type": "array", "array_name": "scales", "nodata": "NaN"},
        }
    return attributes


def stac_item(
    encoder: LocationEncoder, grid: Grid, path: Path, stored: str, error: float, media: str
) -> dict[str, Any]:
    """Return the STAC item that goes beside a file of embeddings.

    Parameters
    ----------
    encoder, grid, stored
        As in `zarr_attributes`.
    path : Path
        The file, which lies beside the item.
    error : float
        Largest difference between a stored number and the encoder's.
    media : str
        Media type of the file.
    """
    west, south, east, north = grid.bounds
    # GeoJSON wants longitudes within 180 degrees; past the antimeridian west is above east.
    east = east - 360.0 if east > 180.0 else east
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    properties: dict[str, Any] = {
        "datetime": now,
        "processing:datetime": now,
        "gsd": grid.resolution[1] * METERS_PER_DEGREE,
        "proj:code": "EPSG:4326",
        "emb:runtime_parameters": {
            **provenance(encoder, grid),
            "dimensions": encoder.embed_dim,
            "largest_error": error,
        },
    }
    if stored != "float32":
        properties["emb:quantization"] = {
            "method": "per_pixel_scale" if stored == "int8" else "rounding",
            "original_dtype": "float32",
            "quantized_dtype": stored,
        }
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [
            "https://stac-extensions.github.io/embeddings/v0.0.1/schema.json",
            "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
        ],
        "id": path.stem,
        "bbox": [west, south, east, north],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": properties,
        "links": [],
        "assets": {
            "embeddings": {"href": f"./{path.name}", "type": media, "roles": ["data"]},
        },
    }
