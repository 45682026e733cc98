import gzip
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercall.errors import InputError
from hypercall.machine.loaders import EntryKind, load_image

BASE = 0x200000


def all_images(images: Any) -> dict[EntryKind, bytes]:
    multiboot = images.multiboot_header() + b"\xf4"
    return {
        EntryKind.LINUX: images.vmlinux(),
        EntryKind.LINUX_DECOMPRESSOR: images.bzimage(),
        EntryKind.MULTIBOOT: images.elf([(BASE, BASE, multiboot, 64)], entry=BASE, bits=32),
        EntryKind.ELF64: images.elf([(BASE, BASE, b"\xf4", 1)], entry=BASE),
        EntryKind.ELF32: images.elf([(BASE, BASE, b"\xf4", 1)], entry=BASE, bits=32),
    }


def test_each_kind_is_recognised_by_its_content(images: Any, memory: Any) -> None:
    for kind, data in all_images(images).items():
        state = load_image(data, "image", memory=memory, linux_entry="decompressor")
        assert state.kind is kind


def test_a_bzimage_is_entered_at_the_kernel_unless_told_otherwise(images: Any, memory: Any) -> None:
    assert load_image(images.bzimage(), "vmlinuz", memory=memory).kind is EntryKind.LINUX


@pytest.mark.parametrize("name", ["a.bin", "A.RAW", "x/y.flat"])
def test_a_flat_binary_is_recognised_by_its_name(memory: Any, name: str) -> None:
    assert load_image(b"\xf4", name, memory=memory).kind is EntryKind.FLAT


def test_anything_can_be_loaded_as_a_flat_binary(memory: Any) -> None:
    state = load_image(b"#!/bin/sh", "image", memory=memory, image_format="flat")
    assert state.kind is EntryKind.FLAT


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"MZ" + bytes(0x36) + b"ARMd" + bytes(0x400), "a kernel for ARM64"),
        (bytes(0x24) + b"\x18\x28\x6f\x01" + bytes(64), "32-bit ARM"),
        (bytes(0x38) + b"RSC\x05", "RISC-V"),
        (b"070701" + bytes(200), "an initial RAM disk"),
        (gzip.compress(b"kernel"), "packed with gzip"),
        (b"#!/bin/sh\n", "a script"),
        (b"MZ" + bytes(100), "cut off"),
        (b"just text\n" * 100, "not a guest image"),
        (b"\x7fEL", "not a guest image"),
        (b"\x7fELF", "truncated"),
    ],
)
def test_what_is_no_image_is_named_in_one_line(memory: Any, data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_image(data, "some file", memory=memory)
    assert str(caught.value).startswith("some file: ")
    assert "\n" not in str(caught.value)


def test_an_image_cut_off_anywhere_is_refused(images: Any, memory: Any) -> None:
    for kind, data in all_images(images).items():
        for length in {*range(0, len(data), 13), *range(len(data) - 20, len(data))}:
            with pytest.raises(InputError):
                load_image(data[:length], f"{kind.name} cut to {length}", memory=memory)


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from([kind for kind in EntryKind if kind is not EntryKind.FLAT]),
    changes=st.lists(
        st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=12
    ),
    entry=st.sampled_from(["vmlinux", "decompressor"]),
    initrd=st.sampled_from([None, b"disk"]),
)
def test_a_damaged_image_loads_or_is_refused(
    images: Any,
    make_memory: Any,
    kind: EntryKind,
    changes: list[tuple[int, int]],
    entry: Any,
    initrd: bytes | None,
) -> None:
    damaged = bytearray(all_images(images)[kind])
    for position, value in changes:
        # Most of an image is code, where a change has no effect: aim at the headers.
        damaged[position % min(len(damaged), 0x268)] = value
    # The memory fails the test on any write outside of what a loader may write.
    memory = make_memory(32 << 20)
    try:
        load_image(bytes(damaged), "image", memory=memory, initrd=initrd, linux_entry=entry)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
