from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tlfs.declaration import CallClass
from hypercall.tour.stops import STOPS


def test_every_call_is_a_stop_once() -> None:
    codes = [int(stop.call) for stop in STOPS]
    assert sorted(codes) == sorted(each.code for each in DECLARATIONS)


def test_only_switches_of_the_vtl_have_no_result() -> None:
    for stop in STOPS:
        is_switch = DECLARATIONS.by_code[stop.call].call_class is CallClass.VTL_SWITCH
        assert (stop.status is None) is is_switch
