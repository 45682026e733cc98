import pytest
from tests.partition.secure import enable, with_assist_page

from hypercall.partition.secure_state import ALL_BITS, SecureState
from hypercall.partition.standalone import standalone_partition


@pytest.fixture
def secure() -> SecureState:
    return enable(standalone_partition()).vtls[1].secure


def test_locks(secure: SecureState) -> None:
    secure.config = {0: 0b11}
    assert secure.locks_translations(0)
    assert not secure.locks_translations(1)
    assert secure.release_locks()
    assert secure.config == {0: 0b01}, "mode-based execute control stays"
    assert not secure.release_locks()
    assert secure.enables_mbec(0)


def test_asserted_without_and_with_an_assist_page() -> None:
    vp = enable(standalone_partition())
    secure = vp.vtls[1].secure
    secure.vina_asserted = True
    assert secure.vina_asserted
    view = with_assist_page(vp)
    assert not secure.vina_asserted, "the page is what counts"
    view[12] = 0xFE
    secure.vina_asserted = True
    assert view[12] == 0xFF
    secure.vina_asserted = False
    assert view[12] == 0xFE


def test_reset(secure: SecureState) -> None:
    secure.config = {0: 2}
    secure.cr0_mask = 1
    secure.must_enter = True
    secure.reset()
    assert (secure.config, secure.cr0_mask, secure.must_enter) == ({}, ALL_BITS, False)
    assert secure.started, "a VTL above 0 needs no start-up message"
    assert secure.context is None
