"""Given registers hold what a fast call returns."""

from hypercall.abi.given_registers import GivenRegisters


def test_short_xmm_input_is_padded() -> None:
    assert GivenRegisters(xmm=b"\x01").read_xmm() == b"\x01" + bytes(95)


def test_pair_0_is_rdx_and_r8() -> None:
    registers = GivenRegisters()
    registers.write_register_pairs(0, (5).to_bytes(8, "little") + (6).to_bytes(8, "little"))
    assert (registers.rdx, registers.r8) == (5, 6)
    assert registers.xmm == bytes(96)


def test_output_from_pair_0_goes_on_in_xmm0() -> None:
    registers = GivenRegisters()
    registers.write_register_pairs(0, bytes(16) + b"\x11" * 16)
    assert registers.xmm == b"\x11" * 16 + bytes(80)


def test_later_pairs_leave_the_others_alone() -> None:
    registers = GivenRegisters(xmm=b"\xff" * 96)
    registers.write_register_pairs(3, bytes(16))
    assert registers.xmm == b"\xff" * 32 + bytes(16) + b"\xff" * 48
    assert registers.rdx is None
