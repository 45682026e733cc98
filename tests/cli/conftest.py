import sys
from pathlib import Path

# The fake machine is a program of its own too (for tests with real processes), so it lives in a
# file beside the tests and is found like any other module.
sys.path.insert(0, str(Path(__file__).parent))
