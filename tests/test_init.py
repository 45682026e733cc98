"""The public names are all there, and nothing else is."""

import subprocess
import sys

import pytest

import hypercall


@pytest.mark.parametrize("name", hypercall.__all__)
def test_every_public_name_loads(name: str) -> None:
    assert getattr(hypercall, name).__name__ == name


def test_the_public_names_are_listed() -> None:
    assert dir(hypercall) == sorted(hypercall.__all__)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = hypercall.no_such_name


def test_importing_the_package_loads_no_engine() -> None:
    code = "import sys, hypercall; print('unicorn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
