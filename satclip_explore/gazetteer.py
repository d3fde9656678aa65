"""Places by name, without network: towns, the regions they lie in, countries, continents."""

from __future__ import annotations

import difflib
import re
import unicodedata
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pandas as pd

from satclip_explore.atlas import DATA, country_table
from satclip_explore.geo import Bounds
from satclip_explore.regions import region

MAX_NAME = 80
CLOSE = 0.7
"""How alike a misspelled name has to be, as `difflib` counts it, 0 to 1."""

OTHER_NAMES = {
    "munchen": "munich", "koln": "cologne", "wien": "vienna", "nurnberg": "nuremberg",
    "moskva": "moscow", "praha": "prague", "warszawa": "warsaw", "lisboa": "lisbon",
    "roma": "rome", "firenze": "florence", "venezia": "venice", "milano": "milan",
    "napoli": "naples", "torino": "turin", "geneve": "geneva", "genf": "geneva",
    "bruxelles": "brussels", "brussel": "brussels", "kobenhavn": "copenhagen",
    "bucuresti": "bucharest", "beograd": "belgrade", "athina": "athens", "kyiv": "kiev",
    "bombay": "mumbai", "calcutta": "kolkata", "madras": "chennai", "bengaluru": "bangalore",
    "peking": "beijing", "saigon": "ho chi minh city", "rangoon": "yangon", "rangun": "yangon",
    "burma": "myanmar", "al qahirah": "cairo", "kairo": "cairo", "mexico df": "mexico city",
    "cdmx": "mexico city", "nyc": "new york", "new york city": "new york", "la": "los angeles",
    "uk": "united kingdom", "great britain": "united kingdom", "usa": "united states of america",
    "america": "united states of america", "deutschland": "germany", "espana": "spain",
    "brasil": "brazil", "holland": "netherlands", "ivory coast": "cote d ivoire",
    "swaziland": "eswatini",
}  # fmt: skip
"""Names that people use, folded, and the names that the tables have for them."""

LANDSCAPES = {
    "Sahara": ("Africa", 10, 23, -15, 16, 34, 32), "Sahel": ("Africa", 3, 14.5, -16, 11, 38, 17),
    "Congo Basin": ("Africa", 22, 0, 13, -6, 30, 5), "Namib": ("Africa", 15, -23, 12, -29, 17, -16),
    "Kalahari": ("Africa", 22, -23, 18, -28, 26, -19),
    "Serengeti": ("Africa", 34.8, -2.3, 33.5, -3.5, 36, -1.2),
    "Okavango Delta": ("Africa", 22.9, -19.3, 21.8, -20.3, 24, -18.3),
    "Nile Delta": ("Africa", 31, 30.8, 29.5, 29.8, 32.5, 31.7),
    "Amazon": ("South America", -63, -4, -75, -13, -49, 4),
    "Andes": ("South America", -70, -18, -80, -50, -62, 8),
    "Atacama": ("South America", -69.3, -23.5, -71, -29, -67, -18),
    "Patagonia": ("South America", -69, -47, -76, -55, -62, -39),
    "Pampas": ("South America", -62, -35, -66, -39, -56, -31),
    "Pantanal": ("South America", -57, -18, -59, -21.5, -55, -15.5),
    "Cerrado": ("South America", -48, -13, -58, -22, -42, -5),
    "Great Plains": ("North America", -101, 42, -111, 30, -95, 54),
    "Rocky Mountains": ("North America", -110, 44, -125, 33, -104, 60),
    "Great Lakes": ("North America", -85, 45, -93, 41, -75, 49),
    "Everglades": ("North America", -80.9, 25.7, -82, 25, -80, 27),
    "Siberia": ("Asia", 100, 62, 60, 50, 180, 75), "Gobi": ("Asia", 104, 43, 92, 38, 115, 47),
    "Himalaya": ("Asia", 84, 29, 73, 26, 97, 36), "Tibet": ("Asia", 88, 32, 78, 27, 100, 37),
    "Taklamakan": ("Asia", 83, 39, 76, 36, 90, 42), "Borneo": ("Asia", 114, 0.5, 108, -4.5, 120, 8),
    "Arabian Desert": ("Asia", 48, 20, 36, 13, 60, 32),
    "Sumatra": ("Asia", 102, -0.5, 95, -6, 107, 6),
    "Alps": ("Europe", 10, 46.5, 5, 43.5, 17, 48.5),
    "Scandinavia": ("Europe", 16, 63, 4, 55, 32, 71.5),
    "Carpathians": ("Europe", 24, 47.5, 17, 44, 27, 50),
    "Lapland": ("Europe", 24, 68, 12, 65, 36, 71),
    "Outback": ("Oceania", 133, -25, 118, -33, 146, -16),
    "New Guinea": ("Oceania", 141, -5, 130, -11, 151, 0),
}  # fmt: skip
"""Landscapes: continent, a place in the midst (lon, lat), and roughly their box; degrees."""


ORDER = {"continent": 0, "country": 0, "landscape": 1, "town": 2, "region": 3}


GUESSED = 2
"""Rank of names that are nearly what was asked for: behind equal ones and beginnings."""


@dataclass(frozen=True)
class Place:
    """A place with a name.

    Parameters
    ----------
    name : str
        "Nairobi".
    within : str
        What it lies in: "Kenya"; empty for a continent.
    kind : {"town", "region", "landscape", "country", "continent"}
        What it is.
    lonlat : tuple of float
        (lon, lat) in degrees. Of a region of a country it is the middle of its towns.
    population : int
        Of a town; 0 for all else.
    bounds : tuple of float, optional
        (lon_min, lat_min, lon_max, lat_max) in degrees, of all but towns and regions; lon_max is
        above 180 where it crosses the antimeridian.
    guessed : bool
        Whether nothing is called what was asked for, and this only in nearly the same way.
    """

    name: str
    within: str
    kind: str
    lonlat: tuple[float, float]
    population: int = 0
    bounds: Bounds | None = None
    guessed: bool = False

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.name, self.within)))


def find_places(text: str, limit: int = 6) -> list[Place]:
    """Find places by name; accents, capitals and small mistakes in spelling do not matter.

    Parameters
    ----------
    text : str
        A name, or a name and what it lies in: "Nairobi", "san jose, costa rica".
    limit : int
        Most places to return.

    Returns
    -------
    list of Place
        Best first: what is called so, then what begins so, then what nearly is, the most alike
        spelling first; countries before towns, large towns before small ones.

    Raises
    ------
    ValueError
        If no name is like it.

    Examples
    --------
    >>> str(find_places("sao paolo")[0])
    'São Paulo, Brazil'
    """
    name, _, within = text.partition(",")
    name, within = fold(name[:MAX_NAME]), fold(within[:MAX_NAME])
    table = _table()
    # Two spellings of an umlaut: Duesseldorf, Dusseldorf.
    short = re.sub(r"([aou])e", r"\1", name)
    name = OTHER_NAMES.get(name) or OTHER_NAMES.get(short) or name
    if within:
        within = OTHER_NAMES.get(within, within)
        table = table[table["around"].str.contains(rf"\b{re.escape(within)}", regex=True)]
    rows = _ranked(table, name, limit) if name else table[:0]
    if rows.empty:
        raise ValueError(
            f"no place is called {text[:MAX_NAME]!r}. Try a larger town nearby, a country, or "
            "coordinates such as 52.5 N, 13.4 E."
        )
    return [replace(_place(row), guessed=row.rank == GUESSED) for row in rows.itertuples()]


def fold(text: str) -> str:
    """Write a name in plain small letters: "Côte-d'Ivoire" is "cote d ivoire"."""
    plain = unicodedata.normalize("NFKD", text.casefold().translate(_SPECIAL))
    letters = "".join(sign for sign in plain if not unicodedata.combining(sign))
    return re.sub(r"\bsaint\b", "st", " ".join(re.sub(r"[^\w]+", " ", letters).split()))


_SPECIAL = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ı": "i", "ß": "ss", "æ": "ae"})


def _ranked(table: pd.DataFrame, name: str, limit: int) -> pd.DataFrame:
    folded = table["folded"]
    short = re.sub(r"([aou])e", r"\1", name)
    exact = (folded == name) | (folded == short)
    begins = folded.str.startswith(name) | folded.str.contains(f" {name}", regex=False)
    rank = np.select([exact, begins], [0, 1], default=3)
    nearness = np.zeros(len(table))
    if not exact.any() and len(name) > 3:
        near = difflib.get_close_matches(name, folded.unique(), n=limit, cutoff=CLOSE)
        rank = np.where(folded.isin(near), np.minimum(rank, GUESSED), rank)
        alike = {word: difflib.SequenceMatcher(None, word, name).ratio() for word in near}
        nearness = folded.map(alike).where(rank == GUESSED, 0.0)
    if len(name) < 3:
        rank = np.where(exact, 0, 3)
    found = table.assign(rank=rank, nearness=nearness)[rank < 3].sort_values(
        ["rank", "nearness", "order", "population"], ascending=[True, False, True, False],
        kind="stable",
    )  # fmt: skip
    # A district is often called after its town; a country has several names.
    return found.drop_duplicates(["name", "country", "district"]).head(limit)


def _place(row: object) -> Place:
    kind = str(row.kind)  # type: ignore[attr-defined]
    name, within = str(row.name), str(row.within)  # type: ignore[attr-defined]
    lon, lat = float(row.lon), float(row.lat)  # type: ignore[attr-defined]
    if kind == "landscape":
        *_, west, south, east, north = LANDSCAPES[name]
        return Place(name, within, kind, (lon, lat), bounds=(west, south, east, north))
    if kind in ("country", "continent"):
        west, south, east, north = bounds = region(name).bounds
        middle = ((west + east) / 2.0 + 180.0) % 360.0 - 180.0
        lon, lat = (middle, (south + north) / 2.0) if np.isnan(lon) else (lon, lat)
        return Place(name, within, kind, (lon, lat), bounds=bounds)
    return Place(name, within, kind, (lon, lat), int(row.population))  # type: ignore[attr-defined]


@cache
def _table() -> pd.DataFrame:
    """Read every name once: kind, name, within, lon, lat, population, folded, around, order."""
    towns = pd.read_csv(DATA / "gazetteer.csv.gz", keep_default_na=False)
    inside = towns["district"].where(towns["district"] != towns["name"], "")
    within = (inside + ", " + towns["country"]).str.removeprefix(", ")
    towns = towns.assign(kind="town", within=within)
    districts = towns[towns["district"] != ""].groupby(["district", "country"], as_index=False)
    regions = districts.agg(lon=("lon", "mean"), lat=("lat", "mean"))
    regions = regions.assign(kind="region", name=regions["district"], within=regions["country"],
                             population=0)  # fmt: skip
    landscapes = pd.DataFrame(
        [(name, *facts[:3]) for name, facts in LANDSCAPES.items()],
        columns=["name", "within", "lon", "lat"],
    ).assign(kind="landscape", population=0)
    countries = country_table()
    # The largest town of a country is a better place to look at than the middle of its box.
    largest = towns.sort_values("population").groupby("country")[["lon", "lat"]].last()
    named = pd.DataFrame(
        [
            (name, row.country, row.continent)
            for row in countries.itertuples()
            for name in (row.country, *filter(None, row.aliases.split("|")))
        ],
        columns=["alias", "name", "within"],
    ).drop_duplicates(["alias", "name"])
    named = named.join(largest, on="name").assign(kind="country", population=0)
    continents = pd.DataFrame({"name": countries["continent"].unique()})
    continents = continents.assign(
        kind="continent", within="", lon=np.nan, lat=np.nan, population=0
    )
    table = pd.concat([continents, named, landscapes, regions, towns], ignore_index=True)
    called = table["alias"].fillna(table["name"])
    district = table["district"].fillna("")
    order = table["kind"].map(ORDER)
    return table.assign(
        folded=called.map(fold), around=(district + " " + table["within"]).map(fold), order=order
    )
