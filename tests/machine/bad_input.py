"""Bad input and bad luck: each gets a clear sentence or an architectural fault, and Corbel goes on."""
import os
import re
import struct
import subprocess

from harness import (BOOT, BUILD, COMMAND, FIRMWARE, PATIENCE, TOP, Failure, MachineError, Skip, corbel_lines, check_lines,
                     expect, expect_in, host, linux, scenario, vm, wait_for_corbel, wait_for_power_off)
from machine import DEFAULT_IPS  # noqa: E402
from monitor import Monitor

ESP = 2048 * 512  # where the ESP begins in an image

# The VM behind every bad one: it shows that Corbel goes on.
NEXT = "cpuid_signature"


def next_vm(lab):
    return vm("next", lab.guest(NEXT), memory="16M")


def refused(lab, config, *sentences, next_runs=True, **options):
    """Boot a config; each sentence (a regular expression) is a line of Corbel's, and the VM named next runs all the
    same. Returns what COM1 has said."""
    m = lab.boot(config + next_vm(lab) if next_runs else config, **options)
    wait_for_power_off(m)
    text = m.text()
    lines = corbel_lines(text)
    for s in sentences:
        expect(any(re.search(s, line) for line in lines), f"no line of Corbel matches {s!r}:\n" + text[-3000:])
    if next_runs:
        expect_in(rf"^PASS {NEXT}$", text)
        expect_in(r"^corbel: next: ended after", text)
    return text


def mtools(*command):
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                   env=dict(os.environ, MTOOLS_SKIP_CHECK="1"))


# --- the machine ---


@scenario(bound=60, row="start")
def no_vmx_in_qemu(lab):
    """A processor without VMX: QEMU's TCG."""
    m = lab.boot(linux(), kind="qemu", memory=512)
    m.read_until(r"^corbel: .*(no VT-x \(Intel VMX\)|needs an Intel processor with VT-x).*\n", 2 * FIRMWARE * PATIENCE)


@scenario(bound=60, row="start")
def no_vmx_on_amd(lab):
    """An AMD processor."""
    m = lab.boot(linux(), model="ryzen", memory=512)
    m.read_until(r"^corbel: Corbel needs an Intel processor with VT-x; this is AMD Ryzen .* by AuthenticAMD\.",
                 FIRMWARE * PATIENCE)


@scenario(bound=60)
def vmx_locked_by_firmware(lab):
    """Firmware has locked IA32_FEATURE_CONTROL with VMX off; here a program does so that starts Corbel afterwards."""
    image = lab.image(linux())
    start_through(image, "LOCKED")
    m = lab.start(image, memory=512)
    m.read_until(r"^corbel: VT-x is switched off and locked by firmware: .*", FIRMWARE * PATIENCE)


def start_through(image, kind):
    """Let tests/machine/firmware.c of that kind (LOCKED, UNEVEN) start Corbel in this image."""
    program = os.path.join(BUILD, "machine-firmware", f"{kind}.EFI")
    build_firmware(program, kind)
    esp = f"{image}@@{ESP}"
    mtools("mmove", "-i", esp, "::/EFI/BOOT/BOOTX64.EFI", "::/EFI/BOOT/CORBEL.EFI")
    mtools("mcopy", "-i", esp, program, "::/EFI/BOOT/BOOTX64.EFI")


def build_firmware(out, kind):
    """tests/machine/firmware.c as a UEFI application."""
    source = os.path.join(TOP, "tests/machine/firmware.c")
    if os.path.exists(out) and os.path.getmtime(out) > os.path.getmtime(source):
        return
    os.makedirs(os.path.dirname(out), exist_ok=True)
    stem = out[:-4]
    for command in (
        f"gcc -std=gnu11 -O2 -Wall -Wextra -Wno-unused-parameter -Werror -isystem /usr/include/efi "
        f"-isystem /usr/include/efi/x86_64 -DGNU_EFI_USE_MS_ABI -maccumulate-outgoing-args -ffreestanding -fpic -fshort-wchar -mno-red-zone "
        f"-fno-stack-protector -fcf-protection=none -D{kind} -c {source} -o {stem}.o",
        f"ld -nostdlib -shared -Bsymbolic --defsym=_entry=efi_main -znocombreloc --no-undefined "
        f"-T /usr/lib/elf_x86_64_efi.lds /usr/lib/crt0-efi-x86_64.o {stem}.o /usr/lib/libgnuefi.a -o {stem}.so",
        f"objcopy -j .text -j .sdata -j .data -j .rodata -j .dynamic -j .dynsym -j .rel* -j .rela* -j .reloc "
        f"--output-target=efi-app-x86_64 --subsystem=10 {stem}.so {out}"):
        subprocess.run(command.split(), check=True, stdin=subprocess.DEVNULL)


@scenario(bound=60)
def vm_larger_than_the_machine(lab):
    refused(lab, linux("big", memory="2G"), r"error: corbel\.conf:\d+: \[vm big\]: not enough memory for its RAM: "
            r"it wants 2048 MiB and \d+ MiB are free")


@scenario(bound=60)
def machine_too_small(lab):
    """A machine that cannot even hold the files."""
    m = lab.boot(vm("next", lab.guest(NEXT), initrd=lab.file("large", b"x" * (90 << 20))), memory=128)
    m.read_until(r"^corbel: .*(does not fit|more of it|more memory).*", FIRMWARE * PATIENCE)


@scenario(bound=50, slow=True, row="start")
def penryn_and_lynnfield(lab):
    """VMX without EPT, and EPT without unrestricted guest: what is missing is named."""
    for model, sentence in (("core2_penryn_t9600", r"EPT"), ("corei5_lynnfield_750", r"[Uu]nrestricted")):
        m = lab.boot(linux(), model=model, memory=512)
        m.read_until(r"^corbel: error: no VM can run on this machine: power off in 60 s", 2 * FIRMWARE * PATIENCE)
        m.send(" ")
        wait_for_power_off(m)
        expect_in(rf"^corbel: .*{sentence}.*", m.text())


# --- the config ---


def read_at_leisure(m, error):
    """Corbel has said what keeps all VMs from starting, and waits for somebody to read it."""
    m.read_until(rf"^corbel: error: {error}", 2 * FIRMWARE * PATIENCE)
    m.read_until(r"^corbel: error: no VM could start: power off in 60 s, at a key at once; Ctrl-\] for the monitor",
                 COMMAND * PATIENCE)


@scenario(bound=100)
def errors_stay_on_the_screen(lab):
    """No VM can start because of an error: the machine stays on until a key, or for a minute, or as long as somebody uses
    the monitor; whatever when_idle says, or does not say since it is wrong itself."""
    m = lab.boot(host(when_idle="stay and see") + vm("a", "nothing"))
    read_at_leisure(m, r"corbel\.conf:4: \[vm a\]: 'nothing' cannot be loaded")
    m.send("x")
    wait_for_power_off(m)
    expect_in(r"^corbel: error: corbel\.conf:2: when_idle = 'stay and see' is not known", m.text())
    # Nobody is there. A config that cannot be read, since it is a folder.
    image = lab.image(linux())
    mtools("mdel", "-i", f"{image}@@{ESP}", "::/corbel/corbel.conf")
    mtools("mmd", "-i", f"{image}@@{ESP}", "::/corbel/corbel.conf")
    m = lab.start(image, memory=256)
    read_at_leisure(m, r"no configuration: \\corbel\\corbel\.conf: it is a directory")
    wait_for_power_off(m)
    ticks = int(expect_in(r"(\d{11})p\[ACPI", m.tail(), "Bochs")[1])
    expect(60 * DEFAULT_IPS < ticks < 70 * DEFAULT_IPS, f"the machine stayed on until tick {ticks}")
    # Somebody is.
    m = lab.boot(host(attach="a") + vm("a", lab.guest(NEXT), memory="1M"))
    read_at_leisure(m, r"corbel\.conf:5: memory = 1M in \[vm a\] is too small")
    p = Monitor(m)
    p.enter()
    expect_in(r"the machine stays on", p.run("log 5"), "log")
    expect_in(r"^a has a problem in its section of corbel\.conf", p.run("start a"), "start")
    m.send("poweroff\r")
    expect(m.wait(BOOT * PATIENCE), "the machine did not switch itself off")


@scenario(bound=40)
def no_config(lab):
    image = lab.image(linux())
    mtools("mdel", "-i", f"{image}@@{ESP}", "::/corbel/corbel.conf")
    m = lab.start(image, memory=256)
    read_at_leisure(m, r"no configuration: \\corbel\\corbel\.conf: there is no such file")
    m.send("\r")
    wait_for_power_off(m)
    expect_in(r"^corbel: no VM is left: power off", m.text())


@scenario(bound=60)
def bad_config(lab):
    """One config with a mistake of every kind: each is named with its line, and the good VM runs."""
    lines = [
        (b"[host]", None),
        (b"log = loud", r"log = 'loud' is not known; it must be error, warn, info or debug"),
        (b"colour = red", r"unknown key 'colour' in \[host\]"),
        (b"[vm a]", None),
        (b"kernel = nothing", r"\[vm a\]: 'nothing' cannot be loaded: there is no such file"),
        (b"[vm b]", None),
        (b"kernel = " + lab.guest(NEXT).encode(), None),
        (b"memroy = 16M", r"unknown key 'memroy' in \[vm b\]; did you mean 'memory'\?"),
        (b"[vm c]", None),
        (b"kernel = " + lab.guest(NEXT).encode(), None),
        (b"memory = lots", r"memory = 'lots' in \[vm c\] is not a size"),
        (b"[vm d]", None),
        (b"kernel = " + lab.guest(NEXT).encode(), None),
        (b"memory = 16M", None),
        (b"memory = 32M", r"'memory' is given twice in \[vm d\], first in line 14"),
        (b"[vm d]", r"\[vm d\] is given twice, first in line 12"),
        (b"kernel = " + lab.guest(NEXT).encode(), None),
        (b"[vm e]", r"\[vm e\] has no kernel"),
        (b"memory = 16M", None),
        (b"[vm not a name]", r"'not a name' is not a VM's name|is not a section's header"),
        (b"[vm f]", None),
        (b"kernel = " + lab.guest(NEXT).encode(), None),
        (b"cmdline = \xff\xfe", r"the value of 'cmdline' in \[vm f\] has bytes that are not UTF-8"),
        (b"nonsense", r"'nonsense' is neither a section's header nor 'key = value'"),
        (b"[vm g]", None),
        (b"kernel = " + lab.guest(NEXT).encode(), None),
        (b"affinity = 1-0", r"affinity = '1-0' in \[vm g\] is not a list of processors"),
        (b"[vm h]", None),
        (b"kernel = " + lab.file("a folder/file")[:-5].encode(), r"\[vm h\]: '\S+' cannot be loaded: it is a directory"),
        (b"[vm i]", None),
        (b"kernel = " + lab.guest(NEXT).encode(), None),
        (b"cpus = 1000", r"cpus = 1000 in \[vm i\] is too large; it must be from 1 to 64"),
    ]
    text = b"\r\n".join(line for line, _ in lines) + b"\r\n" + next_vm(lab).encode()
    refused(lab, text, *(rf"^error: corbel\.conf:{n}: .*(?:{s})" for n, (_, s) in enumerate(lines, 1) if s),
            next_runs=False)
    said = lab.machines[-1].text()
    expect_in(rf"^PASS {NEXT}$", said)
    ran = re.findall(r"^corbel: (\S+): starts with", said, re.MULTILINE)
    expect(ran == ["next"], f"these VMs ran: {ran}")


@scenario(bound=120, slow=True)
def ten_thousand_vms(lab):
    """A config with 10,000 VMs: at most 1024 are possible, and it says so; the others are tried and named."""
    config = "".join(f"[vm vm{n}]\nkernel = nothing\n" for n in range(1, 10_000))
    m = lab.boot(vm("next", lab.guest(NEXT), memory="16M") + config)
    wait_for_power_off(m)
    text = m.text()
    expect_in(r"^corbel: error: corbel\.conf:\d+: \[vm vm1024\] is one too many: at most 1024 VMs are possible", text)
    expect_in(rf"^PASS {NEXT}$", text)


@scenario(bound=60)
def line_of_a_mebibyte(lab):
    long = "#" + "x" * (1 << 20) + "\n" + vm("long", lab.guest(NEXT), cmdline="y" * (1 << 20))
    refused(lab, long, r"^error: corbel\.conf:4: cmdline in \[vm long\] is 1048576 bytes long; at most 2047 are possible")


# --- files ---


@scenario(bound=70)
def bad_files(lab):
    """Kernels and initrds that are not what they should be."""
    with open(lab.default("vmlinuz"), "rb") as f:
        kernel = f.read()
    old = bytearray(kernel)
    struct.pack_into("<H", old, 0x206, 0x0201)
    bad = {
        "empty": (b"", "it is empty"),
        "text": (b"This is no kernel.\n" * 1000, r"is not a kernel that Corbel can start"),
        "elf": (b"\x7fELF" + bytes(8192), r"is an ELF file for another processor"),
        "head": (kernel[:700], r"is truncated|is not a Linux bzImage: it is too short"),
        "half": (kernel[:len(kernel) // 2], rf"is truncated: it has {len(kernel) // 2} bytes of \d+; copy it again"),
        "old": (bytes(old), r"has boot protocol 2\.01; one of 2\.02 \(Linux 2\.4\) or newer is needed"),
    }
    config, sentences = "", []
    for name, (data, sentence) in bad.items():
        config += vm(name, lab.file(name, data), memory="64M")
        sentences.append(rf"^error: corbel\.conf:\d+: \[vm {name}\]: .*(?:{sentence})")
    config += linux("small", memory="32M")
    sentences.append(r"^error: corbel\.conf:\d+: \[vm small\]: vmlinuz needs memory=\d+M at least .*it has 32M")
    config += vm("initrd", lab.default("vmlinuz"), initrd=lab.file("large", b"x" * (100 << 20)), memory="96M")
    sentences.append(r"^error: corbel\.conf:\d+: \[vm initrd\]: vmlinuz needs memory=\d+M at least .*it has 96M")
    refused(lab, config, *sentences, memory=512)


@scenario(bound=40)
def when_idle_stay(lab):
    """when_idle = stay: the machine stays on, and Corbel says so."""
    m = lab.boot(host(when_idle="stay") + next_vm(lab))
    m.read_until(r"^corbel: no VM is left: the machine stays on \(when_idle = stay\)", 2 * FIRMWARE * PATIENCE)
    try:
        m.wait(5)
    except MachineError:
        return
    raise Failure("the machine switched itself off")


# --- guests ---


@scenario(bound=40)
def invalid_guest_state(lab):
    """The processor refuses to enter the guest: what is wrong is named, and the next VM runs."""
    refused(lab, host(test_invalid=1, start="in-turn") + vm("invalid", lab.guest(NEXT), memory="16M"),
            r"^error: invalid: killed: the processor refused to enter the guest's state",
            r"^invalid: killed after", r"TR.*usable")
