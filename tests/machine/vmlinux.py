"""tools/vmlinux: a Linux kernel's own tables as symbols, types and unwind information."""
import bz2
import gzip
import lzma
import os
import random
import re
import struct
import subprocess
import sys

from harness import TOP, expect, expect_in, scenario

sys.path.insert(0, os.path.join(TOP, "tools"))
import vmlinux_elf  # noqa: E402
import vmlinux_kallsyms  # noqa: E402
from vmlinux_elf import ALLOC, EXECUTE, PROGBITS, Section  # noqa: E402

WINDOW = 0x80000  # bytes of kernel text whose pushes are compared with the unwind tables


def tool(source, out):
    return subprocess.run([os.path.join(TOP, "tools/vmlinux"), source, out], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def output(*command):
    p = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       check=True)
    return p.stdout


# --- Debian's own kernel ---


def check_exports(elf, names):
    """Which address has which name says another table, too: what the kernel exports to its modules."""
    strings, checked = elf.find("__ksymtab_strings"), 0
    for table in filter(None, map(elf.find, ("__ksymtab", "__ksymtab_gpl"))):  # one from 7.x on
        for at in range(0, len(table.data) - 11, 12):
            value, name, _ = struct.unpack_from("<iii", table.data, at)
            start = table.address + at + 4 + name - strings.address
            name = strings.data[start:strings.data.index(b"\0", start)].decode()
            address = (table.address + at + value) & (1 << 64) - 1
            # Per-CPU symbols are offsets, and the same name may stand for several local ones.
            expect(address in names.get(name, ()) or not address >> 63,
                   f"{name} is at {address:x}, nm: {names.get(name)}")
            checked += 1
    expect(checked > 5000, f"only {checked} exported symbols")


def pushed(disassembly):
    """Per address in straight pieces from a function's beginning: how far the stack has grown."""
    depth = None
    for line in disassembly.splitlines():
        if re.match(r"[0-9a-f]+ <[^>+]+>:", line):
            depth = 8
            continue
        fields = line.split("\t")
        if depth is None or len(fields) < 2:
            continue
        yield int(fields[0].rstrip(": "), 16), depth
        instruction = fields[-1].split("#")[0].strip()
        grown = re.fullmatch(r"sub +\$0x([0-9a-f]+),%rsp", instruction)
        if re.match(r"push ", instruction):
            depth += 8
        elif grown:
            depth += int(grown[1], 16)
        elif re.match(r"j|ret|pop|leave|iret|sys|int3|add .*%rsp|mov .*,%rsp|lea .*,%rsp|and .*%rsp|xchg.*rsp|ud2|call",
                      instruction) and "__fentry__" not in instruction:
            depth = None


def check_frames(elf, path):
    """What instructions do to the stack pointer is what the frame tables say."""
    text = elf.find(".text")
    begin = text.address + random.randrange(text.size // 4, text.size // 2) & ~15
    frames = output("readelf", "--debug-dump=frames-interp", path)
    expect("arning" not in frames, "readelf warns: " + "".join(re.findall(".*arning.*\n", frames)[:3]))
    at = [(int(a, 16), r, int(o)) for a, r, o in re.findall(r"^([0-9a-f]{16}) (r[bs]p)\+(\d+) +u", frames, re.MULTILINE)]
    rules, i, compared = sorted(at), 0, 0
    disassembly = output("objdump", "-d", "--no-show-raw-insn", f"--start-address={begin}",
                         f"--stop-address={begin + WINDOW}", path)
    for address, depth in pushed(disassembly):
        while i + 1 < len(rules) and rules[i + 1][0] <= address:
            i += 1
        if rules[i][1] == "rsp" and address - rules[i][0] < 16:
            expect(rules[i][2] == depth, f"at {address:x} the stack has grown by {depth}, and the frame says {rules[i]}")
            compared += 1
    expect(compared > 2000, f"only {compared} places compared in the {WINDOW:#x} bytes from {begin:x}")


@scenario(bound=60)
def vmlinux_debian(lab):
    """Debian's kernel: names as in its table of exports, frames as its instructions make them, types; gdb reads it."""
    out = lab.path("vmlinux")
    p = tool(lab.default("vmlinuz"), out)
    expect(p.returncode == 0, p.stdout)
    with open(out, "rb") as f:
        elf = vmlinux_elf.Elf(f.read())
    names = {}
    for line in output("nm", out).splitlines():
        fields = line.split()
        names.setdefault(fields[-1], set()).add(int(fields[0], 16))
    for name in ("do_sys_openat2", "kernel_init", "jiffies", "init_task", "system_state"):
        expect(len(names.get(name, ())) == 1, f"{name}: {names.get(name)}")
    check_exports(elf, names)
    check_frames(elf, out)
    said = output("gdb", "-nx", "-q", "-batch", "-ex", "info symbol kernel_init + 3", "-ex", "x/i kernel_init",
                  "-ex", "print/x (unsigned long) &init_task", "-ex", "print sizeof(struct task_struct)",
                  "-ex", "ptype do_sys_openat2", "-ex", "print &((struct task_struct *) 0)->comm",
                  "-ex", "print (enum system_states) 1", "-ex", "info scope do_sys_openat2", out)
    expect_in(r"^kernel_init \+ 3 in section .text", said, "gdb")
    expect_in(rf"= {min(names['init_task']):#x}$", said, "gdb")
    size = int(expect_in(r"^[0-9a-f]+ ([0-9a-f]+) \S init_task$", output("nm", "-S", out), "nm")[1], 16)
    expect_in(rf"^\$2 = {size}$", said, "gdb")
    expect_in(r"^type = (?:long (?:int )?|int )\(int, const char \*, struct open_how \*\)$", said, "gdb")
    expect_in(r"= \(char \(\*\)\[16\]\) 0x", said, "gdb")
    expect_in(r"^\$4 = SYSTEM_SCHEDULING$", said, "gdb")
    expect_in(r"(?s)filename.*in \$rsi\b.*how.*in \$rdx\b", said, "gdb")


# --- kernels of our own ---


LAYOUTS = ("6.1", "6.4", "7.2")


def tables(symbols, base, layout, address):
    """.rodata at an address with these (name with type, address) as that Linux and those after it lay them out."""
    tokens = [bytes([c]) if 0x20 < c < 0x7F else b"<%02x>" % c for c in range(256)]
    token_table = b"".join(t + b"\0" for t in tokens)
    token_index = b"".join(struct.pack("<H", sum(len(t) + 1 for t in tokens[:i])) for i in range(256))
    names, markers = b"", []
    for i, (name, _) in enumerate(symbols):
        if i % 256 == 0:
            markers.append(len(names))
        length = len(name)
        names += (bytes([length]) if length < 0x80 else bytes([length & 0x7F | 0x80, length >> 7])) + name.encode()
    pieces = [struct.pack("<I", len(symbols)), names, struct.pack(f"<{len(markers)}I", *markers)]
    tail = [token_table, token_index]
    alignment = 4 if layout == "7.2" else 8
    data = random.randbytes(alignment * random.randrange(100, 5000))

    def add(piece):
        nonlocal data
        data += piece + b"\0" * (-len(piece) % alignment)

    if layout != "7.2":
        offsets = b"".join(struct.pack("<i", a if not a >> 63 else base - 1 - a) for _, a in symbols)
        addresses = [offsets, struct.pack("<Q", base)]
        pieces = addresses + pieces + tail if layout == "6.1" else pieces + tail + addresses
    else:
        pieces += tail
    for piece in pieces:
        add(piece)
    if layout == "7.2":
        for i, (_, a) in enumerate(symbols):
            add(struct.pack("<i", a - address - len(data)))
    return data + random.randbytes(1000)


def small_kernel(layout):
    """An ELF file of 3000 functions, some with long names, and its symbols."""
    base = 0xFFFFFFFF81000000
    symbols = [("T_text", base)] if layout == "7.2" else [("Apercpu", 0x1000), ("T_text", base)]
    symbols += [(f"tf{i}_" + "x" * random.choice((3, 20, 300)), base + 16 * i) for i in range(1, 3000)]
    elf = object.__new__(vmlinux_elf.Elf)
    elf.data, elf.sections = bytes(64), [Section("", 0, b"")]
    rodata = base + (1 << 24)
    data = elf.with_sections([
        Section(".text", PROGBITS, b"\x90" * 48000, ALLOC | EXECUTE, base),
        Section(".rodata", PROGBITS, tables(symbols, base, layout, rodata), ALLOC, rodata)])
    header = struct.pack("<16sHHI", b"\x7fELF\2\1\1", 2, 62, 1)
    return header + data[len(header):52] + struct.pack("<HHHH", 64, 56, 0, 64) + data[60:], symbols


def bzimage(payload):
    head = bytearray(1024)
    head[0x1F1], head[0x202:0x206] = 1, b"HdrS"
    struct.pack_into("<H", head, 0x206, 0x20F)
    struct.pack_into("<II", head, 0x248, 16, len(payload))
    return bytes(head) + bytes(16) + payload


@scenario(bound=60)
def vmlinux_layouts(lab):
    """Each layout of the tables, each compression; files that are damaged or something else: a line, and no OUT."""
    size = struct.pack("<I", 0)

    def program(name):
        return lambda data: subprocess.run([name, *(["-l"] if name == "lz4" else []), "-c"], input=data,
                                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True).stdout + size

    out = lab.path("vmlinux")
    packers = {"none": bytes, "gzip": gzip.compress, "xz": lambda d: lzma.compress(d) + size,
               "bzip2": lambda d: bz2.compress(d) + size,
               "lzma": lambda d: lzma.compress(d, lzma.FORMAT_ALONE) + size, "lz4": program("lz4"),
               "zstd": program("zstd")}
    for i, (name, pack) in enumerate(packers.items()):
        kernel, symbols = small_kernel(LAYOUTS[i % len(LAYOUTS)])
        p = tool(lab.file("bzimage", bzimage(pack(kernel))), out)
        expect(p.returncode == 0, f"{name}: {p.stdout}")
        named = {(t, n): int(a, 16) for a, t, n in (line.split() for line in output("nm", out).splitlines())}
        wrong = [s for s in symbols if named.get((s[0][0], s[0][1:])) != s[1]]
        expect(not wrong and len(named) == len(symbols), f"{name}: of {len(symbols)} wrong: {wrong[:3]}")

    kernel, _ = small_kernel("6.4")
    packed = bzimage(gzip.compress(kernel))
    no_names = kernel.replace(vmlinux_kallsyms.DIGITS, b"\0" * 20)
    damaged = {"empty": b"", "short": packed[:700], "cut": packed[:-1000], "text": b"hello\n" * 200,
               "none": bzimage(b"\1\2\3" * 99),
               "flipped": packed[:20000] + b"\xff" * 64 + packed[20064:], "no names": bzimage(gzip.compress(no_names)),
               "half": kernel[:len(kernel) // 2], "ELF only": kernel[:64]}
    os.remove(out)
    for what, data in damaged.items():
        p = tool(lab.file("bzimage", data), out)
        expect(p.returncode == 1 and len(p.stdout.splitlines()) == 1 and p.stdout.startswith("vmlinux: "),
               f"{what}: {p.returncode}, {p.stdout}")
        expect(not os.path.exists(out), f"{what}: and yet there is OUT")
