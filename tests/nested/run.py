#!/usr/bin/env python3
"""Corbel under KVM, on a machine without VT-x; prints "pass NAME" or "FAIL NAME" each.

Bochs, which emulates VMX, runs Debian's cloud kernel with KVM and its nested VMX; QEMU there runs OVMF and Corbel, and
Corbel the test guests and then Linux to a shell. KVM carries out VMX for Corbel: an implementation of its own, and
stricter than Bochs in what it lets enter. All COM1s are one line: what Corbel says and reads goes through the outer
Linux to Bochs' COM1. The outer Linux comes from a CD by the legacy BIOS, the quickest way, and has one initramfs with
QEMU, its libraries, OVMF and Corbel's disk image.
"""
import os
import re
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(TOP, "build")
sys.path.insert(0, os.path.join(TOP, "tools"))
import outer  # noqa: E402
import results  # noqa: E402
from machine import MachineError  # noqa: E402

# A busy machine is slower than the one on which the bounds were set.
PATIENCE = float(os.environ.get("CORBEL_PATIENCE", "3"))

OUTER = outer.FOLDER
OUTER_MEMORY = 1280
OUTER_CMDLINE = ("console=ttyS0,115200 quiet tsc_early_khz=400000 lpj=1600000 tsc=reliable mitigations=off "
                 "init_on_alloc=0 cryptomgr.notests")
QEMU_FILES = ("/usr/share/ovmf/OVMF.fd", "/usr/share/qemu/kvmvapic.bin")

# The test guests, by what Corbel is told to do without. Those that measure time are not here, as every exit is late by
# what two more layers cost; nor port_all, whose 400,000 exits take minutes. Two more are spoilt by Bochs 2.7:
# - nmi: its VM entry sets blocking by NMI where the VMCS says so, but does not clear it where it does not, so that
#   it leaks from one of KVM's two VMCSs into the other;
# - single_step: its EPT violations leave a trap pending, which comes too early when KVM fills its own tables.
EVERYTHING = """cpuid_features cpuid_signature cpuid_topology xsetbv msr_unknown vmx_undefined cr_bits tsc_aux
    mode_switch segments paging_bits smap_smep caches memory_hole mmio_forms mmio_strings io_strings xsave_state
    debug_registers msr_all""".split()
# KVM fills the tables it runs a nested guest on as memory is touched, also by an interrupt's delivery; and when that is
# virtual-interrupt delivery, Bochs 2.7 tells it of another event, an earlier one, that has been cut short.
WITHOUT_VID = """sti_shadow mov_ss software_interrupts fault_in_emulation event_delivery hlt_timer hlt_nmi tsc
    apic_modes ipi_priority ioapic""".split()
# Any end will do, as long as Corbel is alive afterwards.
SURVIVED = {"idt_in_mmio", "hlt_forever", "garbage"}


def make_image(folder, config):
    path, out = os.path.join(folder, "corbel.conf"), os.path.join(folder, "corbel.img")
    with open(path, "w", encoding="ascii") as f:
        f.write(config)
    subprocess.run([os.path.join(TOP, "tools", "image"), os.path.join(BUILD, "BOOTX64.EFI"),
                    os.path.join(BUILD, "confscan"), path, out], check=True, stdout=subprocess.DEVNULL)
    return out


def machine(folder, name, config):
    """The outer machine, its COM1 kept in build/nested/NAME.txt; Corbel in it has that config."""
    files = {file: file for file in QEMU_FILES}
    files["/corbel.img"] = make_image(folder, config)
    cd = outer.cd(folder, os.path.join(HERE, "init"), files, OUTER_CMDLINE)
    return outer.machine(cd, OUTER_MEMORY, os.path.join(OUTER, f"{name}.txt"))


def vm(name, kernel, memory="16M", more=""):
    return f"[vm {name}]\nkernel = {os.path.join(BUILD, kernel)}\nmemory = {memory}\n{more}\n"


def verdict(name, error=None, row=None):
    """Say it, and leave it for docs/EVIDENCE.md's table, if it has a row there."""
    print(f"{'FAIL' if error else 'pass'} nested: {name}", flush=True)
    if error:
        print("\n".join("    " + line for line in error.splitlines()), flush=True)
    verdict.failed |= bool(error)
    results.record(scenario="nested", part=name, verdict="FAIL" if error else "pass", why=error, row=row,
                   machines=[verdict.machine])


verdict.failed = False
KVM = {"emulator": "nested KVM", "model": None}
verdict.machine = KVM


def guest_error(name, text):
    """None: it runs; "": it has passed; else what is wrong."""
    end = re.search(rf"^corbel: {name}: (ended|killed) after.*", text, re.MULTILINE)
    if not end:
        return None
    failed = re.search(rf"^FAIL {name}: .*", text, re.MULTILINE)
    if failed:
        return failed[0]
    if name in SURVIVED or (end[1] == "ended" and re.search(rf"^PASS {name}$", text, re.MULTILINE)):
        return ""
    return f"no PASS: {end[0]}"


def run_guests(m, names, row="guests"):
    for name in names:
        until = time.monotonic() + 60 * PATIENCE
        while (error := guest_error(name, m.text())) is None:
            if time.monotonic() > until or m.pump(1) is None:
                raise MachineError(f"guest {name} did not end\n{m.tail()}")
        verdict(f"guest {name}", error, row)


def start(m):
    m.start()
    m.read_until(r"^outer: Linux \S+ nested=Y", 60 * PATIENCE)
    m.read_until(r"^corbel: vmx: .*\n", 150 * PATIENCE)
    verdict.machine = {**results.machine_facts(m), **KVM}


def end(m):
    """Corbel has switched its machine off; and no VM entry has failed the checks of KVM, which says each."""
    m.read_until(r"^outer: QEMU ended with 0", 40 * PATIENCE)
    m.wait(30 * PATIENCE)
    refused = re.findall(r"^outer: refused: .*", m.text(), re.MULTILINE)
    if refused:
        raise MachineError("KVM refused VM entries:\n" + "\n".join(refused))


def everything_on(folder):
    """Guests, and Linux to a shell, with all that Corbel can use."""
    config = "[host]\nlog = info\nstart = in-turn\n" + "".join(vm(name, f"guests/{name}") for name in EVERYTHING)
    config += vm("linux", "default/vmlinuz", "128M",
                 f"initrd = {BUILD}/default/initrd\ncmdline = console=ttyS0 quiet")
    with machine(folder, "everything-on", config) as m:
        start(m)
        run_guests(m, EVERYTHING)
        m.read_until(r"corbel:/root# ", 120 * PATIENCE)
        m.send("echo $((6 * 7)) of $(nproc)\n")
        m.read_until(r"^42 of 1", 30 * PATIENCE)
        verdict("Linux to a shell", row="cloud")
        m.send("poweroff\n")
        m.read_until(r"^corbel: linux: ended after", 40 * PATIENCE)
        end(m)


def without_vid(folder):
    """Interrupts by injection, in xAPIC and x2APIC mode."""
    config = "[host]\nlog = info\nstart = in-turn\nwithout = vid\n" + "".join(vm(name, f"guests/{name}") for name in WITHOUT_VID)
    with machine(folder, "without-vid", config) as m:
        start(m)
        run_guests(m, WITHOUT_VID, "without vid")
        end(m)


def main():
    started = time.monotonic()
    for scenario in (everything_on, without_vid):
        with tempfile.TemporaryDirectory(prefix="corbel-nested-") as folder:
            try:
                scenario(folder)
                verdict(f"power off, {scenario.__name__.replace('_', ' ')}")
            except MachineError as error:
                verdict(scenario.__name__, str(error), "start")
    results.record(scenario="nested", part=None, verdict="FAIL" if verdict.failed else "pass", why=None, row=None,
                   seconds=round(time.monotonic() - started), machines=[verdict.machine])
    return 1 if verdict.failed else 0


if __name__ == "__main__":
    sys.exit(main())
