"""The page's own script, as far as the server sees it."""

from __future__ import annotations

from satclip_explore.panes.served.page_link import PageLink


def test_messages_of_the_browser_reach_who_asked_for_them_and_nonsense_nobody():
    link, heard = PageLink(search="?at=1,2"), []
    link.on_back = lambda search: heard.append(("back", search))
    link.on_copied = lambda done: heard.append(("copied", done))
    link.on_stored = lambda text: heard.append(("stored", text))
    link.on_nudge = lambda east, north: heard.append(("nudge", east, north))
    messages = [
        {"back": "?at=3,4"}, {"copied": False}, {"stored": "{}"}, {"nudge": [-10, 0]},
        None, [], "back", {}, {"back": 7}, {"stored": None}, {"nudge": [1e300, 0]},
        {"nudge": [1]}, {"nudge": "01"}, {"nudge": [[1], 0]},
    ]  # fmt: skip
    for message in messages:
        link._handle_msg(message)
    assert heard == [("back", "?at=3,4"), ("copied", False), ("stored", "{}"), ("nudge", -10, 0)]


def test_a_sign_of_life_is_answered(monkeypatch):
    link, sent = PageLink(), []
    monkeypatch.setattr(link, "_send_msg", sent.append)
    link._handle_msg({"ping": True})
    assert sent == [{"pong": True}]
