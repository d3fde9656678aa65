from __future__ import annotations

import param
import pytest

from satclip_explore.panes import url_state
from satclip_explore.panes.url_state import Link


class View(param.Parameterized):
    at = param.NumericTuple((0.0, 0.0), length=2)
    stretch = param.Number(1.0, bounds=(0.0, 20.0))
    land = param.Boolean(True)


class Location(param.Parameterized):
    search = param.String("")
    entries = param.Integer(0)


@pytest.fixture
def view():
    return View()


@pytest.fixture
def links(view):
    return (
        Link("at", view, "at", url_state.read_place, url_state.write_numbers, keep=True),
        Link("stretch", view, "stretch", url_state.number_between(0.0, 20.0)),
        Link("land", view, "land", url_state.yes_or_no, lambda value: str(int(value))),
    )


def test_every_good_key_is_restored(view, links):
    assert url_state.restore("?at=13.4,52.5&stretch=5&land=0", links) == []
    assert (view.at, view.stretch, view.land) == ((13.4, 52.5), 5.0, False)


@pytest.mark.parametrize(
    "bad",
    ["at=1", "at=x,y", "at=0,91", "at=nan,0", "at=" + "9" * 110 + ",0", "at=" + "9" * 121],
)
def test_a_bad_key_is_left_out_and_named_and_the_others_are_kept(view, links, bad):
    problems = url_state.restore(f"?{bad}&stretch=5", links)
    if bad == "at=" + "9" * 110 + ",0":
        assert problems == []  # a great many turns are still a longitude
    else:
        assert len(problems) == 1
        assert "'at'" in problems[0]
        assert view.at == (0.0, 0.0)
    assert view.stretch == 5.0


@pytest.mark.parametrize("text", ["<script>", "21", "-1", "inf", "nan", "1e999"])
def test_numbers_out_of_range_are_left_out_without_being_repeated(view, links, text):
    (problem,) = url_state.restore(f"?stretch={text}", links)
    assert text not in problem.replace("'stretch'", "") or text in ("21", "-1")
    assert view.stretch == 1.0


def test_unknown_keys_are_passed_over_and_the_first_of_repeated_ones_counts(view, links):
    assert url_state.restore("?utm_source=x&land=0&land=7", links) == []
    assert view.land is False


def test_an_endless_address_is_not_read_at_all(view, links):
    problems = url_state.restore("?stretch=5&at=" + "9" * 5_000, links)
    assert problems == ["The address was too long to be read; showing the start view."]
    assert view.stretch == 1.0


def test_the_address_follows_and_holds_only_what_was_changed(view, links):
    location = Location()
    assert url_state.follow(location, links) == []
    view.at = (13.41234567, -52.5)
    assert location.search == "?at=13.4123,-52.5"
    view.land = False
    assert location.search == "?at=13.4123,-52.5&land=0"
    view.param.update(at=(0.0, 0.0), land=True)
    assert location.search == ""


def test_back_restores_what_the_address_says_and_writes_no_entry(view, links):
    location = Location()
    url_state.follow(location, links)
    view.at = (1.0, 2.0)
    assert location.entries == 1, "a place is something to go back to"
    view.param.update(stretch=5.0)
    assert location.entries == 1, "a setting replaces the address"
    view.at = (3.0, 4.0)
    written = []
    location.param.watch(lambda event: written.append(event.new), "search")
    location.on_back("?at=1,2")
    assert (view.at, view.stretch) == ((1.0, 2.0), 1.0)
    assert written == ["?at=1,2"]
    assert location.entries == 2
    location.on_back("")
    assert view.at == (0.0, 0.0)
    location.on_back("?at=<script>&stretch=5")
    assert (view.at, view.stretch) == ((0.0, 0.0), 5.0)


def test_what_was_with_the_sender_is_said_to_be_missing(view):
    read = url_state.at_hand(["mini"], "The link names an encoder of its sender's own.")
    problems = url_state.restore("?at=<b>mine", (Link("at", view, "at", read),))
    assert problems == ["The link names an encoder of its sender's own."]


def test_lists_in_an_address_hold_only_options_and_not_too_many():
    read = url_state.several_of(["a", "b", "c"], 2)
    assert read("a,c") == ["a", "c"]
    for bad in ("a,x", "a,b,c", ""):
        with pytest.raises(ValueError, match="options|more than"):
            read(bad)


def test_bounds_beyond_the_globe_are_refused():
    assert url_state.read_bounds("-10,-20,30,40") == (-10.0, -20.0, 30.0, 40.0)
    with pytest.raises(ValueError, match="beyond"):
        url_state.read_bounds("-190,-20,30,40")


def test_labels_are_written_without_spaces_and_read_back():
    read, write = url_state.labeled({"1 · 2 · 3": (0, 1, 2), "1 only": (0, 0, 0)})
    assert write((0, 1, 2)) == "1·2·3"
    assert read("1only") == (0, 0, 0)
    with pytest.raises(ValueError, match="options"):
        read("nothing")
