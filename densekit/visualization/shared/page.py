"""What every report page has in common: how it is filled and written, and how it says a time."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from densekit import __version__
from densekit.io.atomic import write_text_atomic

TEMPLATES = Path(__file__).parent / "templates"
"""``<page>.html.j2`` and, if the page has a style of its own, ``<page>.css``; ``frame`` is what all pages stand in."""


def write_page(path: str | os.PathLike, page: str, *, title: str, sheet: str = "", **content: Any) -> None:
    """Fill a page and write it as one self-contained HTML file. All texts are escaped.

    Nothing is fetched from anywhere: style, script and pictures are in the page, and its Content-Security-Policy
    forbids all else.

    Args:
        path: The HTML file to write.
        page: Name of a template in :data:`TEMPLATES`; it extends ``frame`` and may import from ``parts``.
        title: Heading.
        sheet: Name of the style, if the page has none of its own.
        content: What the page shows, by the names it uses; a name that is missing is an error.

    Raises:
        OutputError: if the file cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # Style and script are ours and hold no text of the user's: they alone go in as they are.
    html = environment.get_template(f"{page}.html.j2").render(
        title=title,
        written=f"{datetime.now().astimezone():%Y-%m-%d %H:%M}",
        version=__version__,
        style=markupsafe.Markup(_read("frame.css") + _read(f"{sheet or page}.css")),
        script=markupsafe.Markup(_read("frame.js")),
        **content,
    )
    # A file name that is not UTF-8 reaches us with lone surrogates, which cannot be written.
    write_text_atomic(path, html.encode("utf-8", "replace").decode("utf-8"))


def show_duration(seconds: float) -> str:
    """A time as a reader expects it: ``12.3 s``, ``4 min 05 s``, ``1 h 07 min``."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _read(name: str) -> str:
    file = TEMPLATES / name
    return file.read_text(encoding="utf-8") if file.is_file() else ""
