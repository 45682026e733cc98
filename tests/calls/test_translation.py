from typing import Any

import pytest
from tests.calls.trust_levels import enable, enter

from hypercall.tlfs.call_flags import TranslateGvaFlags as F
from hypercall.tlfs.registers import RegisterName

CONTROL = 0x52
SELF, OWN_VP = (1 << 64) - 1, 0xFFFFFFFE
LOCKED = 2


def test_without_paging_a_page_is_itself(guest: Any) -> None:
    assert guest.call(CONTROL, SELF, OWN_VP, F.VALIDATE_WRITE, 0x12) == 0
    assert guest.output(16) == bytes((0, 0, 0, 0, 6, 0, 0, 0, 0x12, 0, 0, 0, 0, 0, 0, 0))


def test_padding_is_ignored(guest: Any) -> None:
    assert guest.call(CONTROL, SELF, OWN_VP | 0xFFFFFFFF << 32, 0, 0x12) == 0


@pytest.mark.parametrize(
    ("target", "vp", "locked"), [(0, OWN_VP, True), (1, OWN_VP, False), (0, 1, False)]
)
def test_only_lower_vtls_of_the_caller_are_locked(
    guest: Any, target: int, vp: int, locked: bool
) -> None:
    enable(guest, 1, vps=(0, 1))
    enter(guest, 1)
    flags = F.TLB_FLUSH_INHIBIT | (0x10 | target) << 56
    status = guest.call(CONTROL, SELF, vp, flags, 0x12)
    assert status == (0 if locked else 5)
    state = guest.vp().vtls[1]
    config = guest.partition.registers.read(state, RegisterName.VSM_VP_SECURE_CONFIG_VTL0)
    assert bool(config & LOCKED) is locked


def test_reserved_flags_are_ignored_where_they_are(make_guest: Any) -> None:
    kvm = make_guest(reading="kvm")
    assert kvm.call(CONTROL, SELF, OWN_VP, 1 << 11, 0x12) == 0
    assert make_guest().call(CONTROL, SELF, OWN_VP, 1 << 11, 0x12) == 5
