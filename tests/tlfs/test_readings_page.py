from pathlib import Path

from hypercall.tlfs.readings import READINGS
from hypercall.tlfs.readings_page import readings_page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "readings.md"


def test_the_page_is_that_of_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == readings_page(READINGS), "run script/readings-page"


def test_each_reading_is_one_row_of_the_table() -> None:
    lines = readings_page(READINGS).splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [reading.name for reading in READINGS]
    assert all(row.count(" | ") == 6 for row in rows)
