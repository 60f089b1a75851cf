#!/usr/bin/env python3
"""Turn `objdump -d` of the microkernel into nasm source of the table of its indirect branches, which are patched where a
processor asks for it (arch/x86/branches.h): for each, in their order, its 32-bit offset from the text's start. One that is
too short for that is an error: tools/branches.sed makes room for the compiler's. So are more different ones than there are stubs.
"""
import os
import re
import sys

INDIRECT = re.compile(r"(?:(?:notrack|bnd|cs|ds) )*(?:call|jmp)q? +\*")
LEAST = 5  # bytes of a direct branch
HEADER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "arch/x86/branches.h")


def main():
    start, sites, different = None, [], set()
    for line in sys.stdin:
        symbol = re.match(r"([0-9a-f]{16}) <", line)
        if symbol and start is None:
            start = int(symbol[1], 16)
        fields = line.rstrip("\n").split("\t")
        if len(fields) < 3 or not INDIRECT.match(fields[2]):
            continue
        site = int(fields[0].strip(" :"), 16)
        if len(fields[1].split()) < LEAST:
            sys.exit(f"tools/branches.py: too short an indirect branch at {site:x}: {fields[1].strip()}: {fields[2]}")
        sites.append(site - start)
        different.add(INDIRECT.sub(lambda m: m[0].split()[-2], fields[2]))
    with open(HEADER) as f:
        stubs = int(re.search(r"#define BRANCH_STUBS +(\d+)", f.read())[1])
    if len(different) > stubs:
        sys.exit(f"tools/branches.py: {len(different)} different indirect branches, and BRANCH_STUBS is {stubs}")

    print("section .note.GNU-stack noalloc noexec nowrite progbits")
    print("section .branches progbits alloc noexec nowrite align=8")
    for site in sorted(sites):
        print(f"dd 0x{site:x}")


if __name__ == "__main__":
    main()
