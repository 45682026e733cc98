"""The guests of examples/mistakes.py, as a module."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

_PATH = Path(__file__).resolve().parents[2] / "examples" / "mistakes.py"


def load() -> ModuleType:
    """Load the example."""
    spec = importlib.util.spec_from_file_location("examples_mistakes", _PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


EXAMPLE = load()
