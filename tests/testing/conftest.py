"""Flat guests for tests of the plugin: small, and there on every machine."""

import pytest
from tests.testing.images import CALLS, HALTS, WRITES

# Other plugins would be loaded anew in each run.
FAST = "addopts = -p no:hypothesispytest\n"


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with three guests: one makes calls, one writes a line and waits, one only waits."""
    for name, image in (("calls", CALLS), ("writes", WRITES), ("halts", HALTS)):
        (pytester.path / f"{name}.bin").write_bytes(image)
    pytester.makeini("[pytest]\nhypercall_image_format = flat\nhypercall_memory = 16M\n" + FAST)
    return pytester
