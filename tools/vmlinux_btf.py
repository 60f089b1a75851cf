"""Linux's own type information (BTF) as DWARF: structures, and what functions take and return.

BTF (Linux, Documentation/bpf/btf.rst) numbers types from 1. Each becomes an entry (DIE) of the only compilation unit,
whose strings are BTF's. It has no addresses: functions get those of the symbols of their names, and their parameters
are where the ABI says as long as nothing has happened: at their first instructions. A per-CPU variable's address is its
offset from the processor's GS base.
"""
import struct
from collections import namedtuple

from vmlinux_elf import PROGBITS, Section

Type = namedtuple("Type", "kind name flag value rest")  # value: a size or another type's number; rest: tuples

(INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT,
 DECL_TAG, TYPE_TAG, ENUM64) = range(1, 20)
ONE = {INT: "<I", ARRAY: "<III", VAR: "<I", DECL_TAG: "<i"}  # what follows a type, once
MANY = {STRUCT: "<III", UNION: "<III", ENUM: "<Ii", FUNC_PROTO: "<II", DATASEC: "<III", ENUM64: "<III"}  # per member
SIGNED, BOOL = 1, 4  # an integer's encoding

# DWARF 4, 7.5.4 "Attribute Encodings": tags, and attributes with the forms that they have here.
(T_ARRAY, T_ENUMERATION, T_PARAMETER, T_MEMBER, T_POINTER, T_UNIT, T_STRUCTURE, T_SUBROUTINE, T_TYPEDEF, T_UNION,
 T_MORE_PARAMETERS, T_SUBRANGE, T_BASE, T_CONST, T_ENUMERATOR, T_SUBPROGRAM, T_VARIABLE, T_VOLATILE, T_RESTRICT,
 T_UNSPECIFIED) = (0x01, 0x04, 0x05, 0x0D, 0x0F, 0x11, 0x13, 0x15, 0x16, 0x17, 0x18, 0x21, 0x24, 0x26, 0x28, 0x2E, 0x34,
                   0x35, 0x37, 0x3B)
STRP, REF4, DATA1, DATA4, DATA8, ADDR, SEC_OFFSET, EXPRLOC, FLAG = (0x0E, 0x13, 0x0B, 0x06, 0x07, 0x01, 0x17, 0x18,
                                                                    0x19)
PACK = {STRP: "<I", REF4: "<I", DATA1: "<B", DATA4: "<I", DATA8: "<Q", ADDR: "<Q", SEC_OFFSET: "<I"}
LOCATION, NAME, SIZE, LOW, HIGH, LANGUAGE, CONST_VALUE, TYPE = (
    (0x02, SEC_OFFSET), (0x03, STRP), (0x0B, DATA4), (0x11, ADDR), (0x12, DATA8), (0x13, DATA1), (0x1C, DATA8),
    (0x49, REF4))
BIT_SIZE, PROTOTYPED, COUNT, MEMBER_AT, DECLARATION, ENCODING, EXTERNAL, BIT_OFFSET, EXPRESSION = (
    (0x0D, DATA1), (0x27, FLAG), (0x37, DATA4), (0x38, DATA4), (0x3C, FLAG), (0x3E, DATA1), (0x3F, FLAG), (0x6B, DATA4),
    (0x02, EXPRLOC))
OP_CONST8U, OP_PLUS_UCONST, OP_REG0, OP_PIECE, OP_CFA = 0x0E, 0x23, 0x50, 0x93, 0x9C
C99 = 0x0C
ARGUMENTS = (5, 4, 1, 2, 8, 9)  # RDI, RSI, RDX, RCX, R8, R9: System V ABI for x86-64, "Parameter Passing"
BOOLEAN, FLOATING, SIGNED_INT, SIGNED_CHAR, UNSIGNED_INT, UNSIGNED_CHAR = 2, 4, 5, 6, 7, 8
MODIFIERS = {PTR: T_POINTER, VOLATILE: T_VOLATILE, CONST: T_CONST, RESTRICT: T_RESTRICT}
LAST_PARAMETER = 64
PER_CPU = ".data..percpu"


class BadTypes(Exception):
    """Why the types cannot be read."""


# --- BTF ---


def parse(data):
    """The types, by number (0 is None: void), and the strings."""
    try:
        magic, version, _, header, at, length, strings, strings_length = struct.unpack_from("<HBBIIIII", data)
        if magic != 0xEB9F or version != 1 or header + strings + strings_length > len(data):
            raise BadTypes("their header is of another kind")
        at += header
        end, out = at + length, [None]
        while at < end:
            name, info, value = struct.unpack_from("<III", data, at)
            kind, count, at = info >> 24 & 31, info & 0xFFFF, at + 12
            layout, count = (ONE[kind], 1) if kind in ONE else (MANY.get(kind, "<"), count if kind in MANY else 0)
            size = struct.calcsize(layout)
            rest = list(struct.iter_unpack(layout, data[at:at + count * size])) if count else []
            at += count * size
            if not INT <= kind <= ENUM64 or len(rest) != count:
                raise BadTypes(f"type {len(out)} is of kind {kind}")
            out.append(Type(kind, name, info >> 31, value, rest))
    except struct.error:
        raise BadTypes("they are cut off") from None
    return out, data[header + strings:header + strings + strings_length]


# --- DWARF ---


def uleb(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out) + bytes([n])


class Writer:
    """Entries one behind the other; abbreviations as they are needed."""

    def __init__(self):
        self.info, self.codes, self.references = bytearray(), {}, []

    def die(self, tag, *attributes, children=False):
        """attributes: ((attribute, form), value); of REF4 the value is a type's number."""
        key = (tag, children, tuple([a for a, _ in attributes]))
        code = self.codes.setdefault(key, len(self.codes) + 1)
        self.info += uleb(code)
        for (_, form), value in attributes:
            if form == REF4:
                self.references.append((len(self.info), value))
                self.info += b"\0\0\0\0"
            elif form == EXPRLOC:
                self.info += uleb(len(value)) + value
            elif form != FLAG:
                self.info += struct.pack(PACK[form], value)

    def end(self):
        self.info.append(0)

    def abbreviations(self):
        out = b""
        for (tag, children, attributes), code in self.codes.items():
            out += uleb(code) + uleb(tag) + bytes([children])
            out += b"".join(uleb(a) + uleb(form) for a, form in attributes) + b"\0\0"
        return out + b"\0"


class Translator:
    """functions: (address, size, bytes in which the parameters stand) by name's offset. void, per_cpu_section: these names'
    offsets."""

    def __init__(self, types, functions, void, per_cpu_section):
        self.types, self.functions, self.void, self.per_cpu_section = types, functions, void, per_cpu_section
        self.w, self.at, self.locations, self.low = Writer(), {}, bytearray(), 0

    @staticmethod
    def name(offset):
        return ((NAME, offset),) if offset else ()

    def through(self, number, kinds):
        """The type behind those that only modify it."""
        for _ in range(100):
            if not 0 < number < len(self.types) or self.types[number].kind not in kinds:
                break
            number = self.types[number].value
        return number if number < len(self.types) else 0

    def size(self, number):
        """In bytes; of an array, which is no parameter, that of a pointer."""
        t = self.types[self.through(number, (TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG))]
        return t.value if t and t.kind in (INT, STRUCT, UNION, ENUM, ENUM64, FLOAT) else 8

    def unit(self, low, high):
        self.low = low
        self.w.die(T_UNIT, (LANGUAGE, C99), (LOW, low), (HIGH, high - low), children=True)
        self.at[0] = len(self.w.info)
        self.w.die(T_UNSPECIFIED, (NAME, self.void))
        for number, t in enumerate(self.types):
            if t:
                self.at[number] = len(self.w.info)
                self.one(number, t)
        self.w.end()

    def one(self, number, t):
        w, name = self.w, self.name(t.name)
        if t.kind == INT:
            self.integer(t)
        elif t.kind == FLOAT:
            w.die(T_BASE, *name, (SIZE, t.value), (ENCODING, FLOATING))
        elif t.kind in MODIFIERS:
            size = ((SIZE, 8),) if t.kind == PTR else ()
            w.die(MODIFIERS[t.kind], *size, (TYPE, t.value))
        elif t.kind == TYPEDEF:
            w.die(T_TYPEDEF, *name, (TYPE, t.value))
        elif t.kind == FWD:
            w.die(T_UNION if t.flag else T_STRUCTURE, *name, (DECLARATION, 1))
        elif t.kind == ARRAY:
            element, _, count = t.rest[0]
            w.die(T_ARRAY, (TYPE, element), children=True)
            w.die(T_SUBRANGE, (COUNT, count))
            w.end()
        elif t.kind in (STRUCT, UNION):
            self.structure(t)
        elif t.kind in (ENUM, ENUM64):
            self.enumeration(t)
        elif t.kind == FUNC_PROTO:
            w.die(T_SUBROUTINE, (PROTOTYPED, 1), (TYPE, t.value), children=True)
            self.parameters(t, None)
        elif t.kind == FUNC:
            self.function(t)
        elif t.kind == DATASEC and t.name == self.per_cpu_section:
            self.per_cpu(t)

    def integer(self, t):
        bits = t.rest[0][0]
        signed, plain = bits >> 24 & SIGNED, t.value > 1
        encoding = (SIGNED_INT if plain else SIGNED_CHAR) if signed else (UNSIGNED_INT if plain else UNSIGNED_CHAR)
        self.w.die(T_BASE, *self.name(t.name), (SIZE, t.value), (ENCODING, BOOLEAN if bits >> 24 & BOOL else encoding))

    def structure(self, t):
        w = self.w
        w.die(T_UNION if t.kind == UNION else T_STRUCTURE, *self.name(t.name), (SIZE, t.value), children=True)
        for name, number, offset in t.rest:
            bits = offset >> 24 if t.flag else 0
            if bits:
                where = ((BIT_SIZE, bits), (BIT_OFFSET, offset & 0xFFFFFF))
            else:
                where = ((MEMBER_AT, (offset & 0xFFFFFF if t.flag else offset) // 8),)
            w.die(T_MEMBER, *self.name(name), (TYPE, number), *where)
        w.end()

    def enumeration(self, t):
        w = self.w
        w.die(T_ENUMERATION, *self.name(t.name), (SIZE, t.value), children=True)
        for row in t.rest:
            value = row[1] & (1 << 64) - 1 if t.kind == ENUM else row[1] | row[2] << 32
            w.die(T_ENUMERATOR, (NAME, row[0]), (CONST_VALUE, value))
        w.end()

    def function(self, t):
        place, proto = self.functions.get(t.name), self.types[t.value] if t.value < len(self.types) else None
        if not place or not proto or proto.kind != FUNC_PROTO:
            return
        address, size, _ = place
        self.w.die(T_SUBPROGRAM, (NAME, t.name), (EXTERNAL, 1), (PROTOTYPED, 1), (TYPE, proto.value),
                   (LOW, address), (HIGH, size), children=True)
        self.parameters(proto, place)

    def parameters(self, proto, place):
        registers, stack = list(ARGUMENTS), 0
        for name, number in proto.rest[:LAST_PARAMETER]:
            if not number:
                self.w.die(T_MORE_PARAMETERS)
                continue
            where = ()
            if place:
                words = -(-self.size(number) // 8)
                if words <= 2 and words <= len(registers):
                    expression = self.in_registers([registers.pop(0) for _ in range(words)])
                else:
                    expression, stack = bytes([OP_CFA, OP_PLUS_UCONST]) + uleb(stack), stack + 8 * words
                where = ((LOCATION, self.location(place, expression)),)
            self.w.die(T_PARAMETER, *self.name(name), (TYPE, number), *where)
        self.w.end()

    @staticmethod
    def in_registers(registers):
        if len(registers) == 1:
            return bytes([OP_REG0 + registers[0]])
        return b"".join(bytes([OP_REG0 + r, OP_PIECE, 8]) for r in registers)

    def location(self, place, expression):
        """A location list that knows it at the function's beginning only; offsets are to the unit's address."""
        address, _, good = place
        at = len(self.locations)
        self.locations += struct.pack("<QQH", address - self.low, address + good - self.low, len(expression)) + expression
        self.locations += bytes(16)
        return at

    def per_cpu(self, section):
        for number, offset, _ in section.rest:
            t = self.types[number] if number < len(self.types) else None
            if t and t.kind == VAR:
                expression = struct.pack("<BQ", OP_CONST8U, offset)  # no address, which would move with the kernel
                self.w.die(T_VARIABLE, (NAME, t.name), (EXTERNAL, 1), (TYPE, t.value), (EXPRESSION, expression))

    def link(self, header):
        """Put in which entry each reference means."""
        info = self.w.info
        for position, number in self.w.references:
            number = self.through(number, (TYPE_TAG,))
            struct.pack_into("<I", info, position, header + self.at.get(number, self.at[0]))


def sections(types, strings, functions):
    """.debug_info and what it refers to. functions: (address, size, bytes in which the parameters stand) by name."""
    offsets, at = {}, 0
    for text in strings.split(b"\0"):
        offsets.setdefault(at, text.decode(errors="replace"))
        at += len(text) + 1
    by_offset = {at: functions[name] for at, name in offsets.items() if name in functions}
    t = Translator(types, by_offset, len(strings), next((at for at, name in offsets.items() if name == PER_CPU), None))
    t.unit(min(a for a, _, _ in functions.values()), max(a + size for a, size, _ in functions.values()))
    header = struct.pack("<IHIB", 7 + len(t.w.info), 4, 0, 8)
    t.link(len(header))
    made = {".debug_info": header + bytes(t.w.info), ".debug_abbrev": t.w.abbreviations(),
            ".debug_str": strings + b"void\0", ".debug_loc": bytes(t.locations)}
    return [Section(name, PROGBITS, data) for name, data in made.items()]
