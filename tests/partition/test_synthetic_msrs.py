from hypercall.partition.synthetic_msrs import synthetic_accessors
from hypercall.tlfs.msrs import MSR_DECLARATIONS


def test_only_declared_msrs_are_implemented() -> None:
    assert set(synthetic_accessors()) <= set(MSR_DECLARATIONS)


def test_each_sint_and_timer_is_its_own() -> None:
    from hypercall.partition.standalone import standalone_partition

    state = standalone_partition().partition.bootstrap.current
    accessors = synthetic_accessors()
    for number in range(16):
        accessors[0x40000090 + number].write(state, 0x10000 | 0x40 + number)
    assert [value & 0xFF for value in state.synic.sints] == [0x40 + n for n in range(16)]
    for number in range(4):
        accessors[0x400000B0 + 2 * number].write(state, number + 1 << 16)
        accessors[0x400000B1 + 2 * number].write(state, number + 100)
    assert [timer.config >> 16 for timer in state.timers] == [1, 2, 3, 4]
    assert [timer.count for timer in state.timers] == [100, 101, 102, 103]
    assert accessors[0x400000B4].read(state) == 3 << 16
