"""Panes as Jupyter widgets: every part has its counterpart, and the two stay in step."""

import base64
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import ipywidgets
import panel as pn
import panel_material_ui as pmui
import param
import pytest

from satclip_explore.panes import plots, theme
from satclip_explore.panes.base import Pane, Selection
from satclip_explore.panes.embedding import EmbeddingPane
from satclip_explore.panes.jupyter import front_end, native
from satclip_explore.panes.map import MapPane
from satclip_explore.panes.pca import PCAPane
from satclip_explore.panes.similarity import SimilarityPane

ROOT = Path(__file__).resolve().parents[2]


def parts(widget, kind):
    """Every widget of a kind below another."""
    found = [widget] if isinstance(widget, kind) else []
    return found + [
        part for child in getattr(widget, "children", ()) for part in parts(child, kind)
    ]


class Words(Pane):
    """Shows a text, and another one behind a switch."""

    word = param.String("one", doc="what is shown")
    size = param.Selector(default=1, objects={"small": 1, "large": 2})
    more = param.Boolean(False)
    amount = param.Number(0.5, bounds=(0.0, 1.0))

    @param.depends("word")
    def text(self):
        return f"<style>.p {{ color: red }}</style><b class='p'>{theme.escape(self.word)}</b>"

    @param.depends("more")
    def extra(self):
        return theme.hint("more") if self.more else theme.hint("less")

    def __panel__(self):
        return theme.card(
            "Words", theme.text(self.text), self.extra, theme.button("Again", self.again),
            actions=(theme.text_input(self.param.word, "Word", 90),
                     theme.select(self.param.size, "Size", 90)),
        )  # fmt: skip

    def again(self, _):
        self.word = self.word * 2


@pytest.fixture
def words():
    return Words()


@pytest.fixture
def shown(words):
    return native.show(words.__panel__())


def test_controls_write_to_the_pane_and_follow_it(words, shown):
    (line,), (choice,) = parts(shown, ipywidgets.Text), parts(shown, ipywidgets.Dropdown)
    line.value = "two"
    assert words.word == "two"
    words.word = "three"
    assert line.value == "three"
    choice.value = 2
    assert words.size == 2
    words.size = 1
    assert choice.value == 1
    words.param.size.objects = {"small": 1, "huge": 3}
    assert dict(choice.options) == {"small": 1, "huge": 3}


def test_buttons_call_back(words, shown):
    parts(shown, ipywidgets.Button)[0].click()
    assert words.word == "oneone"


def test_a_button_follows_its_label_and_whether_it_can_be_pressed():
    button = theme.button("Start", lambda _: None, disabled=True)
    made = native.Mirror().widget(button)
    assert made.disabled
    button.param.update(label="Go on", disabled=False)
    assert (made.description, made.disabled) == ("Go on", False)


def test_a_box_is_ticked_from_both_sides(words):
    box = native.Mirror().widget(pmui.Checkbox.from_param(words.param.more, label="More"))
    box.value = True
    assert words.more
    words.more = False
    assert not box.value


def test_choices_of_several_follow_and_end_at_the_most():
    choice = pmui.MultiChoice(value=["a"], options=["a", "b", "c"], max_items=2, label="Which")
    shown = native.Mirror().widget(choice)
    (made,) = parts(shown, ipywidgets.TagsInput)
    made.value = ["a", "b"]
    assert choice.value == ["a", "b"]
    made.value = ["a", "b", "c"]
    assert choice.value == ["a", "b"]
    assert list(made.value) == ["a", "b"]


def test_figures_that_share_a_range_are_one_widget(tiny_encoder):
    panes = [PCAPane(tiny_encoder) for _ in range(2)]
    ranges = {}
    hooks = [plots.linked_ranges(ranges)]
    figures = [plots.plot_pane(pane.view().opts(hooks=hooks)) for pane in panes]
    shown = native.show(pn.FlexBox(*figures, tags=[plots.LINKED]))
    assert len(parts(shown, native.bokeh_widget_type())) == 1


def test_texts_follow_escaped_and_keep_their_style_to_themselves(words, shown):
    words.word = "<img src=x>"
    texts = [part.value for part in parts(shown, ipywidgets.HTML)]
    (mine,) = [text for text in texts if "class='p'" in text]
    assert "&lt;img" in mine
    assert "<img" not in mine
    assert f"<style>.{native.ROOT}-text {{ .p" in mine


def test_what_depends_is_replaced_in_its_place(words, shown):
    before = [part.value for part in parts(shown, ipywidgets.HTML)]
    assert any("less" in text for text in before)
    words.more = True
    after = [part.value for part in parts(shown, ipywidgets.HTML)]
    assert [text.replace("less", "more") for text in before] == after


def test_what_is_hidden_is_hidden():
    column = pn.Column(pn.pane.HTML("a"), visible=False)
    box = native.Mirror().widget(column)
    assert box.layout.display == "none"
    column.visible = True
    assert box.layout.display is None


def test_what_stays_in_a_column_keeps_its_widget():
    first, second = pn.pane.HTML("a"), pn.pane.HTML("b")
    column = pn.Column(first)
    box = native.Mirror().widget(column)
    (before,) = box.children
    column.append(second)
    assert box.children[0] is before
    assert len(box.children) == 2


def test_margins_do_not_make_a_box_wider_than_its_place():
    for margin, across in ((3, 6), ((1, 4), 8), ((1, 2, 3, 5), 7)):
        made = native.Mirror().widget(pn.pane.HTML("", sizing_mode="stretch_width", margin=margin))
        assert made.layout.width == f"calc(100% - {across}px)"


def test_the_map_is_ipyleaflets_own_widget_beside_ipywidgets(tiny_encoder):
    selection = Selection(lonlat=(0.0, 0.0))
    pane = MapPane(tiny_encoder, selection=selection)
    pane._shown = False
    shown = native.show(pane.__panel__())
    assert pane.widget in parts(shown, type(pane.widget))
    (line,) = parts(shown, ipywidgets.Text)
    line.value = "10 E, 20 N"
    assert selection.lonlat == (10.0, 20.0)
    # Without letters the order is asked about.
    line.value = "30, 40"
    first, *_ = [b for b in parts(shown, ipywidgets.Button) if b.description != "Download"]
    first.click()
    assert selection.lonlat == (30.0, 40.0)
    assert [part.description for part in parts(shown, ipywidgets.Button)] == ["Download"]
    pane._interact(type="click", coordinates=(5.0, 365.0))
    assert selection.lonlat == (5.0, 5.0)
    pane._background.wait(60)


def test_what_a_view_gives_is_listed_made_and_linked(tiny_encoder):
    shown = native.show(EmbeddingPane(tiny_encoder).__panel__())
    (button,) = parts(shown, ipywidgets.Button)
    button.click()
    items = {part.description: part for part in parts(shown, ipywidgets.Button)}
    items["CSV"].click()
    texts = " ".join(part.value for part in parts(shown, ipywidgets.HTML))
    said = texts[texts.index("<a download") :]
    assert said.startswith("<a download='tiny-l5-place.csv'")
    assert b"encoder: tiny-l5" in base64.b64decode(re.search("base64,([^']+)", said)[1])
    items["Copy as code"].click()
    texts = [part.value for part in parts(shown, ipywidgets.HTML)]
    assert any("encoder.embed((13.4, 52.5))" in text for text in texts)
    button.click()
    assert len(parts(shown, ipywidgets.Button)) == 1


def test_a_figure_is_one_bokeh_widget_and_sends_what_changes(tiny_encoder):
    pane = PCAPane(tiny_encoder)
    (figure,) = parts(native.show(pane.__panel__()), native.bokeh_widget_type())
    sent = []
    figure.send = lambda content, buffers=None: sent.append(content)
    pane.land_only = False
    assert sent
    pane._background.wait(60)


def test_a_slider_moves_the_color_scale(tiny_encoder):
    pane = SimilarityPane(tiny_encoder, resolution=10.0)
    shown = native.show(pane.__panel__())
    # Without a page the picture comes on a thread of its own, which must not draw meanwhile.
    pane._background.wait(60)
    (slider,) = parts(shown, ipywidgets.FloatSlider)
    slider.value = 0.4
    assert pane.threshold == 0.4
    assert [mapper.low for mapper in pane._mappers] == [0.4]


def test_a_pane_gives_a_notebook_a_widget_and_no_script(tiny_encoder):
    bundle = EmbeddingPane(tiny_encoder)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "text/html" not in bundle


def test_files_past_the_limit_are_not_taken():
    taken = []
    drop = pn.widgets.FileDropper(max_file_size="1KB")
    drop.param.watch(lambda event: taken.append(event.new), "value")
    made = native.Mirror().widget(drop)
    file = {"name": "a.csv", "type": "text/csv", "size": 3, "last_modified": datetime(2026, 1, 1)}
    made.value = ({**file, "content": memoryview(b"a" * 2000)},)
    assert taken == []
    assert made.description == "At most 1KB"
    made.value = ({**file, "content": memoryview(b"lon")},)
    assert taken == [{"a.csv": b"lon"}]


class Shell:
    """As much of a kernel's shell as the front end asks for."""

    kernel = object()

    def __init__(self, session):
        self.session = session

    def get_parent(self):
        return {"header": {"session": self.session}}


@pytest.fixture
def sent(monkeypatch):
    """What is sent to the page; `sent.session` is who asks."""
    calls = []
    monkeypatch.setattr(front_end, "_told", set())
    monkeypatch.setattr(front_end, "_send", lambda: calls.append(1))

    def ask(session):
        monkeypatch.setattr(front_end, "shell", lambda: Shell(session))
        front_end.load()
        return len(calls)

    return ask


def test_scripts_are_sent_once_to_each_page(sent):
    assert sent("a") == 1
    assert sent("a") == 1
    # The page was loaded anew while the kernel went on.
    assert sent("b") == 2


def test_in_colab_every_cell_gets_the_scripts(sent, monkeypatch):
    import types

    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    assert sent("a") == 1
    assert sent("a") == 2


def test_outside_a_kernel_nothing_is_sent(monkeypatch):
    monkeypatch.setattr(front_end, "_send", lambda: pytest.fail("sent"))
    assert front_end.shell() is None
    front_end.load()


@pytest.mark.slow
def test_the_first_picture_does_without_what_is_slow_to_import():
    code = (
        "import sys, os, satclip_explore as sx, holoviews.util; "
        "from satclip_explore.panes.jupyter import native; "
        "from satclip_explore.panes.pca import PCAPane; "
        "holoviews.util.extension('bokeh'); "
        "native.show(PCAPane(sx.load_encoder('mini-l10')).__panel__()); "
        "slow = ('datashader', 'numba', 'scipy.sparse', 'dask.array', 'matplotlib.figure'); "
        "print([name for name in slow if name in sys.modules], flush=True); os._exit(0)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert out.stdout.strip() == "[]"
