"""AlphaEarth beside a location encoder, both together, and the nearest label: biomass, R²."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

import satclip_explore as sx


def compare(path: Path, target: str = "biomass_mg_ha", seeds: int = 3) -> pd.DataFrame:
    """Score encoders on one target, places held out at random and by blocks.

    Parameters
    ----------
    path : Path
        Parquet with lon, lat, the target, and AlphaEarth's numbers as emb_0 … emb_63.
    target : str
        Column to predict.
    seeds : int
        Splits and first weights.

    Returns
    -------
    pandas.DataFrame
        One row for each split and encoder.
    """
    frame = pd.read_parquet(path)[["lon", "lat", target]]
    alphaearth = sx.load_encoder(path, max_distance_km=0.1, name="alphaearth")
    mini = sx.load_encoder("mini-l40")
    places = frame[["lon", "lat"]]
    both = sx.concat([alphaearth, mini], places=places, name="alphaearth + mini-l40")
    rows = []
    for split in ("random", "blocks"):
        result = sx.train_probe(
            frame, target=target, model="linear", split=split, seeds=seeds, encoder=alphaearth,
            encoders=[mini, both], baselines=["nearest"],
        )  # fmt: skip
        rows.append(result.metrics.assign(split=split))
    return pd.concat(rows)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, help="alphaearth_biomass.parquet")
    print(compare(parser.parse_args().path).to_string())


if __name__ == "__main__":
    main()
