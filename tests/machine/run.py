#!/usr/bin/env python3
"""Boot real images in emulators and let what COM1 says decide; prints "pass NAME" or "FAIL NAME" for each scenario.

usage: tests/machine/run.py [-k PATTERN] [-j N] [--processors | --soak] [--list] [--keep] [PART_OF_A_NAME ...]

CORBEL_TEST_ALL=1 adds the long ones; what -k or a name asks for runs in any case. COM1 of each machine is kept in
build/machine/.
"""
import argparse
import glob
import importlib
import os
import re
import signal
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import harness  # noqa: E402

for path in sorted(glob.glob(os.path.join(HERE, "*.py"))):
    if os.path.basename(path) not in ("harness.py", "run.py"):
        importlib.import_module(os.path.basename(path)[:-3])


def main():
    p = argparse.ArgumentParser(prog="tests/machine/run.py")
    p.add_argument("-k", metavar="PATTERN", help="scenarios whose name matches this regular expression")
    p.add_argument("-j", metavar="N", type=int, default=int(os.environ.get("CORBEL_JOBS", os.cpu_count() or 1)),
                   help="scenarios at a time")
    p.add_argument("--processors", dest="kind", action="store_const", const="processors",
                   help="those alone that are about other processors: `make test-processors`")
    p.add_argument("--soak", dest="kind", action="store_const", const="soak", help="those alone of `make soak`")
    p.add_argument("--list", action="store_true", help="list the scenarios")
    p.add_argument("--keep", action="store_true", help="keep the scenarios' folders")
    p.add_argument("--one", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    p.add_argument("parts", nargs="*", metavar="PART", help="scenarios whose name contains this")
    a = p.parse_args()
    if a.one:
        return harness.run_one(*a.one)
    names = [n for n, f in harness.SCENARIOS.items() if not f.apart and f.kind == a.kind and (harness.ALL or not f.slow)]
    if a.k or a.parts:
        names = [n for n in harness.SCENARIOS
                 if (a.k and re.search(a.k, n)) or any(part in n for part in a.parts)]
    if a.list:
        for n in sorted(names):
            f = harness.SCENARIOS[n]
            print(f"{n:<34} {'long' if f.slow or f.kind else '    '} {(f.__doc__ or '').strip().splitlines()[0] if f.__doc__ else ''}")
        return 0
    if not names:
        print("no scenario has that name", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background has it ignored, and so would what is run
    try:
        return harness.Runner(names, max(1, a.j), a.keep).run()
    except KeyboardInterrupt:
        return 130


sys.exit(main())
