from hypercall.tour import tour_image
from hypercall.tour.layout import IMAGE, VARIABLE_NAMES, VARIABLES, constants


def test_nothing_overlaps() -> None:
    names = constants()
    single = {"LOCAL_APIC", "CODE_SELECTOR", "IMAGE", "VARIABLES", "COUNTS", "WINDOW"}
    pages = {
        name: int(value, 16)
        for name, value in names.items()
        if name not in single and "r14" not in value and not name.startswith("STACK")
    }
    assert all(page % 0x1000 == 0 for page in pages.values())
    assert len(set(pages.values())) == len(pages)
    assert IMAGE + len(tour_image()) <= pages["HYPERCALL_PAGE"]
    assert VARIABLES + 8 * len(VARIABLE_NAMES) < int(names["STACK_2"], 16) - 0x1000
    assert max(pages.values()) < int(names["COUNTS"], 16)
    assert int(names["COUNTS"], 16) + 64 * 256 * 4 <= int(names["WINDOW"], 16)


def test_variables_are_words_behind_r14() -> None:
    names = constants()
    assert names[VARIABLE_NAMES[0]] == "r14 + 0x0"
    assert names[VARIABLE_NAMES[2]] == "r14 + 0x10"
