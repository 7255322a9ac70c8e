"""Files out of pages: what a notebook embeds is written once, and pages link to it."""

from __future__ import annotations

import base64
import hashlib
import mimetypes
import re
from pathlib import Path

import nbformat

FOLDER = Path("_static") / "made"
"""Below the source of a site; Sphinx takes it along as it is."""

_EMBEDDED = re.compile(r'\b(src|srcset|href)="data:([a-z/+]+);base64,([^"]*)"')


def take_out(page: nbformat.NotebookNode, place: str, source: Path) -> None:
    """Have `page`, which will lie at `place` below `source`, link to files in `FOLDER` in place of
    what its outputs embed. What is the same is one file."""
    above = "../" * place.count("/")

    def linked(found: re.Match[str]) -> str:
        attribute, kind, content = found.groups()
        data = base64.b64decode(content)
        # Systems differ in what they call a script.
        ending = ".js" if kind == "text/javascript" else mimetypes.guess_extension(kind) or ""
        name = hashlib.sha256(data).hexdigest()[:16] + ending
        (source / FOLDER).mkdir(parents=True, exist_ok=True)
        (source / FOLDER / name).write_bytes(data)
        return f'{attribute}="{above}{(FOLDER / name).as_posix()}"'

    for cell in page.cells:
        for output in cell.get("outputs", []):
            shown = output.get("data", {})
            # What is glued into another page has a prefix.
            for kind in [kind for kind in shown if kind.endswith("text/html")]:
                shown[kind] = _EMBEDDED.sub(linked, shown[kind])
