"""What every kernel should do, whatever the order in which its processors run."""

import re

import pytest

from hypercall.testing import Guest


@pytest.mark.hypercall(cpus=2)
def test_a_guest_knows_its_hypervisor(hypercall_guest: Guest) -> None:
    """A kernel finds the hypervisor, and starts its processors."""
    assert "Hypervisor detected: Microsoft Hyper-V" in hypercall_guest.boot_console
    assert hypercall_guest.shell.run("nproc").output == "2"


@pytest.mark.hypercall(cpus=2)
@pytest.mark.hypercall_seeds(0, 1)
def test_a_boot_has_no_complaint(hypercall_guest: Guest) -> None:
    """Whatever the turns of its processors, a kernel boots without complaints."""
    assert not re.search("BUG:|WARNING:|Call Trace|stall", hypercall_guest.boot_console)
