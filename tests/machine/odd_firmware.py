"""Firmware that is not as most are: tests/machine/firmware.c wraps OVMF's services, and starts Corbel."""
import struct
import time

from bad_input import start_through
from check import expect_all, report
from gdb import Wire
from harness import (COMMAND, FIRMWARE, PATIENCE, expect, expect_in, host, scenario, vm, wait_for_power_off)

GUEST = "cpuid_signature"


def passes(lab, kind, config=None, **options):
    """A guest passes in a machine with such firmware; what was said on COM1."""
    image = lab.image(config or host() + vm("a", lab.guest(GUEST), memory="16M"))
    start_through(image, kind)
    m = lab.start(image, memory=256, **options)
    wait_for_power_off(m)
    expect_in(rf"^PASS ", m.text(), "the guest")
    return m.text()


@scenario(bound=60)
def firmware_growing_map(lab):
    """The memory map has a hundred entries more each time, also between the last map and ExitBootServices()."""
    passes(lab, "GROWING")


@scenario(bound=60)
def firmware_wide_map(lab):
    """Descriptors of the memory map are longer than UEFI's."""
    passes(lab, "WIDE")


@scenario(bound=60)
def firmware_lowest_memory(lab):
    """What is allocated anywhere comes from below 640 KiB, as long as there is some."""
    passes(lab, "LOWEST")


def far_kernel(lab):
    """A kernel of which the last bytes of a file of 25 MiB are what is loaded."""
    with open(lab.guest("pvh"), "rb") as f:
        elf = bytearray(f.read())
    start, = struct.unpack_from("<Q", elf, 32) if elf[4] == 2 else struct.unpack_from("<I", elf, 28)
    size, count = struct.unpack_from("<HH", elf, 54 if elf[4] == 2 else 42)
    far = 25 << 20
    whole = elf + bytes(far - len(elf)) + elf
    for at in range(start, start + size * count, size):
        place, form = (at + 8, "<Q") if elf[4] == 2 else (at + 4, "<I")
        struct.pack_into(form, whole, place, struct.unpack_from(form, whole, place)[0] + far)
    return lab.file("far", whole)


@scenario(bound=90)
def firmware_small_reads(lab):
    """Files are read by pieces of 1 MiB at most; a larger one is refused, and the place in the file lost."""
    one, two = lab.file("one", "the first module"), lab.file("two", "another")
    said = passes(lab, "READS", host() + vm("a", far_kernel(lab), cmdline="a=b  c", memory="16M") +
                  f"module = {one}  with arguments # and a comment\nmodule = {two}\n")
    expect_in(r"^corbel: reading far 26 MiB \[#{20}\]", said)


@scenario(bound=60)
def firmware_without_mp_services(lab):
    """Nobody tells how many processors there are: Corbel uses the one that it runs on, and says so."""
    said = passes(lab, "ALONE", cpus=2)
    expect_in(r"^corbel: firmware tells of no processors, by ACPI or MP services: this one is used alone\.", said)
    expect_in(r"^corbel: Corbel on 1 processor ", said)


@scenario(bound=60)
def firmware_with_secure_boot(lab):
    """Secure Boot is on, and has let Corbel pass."""
    said = passes(lab, "SECURE")
    expect_in(r"^corbel: Secure Boot is on and trusts this file", said)


@scenario(bound=60)
def firmware_draws_alone(lab):
    """The graphics card has no frame buffer: what is said until firmware goes is on the screen by firmware, and that it
    ends there, too."""
    image = lab.image(host(mode="check"))
    start_through(image, "BLT")
    expect_all(report(lab, image, kind="qemu", model="Nehalem,-vmx", memory=512), r"^screen        none")
    expect_in(r"^corbel: only firmware can draw on this screen: what follows is on COM1 alone\.", lab.machines[0].text())


@scenario(bound=90)
def machine_without_com1(lab):
    """No serial port at 3F8h: the loader and Corbel do without; a debugger at the other one sees the VM, which passes."""
    m = lab.boot(host(gdb="com2") + vm("a", lab.guest("debugged"), memory="16M", paused="yes"), com1=False, gdb=0)
    w, until = Wire(m), time.monotonic() + FIRMWARE * PATIENCE
    while b"PacketSize" not in w.got:
        expect(time.monotonic() < until, "Corbel does not answer at COM2")
        w.send(b"+$qSupported#37")
        w.listen(2)
    for _ in range(10):  # the answers to the other ones
        w.listen(0.5)
    w.got = b""
    expect(w.ask("?") == b"T02thread:1;", "the VM does not stand at its start")
    expect(w.ask("vCont;c", COMMAND) == b"W00", "the VM has not come to its end")
    expect(m.wait(COMMAND * PATIENCE), "the machine did not switch itself off")
