"""Which columns hold coordinates, by their names: one table of names for the whole package."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any


def word_set(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


LON_WORDS = word_set(
    """
    lon long lng longitude longitud longitudine longitudinal laengengrad langengrad lengtegraad
    lengdegrad lange laenge geolon geolongitude longdd londd declon declong lonwgs longwgs xlon
    xlong gpslon gpslong gpslongitude decimallongitude boylam dlugosc pituusaste долгота 经度 經度
    経度
    """
)
LAT_WORDS = word_set(
    """
    lat latitude latitud latitudine breitengrad breedtegraad breddegrad breite geolat
    geolatitude latdd latdeg latdegrees latd declat latwgs ylat gpslat gpslatitude
    decimallatitude enlem szerokosc leveysaste широта 纬度 緯度
    """
)
X_WORDS = word_set("x xcoord xcoordinate xcoor pointx coordx")
Y_WORDS = word_set("y ycoord ycoordinate ycoor pointy coordy")
EASTINGS = word_set("easting eastings rechtswert east utme utmx")
NORTHINGS = word_set("northing northings hochwert north utmn utmy")

NEUTRAL = word_set(
    """
    deg degree degrees d decimal dec dd wgs wgs84 84 4326 epsg gps coord coords
    coordinate coordinates north east west south center centre centroid point geo geographic site
    station plot location place loc in of the geograficzna geographical
    """
)
"""Words beside the telling one that change nothing; others make a name less likely."""

SIDES = word_set("n e w s north east west south")

PLACE_CODES = word_set(
    """
    mgrs usng geohash geohash5 geohash6 h3 h3index h3cell pluscode pluscodes olc gridref
    gridreference maidenhead what3words w3w quadkey s2 s2cell
    """
)
"""Names of columns that hold a place in a notation that is not read."""

_BRACKETS = re.compile(r"[(\[{]([^()\[\]{}]*)[)\]}]")
_WEST_SOUTH = re.compile(r"(?:°|deg(?:rees?)?|^)[\s_]*(w|s|west|south)$", re.IGNORECASE)
UNIT = re.compile(r"^(?P<name>.*\S)\s*[(\[{](?P<unit>[^()\[\]{}]*)[)\]}]\s*$", re.DOTALL)


@dataclass(frozen=True)
class Roles:
    """The two columns that hold coordinates.

    Parameters
    ----------
    lon, lat : object
        Their labels, longitude (or x) first.
    kind : {"lonlat", "xy", "projected"}
        What the names say: degrees; unknown, degrees unless a CRS says otherwise; meters.
    """

    lon: Any
    lat: Any
    kind: str


def find_roles(columns: Iterable[Any]) -> Roles | None:
    """Find the pair of columns that holds coordinates, by name alone.

    Longitude and latitude come before x and y, and x and y are never taken where either a
    longitude or a latitude stands beside them.

    Raises
    ------
    ValueError
        If two pairs are as good as one another, or one half of a pair is missing.
    """
    labels = list(columns)
    found: dict[str, list[tuple[int, tuple[str, ...], Any]]] = {}
    for label in labels:
        for role, rank, rest in _roles_of(str(label)):
            found.setdefault(role, []).append((rank, rest, label))
    if "lon" in found or "lat" in found:
        # "E" and "N" of a projection may stand beside degrees, and x and y of a plot.
        if not ("lon" in found and "lat" in found):
            there = "lon" if "lon" in found else "lat"
            other = "latitude" if there == "lon" else "longitude"
            raise ValueError(
                f"column {shown(found[there][0][2])!r} has no {other} beside it; name both with "
                f"lon= and lat=; the columns are {listed(labels)}."
            )
        return _pair(found["lon"], found["lat"], "lonlat")
    for first, second, kind in (("x", "y", "xy"), ("e", "n", "projected")):
        if first in found and second in found:
            return _pair(found[first], found[second], kind)
    return None


def lonlat_columns(columns: Iterable[Any]) -> tuple[Any, Any] | None:
    """Return the labels of longitude and latitude, or None; see `find_roles`."""
    try:
        roles = find_roles(columns)
    except ValueError:
        return None
    return None if roles is None else (roles.lon, roles.lat)


def missing_columns(columns: Collection[Any]) -> str:
    """Say, for an error, that no coordinates were found and how to name them."""
    codes = [label for label in columns if "".join(words_of(label)) in PLACE_CODES]
    if codes:
        return (
            f"column {shown(codes[0])!r} holds codes of places, which are not read; turn them into "
            "longitude and latitude first."
        )
    return (
        "no coordinate columns: need names such as lon and lat, longitude and latitude, or x and "
        f"y, a geometry, or lon= and lat=; got {listed(columns)}."
    )


def points_west_or_south(label: Any, other: Any = "") -> bool:
    """Tell whether a name says that its numbers count toward the west or the south.

    `other` is the name of the other axis: "lon_w" beside "lat_n" says so, "lon_s" beside "lat_s"
    does not.
    """
    words = {*words_of(label)}
    if (words - {*words_of(other)}) & {"w", "west"} and words & LON_WORDS:
        return True
    if (words - {*words_of(other)}) & {"s", "south"} and words & LAT_WORDS:
        return True
    text = str(label).strip()
    units = _BRACKETS.findall(text) or [text.replace("_", " ")]
    return any(_WEST_SOUTH.search(unit.strip()) for unit in units)


def split_unit(label: Any) -> tuple[Any, str]:
    """Split "Temp [°C]" into name and unit; the unit is empty where there is none."""
    match = UNIT.match(label) if isinstance(label, str) else None
    return (match["name"], match["unit"].strip()) if match else (label, "")


def words_of(label: Any) -> list[str]:
    """Split a name into plain lower-case words: "decimalLatitude" gives decimal, latitude."""
    text = _BRACKETS.sub(r" \1 ", str(label))
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", text)
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return re.findall(r"[^\W_]+", plain)


@lru_cache(maxsize=1024)
def _roles_of(label: str) -> tuple[tuple[str, int, tuple[str, ...]], ...]:
    """Say which roles a name may play: (role, rank, other words); rank 0 is the best."""
    words = words_of(label.rsplit(".", 1)[-1] or label)
    if not words or len(words) > 8:
        return ()
    whole = "".join(words)
    table = {"lon": LON_WORDS, "lat": LAT_WORDS, "x": X_WORDS, "y": Y_WORDS}
    table |= {"e": EASTINGS, "n": NORTHINGS}
    named = [(role, word) for role, names in table.items() for word in words if word in names]
    degrees = [found for found in named if found[0] in ("lon", "lat")]
    if not named:
        named = [(role, whole) for role, names in table.items() if whole in names]
        return tuple((role, 1, ()) for role, _ in named[:1])
    kinds = {role for role, _ in degrees or named}
    if len(kinds) > 1:
        return ()  # "lat_lon" is one column for both
    role, word = (degrees or named)[0]
    rest = tuple(w for w in words if w != word)
    plain = NEUTRAL if role in ("lon", "lat") else NEUTRAL | SIDES
    strange = [word for word in rest if word not in plain and not word.isdigit()]
    if role in ("x", "y", "e", "n") and strange:
        return ()
    return ((role, len(strange) * 2 + bool(rest), tuple(sorted(rest))),)


def _pair(
    first: list[tuple[int, tuple[str, ...], Any]],
    second: list[tuple[int, tuple[str, ...], Any]],
    kind: str,
) -> Roles:
    """Choose the two names that go together: the plainest, with the same words beside them."""
    pairs = sorted(
        (
            8 * (x[0] + y[0] + 4 * (_place_words(x) != _place_words(y)))
            + (str(x[2])[:1].isupper() != str(y[2])[:1].isupper()),
            i,
            j,
        )
        for i, x in enumerate(first)
        for j, y in enumerate(second)
    )
    best = [(i, j) for score, i, j in pairs if score == pairs[0][0]]
    if len(best) > 1:
        names = [shown(first[i][2]) + "/" + shown(second[j][2]) for i, j in best]
        raise ValueError(
            f"several columns could be the coordinates ({listed(names)}); name two with lon= "
            "and lat=."
        )
    i, j = best[0]
    return Roles(first[i][2], second[j][2], kind)


def _place_words(named: tuple[int, tuple[str, ...], Any]) -> tuple[str, ...]:
    return tuple(word for word in named[1] if word not in SIDES)


def shown(label: Any) -> str:
    """Return a column label as it may stand in a sentence: short, one line. Not escaped."""
    text = "".join(char if char.isprintable() else " " for char in str(label))
    return text if len(text) <= 60 else text[:57] + "..."


def listed(columns: Iterable[Any]) -> str:
    """List some labels for a sentence."""
    names = [shown(column) for column in columns]
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return (", ".join(names[:8]) or "none") + more
