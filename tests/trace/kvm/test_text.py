import pytest

from hypercall.trace.kvm.text import looks_like_text


@pytest.mark.parametrize(
    "start",
    [
        b"# tracer: nop\n",
        b"cpus=8\n",
        b"noise\n qemu-1 [000] 1.5: sched_switch: x\n",
        b" CPU 0/KVM 12 [001] 1.5:   kvm:kvm_entry: vcpu 0, rip 0x0\n",
        b" a-1 [000] 1.5: kvm_fpu: load",
    ],
)
def test_what_is_a_trace(start: bytes) -> None:
    assert looks_like_text(start)


@pytest.mark.parametrize("start", [b"", b"\0\1\2", b"hello: world\n", b"12:34: word: text\n" * 9])
def test_what_is_none(start: bytes) -> None:
    assert not looks_like_text(start)
