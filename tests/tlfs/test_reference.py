from pathlib import Path

import pytest

from hypercall.calls import HANDLERS
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tlfs.declaration import CallDeclaration
from hypercall.tlfs.reference import (
    HANDWRITTEN_PARTS,
    fast_text,
    gate_text,
    handwritten,
    input_text,
    max_fast_reps,
    output_text,
    page_name,
    render_index,
    render_page,
)

PAGES = Path(__file__).parents[2] / "docs" / "calls"


@pytest.mark.parametrize("declaration", list(DECLARATIONS), ids=page_name)
def test_the_committed_pages_are_those_of_the_declarations(declaration: CallDeclaration) -> None:
    """Run script/call-pages if this fails."""
    page = (PAGES / page_name(declaration)).read_text()
    parts = handwritten(page)
    assert set(parts) == set(HANDWRITTEN_PARTS)
    assert page == render_page(declaration, declaration.code in HANDLERS, parts)
    assert "to be written" not in page


def test_the_committed_index_is_that_of_the_declarations() -> None:
    assert (PAGES / "README.md").read_text() == render_index(DECLARATIONS, HANDLERS)


def test_no_page_is_left_over() -> None:
    expected = {page_name(declaration) for declaration in DECLARATIONS} | {"README.md"}
    assert {path.name for path in PAGES.iterdir()} == expected


def test_handwritten_parts_survive() -> None:
    declaration = DECLARATIONS.find(0x5C)
    parts = {"Semantics": "Mine.\n\nOf two paragraphs.", "What is known": "Nothing."}
    assert handwritten(render_page(declaration, True, parts)) == parts


def test_words_about_sizes_and_registers() -> None:
    find = DECLARATIONS.find
    assert input_text(find(0x14)) == "32 + 8 per bank + 8 per element"
    assert output_text(find(0x6A)) == "8 + data"
    assert fast_text(find(0x5C)) == "no"
    assert fast_text(find(0x0B)) == "yes"
    assert fast_text(find(0x8001)) == "yes, XMM for output"
    assert max_fast_reps(find(0x03)) == 11
    assert max_fast_reps(find(0x0C)) == 12
    assert max_fast_reps(find(0x02)) == 0
    assert gate_text(find(0x5C)) == "privilege POST_MESSAGES"
    assert "or" in gate_text(find(0xAF))
