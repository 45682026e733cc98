"""The page of the rules, made from their declarations."""

from collections.abc import Iterable

from hypercall.checks.rule import Rule, Severity

_HEAD = """# hypercall checks

While a guest runs, `hypercall run` checks what it does by named rules. What it finds it tells at
the end: the rule, how often, what the guest did, where (virtual processor, trust level, function),
the code there, why it matters, and the section of the TLFS. In a trace each finding stands behind
the call that it is about.

```console
$ hypercall checks                      # the rules
$ hypercall checks parameter-overlap    # one of them, and why it matters
$ hypercall run vmlinuz --check=strict  # end at the first mistake, with exit code 1
$ hypercall checks run.jsonl            # check a recorded run, or a trace of KVM
$ hypercall run vmlinuz --check-stale   # find flushes that were forgotten, too
$ hypercall run vmlinuz --check=off
$ python examples/mistakes.py           # a guest that breaks each rule, and its twin
```

`--check` alone means `--check=warn`, which an image is run with anyway; `--check strict` is the
same as `--check=strict`.

An error is wrong by the specification, a warning is hardly meant; both end a strict run. Advice
says what a better guest would do, and never ends a run. Each place in the guest is told once for
each rule, with a count. The checks look and change nothing: a run is the same with and without
them. A boot of Linux takes about 2 % more processor time with them, and 2 to 30 % more with
`--check-stale` (`benchmarks/checks.py`, Linux 6.1 and 6.12 on 1, 2 and 4 processors).

```text
error parameter-overlap x1: HvCallGetVpIndexFromApicId has its input list of 20 bytes at 0x210000
    at 0.000001 s on VP 0 in 0x100090; TLFS hypercall-interface, ...
           100084  mov r8, 0x210010
           10008b  call 0x10009a
        => 100090  mov ebx, eax
    why: The hypervisor may write output before it has read all input. Hosts answer differently: ...
```

With `--check-stale` all translations that the processors keep are compared with the guest's paging
structures every 2 ms of virtual time. One that they do not give any more is left as it is, and its
next use is seen: if that comes 20 ms and more after the comparison, it is told with the page, where
the page is now, and the flush that left the processor out, if there was one. A translation that is
only stricter than the paging structures is none of this, for the processor looks again before it
faults.

In Python `machine.check()` begins to check, before `run`, and has the `findings`;
`machine.check(stale=True)` is `--check-stale`:

```python
from hypercall import Machine

machine = Machine()
checks = machine.check()
# ... load and run ...
for finding in checks.finish():
    print(finding.rule.name, finding.count, finding.text, checks.place(finding))
```

What has been seen and found is state of the machine. A machine that goes back to a snapshot has the
findings of then, and finds what follows again; checks that began after the snapshot begin anew.
A snapshot in a file does not hold them: there, and wherever they begin in the middle of a run, they
say nothing about what would need its beginning.

## A recorded run

`hypercall checks RUN` tells where the guest breaks the rules in JSON lines of `hypercall run`, in a
recording of `--record`, or in a trace that [KVM recorded on a host](import.md). So do
`hypercall stats RUN --check`, for traces of KVM `hypercall import RUN --check`, and the page of
[`hypercall report`](report.md). With `--strict` errors and warnings end in exit code 1.

```console
$ hypercall checks trace.dat
```

```text
1 finding of the checks, 31 times in all; `hypercall checks RULE` says why each matters
warning empty-processor-set x31: HvCallSendSyntheticClusterIpi names no processor.
    at 2.000000 s on VP 3 in 0xffffffff81001003; TLFS datatypes/hv_vp_set; ...
Not checked, for want of the machine while it runs: unprivileged-caller, ignored-status, ...
Not checked, for want of what CPUID recommends: unrecommended-call, unused-recommendation
Checked in part, for want of the reserved bits of control words: reserved-bits
```

A run that was checked as it ran has its findings in its trace, each once, where it was seen first;
they are shown, and counted where the events are enough for that. One that was not checked
(`--check=off`, other tools) is checked by the rules that need nothing but events. A rule that a
recording cannot show to be kept or broken is named, with what is missing. Of a trace of KVM that
is as a rule: what must see the machine; what CPUID recommends; the contents of memory and XMM
registers, unless a tracepoint tells them (`kvm_hv_flush_tlb`, `kvm_hv_send_ipi` and their `_ex`
forms); without `kvm_hv_hypercall_done` all about results, and without `kvm_msr` whether the
interface is enabled. Its place is the VMCALL in the hypercall page, since the caller is not known;
so its findings are told apart by the call. Calls that differ only in what is not recorded are taken
for different ones.

To check builds each call as an event, which takes many times as long as the counts of
`--statistics` alone. So it is a switch there.

In Python `hypercall.checks.RecordedChecks` takes the events and has the `findings` and what is
`unchecked`; `hypercall.checks.offline_findings(events, description)` is the short form.
"""

_TAIL = """
This page is made by `script/checks-page` from the declarations of the rules.
"""

_HEADINGS = {
    Severity.ERROR: "Errors",
    Severity.WARNING: "Warnings",
    Severity.ADVICE: "Advice",
}


def checks_page(rules: Iterable[Rule]) -> str:
    """Return the page as Markdown."""
    listed = list(rules)
    parts = [_HEAD]
    for severity, heading in _HEADINGS.items():
        table = [
            f"## {heading}\n",
            "| rule | finds | why it matters | TLFS | looks at |",
            "|---|---|---|---|---|",
        ]
        for rule in listed:
            if rule.severity is severity:
                cells = (f"`{rule.name}`", rule.summary, rule.why, rule.section, rule.source.text)
                table.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
        parts.append("\n".join(table) + "\n")
    return "\n".join([*parts, _TAIL.lstrip("\n")])
