"""Which control of the dashboard each key of its address holds."""

from __future__ import annotations

from typing import Any

from satclip_explore.panes import url_state as state
from satclip_explore.panes import world
from satclip_explore.panes.compare.pane import MOST
from satclip_explore.panes.evaluate.pane import MOST_BESIDE, PLACES
from satclip_explore.panes.url_state import Link

NOT_HERE = (
    "The link shows an encoder that is not on this machine: its sender's own, or one to download "
    "first. You see the one that is named above."
)


def page_links(explorer: Any) -> tuple[Link, ...]:
    """List what the address of a dashboard may hold.

    Parameters
    ----------
    explorer : Explorer
        The dashboard.

    Returns
    -------
    tuple of Link
        In the order in which they are restored: the encoder first, since others follow it.
    """
    pca, near, chart = explorer.pca, explorer.neighbors, explorer.map
    probe, compare, train = explorer.probe, explorer.compare, explorer.train
    evaluate = explorer.evaluate

    def choice(key: str, owner: Any, name: str, *, keep: bool = False) -> Link:
        return Link(key, owner, name, state.one_of(owner.param[name].objects), keep=keep)

    def switch(key: str, owner: Any, name: str) -> Link:
        return Link(key, owner, name, state.yes_or_no, lambda value: str(int(value)))

    named = state.several_of(compare.names, MOST, marked=True)
    encoders = state.at_hand(explorer.param.encoder_name.objects, NOT_HERE)
    return (
        Link("encoder", explorer, "encoder_name", encoders, keep=True),
        Link("time", explorer, "time", str, keep=True),
        choice("tab", explorer, "tab", keep=True),
        Link("at", explorer.selection, "lonlat", state.read_place, state.write_numbers, keep=True),
        Link("view", explorer.selection, "bounds", state.read_bounds, state.write_numbers),
        Link("components", pca, "components", *state.labeled(world.COMPONENTS)),
        Link("stretch", pca, "stretch", state.number_between(0.0, 20.0)),
        switch("land", pca, "land_only"),
        choice("base", chart, "base"),
        Link("opacity", chart, "opacity", state.number_between(0.0, 1.0)),
        Link("apart", near, "min_distance_km", state.number_between(0.0, 10_000.0)),
        Link("region", near, "region", str),
        Link("rows", near, "n_neighbors", state.whole_number_between(1, 50)),
        Link("change", explorer.times, "between", str),
        Link("cut", explorer.similarity, "threshold", state.number_between(-0.5, 0.95)),
        Link("compare", compare, "chosen", named, ",".join),
        choice("layout", compare, "layout"),
        choice("measure", compare, "task"),
        choice("judge", compare, "model"),
        choice("where", compare, "hold_out"),
        Link("degrees", explorer.degrees, "legendre_polys",
             *state.labeled({str(n): n for n in explorer.degrees.param.legendre_polys.objects})),
        choice("predict", probe, "task"),
        choice("test", probe, "hold_out"),
        Link("typed", probe, "typed", str),
        Link("shown", probe, "shots", state.number_between(0.0, 1.0)),
        choice("kind", probe, "kind"),
        Link("column", probe, "column", str),
        choice("model", probe, "model"),
        Link("runs", probe, "seeds", state.whole_number_between(1, 20)),
        choice("evaluate", evaluate, "task"),
        Link("evaluate-column", evaluate, "column", str),
        choice("evaluate-kind", evaluate, "kind"),
        Link("beside", evaluate, "beside", state.several_of(evaluate.names, MOST_BESIDE), ",".join),
        Link("labels", evaluate, "places", *state.labeled(PLACES)),
        choice("embeddings", evaluate, "models"),
        choice("rung", evaluate, "rung"),
        choice("config", train, "config"),
        Link("epochs", train, "epochs", *state.labeled(train.param.epochs.names)),
        choice("imagery", train.imagery, "kind"),
    )  # fmt: skip
