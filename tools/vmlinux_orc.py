"""Linux's own unwind tables (ORC) as DWARF call frame information, which gdb understands.

ORC (arch/x86/include/asm/orc_types.h): .orc_unwind_ip says, ascending and relative to itself, from which instruction on
the entry of the same number in .orc_unwind holds: where the caller's stack pointer is found, and RBP if it was saved.
Behind a call the return address lies below that; a register frame (struct pt_regs) has everything that was interrupted.
"""
import struct
from bisect import bisect
from collections import Counter, namedtuple

from vmlinux_elf import PROGBITS, Section

Entry = namedtuple("Entry", "base offset bp bp_offset kind")  # base and bp: an ORC register; kind: below

# What a frame is, whichever number a kernel gives it.
UNDEFINED, END, CALL, REGS, REGS_PARTIAL = range(5)
FROM_USER = 8  # added to the last two: what was interrupted is a program
KINDS_6_1 = (CALL, REGS, REGS_PARTIAL, UNDEFINED)  # 2 bits, and bit 10 for END
KINDS_6_12 = (UNDEFINED, END, CALL, REGS, REGS_PARTIAL) + 3 * (UNDEFINED,)  # 3 bits

# ORC's registers, in the order in which kernels number them, and DWARF's numbers of those that are a processor's.
ORC_NONE, ORC_PREV_SP, ORC_DX, ORC_DI, ORC_BP, ORC_SP, ORC_R10, ORC_R13, ORC_BP_INDIRECT, ORC_SP_INDIRECT = range(10)
DWARF = {ORC_DX: 1, ORC_DI: 5, ORC_BP: 6, ORC_SP: 7, ORC_R10: 10, ORC_R13: 13, ORC_BP_INDIRECT: 6, ORC_SP_INDIRECT: 7}
REGISTERS_6_1 = tuple(range(10)) + 6 * (ORC_NONE,)
REGISTERS_7_2 = (ORC_NONE, ORC_NONE, ORC_DX, ORC_SP, ORC_BP, ORC_NONE, ORC_R10, ORC_R13, ORC_PREV_SP, ORC_SP_INDIRECT,
                 ORC_BP_INDIRECT) + 5 * (ORC_NONE,)
RBP, RSP, RETURN, RFLAGS = 6, 7, 16, 49
# Who is called need not keep these; and where RBX, R12 to R15 were saved ORC does not say.
UNKNOWN = (0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15)
# struct pt_regs, by DWARF register.
PT_REGS = {15: 0, 14: 8, 13: 16, 12: 24, RBP: 32, 3: 40, 11: 48, 10: 56, 9: 64, 8: 72, 0: 80, 2: 88, 1: 96, 4: 104,
           5: 112, RETURN: 128, RFLAGS: 144, RSP: 152}
# At the hardware's part of it, where the rest has not been saved yet.
IRET_FRAME = {RETURN: 0, RFLAGS: 16, RSP: 24}

# DWARF 4, 7.23 "Call Frame Information".
ADVANCE = 0x40  # and the distance in its low bits
(ADVANCE1, ADVANCE2, ADVANCE4, UNDEFINED_RULE, SAME_VALUE, DEF_CFA, DEF_CFA_EXPRESSION,
 EXPRESSION, OFFSET_EXTENDED_SF, DEF_CFA_SF) = (0x02, 0x03, 0x04, 0x07, 0x08, 0x0C, 0x0F, 0x10, 0x11, 0x12)
OP_DEREF, OP_CONSTS, OP_PLUS, OP_BREG0 = 0x06, 0x11, 0x22, 0x70
SYSTEM_CALL = ("entry_SYSCALL", "entry_SYSENTER", "entry_INT80")
LARGEST_FRAME = 0x10000  # bytes of code in one FDE: a debugger reads it from its beginning


def uleb(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out) + bytes([n])


def sleb(n):
    out = bytearray()
    while not -64 <= n < 64:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out) + bytes([n & 0x7F])


# --- ORC ---


def entries(elf):
    """(address, Entry), ascending; none if the kernel has no such tables."""
    ip, table = elf.find(".orc_unwind_ip"), elf.find(".orc_unwind")
    if not ip or not table:
        return []
    new = elf.find(".orc_header") is not None
    # Most frames are found from RSP: that tells how this kernel numbers registers.
    count = Counter(bits & 15 for bits, in struct.iter_unpack("<4xH", table.data[:len(table.data) // 6 * 6]) if bits & 15)
    registers = max((REGISTERS_6_1, REGISTERS_7_2), key=lambda r: count[r.index(ORC_SP)])
    out, last = [], None
    for i, ((relative,), (offset, bp_offset, bits)) in enumerate(
            zip(struct.iter_unpack("<i", ip.data), struct.iter_unpack("<hhH", table.data[:len(table.data) // 6 * 6]))):
        if new:
            kind = KINDS_6_12[bits >> 8 & 7]
        else:
            kind = END if bits >> 10 & 1 else KINDS_6_1[bits >> 8 & 3]
        entry = Entry(registers[bits & 15], offset, registers[bits >> 4 & 15], bp_offset, kind)
        if entry.kind in (CALL, REGS, REGS_PARTIAL) and entry.base not in DWARF:
            entry = Entry(0, 0, 0, 0, UNDEFINED)
        if entry != last:
            out.append((ip.address + 4 * i + relative, entry))
        last = entry
    return out


# --- DWARF ---


def cfa(e):
    """The caller's stack pointer, or where the register frame is."""
    if e.base == ORC_SP_INDIRECT:
        expression = bytes([OP_BREG0 + RSP, 0, OP_DEREF, OP_CONSTS]) + sleb(e.offset) + bytes([OP_PLUS])
    elif e.base == ORC_BP_INDIRECT:
        expression = bytes([OP_BREG0 + RBP]) + sleb(e.offset) + bytes([OP_DEREF])
    elif e.offset < 0:
        return bytes([DEF_CFA_SF]) + uleb(DWARF[e.base]) + sleb(e.offset // -8)
    else:
        return bytes([DEF_CFA]) + uleb(DWARF[e.base]) + uleb(e.offset)
    return bytes([DEF_CFA_EXPRESSION]) + uleb(len(expression)) + expression


def saved(register, offset):
    """It lies so far from the frame's address; offsets count by -8."""
    return bytes([OFFSET_EXTENDED_SF]) + uleb(register) + sleb(offset // -8)


def rule_of_rbp(e):
    if e.bp == ORC_PREV_SP:
        return saved(RBP, e.bp_offset)
    if e.bp == ORC_BP:
        expression = bytes([OP_BREG0 + RBP]) + sleb(e.bp_offset)
        return bytes([EXPRESSION]) + uleb(RBP) + uleb(len(expression)) + expression
    return bytes([SAME_VALUE]) + uleb(RBP)


def cie(augmentation, rules):
    body = struct.pack("<IB", 0xFFFFFFFF, 1) + augmentation + b"\0" + uleb(1) + sleb(-8) + uleb(RETURN) + rules
    body += b"\0" * (-(len(body) + 4) % 8)
    return struct.pack("<I", len(body)) + body


# One per kind of frame: what holds from its first instruction on.
CIES = {
    CALL: cie(b"", b"".join(bytes([UNDEFINED_RULE]) + uleb(r) for r in UNKNOWN) + saved(RETURN, -8)),
    END: cie(b"", bytes([DEF_CFA]) + uleb(RSP) + uleb(0) + bytes([UNDEFINED_RULE]) + uleb(RETURN)),
}
# "S" as for a signal handler: the caller was interrupted at its address, and not behind a call before that. gdb then
# shows no name, which for a system call's entry would be a pity.
for _kind, _where in ((REGS, PT_REGS), (REGS_PARTIAL, IRET_FRAME)):
    CIES[_kind] = cie(b"S", b"".join(saved(r, at) for r, at in _where.items()))
    CIES[_kind | FROM_USER] = cie(b"", b"".join(saved(r, at) for r, at in _where.items()))


def rules(e):
    if e.kind == END:
        return b""
    return cfa(e) + (rule_of_rbp(e) if e.kind == CALL else b"")


def advance(n):
    if n < 0x40:
        return bytes([ADVANCE | n])
    for op, code, most in ((ADVANCE1, "<BB", 1 << 8), (ADVANCE2, "<BH", 1 << 16)):
        if n < most:
            return struct.pack(code, op, n)
    return struct.pack("<BI", ADVANCE4, n)


def frame(begin, end, program, at):
    body = struct.pack("<IQQ", at, begin, end - begin) + program
    body += b"\0" * (-(len(body) + 4) % 8)
    return struct.pack("<I", len(body)) + body


def debug_frame(table, functions):
    """The section .debug_frame of ascending (address, Entry). functions: names by address; nothing of one goes on into the
    next's description."""
    out, where = bytearray(), {}
    for kind, c in CIES.items():
        where[kind] = len(out)
        out += c
    starts = sorted(functions)
    kind, begin, at, program = UNDEFINED, 0, 0, b""
    for address, e in table:
        now = e.kind
        if now in (REGS, REGS_PARTIAL) and functions[starts[bisect(starts, address) - 1]].startswith(SYSTEM_CALL):
            now |= FROM_USER
        if now != kind or address in functions or address - begin > LARGEST_FRAME:
            if kind != UNDEFINED:
                out += frame(begin, address, program, where[kind])
            kind, begin, at, program = now, address, address, b""
        if kind != UNDEFINED:
            program += (advance(address - at) if address > at else b"") + rules(e)
            at = address
    return Section(".debug_frame", PROGBITS, bytes(out), align=8)
