"""How everything looks: one dark palette, the system's own fonts, cards."""

from __future__ import annotations

import html
from typing import Any

import panel as pn
import panel_material_ui as pmui
import param

GROUND, SURFACE, RAISED, LINE = "#090d12", "#10161d", "#171f29", "#222d39"
INK, MUTED, FAINT = "#e9eef3", "#93a1b0", "#5d6b7a"
ACCENT, WARM, COOL, BAD = "#ffb454", "#ff8f5c", "#5cc8ff", "#ff6b6b"
SEA = "#0c131b"
FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif"
MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"
SERIES = ("#ffb454", "#5cc8ff", "#7ee787", "#ff7eb6", "#b39dff", "#f4e06d", "#56d4bc", "#ff8f5c")
WARMTH = ("#2b2a6b", "#3a6ea8", "#67b0b0", "#d9d7a3", "#f2a65a", "#c8452f", "#7a1022")
SIMILARITY = ("#15384a", "#17525c", "#2a7c6b", "#71a95a", "#d2c24f", "#fff3b0")

MATERIAL = {
    "palette": {
        "primary": {"main": ACCENT, "contrastText": "#14100a"},
        "secondary": {"main": COOL},
        "background": {"default": GROUND, "paper": SURFACE},
        "text": {"primary": INK, "secondary": MUTED},
        "divider": LINE,
    },
    "typography": {"fontFamily": FONT, "fontSize": 13, "button": {"textTransform": "none"}},
    "shape": {"borderRadius": 8},
    "components": {
        "MuiAppBar": {
            "styleOverrides": {
                "root": {
                    "backgroundColor": SURFACE,
                    "backgroundImage": "none",
                    "borderBottom": f"1px solid {LINE}",
                    "boxShadow": "none",
                }
            }
        },
        "MuiOutlinedInput": {
            "styleOverrides": {
                "root": {"minHeight": 32, "fontSize": 13.5},
                "input": {"paddingTop": "5px !important", "paddingBottom": "5px !important"},
            }
        },
        "MuiInputLabel": {
            "styleOverrides": {
                "root": {
                    "fontSize": 13,
                    # Material places the label of an empty field for 56 pixels; ours have 32.
                    "&:not(.MuiInputLabel-shrink)": {
                        "top": "50%",
                        "transform": "translate(14px, -50%)",
                    },
                }
            }
        },
        "MuiPaper": {"styleOverrides": {"root": {"backgroundImage": "none"}}},
        "MuiToggleButton": {
            "styleOverrides": {
                "root": {
                    "color": f"{MUTED} !important",
                    "borderColor": f"{LINE} !important",
                    "padding": "4px 12px",
                    "whiteSpace": "nowrap",
                    "@media (max-width: 700px)": {"padding": "8px 7px"},
                    "&.Mui-selected": {
                        "color": f"{GROUND} !important",
                        "backgroundColor": f"{ACCENT} !important",
                    },
                }
            }
        },
        "MuiMenu": {
            "styleOverrides": {"paper": {"backgroundColor": f"{RAISED} !important", "color": INK}}
        },
    },
}

TEXT = f"""
:host {{ font-family: {FONT}; color: {INK}; }}
.title {{ font-size: 12px; font-weight: 650; letter-spacing: .08em; text-transform: uppercase;
  color: {INK}; white-space: nowrap; }}
.hint {{ font-size: 12px; color: {MUTED}; }}
.head {{ display: flex; gap: 10px; align-items: baseline; flex-wrap: wrap; }}
.sentence {{ font-size: 12.5px; line-height: 1.4; color: {BAD}; border-left: 2px solid {BAD};
  padding: 2px 0 2px 8px; }}
.busy {{ font-size: 12px; color: {ACCENT}; }}
table {{ border-collapse: collapse; width: 100%; font-size: 12.5px; }}
th {{ text-align: left; font-weight: 500; color: {MUTED}; padding: 3px 10px 3px 0; }}
td {{ padding: 3px 10px 3px 0; border-top: 1px solid {LINE}; font-variant-numeric: tabular-nums; }}
"""


def card(
    title: str, *body: Any, hint: str = "", actions: tuple[Any, ...] = (), **params: Any
) -> Any:
    """Frame what one pane shows: a title, a short hint, controls to the right, the body below.

    Parameters
    ----------
    title, hint : str
        Plain text; escaped here.
    *body : viewable
        Stacked under the title.
    actions : tuple of viewable
        Placed at the right end of the title line, wrapping under it where there is no room.
    **params
        Passed to the column.
    """
    head = text(f"<div class='head'><span class='title'>{html.escape(title)}</span>"
                f"<span class='hint'>{html.escape(hint)}</span></div>")  # fmt: skip
    snug = {"flex": "0 1 auto", "width": "auto"}
    head.styles = snug
    row = pn.FlexBox(
        head,
        pn.FlexBox(*actions, align_items="center", margin=0, styles=snug),
        justify_content="space-between",
        align_items="center",
        sizing_mode="stretch_width",
        gap="4px 10px",
        margin=(0, 0, 6, 0),
    )
    params.setdefault("sizing_mode", "stretch_width")
    return pn.Column(
        row,
        *body,
        margin=0,
        styles={
            "background": SURFACE,
            "border": f"1px solid {LINE}",
            "border-radius": "10px",
            "padding": "8px 12px 10px",
            "box-sizing": "border-box",
        },
        **params,
    )


def text(markup: Any, **params: Any) -> pn.pane.HTML:
    """Show markup made by this project; whatever came from outside is already escaped in it."""
    params.setdefault("margin", 0)
    return Text(markup, stylesheets=[TEXT], **params)


class Text(pn.pane.HTML):
    """Markup that changes: only its words are sent then.

    Panel would send the style sheets again too, in a notebook as addresses on another machine.
    """

    def _update(self, ref: str, model: Any) -> None:
        model.text = self._get_properties(model.document)["text"]


def coordinates(lonlat: tuple[float, float]) -> str:
    """Write a place as people do: 52.50° N, 13.40° E."""
    lon, lat = lonlat
    return f"{abs(lat):.2f}° {'N' if lat >= 0 else 'S'}, {abs(lon):.2f}° {'E' if lon >= 0 else 'W'}"


def escape(words: Any) -> str:
    """Make text from outside safe to place in markup."""
    return html.escape(str(words))


def color_scale(colors: Any, low: str, high: str) -> pn.pane.HTML:
    """Draw a color bar with a word at each end."""
    return text(
        f"<div style='display:flex;gap:6px;align-items:center;margin-top:4px' class='hint'>"
        f"{escape(low)}<span style='width:110px;height:8px;border-radius:4px;"
        f"background:linear-gradient(90deg,{', '.join(colors)})'></span>{escape(high)}</div>"
    )


def hint(words: str) -> pn.pane.HTML:
    """Show plain text, small and quiet."""
    return text(f"<span class='hint'>{html.escape(words)}</span>")


def split(*items: Any) -> pn.FlexBox:
    """Put things at the two ends of a line; they wrap where there is no room."""
    return pn.FlexBox(*items, justify_content="space-between", gap="2px 12px", margin=(4, 0, 0, 0),
                      sizing_mode="stretch_width")  # fmt: skip


def select(parameter: param.Parameter, label: str, width: int, **options: Any) -> pmui.Select:
    """Make a small drop-down for a parameter."""
    return pmui.Select.from_param(parameter, **_small(label, width), **options)


def text_input(parameter: param.Parameter, label: str, width: int | None, **options: Any) -> Any:
    """Make a small text field for a parameter; it reports on Enter or when it is left."""
    return pmui.TextInput.from_param(parameter, **_small(label, width), **options)


def button(label: Any, press: Any, *, strong: bool = False, **options: Any) -> pmui.Button:
    """Make a small button that calls `press(event)`."""
    return pmui.Button(
        label=label, on_click=press, size="small", margin=(4, 2), description="",
        color="primary" if strong else "default", variant="contained" if strong else "outlined",
        **options,
    )  # fmt: skip


def _small(label: str, width: int | None) -> dict[str, Any]:
    # A notebook has no page of ours around it whose colors a control could take over.
    return {"label": label, "width": width, "size": "small", "margin": (4, 2), "description": "",
            "theme_config": MATERIAL}  # fmt: skip


PAGE = f"""
.leaflet-container {{ background: {SEA} !important; font-family: {FONT} !important; }}
.leaflet-bar a, .leaflet-control-attribution {{ background: {RAISED} !important;
  color: {MUTED} !important; border-color: {LINE} !important; }}
.leaflet-popup-content-wrapper, .leaflet-popup-tip {{ background: {RAISED}; color: {INK}; }}
"""
"""Style sheet of the page itself, for what lives outside Panel's own shadow roots."""

NARROW = """
@media (max-width: 900px) {
  h3.title { display: none; }
  main .MuiToolbar-root { min-height: 96px !important; }
}
"""
"""Style sheet of the page's frame: a narrow page's header is two lines high, without the title."""

NARROW_TABS = """
@media (max-width: 520px) { .MuiToggleButton-root { padding: 4px 5px !important; } }
"""
"""Style sheet of the pages' names, which stay on one line of a phone."""
