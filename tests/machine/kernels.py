"""Kernels of every kind that the loaders know: each checks from inside what it was told, and says PASS on COM1."""
import gzip
import lzma
import os
import re
import struct
import subprocess

from harness import Shell, Skip, expect, expect_in, host, linux, scenario, vm, wait_for_power_off

# Kernels of tests/guests/kernels, and what they say.
TOLD = {"multiboot32": "multiboot", "multiboot64": "multiboot", "multiboot_flat": "multiboot", "pvh": "pvh",
        "elf64": "elf64"}
# And what Corbel takes them for.
KINDS = {"multiboot32": "a Multiboot kernel", "multiboot64": "a Multiboot kernel", "multiboot_flat": "a Multiboot kernel",
         "pvh": "a PVH kernel", "elf64": "an ELF64 program", "sector": "a boot sector",
         "cpuid_signature_pvh": "a PVH kernel", "cpuid_signature_elf64": "an ELF64 program"}
# Kernels that take neither command line nor modules, or look at neither.
BARE = {"sector": "sector", "cpuid_signature.pvh": "cpuid_signature", "cpuid_signature.elf64": "cpuid_signature"}


def zstd(data):
    return subprocess.run(["zstd", "-qc"], input=data, stdout=subprocess.PIPE, check=True).stdout


# How kernels are packed: {what Corbel calls it: (a file's name ends so, how)}.
PACKERS = {"gzip": (".gz", gzip.compress), "xz": (".xz", lzma.compress), "zstd": (".zst", zstd)}


def packed(lab, kernel, packer):
    """A kernel's file, packed."""
    ending, pack = PACKERS[packer]
    with open(lab.guest(kernel), "rb") as f:
        return lab.file(kernel + ending, pack(f.read()))


def told(lab, kernel, name=None, packer=None):
    """A VM's section with the command line and the modules that tests/guests/kernels/told.c expects."""
    first, second = lab.file("one", "the first module"), lab.file("two", "another")
    return (vm(name or kernel, packed(lab, kernel, packer) if packer else lab.guest(kernel), cmdline="a=b  c", memory="16M") +
            f"module = {first}  with arguments # and a comment\nmodule = {second}\n")


def judge(lab, text, says):
    """Each VM's PASS stands among what it said before it ended; says: {VM: what passed}, in their order."""
    for name, what in says.items():
        before, _, rest = text.partition(f"corbel: {name}: ended after")
        lines = before.rpartition("corbel: ")[2] if rest else text[-2000:]
        lab.verdict(f"kernel {name}", None if re.search(rf"^PASS {what}\r?$", lines, re.MULTILINE) else
                    f"no PASS {what}:\n{lines}")
        text = rest or text


@scenario(bound=60)
def kernels(lab):
    """Multiboot (ELF of both classes, flat), PVH, ELF64, a boot sector, one VM after the other."""
    config = host(start="in-turn") + "".join(told(lab, name) for name in TOLD)
    with open(lab.guest("sector"), "rb") as f:
        sector = f.read()
    # By a name of its own, and with Multiboot's magic where a header may stand: it is a boot sector all the same.
    odd = lab.file("sector+,(1)=~@%!$&'^", sector + bytes(-len(sector) % 4) + struct.pack("<III", 0x1badb002, 0, 0xe4524ffe))
    config += "".join(vm(name.replace(".", "_"), odd if name == "sector" else lab.guest(name), memory="16M") for name in BARE)
    m = lab.boot(config)
    wait_for_power_off(m)
    judge(lab, m.text(), {name.replace(".", "_"): what for name, what in {**TOLD, **BARE}.items()})
    for name, kind in KINDS.items():
        expect_in(rf"^corbel: {name}: starts with 16 MiB and 1 vCPU; its kernel is {kind}$", m.text())
    expect_in(r"^corbel: sector: a boot sector starts in real mode at 0:7c00, without BIOS services", m.text())


@scenario(bound=60)
def more_kernels(lab):
    """A Linux kernel that is entered in 32-bit mode; Multiboot 2, without and with a screen; packed kernels, and some that cannot be."""
    elf, bomb = lzma.compress(open(lab.guest("elf64"), "rb").read()), lab.file("bomb.gz", gzip.compress(bytes(40 << 20)))
    broken = lab.file("broken.xz", elf[:len(elf) // 2] + bytes(16) + elf[len(elf) // 2 + 16:])
    m = lab.boot(host(start="in-turn", attach="zstd") +
                 vm("linux32", lab.guest("linux32"), cmdline="a=b  c", initrd=lab.file("one", "the first module"), memory="16M") +
                 told(lab, "multiboot2") + told(lab, "multiboot2", "screen") + "display = vga\n" +
                 told(lab, "multiboot32", "gzip", "gzip") + told(lab, "elf64", "xz", "xz") +
                 vm("bomb", bomb, memory="16M") + vm("broken", broken, memory="16M") +
                 vm("zstd", packed(lab, "sector", "zstd"), memory="16M"))
    wait_for_power_off(m)
    judge(lab, m.text(), {"linux32": "linux32", "multiboot2": "multiboot2", "screen": "multiboot2 with a screen",
                          "gzip": "multiboot", "xz": "elf64", "zstd": "sector"})
    for name, kind in {"linux32": "a Linux bzImage with a 32-bit entry only", "multiboot2": "a Multiboot 2 kernel",
                       "gzip": "a Multiboot kernel, packed with gzip", "xz": "an ELF64 program, packed with xz",
                       "zstd": "a boot sector, packed with zstd"}.items():
        expect_in(rf"^corbel: {name}: starts with 16 MiB and 1 vCPU; its kernel is {kind}$", m.text())
    expect_in(r"^corbel: error: corbel\.conf:\d+: \[vm bomb\]: bomb\.gz is packed with gzip, and more comes out than may: 16M, "
              r"which is the VM's memory", m.text())
    expect_in(r"^corbel: error: corbel\.conf:\d+: \[vm broken\]: broken\.xz is packed with xz and damaged; copy it again", m.text())


@scenario(bound=60)
def bad_modules(lab):
    """Modules that are missing, not possible or too large, and kernels cut off: named by file and line."""
    one, large = lab.file("one", "x"), lab.file("large", bytes(3 << 20))
    with open(lab.guest("pvh"), "rb") as f:
        cut = lab.file("cut", f.read()[:0x1800])
    config = (host(attach="pvh") + vm("missing", lab.guest("pvh"), memory="16M", module="nowhere a b") +
              vm("linux", lab.guest("cpuid_signature"), memory="16M", initrd=one, module=one) +
              vm("sector", lab.guest("sector"), memory="16M", module=one) +
              vm("small", lab.guest("pvh"), memory="4M", module=large + " x") +
              vm("cut", cut, memory="16M") + told(lab, "pvh"))
    m = lab.boot(config)
    wait_for_power_off(m)
    for line in (r"6: \[vm missing\]: 'nowhere' cannot be loaded: there is no such file",
                 r"11: \[vm linux\]: cpuid_signature is a Linux bzImage, which takes an initrd but no modules",
                 r"15: \[vm sector\]: sector is a boot sector, which takes no modules",
                 r"18: \[vm small\]: pvh needs memory=6M at least \(3M up to the end of the kernel, then its modules\)",
                 r"21: \[vm cut\]: cut is a truncated ELF file: a segment of it lies after its 6144 bytes"):
        expect_in(r"^corbel: error: corbel\.conf:" + line, m.text())
    expect_in(r"^PASS pvh\r?$", m.text())


def lz4(data):
    """Decode LZ4's legacy frame: blocks of up to 8 MiB, each behind its size."""
    out, at = bytearray(), 4
    while at + 4 <= len(data):
        size, = struct.unpack_from("<I", data, at)
        at += 4
        block, i = data[at:at + size], 0
        at += size
        if not 0 < len(block) == size:
            break
        while i < size:
            token, i = block[i], i + 1
            length = token >> 4
            if length == 15:
                while True:
                    length, i = length + block[i], i + 1
                    if block[i - 1] != 255:
                        break
            out += block[i:i + length]
            i += length
            if i >= size:
                break
            distance, i = block[i] | block[i + 1] << 8, i + 2
            length = token & 15
            if length == 15:
                while True:
                    length, i = length + block[i], i + 1
                    if block[i - 1] != 255:
                        break
            length += 4
            piece = out[-distance:][:length]
            out += (piece * (length // len(piece) + 1))[:length]
    return bytes(out)


def vmlinux(bzimage):
    """The ELF file inside a bzImage. (Linux, Documentation/arch/x86/boot.rst: payload_offset, payload_length)"""
    with open(bzimage, "rb") as f:
        k = f.read()
    offset, length = struct.unpack_from("<II", k, 0x248)
    payload = k[(k[0x1f1] + 1) * 512 + offset:][:length - 4]  # the last word is the size that comes out
    if payload.startswith(b"\xfd7zXZ\0"):
        return lzma.decompress(payload)
    if payload.startswith(b"\x02\x21\x4c\x18"):
        return lz4(payload)
    raise Skip("this kernel is compressed neither with XZ nor with LZ4")


@scenario(bound=300, slow=True)
def linux_by_pvh(lab):
    """Debian's own vmlinux, out of its bzImage, by its PVH entry, with the initrd as module."""
    kernel = lab.file("vmlinux", vmlinux(lab.default("vmlinuz")))
    m = lab.boot(linux(kernel=kernel, memory="256M"), memory=768)
    shell = Shell(m)
    expect("console=ttyS0" in shell.run("cat /proc/cmdline"), "its command line is not there")
    shell.poweroff()
