"""The documents: links lead somewhere, code is code, options are the command's."""

import ast
import re
from pathlib import Path

import pytest
import typer.main

from hypercall.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "benchmarks/*.md") for path in ROOT.glob(pattern)
)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    links = LINK.findall(document.read_text())
    missing = [
        link
        for link in links
        if not link.startswith("https://") and not (document.parent / link).exists()
    ]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_python_in_documents_names_what_exists(document: Path) -> None:
    for block in PYTHON.findall(document.read_text()):
        imports: list[ast.stmt] = [
            node for node in ast.parse(block).body if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        exec(compile(ast.Module(imports, []), str(document), "exec"), {})


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert pages == {name for name in pages if f"({name})" in index}


@pytest.mark.parametrize("name", ["run", "tour", "decode", "initrd", "report", "export"])
def test_options_of_a_command_are_on_its_page(name: str) -> None:
    page = (ROOT / "docs" / f"{name}.md").read_text()
    commands = getattr(typer.main.get_command(app), "commands")  # noqa: B009
    options = {
        option
        for parameter in commands[name].params
        for option in parameter.opts
        if option.startswith("--") and not re.fullmatch(r"--xmm[1-4]", option)
    } - {"--help"}
    documented = options if name != "initrd" else options - {"--output"}
    assert options
    assert documented == {option for option in documented if option in page}
