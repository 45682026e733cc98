"""Lets guests make random calls, seed after seed; started by script/random-calls."""

import argparse
import sys
import time

from tests.guests.random_calls.invariants import BrokenInvariantError
from tests.guests.random_calls.run import run_apart

# So many calls each second at the least, on a machine that does much else.
_SLOWEST = 200.0


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(prog="script/random-calls", description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=4)
    options = parser.parse_args(arguments)
    if options.calls < 1 or options.seeds < 1:
        parser.error("--calls and --seeds take numbers from 1 on")
    return options


def main() -> int:
    """Run them all and print a table."""
    options = parse()
    failed = 0
    print(
        f"{'seed':>6} {'VTL 0':>8} {'VTL 1':>8} {'VTL 2':>8} {'messages':>8} {'flushes':>8} "
        f"{'intercepts':>10} {'MiB':>5} {'s':>6}"
    )
    for seed in range(options.seed, options.seed + options.seeds):
        started = time.monotonic()
        try:
            row = run_apart(seed, options.calls, 60 + options.calls / _SLOWEST)
        except BrokenInvariantError as error:
            failed += 1
            print(f"{seed:>6} {error}", flush=True)
            continue
        seconds = time.monotonic() - started
        print(
            f"{seed:>6} {row['vtl_0']:>8} {row['vtl_1']:>8} {row['vtl_2']:>8} "
            f"{row['messages']:>8} {row['flushes']:>8} {row['intercepts']:>10} "
            f"{row['peak_mib']:>5} {seconds:>6.1f}",
            flush=True,
        )
    print(f"{failed} of {options.seeds} seeds failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
