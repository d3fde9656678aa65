"""The real page around a small encoder: what the browser tests open."""

import panel as pn

from satclip_explore.app import Explorer, set_up_server
from satclip_explore.encoders.satclip import SatCLIP
from satclip_explore.encoders.siren import Siren


def small_encoder() -> SatCLIP:
    network = Siren(100, 32, 64, seed=0, w0_initial=5.0)
    return SatCLIP(network, 10, name="small-l10")


if pn.state.served:  # pytest collects doctests here too, and must not build a page
    set_up_server()
    explorer = Explorer(pn.state.as_cached("small", small_encoder))
    explorer.follow_address(pn.state.location)
    explorer.page().servable()
