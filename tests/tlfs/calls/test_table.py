import pytest

from hypercall.errors import InputError
from hypercall.tlfs.calls import DECLARATIONS, CallTable


@pytest.mark.parametrize(
    "text",
    [
        "0x13",
        "19",
        "HvCallFlushVirtualAddressSpaceEx",
        "HvFlushVirtualAddressSpaceEx",
        "hvcallflushvirtualaddressspaceex",
        "FLUSH_VIRTUAL_ADDRESS_SPACE_EX",
        "HVCALL_FLUSH_VIRTUAL_ADDRESS_SPACE_EX",
        "FlushVirtualAddressSpaceEx",
        19,
    ],
)
def test_all_spellings_find_the_call(text: str | int) -> None:
    assert DECLARATIONS.find(text).code == 0x13


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("HvPostMessage", 0x5C),
        ("HvCallPostMessage", 0x5C),
        ("HvExtCallQueryCapabilities", 0x8001),
        ("HvPostDebugData", 0x69),
        ("HvCallPostDebugData", 0x69),
        ("HVCALL_SEND_IPI", 0x0B),
        ("HvCallVtlCall", 0x11),
        ("VTL_CALL", 0x11),
    ],
)
def test_other_names(text: str, code: int) -> None:
    assert DECLARATIONS.find(text).code == code


@pytest.mark.parametrize("text", ["HvCallNonsense", "", "0x9999", "-1", "12monkeys", 0x9999])
def test_what_is_no_call(text: str | int) -> None:
    with pytest.raises(InputError, match="hypercall calls"):
        DECLARATIONS.find(text)


def test_twice_the_same_is_refused() -> None:
    declaration = DECLARATIONS.find(2)
    with pytest.raises(ValueError, match="twice"):
        CallTable((declaration, declaration))


def test_in_order_of_codes() -> None:
    codes = [declaration.code for declaration in DECLARATIONS]
    assert codes == sorted(codes)
    assert len(DECLARATIONS) == 33
