"""The page of the readings, made from their table."""

from collections.abc import Iterable

from hypercall.tlfs.readings import SET_NAMES, Reading

_HEAD = """# hypercall readings

The TLFS, its older editions, headers, Linux, KVM, Xen, QEMU and OpenVMM contradict each other in
places. Each contradiction that a guest can meet is one *reading*: a question with four answers. A
machine takes those of one set: `hyperv` is the default (what the TLFS says, unless there is
evidence that Microsoft's hypervisor does otherwise), `kvm`, `xen` and `openvmm` answer as those do;
a question that one of them never meets has the answer of `hyperv`.

```console
$ hypercall readings                    # the table
$ hypercall readings page_crossing      # one of them
$ hypercall run vmlinuz --like kvm      # how a guest fares with KVM's answers
```

In Python a reading can be changed alone: `ReadingSet.named("hyperv").changed(page_crossing=None)`.
Contradictions that change nothing for a guest, such as names, are among the [errata](errata.md).

This page is made by `script/readings-page` from the tables that the hypervisor's code itself uses,
in [tlfs/readings](../src/hypercall/tlfs/readings); for each reading a test shows the four answers
side by side.
"""


def readings_page(readings: Iterable[Reading]) -> str:
    """Return the page as Markdown."""
    table = [
        f"| reading | question | {' | '.join(SET_NAMES)} | sources |",
        "|---" * (len(SET_NAMES) + 3) + "|",
    ]
    for reading in readings:
        answers = [reading.answer(name) for name in SET_NAMES]
        cells = [f"`{reading.name}`", reading.question, *answers, reading.sources]
        table.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join([_HEAD, *table, ""])
