"""Makes the page: one HTML file that needs no network and runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import Any

from hypercall.report.gathering import DEFAULT_ROWS, Gathering
from hypercall.trace.description import RunDescription
from hypercall.trace.events import Event

_SCRIPTS = ("page.js", "timeline.js", "events.js")
# In a script element these could end it, or begin what hides its end.
_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def report_page(
    events: Iterable[Event],
    description: RunDescription | None = None,
    symbol: Callable[[int], str | None] = lambda address: None,
    *,
    rows: int = DEFAULT_ROWS,
    notes: Iterable[str] = (),
) -> str:
    """Return the page of a run.

    Args:
        events: every event of the run in its order; they are taken one by one.
        description: what is known of the run.
        symbol: the name of a guest-virtual address, or None; asked when the events are through.
        rows: how many events the page shows one by one.
        notes: sentences that the page shows at the top.
    """
    gathering = Gathering(description or RunDescription(), symbol, rows)
    for event in events:
        gathering.add(event)
    return render_page(gathering.as_dictionary(notes))


def render_page(content: dict[str, Any]) -> str:
    """Return the page for what was gathered.

    Args:
        content: what :meth:`Gathering.as_dictionary` returned. Whatever texts it has, the page
            shows them as text: they are data to its script, and the policy of the page lets no
            other script run.
    """
    style = _resource("page.css")
    script = "\n".join(_resource(name) for name in _SCRIPTS)
    data = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
    for character, escape in _UNSAFE.items():
        data = data.replace(character, escape)
    image = content["description"].get("image") or "a run"
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none';"
        f" style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    )
    parts = {
        "POLICY": html.escape(policy, quote=False),
        "TITLE": html.escape(str(image).encode("utf-8", "replace").decode()),
        "STYLE": style,
        "SCRIPT": script,
        "DATA": data,
    }
    # Each piece once and in one pass, so that nothing within a piece is taken for a place.
    page = _resource("page.html").split("@")
    return "".join(
        parts.get(piece, piece) if number % 2 else piece for number, piece in enumerate(page)
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _resource(name: str) -> str:
    return files("hypercall.report").joinpath(name).read_text(encoding="utf-8")
