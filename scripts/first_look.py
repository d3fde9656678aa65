"""Write the picture of the default encoder that the page shows before anything is computed.

Run ``python -m scripts.first_look`` when its weights or the colors of biomes change.
"""

from __future__ import annotations

from PIL import Image

from satclip_explore.encoders.registry import load_encoder
from satclip_explore.geo import GLOBE, Grid
from satclip_explore.panes import first_look, world
from satclip_explore.projection import pca_colors


def main() -> None:
    """Encode the globe in float32, which every machine has, and replace the picture."""
    encoder = load_encoder()
    grid = Grid.from_resolution(world.WORLD_RESOLUTION, GLOBE)
    colors = pca_colors(encoder, grid, world.projection_of(encoder), precision="float32")
    before, path = first_look.shipped(), first_look.path_for(encoder)
    if before is not None:
        before.unlink()
    Image.fromarray(world.rgba(colors, grid, land_only=True)).save(path, lossless=True, method=6)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
