"""The default engine: unicorn, driven by one compiled module that owns its hooks."""

import ctypes
from importlib.util import find_spec
from pathlib import Path

from hypercall.errors import HypercallError

_LIBRARY = "libunicorn.so.2"


def _load_library() -> None:
    """Load the wheel's library, so that the compiled module finds it wherever the wheel put it.

    Not by ``import unicorn``: the binding itself is not used, and importing it takes longer than
    all of this package.

    Raises:
        HypercallError: there is no unicorn wheel, or its library cannot be loaded.
    """
    spec = find_spec("unicorn")
    if spec is None or spec.origin is None:
        raise HypercallError("the unicorn package is missing; install unicorn==2.1.4 from PyPI")
    path = Path(spec.origin).parent / "lib" / _LIBRARY
    try:
        ctypes.CDLL(str(path))
    except OSError as error:
        raise HypercallError(
            f"{path} cannot be loaded ({error}); reinstall unicorn==2.1.4 from PyPI"
        ) from None


_load_library()
