#!/usr/bin/env python3
"""Scenarios in the emulator. usage: tests/machine/run.py [PART_OF_A_NAME...]; prints "pass NAME" or "FAIL NAME" each."""
import glob
import importlib
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import harness  # noqa: E402

for path in sorted(glob.glob(os.path.join(HERE, "*.py"))):
    name = os.path.basename(path)[:-3]
    if name not in ("harness", "run"):
        importlib.import_module(name)
sys.exit(harness.run_all(sys.argv[1:]))
