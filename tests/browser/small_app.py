"""The real page around a small encoder, and a small run to train: what the browser tests open."""

import tempfile
from pathlib import Path

import panel as pn

from satclip_explore.encoders.satclip import SatCLIP
from satclip_explore.encoders.siren import Siren
from satclip_explore.explorer import Explorer
from satclip_explore.panes.pretrain.imagery_choice import PICTURE, ImageryChoice
from satclip_explore.panes.pretrain.pane import PretrainPane
from satclip_explore.panes.served.frame import open_page
from training.pretraining import config

SMALL_RUN = """
[imagery]
source = "blue-marble"
places = 900
validation_places = 60
[features]
scales_km = [200, 1200]
components = 6
[location]
legendre_polys = 5
hidden_dim = 32
embed_dim = 16
[training]
epochs = 20000
batch_size = 64
device = "cpu"
"""


def small_encoder() -> SatCLIP:
    network = Siren(100, 32, 64, seed=0, w0_initial=5.0)
    return SatCLIP(network, 10, name="small-l10")


def small_explorer() -> Explorer:
    explorer = Explorer(pn.state.as_cached("small", small_encoder))
    # The globe of the embedded encoder takes 17 s of a core.
    explorer.compare.chosen = ["small-l10", "harmonics-l10"]
    folder = Path(tempfile.mkdtemp(prefix="satclip-train-"))
    (folder / "laptop.toml").write_text(SMALL_RUN)
    config.CONFIG_FOLDER = folder
    explorer.train = PretrainPane(
        runs=folder / "runs",
        imagery=ImageryChoice(folder / "store", kind=PICTURE),
        on_encoder=explorer._add,
        selection=explorer.selection,
    )
    return explorer


if pn.state.served:  # pytest collects doctests here too, and must not build a page
    open_page(small_explorer)
