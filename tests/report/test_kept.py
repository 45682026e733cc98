from hypercall.report.kept import KeptRows


def test_all_are_kept_while_there_is_room() -> None:
    kept: KeptRows[str] = KeptRows(20)
    for number in range(18):
        kept.add(str(number), notable=False)
    assert [number for number, _ in kept] == list(range(18))


def test_first_last_and_notable_ones_are_kept() -> None:
    kept: KeptRows[int] = KeptRows(20)
    for number in range(1000):
        kept.add(number, notable=number in (3, 400, 500, 600, 999))
    numbers = [number for number, _ in kept]
    assert numbers == [*range(9), 400, 500, *range(991, 1000)]
    assert (kept.total, len(kept)) == (1000, 20)


def test_none_can_be_kept() -> None:
    kept: KeptRows[int] = KeptRows(0)
    kept.add(1, notable=True)
    assert (list(kept), kept.total) == ([], 1)
