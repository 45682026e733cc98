import pytest

from hypercall.errors import InputError
from hypercall.tlfs.readings import READINGS, SET_NAMES, EmptyMask, ReadingSet
from hypercall.tlfs.status import HvStatus


@pytest.mark.parametrize("name", SET_NAMES)
def test_attributes_are_the_variants(name: str) -> None:
    readings = ReadingSet.named(name)
    assert readings.name == name
    assert readings.decisions() == {each.name: each.variants[name] for each in READINGS}


def test_the_defaults_where_the_sources_leave_a_choice() -> None:
    readings = ReadingSet.named("hyperv")
    assert readings.page_crossing is HvStatus.INVALID_ALIGNMENT
    assert readings.mask_zero_flush is EmptyMask.REFUSE
    assert readings.vp_set_bank_mismatch is HvStatus.INVALID_PARAMETER
    assert readings.invalid_vector is HvStatus.INVALID_PARAMETER
    assert readings.non_global_list_flush is None
    assert readings.ipi_to_higher_vtl is HvStatus.ACCESS_DENIED


def test_changed() -> None:
    readings = ReadingSet.named("hyperv")
    assert readings.changed(invalid_vector=HvStatus.TIMEOUT).invalid_vector is HvStatus.TIMEOUT
    with pytest.raises(TypeError):
        readings.changed(nonsense=1)


def test_an_unknown_set() -> None:
    with pytest.raises(InputError, match="hyperv, kvm, xen, openvmm"):
        ReadingSet.named("virtualbox")
