#!/usr/bin/env python3
"""Turn `nm -n` of the microkernel into nasm source of its symbol table, for backtraces.

The table: a 32-bit count, then per function, sorted by address, the low 32 bits of the address and the offset of its
name behind the table; then the names, each ended by a zero byte.
"""
import sys


def main():
    symbols = []
    for line in sys.stdin:
        fields = line.split()
        if len(fields) != 3 or fields[1] not in "tTwW":
            continue
        address, name = int(fields[0], 16), fields[2]
        if address >> 31 != 0x1FFFFFFFF or name.startswith("..@"):  # nasm's, of a macro
            continue
        if symbols and symbols[-1][0] == address:
            continue
        symbols.append((address, name))

    print("section .note.GNU-stack noalloc noexec nowrite progbits")
    print("section .symbols progbits alloc noexec nowrite align=8")
    print(f"dd {len(symbols)}")
    offset = 0
    for address, name in symbols:
        print(f"dd 0x{address & 0xFFFFFFFF:08x}, {offset}")
        offset += len(name) + 1
    for _, name in symbols:
        print(f"db '{name}', 0")


if __name__ == "__main__":
    main()
