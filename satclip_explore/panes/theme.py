"""How everything looks: a dark and a light theme, the system's own fonts, cards."""

from __future__ import annotations

import html
from typing import Any

import panel as pn
import panel_material_ui as pmui
import param

DARK = {
    "ground": "#090d12", "surface": "#10161d", "raised": "#171f29", "line": "#222d39",
    "ink": "#e9eef3", "muted": "#93a1b0", "faint": "#5d6b7a",
    "accent": "#ffb454", "on-accent": "#14100a", "cool": "#5cc8ff", "bad": "#ff6b6b",
}  # fmt: skip
LIGHT = {
    "ground": "#eef2f5", "surface": "#ffffff", "raised": "#eef2f5", "line": "#d3dae1",
    "ink": "#17202a", "muted": "#53616f", "faint": "#7b8896",
    "accent": "#8f5300", "on-accent": "#ffffff", "cool": "#0b6bab", "bad": "#b42318",
}  # fmt: skip
"""The colors of a page; the names below stand for those of whichever theme is shown."""


def _color(name: str) -> str:
    # Where nothing says which theme is shown, it is the dark one.
    return f"var(--satclip-{name}, {DARK[name]})"


GROUND, SURFACE, RAISED, LINE, INK, MUTED, FAINT, ACCENT, ON_ACCENT, COOL, BAD = map(_color, DARK)


def declared(colors: dict[str, str]) -> str:
    """Write a theme's colors as declarations of a style sheet."""
    return "; ".join(f"--satclip-{name}: {color}" for name, color in colors.items())


VARIABLES = f"""
:root {{ color-scheme: dark; {declared(DARK)} }}
:root[data-theme=light] {{ color-scheme: light; {declared(LIGHT)} }}
body {{ background: {GROUND} !important; }}
"""
"""Style sheet that says what the names stand for: the one place where themes differ."""

# What is drawn on a canvas takes no variables. The Earth is as dark in both themes, what lies on it
# as bright; the colors of classes, folds and encoders show on it, on white and on black.
SEA, CHALK, GOLD, SKY, GRAY = "#0c131b", DARK["ink"], DARK["accent"], DARK["cool"], "#7b8896"
SERIES = ("#db7800", "#2b8fd6", "#2f9e44", "#e0509a", "#8a6ff0", "#a38a00", "#12998a", "#e2503c")
WARMTH = ("#2b2a6b", "#3a6ea8", "#67b0b0", "#d9d7a3", "#f2a65a", "#c8452f", "#7a1022")
SIMILARITY = ("#15384a", "#17525c", "#2a7c6b", "#71a95a", "#d2c24f", "#fff3b0")

FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif"
MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def _palette(colors: dict[str, str]) -> dict[str, Any]:
    """Return a theme's colors as Material names them; it computes with them, so no variables."""
    return {
        "primary": {"main": colors["accent"], "contrastText": colors["on-accent"]},
        "secondary": {"main": colors["cool"]},
        "default": {"main": colors["ink"], "dark": colors["ink"], "light": colors["raised"]},
        "background": {"default": colors["ground"], "paper": colors["surface"]},
        "text": {"primary": colors["ink"], "secondary": colors["muted"]},
        "divider": colors["line"],
    }


_MATERIAL: dict[str, Any] = {
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
        "MuiButtonBase": {
            "styleOverrides": {
                "root": {"&.Mui-focusVisible": {"outline": f"2px solid {INK}", "zIndex": 1}}
            }
        },
        "MuiButton": {"styleOverrides": {"outlined": {"borderColor": f"{FAINT} !important"}}},
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
        "MuiLinearProgress": {"defaultProps": {"aria-label": "whether the server computes"}},
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
                        "color": f"{ON_ACCENT} !important",
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
MATERIAL = {
    "dark": _MATERIAL | {"palette": _palette(DARK)},
    "light": _MATERIAL | {"palette": _palette(LIGHT)},
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
.dot {{ display: inline-block; width: 9px; height: 9px; border-radius: 50%;
  box-shadow: 0 0 0 1px {FAINT}; margin: 0 2px 0 1px; }}
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


def dot(color: str) -> str:
    """Draw a key of a legend, ringed so that any color shows on any ground, as markup."""
    return f"<i class='dot' style='background:{color}'></i>"


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
        theme_config=MATERIAL,
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

FRAME = f"""
h3.title {{ color: {INK} !important; }}
@media (max-width: 900px) {{
  a:has(h3.title) {{ display: none !important; }}
  main .MuiToolbar-root {{ min-height: 96px !important; }}
}}
@media (max-width: 560px) {{
  main .MuiToolbar-root {{ min-height: 120px !important; }}
}}
"""
"""Style sheet of the page's frame: without the title, a narrow page's header is two lines high, and
that of a phone three."""

NARROW_TABS = """
@media (max-width: 520px) { .MuiToggleButton-root { padding: 4px 5px !important; } }
"""
"""Style sheet of the pages' names, which stay on one line of a phone."""
