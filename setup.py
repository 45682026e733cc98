"""Builds the compiled modules: the engine, which links unicorn's library, and two scanners."""

import importlib.util
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup


def unicorn_folder() -> Path:
    """The folder of the installed unicorn package, found without loading the library."""
    spec = importlib.util.find_spec("unicorn")
    if spec is None or spec.origin is None:
        raise SystemExit("unicorn 2.1.4 is needed to build: pip install unicorn==2.1.4")
    return Path(spec.origin).parent


UNICORN = unicorn_folder()
SOURCES = Path("src/hypercall/cpu/unicorn")
SCANNER = Path("src/hypercall/trace/kvm")
# Part of both scanners.
LINES = Path("src/hypercall/trace/strace_lines.pxi")

setup(
    ext_modules=cythonize(
        [
            Extension(
                "hypercall.cpu.unicorn.engine",
                [str(SOURCES / "engine.pyx")],
                # The .pyx includes these, so a change in one of them means building again.
                depends=sorted(str(path) for path in SOURCES.glob("*.p[xy][id]")),
                include_dirs=[str(UNICORN / "include")],
                library_dirs=[str(UNICORN / "lib")],
                # No path to the library is built in: hypercall.cpu.unicorn loads that of the
                # installed wheel first, and the linker takes the loaded one by its name.
                extra_link_args=["-l:libunicorn.so.2"],
                extra_compile_args=["-O3", "-Wno-unused-function"],
            ),
            Extension(
                "hypercall.trace.kvm.scan",
                [str(SCANNER / "scan.pyx")],
                depends=sorted(str(path) for path in [*SCANNER.glob("*.pxi"), LINES]),
                extra_compile_args=["-O3", "-Wno-unused-function"],
            ),
            Extension(
                "hypercall.trace.jsonl_scan",
                ["src/hypercall/trace/jsonl_scan.pyx"],
                depends=[str(LINES)],
                define_macros=[("_GNU_SOURCE", "1")],
                extra_compile_args=["-O3", "-Wno-unused-function"],
            ),
        ],
        include_path=["src"],
    )
)
