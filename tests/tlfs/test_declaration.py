from hypercall.tlfs.calls import DECLARATIONS


def test_sizes_of_lists() -> None:
    flush = DECLARATIONS.find("FLUSH_VIRTUAL_ADDRESS_LIST_EX")
    assert flush.input_size(2, 3) == 32 + 16 + 24
    assert flush.output_size(3) == 0
    assert DECLARATIONS.find(0x50).output_size(3) == 48
    assert DECLARATIONS.find(0x8002).output_size() == 4088


def test_elements_in_a_page() -> None:
    assert DECLARATIONS.find(0x03).max_reps_in_page == 509
    assert DECLARATIONS.find(0x0C).max_reps_in_page == 510
    assert DECLARATIONS.find(0x14).max_reps_in_page == 508
    assert DECLARATIONS.find(0x9A).max_reps_in_page == 1020
    assert DECLARATIONS.find(0x8003).max_reps_in_page == 511
    assert DECLARATIONS.find(0x02).max_reps_in_page == 0
