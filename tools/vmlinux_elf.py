"""A 64-bit ELF file of which sections are read, and to which some are added that are not loaded."""
import struct

HEADER, SECTION, SYMBOL = struct.Struct("<16sHHIQQQIHHHHHH"), struct.Struct("<IIQQQQIIQQ"), struct.Struct("<IBBHQQ")
PROGBITS, SYMTAB, STRTAB, NOBITS = 1, 2, 3, 8
ALLOC, EXECUTE = 2, 4
ABSOLUTE = 0xFFF1


class ElfError(Exception):
    """Why it is no such file."""


class Section:
    def __init__(self, name, kind, data, flags=0, address=0, align=1, entry=0, link=0, info=0):
        self.name, self.kind, self.data, self.flags, self.address = name, kind, data, flags, address
        self.align, self.entry, self.link, self.info = align, entry, link, info
        self.offset, self.size = None, len(data)

    def holds(self, address):
        return self.flags & ALLOC and self.address <= address < self.address + self.size


class Elf:
    def __init__(self, data):
        self.data = data
        try:
            (ident, _, machine, *_, offset, _, _, _, _, size, count, names) = HEADER.unpack_from(data)
            if ident[:6] != b"\x7fELF\2\1" or machine != 62 or size != SECTION.size:
                raise ElfError("it is no ELF file for x86-64 with sections")
            rows = [SECTION.unpack_from(data, offset + i * size) for i in range(count)]
            self.sections = [self._section(row, rows[names]) for row in rows]
        except (struct.error, IndexError, OverflowError, ValueError):
            raise ElfError("its section headers are cut off or wrong") from None

    def _section(self, row, names):
        name, kind, flags, address, offset, size, link, info, align, entry = row
        start = names[4] + name
        text = self.data[start:self.data.index(b"\0", start)].decode(errors="replace")
        s = Section(text, kind, b"" if kind == NOBITS else self.data[offset:offset + size], flags, address, align, entry,
                    link, info)
        s.offset, s.size = offset, size
        return s

    def find(self, name):
        """The section of that name, or None."""
        return next((s for s in self.sections if s.name == name), None)

    def index_of(self, address):
        """The number of the loaded section that holds an address, or None."""
        return next((i for i, s in enumerate(self.sections) if s.holds(address)), None)

    def with_sections(self, more):
        """The file's bytes with these sections in it; those of the same name give way."""
        out = bytearray(self.data)
        keep = [s for s in self.sections if s.name not in {m.name for m in more} | {".shstrtab"}]
        sections = keep + list(more)
        names, at = bytearray(b"\0"), {}
        for s in sections + [Section(".shstrtab", STRTAB, b"")]:
            at[s.name] = len(names) if s.name else 0
            names += s.name.encode() + b"\0" if s.name else b""
        sections.append(Section(".shstrtab", STRTAB, bytes(names)))
        for s in sections:
            if s.offset is None:
                out += b"\0" * (-len(out) % max(8, s.align))
                s.offset = len(out)
                out += s.data
        out += b"\0" * (-len(out) % 8)
        table = len(out)
        for s in sections:
            link = next(i for i, t in enumerate(sections) if t.name == s.link) if isinstance(s.link, str) else s.link
            out += SECTION.pack(at[s.name], s.kind, s.flags, s.address, s.offset, s.size, link, s.info, s.align, s.entry)
        struct.pack_into("<Q", out, 40, table)
        struct.pack_into("<HH", out, 60, len(sections), len(sections) - 1)
        return bytes(out)


def symbol_sections(elf, symbols):
    """.symtab and .strtab of (name, address, size, is a function, is local)."""
    strings, table, locals_ = bytearray(b"\0"), [], 1
    table.append(SYMBOL.pack(0, 0, 0, 0, 0, 0))
    for name, address, size, function, local in sorted(symbols, key=lambda s: not s[4]):
        section = elf.index_of(address) if address >> 63 else ABSOLUTE
        # One that marks a section's end lies in none.
        section = ABSOLUTE if section is None else section
        info = (0 if local else 1) << 4 | (2 if function else 1)
        table.append(SYMBOL.pack(len(strings), info, 0, section, address, size))
        strings += name.encode() + b"\0"
        locals_ += local
    return [Section(".symtab", SYMTAB, b"".join(table), align=8, entry=SYMBOL.size, link=".strtab", info=locals_),
            Section(".strtab", STRTAB, bytes(strings))]
