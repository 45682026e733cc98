"""How a Linux kernel uses the hypervisor to flush translations, and what it does when that fails.

Usage: pytest examples/kernel_tests --hypercall-kernel=VMLINUZ --hypercall-busybox=BUSYBOX
"""

import pytest

from hypercall import Call
from hypercall.testing import Guest

FLUSHES = (Call.FLUSH_VIRTUAL_ADDRESS_SPACE, Call.FLUSH_VIRTUAL_ADDRESS_LIST)

# A process that sleeps on one processor and is moved to the other still has its address space
# loaded on the first, which must be told of what it changes.
MOVES = """
mkfifo pipe; (while read n; do seq $n | wc -l; done <pipe) & exec 3>pipe; taskset -p 1 $$
for n in 1 2 3 4 5 6; do taskset -p $((1 + n % 2)) $!; echo $n >&3; sleep 0.1; done
"""

pytestmark = pytest.mark.hypercall(cpus=2)


def test_processors_are_told_of_changes(hypercall_guest: Guest) -> None:
    """Flushes are calls, they all succeed, and are quick."""
    guest = hypercall_guest
    with guest.calls.recording() as calls:
        guest.shell.run(MOVES, check=True)
    flushes = calls.of(*FLUSHES)
    assert flushes.count > 0
    assert flushes.where(status=0).count == flushes.count
    assert flushes.where(site="hyperv_flush_tlb_multi").count == flushes.count
    assert flushes.slowest.latency_ns < 100_000


def test_a_refused_flush_is_done_by_interrupts(hypercall_guest: Guest) -> None:
    """A kernel whose flushes are refused interrupts the other processors instead."""
    guest = hypercall_guest
    with (
        guest.inject("call=FlushVirtualAddressList,status=INVALID_PARAMETER") as lists,
        guest.inject("call=FlushVirtualAddressSpace,status=INVALID_PARAMETER") as spaces,
        guest.calls.recording() as calls,
    ):
        guest.shell.run(MOVES, check=True)
    assert lists.struck + spaces.struck > 0
    refused = calls.of(*FLUSHES).first
    ipis = calls.of(Call.SEND_SYNTHETIC_CLUSTER_IPI).where(
        vp=refused.vp, after_ns=refused.left_ns, before_ns=refused.left_ns + 100_000
    )
    assert ipis.count > 0
