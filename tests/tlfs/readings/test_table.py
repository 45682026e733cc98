from dataclasses import fields

from hypercall.tlfs.readings import READINGS, SET_NAMES, ReadingSet


def test_every_reading_has_every_variant_and_its_sources() -> None:
    for reading in READINGS:
        assert set(reading.variants) == set(SET_NAMES)
        assert reading.question.rstrip().endswith(("?", ".")), reading.name
        assert reading.sources, reading.name


def test_the_set_has_just_the_readings() -> None:
    names = [field.name for field in fields(ReadingSet) if field.name != "name"]
    assert names == [reading.name for reading in READINGS]
