"""What a reader can move: charts of Altair with controls, and the figure in their place where there
is no JavaScript.

All of the JavaScript is Vega's, bundled once, and a few lines that hand controls to charts. Like
pictures it is embedded in a notebook; the book makes one file of it.
"""

from __future__ import annotations

import base64
import functools
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bertprune.base import paths
from bertprune.base.files import write_text
from bertprune.book.drawing.picture import Picture
from bertprune.book.drawing.style import QUIET

GLUE = Path(__file__).with_name("glue.js")


@dataclass(frozen=True)
class Slider:
    """A control that moves the parameter `signal` of all charts."""

    signal: str
    words: str
    least: float
    most: float
    step: float
    value: float
    unit: str = ""

    def _repr_html_(self) -> str:
        values = f'min="{self.least:g}" max="{self.most:g}" step="{self.step:g}"'
        return (
            f"<p><label>{html.escape(self.words)} "
            f'<input type="range" data-signal="{self.signal}" {values} value="{self.value:g}"/> '
            f'<output data-unit="{html.escape(self.unit)}"></output></label></p>'
        )


@dataclass(frozen=True)
class Piece:
    """Charts with controls; a notebook's last line shows them."""

    picture: Picture
    """In their place where there is no JavaScript, and on paper."""
    controls: Sequence[Slider]
    charts: Sequence[Any] = field(repr=False)
    """Charts of Altair, as wide as the page; each has a parameter for each control. Those that have
    a description are read out to who does not see them: after it the words of their marks."""
    lead: str = ""
    """What it shows, a paragraph above it."""

    def _repr_html_(self) -> str:
        script = base64.b64encode(bundle().encode()).decode()
        charts = "".join(
            f'<div class="chart" aria-hidden="true" data-spec="{html.escape(_spec(chart))}"></div>'
            for chart in self.charts
        )
        controls = "".join(control._repr_html_() for control in self.controls)
        lead = f"<p>{html.escape(self.lead)}</p>" if self.lead else ""
        return (
            f'<div class="interactive">{lead}'
            f'<div class="played" hidden="hidden">{controls}{charts}'
            '<p class="visually-hidden" aria-live="polite"></p></div>'
            f"{self.picture._repr_html_()}"
            f'<script defer="defer" src="data:text/javascript;base64,{script}"></script></div>'
        )


def _spec(chart: Any) -> str:
    """As Vega-Lite reads it: with no address in it, and words in the colour of the page."""
    described = chart.configure(
        aria=False, background="transparent", font="sans-serif", padding=2
    ).to_dict()
    described.pop("$schema")
    words = {"labelColor": "currentColor", "titleColor": "currentColor"}
    sizes = {"labelFontSize": 12, "titleFontSize": 12}
    described["config"] |= {
        "axis": {**words, **sizes, "gridOpacity": 0.25, "gridColor": QUIET},
        "legend": {
            **words,
            **sizes,
            "orient": "top",
            "symbolBaseFillColor": "currentColor",
            "symbolBaseStrokeColor": "currentColor",
        },
        "title": {
            "color": "currentColor",
            "subtitleColor": "currentColor",
            "subtitleFontSize": 12,
            "anchor": "start",
            "fontSize": 13,
        },
        "text": {"color": "currentColor", "fontSize": 12},
        "view": {"stroke": None},
    }
    return json.dumps(described, separators=(",", ":"))


@functools.cache
def bundle() -> str:
    """Vega, Vega-Lite, Vega-Embed and the glue in one script that needs nothing else.

    It takes seconds to make, so it is kept in the cache.
    """
    # Here, since it is 80 MB that only pages with such pieces need.
    import vl_convert

    glue = GLUE.read_text(encoding="utf-8")
    kept = paths.cache_folder() / f"vega-{version('vl-convert-python')}.js"
    if not kept.exists():
        write_text(vl_convert.javascript_bundle("globalThis.vegaEmbed = vegaEmbed;"), kept)
    # In a function of its own, so that two pieces of a page do not clash.
    return f"(() => {{\n{kept.read_text(encoding='utf-8')}\n{glue}}})();\n"
