"""The picture of the Earth that ships with the package, in the place of twelve months."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from satclip_explore.atlas import BASEMAP, land_mask
from satclip_explore.files.atomic import write_whole
from satclip_explore.geo import GLOBE, Grid
from training.imagery.blue_marble import MONTHS, OCEAN


def write_embedded_months(folder: str | Path) -> Path:
    """Write the embedded picture as twelve equal months that the Blue Marble source reads.

    Enough to try pretraining without a download: 39 km per pixel at the equator, one month of
    July, no seasons. What is trained on it knows less than the embedded encoders.

    Parameters
    ----------
    folder : str or Path
        Made if needed; files of these names in it are replaced.

    Returns
    -------
    pathlib.Path
        The folder, for ``pretrain("laptop", data=folder)``.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("writing pictures needs Pillow: pip install pillow.") from error
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with Image.open(BASEMAP) as picture:
        pixels = np.array(picture.convert("RGB"))
    # The source tells sea from land by this color; the embedded picture shows the sea floor.
    pixels[~land_mask(Grid(GLOBE, pixels.shape[:2]))] = OCEAN
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    for month in MONTHS:
        write_whole(folder / f"2004{month:02d}.png", buffer.getvalue())
    return folder
