"""The version of this package."""

from importlib.metadata import PackageNotFoundError, version

NOT_INSTALLED = "(not installed: run from its sources)"


def package_version() -> str:
    """Return the version, or `NOT_INSTALLED` where the package's metadata are missing."""
    try:
        return version("hypercall")
    except PackageNotFoundError:
        return NOT_INSTALLED
