"""What a page shows, written into its address and read back key by key.

An address comes from anybody: every key is checked on its own, and one that is no good is left
out and named, in a sentence, without being repeated in full. Panel's `location.sync` is no
substitute: one bad value makes it drop every key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

import param

from satclip_explore.geo import as_lonlat, check_bounds

MAX_QUERY = 2_000
MAX_VALUE = 120

Reader = Callable[[str], Any]


class NotHereError(ValueError):
    """What an address names was with whoever made the link; its words are shown."""


@dataclass(frozen=True)
class Link:
    """One key of the address and the parameter that it holds.

    Parameters
    ----------
    key : str
        In the address.
    owner : param.Parameterized
        Has the parameter.
    name : str
        Of the parameter.
    read : callable
        Turns text into a value, raising ValueError.
    write : callable
        Turns a value into text.
    keep : bool
        Whether the browser's Back returns from a change of it.
    """

    key: str
    owner: param.Parameterized
    name: str
    read: Reader
    write: Callable[[Any], str] = str
    keep: bool = False


def restore(query: str, links: Sequence[Link]) -> list[str]:
    """Set the parameters that an address names; return a sentence for each that it could not."""
    values, problems = read_query(query, {link.key: link.read for link in links})
    for link in links:
        if link.key in values:
            try:
                setattr(link.owner, link.name, values[link.key])
            except ValueError:
                problems.append(_problem(link.key))
    return problems


def follow(location: Any, links: Sequence[Link]) -> list[str]:
    """Restore a page from its address, then keep the two in step.

    The address holds only what differs from the page as it was before.

    Parameters
    ----------
    location : PageLink
        Has `search`, `entries` and `on_back`, which is set here.
    links : sequence of Link
        What the address may hold.

    Returns
    -------
    list of str
        One sentence for each key that could not be restored.
    """
    first = {link.key: getattr(link.owner, link.name) for link in links}
    returning = False
    problems = restore(location.search or "", links)

    def write(keep: bool) -> None:
        if returning:
            return
        changed = {}
        for link in links:
            value = getattr(link.owner, link.name)
            if value != first[link.key]:
                changed[link.key] = link.write(value)
        search = write_query(changed) if changed else ""
        if search != location.search:
            location.param.update(entries=location.entries + keep, search=search)

    def go_back(search: str) -> None:
        nonlocal returning
        values, _ = read_query(search, {link.key: link.read for link in links})
        returning = True
        try:
            for link in links:
                value = values.get(link.key, first[link.key])
                if value != getattr(link.owner, link.name):
                    setattr(link.owner, link.name, value)
        finally:
            returning = False
        write(False)

    for link in links:
        link.owner.param.watch(lambda _, keep=link.keep: write(keep), link.name)
    location.on_back = go_back
    return problems


def read_query(query: str, readers: Mapping[str, Reader]) -> tuple[dict[str, Any], list[str]]:
    """Read the part of an address after the question mark.

    Parameters
    ----------
    query : str
        With or without the leading question mark.
    readers : mapping of str to callable
        For each known key, what turns its text into a value, raising ValueError.

    Returns
    -------
    values : dict
        The keys that could be read; the first of repeated ones.
    problems : list of str
        One sentence for each key that could not. Unknown keys are passed over: links carry
        keys of others.
    """
    query = query.removeprefix("?")
    if len(query) > MAX_QUERY:
        return {}, ["The address was too long to be read; showing the start view."]
    values: dict[str, Any] = {}
    problems: list[str] = []
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key not in readers or key in values:
            continue
        try:
            if len(text) > MAX_VALUE:
                raise ValueError("too long")
            values[key] = readers[key](text)
        except NotHereError as error:
            problems.append(str(error))
        except (ValueError, OverflowError):
            problems.append(_problem(key))
    return values, problems


def _problem(key: str) -> str:
    return f"The address has a value of {key!r} that cannot be shown; it was left out."


def write_query(values: Mapping[str, Any]) -> str:
    """Write values as the part of an address from the question mark on."""
    return "?" + urlencode({key: str(value) for key, value in values.items()}, safe=",")


def read_place(text: str) -> tuple[float, float]:
    """Read "lon,lat" in degrees."""
    lon, lat = as_lonlat([float(part) for part in text.split(",")])[0]
    return float(lon), float(lat)


def one_of(options: Any) -> Reader:
    """Make a reader that takes only these texts."""
    allowed = list(options)

    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError("not among the options")
        return text

    return read


def several_of(options: Any, most: int, *, marked: bool = False) -> Reader:
    """Make a reader of texts between commas, each among the options, or such with a ":mark"."""
    choose = one_of(options)

    def read(text: str) -> list[str]:
        names = text.split(",")
        for part in names:
            choose((part.rpartition(":")[0] or part) if marked and part not in options else part)
        if len(names) > most:
            raise ValueError(f"more than {most}")
        return names

    return read


def at_hand(options: Any, words: str) -> Reader:
    """Make a reader that takes only these texts and says what it means that another is not here."""
    choose = one_of(options)

    def read(text: str) -> str:
        try:
            return choose(text)
        except ValueError:
            raise NotHereError(words) from None

    return read


def number_between(low: float, high: float) -> Reader:
    """Make a reader of a number in a closed range."""

    def read(text: str) -> float:
        value = float(text)
        if not low <= value <= high:
            raise ValueError("out of range")
        return value

    return read


def whole_number_between(low: int, high: int) -> Reader:
    """Make a reader of a whole number in a closed range."""
    number = number_between(low, high)

    def read(text: str) -> int:
        value = number(text)
        if value != int(value):
            raise ValueError("not a whole number")
        return int(value)

    return read


def yes_or_no(text: str) -> bool:
    """Read "1" or "0"."""
    return {"1": True, "0": False}[one_of(("1", "0"))(text)]


def read_bounds(text: str) -> tuple[float, float, float, float]:
    """Read "lon_min,lat_min,lon_max,lat_max" in degrees, within the globe."""
    bounds = check_bounds([float(part) for part in text.split(",")])
    if bounds[0] < -180.0 or bounds[2] > 180.0:
        raise ValueError("beyond the globe")
    return bounds


def write_numbers(values: Sequence[float]) -> str:
    """Write degrees with four digits: ten meters."""
    return ",".join(f"{value:.4f}".rstrip("0").rstrip(".") for value in values)


def labeled(options: Mapping[str, Any]) -> tuple[Reader, Callable[[Any], str]]:
    """Make a reader and a writer of values that go by labels; spaces are left out."""
    by_text = {label.replace(" ", ""): value for label, value in options.items()}
    texts = {value: text for text, value in by_text.items()}
    choose = one_of(by_text)
    return lambda text: by_text[choose(text)], lambda value: texts[value]
