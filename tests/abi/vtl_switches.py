"""What becomes of VTL calls and returns: control word, RAX, VTL of the caller, outcome."""

import pytest

from hypercall.abi.outcome import FAST_VTL_RETURN, UNDEFINED_OPCODE, VTL_CALL, VTL_RETURN

VTL_SWITCHES = [
    pytest.param(0x12, 0, 1, VTL_RETURN, id="A026"),
    pytest.param(0x12, 1, 1, FAST_VTL_RETURN, id="A026-fast"),
    pytest.param(0x12, 2, 1, UNDEFINED_OPCODE, id="A027"),
    pytest.param(0x12, 0, 0, UNDEFINED_OPCODE, id="A028"),
    pytest.param(0x10012, 0, 1, UNDEFINED_OPCODE, id="A029"),
    pytest.param(0x11, 0, 0, VTL_CALL, id="A030"),
    pytest.param(0x11, 1, 0, UNDEFINED_OPCODE, id="B096"),
    pytest.param(0x11, 0, 1, UNDEFINED_OPCODE, id="B097"),
    pytest.param(0x1000000000000011, 0, 0, UNDEFINED_OPCODE, id="call-with-reserved-bit"),
]
