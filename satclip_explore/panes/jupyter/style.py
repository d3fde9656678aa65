"""How panes look as Jupyter widgets: the page belongs to somebody else, so every rule is ours."""

from __future__ import annotations

import re
from typing import Any

from satclip_explore.panes import theme

ROOT = "satclip"
"""Class of the outermost box, below which our style sheet holds."""

LIGHT_PAGES = ("body[data-jp-theme-light=true]", "body.vscode-light")
"""Pages of JupyterLab, Notebook and VS Code whose theme is light."""

STYLE = f"""<style>
.{ROOT} {{ color-scheme: dark; {theme.declared(theme.DARK)} }}
:is({", ".join(LIGHT_PAGES)}) .{ROOT} {{ color-scheme: light; {theme.declared(theme.LIGHT)} }}
.{ROOT} {{ --jp-widgets-color: {theme.INK}; --jp-widgets-label-color: {theme.MUTED};
  --jp-widgets-readout-color: {theme.INK}; --jp-widgets-font-size: 12.5px;
  --jp-widgets-input-color: {theme.INK}; --jp-widgets-input-background-color: {theme.RAISED};
  --jp-widgets-input-border-color: {theme.LINE};
  --jp-widgets-input-focus-border-color: {theme.ACCENT};
  --jp-widgets-slider-active-handle-color: {theme.ACCENT};
  --jp-widgets-slider-handle-border-color: {theme.ACCENT};
  --jp-widgets-slider-handle-background-color: {theme.ACCENT};
  --jp-ui-font-color1: {theme.INK}; --jp-layout-color2: {theme.RAISED};
  --jp-brand-color1: {theme.ACCENT};
  color: {theme.INK}; }}
.{ROOT} .lm-Panel, .{ROOT} .jupyter-widgets {{ box-sizing: border-box; }}
.{ROOT}-control > .widget-label, .{ROOT}-control > label {{ font-size: 11px; line-height: 1.2;
  height: auto; text-align: left; width: auto; }}
.{ROOT} select, .{ROOT} input {{ border-radius: 6px; }}
.{ROOT} select option {{ background: {theme.RAISED}; color: {theme.INK}; }}
.{ROOT} .jupyter-button {{ background: {theme.RAISED}; color: {theme.INK}; border-radius: 6px;
  border: 1px solid {theme.LINE}; }}
.{ROOT} .jupyter-button.mod-primary, .{ROOT} .jupyter-button.mod-active {{
  background: {theme.ACCENT}; color: {theme.ON_ACCENT}; box-shadow: none; }}
.{ROOT} .widget-html-content {{ line-height: 1.35; }}
.{ROOT} .bk-root, .{ROOT} .widget-subarea, .{ROOT} > * {{ background: transparent; }}
.{ROOT} input::placeholder {{ color: {theme.FAINT}; }}
.{ROOT} {{ {theme.PAGE} }}
.{ROOT}-card {{ background: {theme.SURFACE}; border-radius: 10px; }}
.{ROOT}-ground {{ background: {theme.GROUND}; }}
.{ROOT}-text {{ {theme.TEXT.replace(":host", "&")} }}
</style>"""


def scoped(markup: Any) -> str:
    """Keep the style sheets of a text to that text: a notebook's page has no shadow root of it."""
    inner = _SHEET.sub(rf"<style>.{ROOT}-text {{ \1 }}</style>", str(markup or ""))
    return f"<div class='{ROOT}-text'>{inner}</div>"


_SHEET = re.compile(r"<style>(.*?)</style>", re.DOTALL)
