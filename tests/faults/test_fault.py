import pytest

from hypercall.errors import InputError
from hypercall.faults.fault import CallFault, Occurrences, Site
from hypercall.tlfs.calls import Call
from hypercall.tlfs.status import HvStatus


@pytest.mark.parametrize(
    ("site", "address", "name", "covered"),
    [
        (Site(address=0x1000), 0x1000, None, True),
        (Site(address=0x1000), 0x1001, "f", False),
        (Site("f"), 0x1000, "f+0x12", True),
        (Site("f"), 0x1000, "f", True),
        (Site("f"), 0x1000, "ff+0x12", False),
        (Site("f"), 0x1000, None, False),
        (Site("f", 0x12), 0x1000, "f+0x12", True),
        (Site("f", 0x12), 0x1000, "f+0x13", False),
        (Site("f", 0), 0x1000, "f", True),
    ],
)
def test_a_site_covers_its_places(
    site: Site, address: int, name: str | None, covered: bool
) -> None:
    assert site.covers(address, name) is covered


def test_a_fault_has_one_text() -> None:
    fault = CallFault(
        Call.FLUSH_VIRTUAL_ADDRESS_LIST,
        HvStatus.SUCCESS,
        reps=2,
        time_ns=1_500,
        site=Site("flush", 0x1A),
        vp=1,
        vtl=0,
        occurrences=Occurrences(share=0.25, times=4, after_ns=1_000_000_000),
    )
    assert str(fault) == (
        "call=FlushVirtualAddressList,site=flush+0x1a,vp=1,vtl=0,p=0.25,times=4,after=1s,"
        "time=1500ns,reps=2,status=SUCCESS"
    )


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: CallFault(Call.POST_MESSAGE), "must do something"),
        (lambda: CallFault(Call.POST_MESSAGE, reps=1), "no rep call"),
        (lambda: CallFault(Call.VTL_CALL, HvStatus.TIMEOUT), "HvCallVtlCall"),
        (lambda: Occurrences(nth=1, every=2), "exclude one another"),
        (lambda: Occurrences(nth=1, times=2), "leave out times"),
        (lambda: Occurrences(every=0), "every=0"),
        (lambda: Occurrences(share=1.5), "p=1.5"),
    ],
)
def test_what_contradicts_itself(make: object, text: str) -> None:
    assert callable(make)
    with pytest.raises(InputError, match=text):
        make()
