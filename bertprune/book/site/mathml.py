"""A Sphinx extension: formulas become MathML when the book is built.

Browsers draw MathML themselves, so that pages need no script and no network for their formulas.
"""

from __future__ import annotations

import html
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

_log = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx; `html_math_renderer: mathml` chooses the renderer."""
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
    app.connect("env-before-read-docs", _allow_pages_side_by_side)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _allow_pages_side_by_side(app: Sphinx, *_: Any) -> None:
    """Jupyter Book brings an extension that does not say whether pages may be read side by side.
    It numbers the sections of numbered contents, which this book has none of."""
    if numbering := app.extensions.get("sphinx_multitoc_numbering"):
        numbering.parallel_read_safe = True


def mathml(latex: str, *, block: bool) -> str:
    """A formula as a `<math>` element, with its LaTeX as text for those who cannot see it.

    Raises ValueError for LaTeX that cannot be converted.
    """
    try:
        drawn = convert(latex, display="block" if block else "inline")
    except Exception as error:  # The converter has a class for each mistake, with no common base.
        raise ValueError(f"{latex}: {type(error).__name__} {error}") from error
    return drawn.replace("<math ", f'<math alttext="{html.escape(latex)}" ', 1)


def _visit_inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(_element(node, block=False))
    raise nodes.SkipNode


def _visit_block(translator: HTML5Translator, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="formula notranslate">{_element(node, block=True)}</div>\n')
    raise nodes.SkipNode


def _element(node: nodes.Element, *, block: bool) -> str:
    try:
        return mathml(node.astext().strip(), block=block)
    except ValueError as error:
        _log.warning("cannot draw the formula %s", error, location=node)
        return html.escape(node.astext())
