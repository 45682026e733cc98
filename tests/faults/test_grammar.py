import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercall.errors import InputError
from hypercall.faults.fault import (
    BufferFault,
    BufferKind,
    CallFault,
    CpuidFault,
    Fault,
    InterruptFault,
    MessageFault,
    Occurrences,
    Site,
    TimerFault,
)
from hypercall.faults.grammar import KEYS, KINDS, parse_fault
from hypercall.tlfs.calls import Call
from hypercall.tlfs.messages import MessageType
from hypercall.tlfs.privileges import Feature, Privilege, Recommendation
from hypercall.tlfs.status import HvStatus


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "call=FlushVirtualAddressList,nth=3,status=INVALID_PARAMETER",
            CallFault(3, HvStatus.INVALID_PARAMETER, occurrences=Occurrences(nth=3)),
        ),
        (
            "call = HvCallPostMessage , status = hv_status_no_resources",
            CallFault(Call.POST_MESSAGE, HvStatus.NO_RESOURCES),
        ),
        ("call,status=0x13", CallFault(None, HvStatus.INSUFFICIENT_BUFFERS)),
        ("call=*,status=SUCCESS", CallFault(None, HvStatus.SUCCESS)),
        ("call=0x5c,time=1.5ms", CallFault(0x5C, time_ns=1_500_000)),
        (
            "status=TIMEOUT,call=HVCALL_SEND_IPI,site=send.part.0+26",
            CallFault(0xB, HvStatus.TIMEOUT, site=Site("send.part.0", 26)),
        ),
        (
            "call,site=hv_post_message+0x8f [hv_vmbus],status=5",
            CallFault(status=HvStatus(5), site=Site("hv_post_message", 0x8F, module="hv_vmbus")),
        ),
        (
            "call,site=0xffffffff81000010,vp=0,vtl=1,status=5",
            CallFault(
                None,
                HvStatus.INVALID_PARAMETER,
                site=Site(address=0xFFFFFFFF81000010),
                vp=0,
                vtl=1,
            ),
        ),
        ("call=FlushVirtualAddressList,reps=0", CallFault(3, reps=0)),
        (
            "interrupt=0xfb,vp=1,drop,p=0.01",
            InterruptFault(0xFB, None, vp=1, occurrences=Occurrences(share=0.01)),
        ),
        (
            "interrupt,delay=20us,every=2,times=3,after=1s",
            InterruptFault(
                None,
                20_000,
                occurrences=Occurrences(every=2, times=3, after_ns=1_000_000_000),
            ),
        ),
        ("timer,delay=5ms,nth=2", TimerFault(None, 5_000_000, occurrences=Occurrences(nth=2))),
        ("timer=3,drop", TimerFault(3)),
        ("message=TimerExpired,sint=2,drop", MessageFault(MessageType.TIMER_EXPIRED, 2)),
        ("message=0x17,drop", MessageFault(0x17)),
        (
            "cpuid=-REMOTE_TLB_FLUSH",
            CpuidFault("recommendations", Recommendation.HYPERCALL_FOR_REMOTE_TLB_FLUSH, False),
        ),
        ("cpuid=+AccessVpIndex", CpuidFault("privileges", Privilege.ACCESS_VP_INDEX, True)),
        ("cpuid=-MWAIT", CpuidFault("features", Feature.MWAIT, False)),
        ("buffer=debug,size=0x10", BufferFault(BufferKind.DEBUG, 16)),
    ],
)
def test_what_a_text_means(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault
    assert parse_fault(str(fault)) == fault


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "a part is empty"),
        ("nth=1,,drop", "a part is empty"),
        ("nth=1", "no kind: give one of call, interrupt, message, timer, cpuid or buffer"),
        ("call,timer,drop", "2 kinds"),
        ("call=PostMessage,status=5,status=6", "status is there twice"),
        ("call", "must do something: add status=, reps= or time="),
        ("call=Frobnicate,status=5", "no call is named 'Frobnicate'"),
        ("call=0xdead,status=5", "no call has the code 0xdead"),
        ("call=VtlReturn,status=5", "HvCallVtlReturn has no status"),
        ("call=PostMessage,reps=1", "is no rep call"),
        ("call=FlushVirtualAddressList,reps=4096", "reps=4096 is no number from 0 to 4095"),
        ("call=PostMessage,status", "status needs a value: write status=NAME"),
        ("call=PostMessage,status=INVALID_PARAM", "did you mean INVALID_PARAMETER"),
        ("call=PostMessage,status=0x99", "no status has the number 0x99"),
        ("call=PostMessage,stauts=5", "did you mean status"),
        ("call=PostMessage,drop", "'drop' is no part of a fault of the kind call"),
        ("call,site=two words,status=5", "is no place"),
        ("call,site=send [],status=5", "is no place"),
        ("call,site=send [a,status=5", "is no place"),
        ("call,site=0x1g,status=5", "site=0x1g is no number"),
        ("call,status=5,nth=0", "nth=0 is none: count from 1"),
        ("call,status=5,nth=-1", "nth=-1 is no number"),
        ("call,status=5,nth=1,p=0.5", "exclude one another"),
        ("call,status=5,p=many", "p=many is no share"),
        ("call,status=5,p=1.01", "p=1.01 is no share"),
        ("call,status=5,p=0_1", "p=0_1 is no share"),
        ("call,status=5,p=-0", "p=-0 is no share"),
        ("call,status=5,p=nan", "p=nan is no share"),
        ("call,status=5,p=.", "p=. is no share"),
        ("call,status=5,nth=\u0661", "is no number"),
        ("call,time=\u0661ms", "is no time"),
        ("call,time=5", "time=5 is no time: give a number above 0 with ns, us, ms or s"),
        ("call,time=0ms", "time=0ms is no time"),
        ("call,time=2000s", "at most 1000s"),
        ("interrupt=256,drop", "interrupt=256 is no number from 0 to 255"),
        ("interrupt=,drop", "interrupt needs a value: write interrupt=VECTOR"),
        ("interrupt", "either drop or delay=TIME"),
        ("interrupt,drop,delay=1ms", "either drop or delay=TIME"),
        ("timer,drop=1", "drop takes no value"),
        ("timer=4,drop", "timer=4 is no number from 0 to 3"),
        ("message=TIMER_EXPIERD,drop", "did you mean TIMER_EXPIRED"),
        ("message,sint=16,drop", "sint=16 is no number from 0 to 15"),
        ("cpuid=ACCESS_VSM", "write cpuid=+BIT"),
        ("cpuid=-LOCAL_FLUSH_EVERYTHING", "is not the name of one CPUID bit"),
        ("cpuid=-TLB_FLUSH", "it could be HYPERCALL_FOR_LOCAL_TLB_FLUSH or HYPERCALL_FOR_REMOTE"),
        ("cpuid=-MWAIT,nth=2", "cpuid stands alone"),
        ("buffer=debug", "add size=N"),
        ("buffer=socks,size=1", "give messages, host-messages or debug"),
        ("call=" + "x" * 2000, "longer than 1000 characters"),
    ],
)
def test_each_mistake_has_a_line_of_its_own(text: str, complaint: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_fault(text)
    line = str(caught.value)
    assert complaint in line
    assert line.startswith("the fault '")
    assert "\n" not in line
    assert len(line) < 500


_PIECES = st.sampled_from(
    [*KINDS, *KEYS, "=", ",", "0x", "1", "9" * 30, "ms", "+", "-", "*", "SUCCESS", "PostMessage"]
)


@given(st.lists(_PIECES, max_size=12).map("".join) | st.text(max_size=60))
def test_no_text_does_harm(text: str) -> None:
    try:
        fault = parse_fault(text)
    except InputError:
        return
    assert parse_fault(str(fault)) == fault


def test_the_examples_of_all_kinds_are_faults() -> None:
    for kind in KINDS.values():
        assert parse_fault(kind.example)
        assert set(kind.keys) <= set(KEYS)
