"""The page of the rules, made from their declarations."""

from collections.abc import Iterable

from hypercall.checks.rule import Rule, Severity

_HEAD = """# hypercall checks

While a guest runs, `hypercall run` checks what it does by named rules. What it finds it tells at
the end: the rule, how often, what the guest did, where (virtual processor, trust level, function),
the code there, and the section of the TLFS. In a trace each finding stands behind the call that it
is about.

```console
$ hypercall checks                      # the rules
$ hypercall checks parameter-overlap    # one of them, and why it matters
$ hypercall run vmlinuz --check=strict  # end at the first mistake, with exit code 1
$ hypercall run vmlinuz --check-stale   # find flushes that were forgotten, too
$ hypercall run vmlinuz --check=off
$ python examples/mistakes.py           # a guest that breaks each rule, and its twin
```

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

`hypercall.checks.offline_findings(events)` checks a recorded trace by the rules that need nothing
but events.
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
