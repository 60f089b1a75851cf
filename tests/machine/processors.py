"""Several processors: they come up, call each other, share locks, and stop when one of them panics."""
import os
import re
import subprocess

from bad_input import start_through
from harness import BUILD, FIRMWARE, PATIENCE, TOP, expect, expect_in, host, scenario, wait_for_power_off

EFI = os.path.join(BUILD, "BOOTX64.EFI")
MISSING = r"^corbel: warning: processor with APIC id 77 is not used: no instruction of it was seen after two INIT-SIPI-SIPI"
TWICE = r"^corbel: warning: processor with APIC id \d+ is not used: firmware lists it twice$"


def prove(lab, cpus, rounds, efi=EFI, **options):
    """test_smp on so many processors; `mode = check`, so that VT-x is not asked for. Returns COM1's text."""
    m = lab.start(lab.image(host(mode="check", log="debug", test_smp=rounds), efi), cpus=cpus, memory=256, **options)
    m.read_until("^corbel: What this machine has", (FIRMWARE + 10 * cpus) * PATIENCE)
    wait_for_power_off(m)
    text = m.text()
    expect_in(MISSING, text)
    calls, counted = cpus * (cpus - 1) * rounds, cpus * rounds
    expect_in(rf"^corbel: test_smp: {cpus} processors?, {calls} of {calls} calls answered, {counted} of {counted} counted "
              r"under a lock, 0 blocks of memory wrong$", text)
    expect(int(expect_in(r"^corbel: test_smp: (-?\d+) KiB of memory more in use", text)[1]) <= 17 * 4,
           "memory was lost: more than one slab of each size")
    for n in range(cpus):  # no line is lost or mixed with another
        for i in range(1, 5):
            expect(len(re.findall(rf"^corbel: test_smp: processor {n} says {i} of 4$", text, re.M)) == 1,
                   f"line {i} of processor {n} is not there once:\n{text[-3000:]}")
    if cpus > 1:
        expect_in(TWICE, text)
        for n in range(1, cpus):
            expect_in(rf"^corbel: processor {n}: APIC id {n}$", text)
    expect_in(rf"^corbel: processors    {cpus + 3}, {cpus + 3} of them enabled; only {cpus} of these answer$", text)
    expect("panic" not in text, "a panic")
    return text


@scenario(bound=60)
def processors_1(lab):
    """One processor, and a list that names others."""
    prove(lab, 1, 100)


@scenario(bound=90)
def processors_2(lab):
    """x2APIC mode, TSC-deadline timer; the deaf processor is reached by NMI."""
    text = prove(lab, 2, 100)
    expect_in(r"^corbel: 2 processors run, APICs in x2APIC mode, timers by TSC deadline$", text)
    expect(1 <= int(expect_in(r"deaf processor answered after (\d+) NMIs", text)[1]) <= 10, "NMIs")
    calls = int(expect_in(r"a call to a halted processor and back: (\d+) ticks", text)[1])
    expect(calls < 1000, f"a call takes {calls} ticks")


@scenario(bound=120)
def processors_4(lab):
    """Four."""
    prove(lab, 4, 50)


@scenario(bound=200, slow=True)
def processors_8(lab):
    """Eight."""
    prove(lab, 8, 20)


@scenario(bound=60)
def processors_xapic(lab):
    """QEMU's TCG: real threads, xAPIC mode, ACPI's MADT, and firmware whose MTRRs are the boot processor's alone."""
    text = prove(lab, 4, 10, kind="qemu", model="Nehalem,-vmx")
    expect_in(r"^corbel: 4 processors run, APICs in xAPIC mode, timers one-shot$", text)


@scenario(bound=60)
def panic_on_another_processor(lab):
    """The third of four panics: the others stop, it prints, and resets the machine, which QEMU takes for its end."""
    m = lab.start(lab.image(host(mode="check", test_panic=3, on_panic="reset")), cpus=4, memory=256, kind="qemu",
                  model="Nehalem,-vmx", extra=["-no-reboot"])
    m.read_until(r"^corbel: panic: test_panic = 3\r?\ncorbel: on processor 2\r?\n", (FIRMWARE + 40) * PATIENCE)
    wait_for_power_off(m)
    text = m.text()
    expect_in(r"^corbel:   [0-9a-f]{16} panic_here\+0x", text)
    expect_in(r"^corbel:   [0-9a-f]{16} smp_serve\+0x", text)
    expect("could not be stopped" not in text and text.count("panic:") == 1, f"the others go on:\n{text[-2000:]}")


@scenario(bound=90, slow=True)
def locks_in_order(lab):
    """`make debug`, whose Corbel panics when locks are taken out of order or with interrupts on."""
    subprocess.run(["make", "-C", TOP, "debug"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    prove(lab, 3, 10, efi=os.path.join(BUILD, "debug", "BOOTX64.EFI"), kind="qemu", model="Nehalem,-vmx")


def uneven(lab, model):
    """Two processors whose firmware has left one TSC 5,000,000 ticks ahead, and one MTRR different."""
    image = lab.image(host(mode="check", log="debug"))
    start_through(image, "UNEVEN")
    m = lab.start(image, cpus=2, memory=256, model=model)
    m.read_until("^corbel: What this machine has", FIRMWARE * PATIENCE)
    wait_for_power_off(m)
    expect_in(r"^corbel: processor 1 \(APIC id 1\): firmware gave it other MTRRs", m.text())
    return m.text()


@scenario(bound=60)
def uneven_processors(lab):
    """TSC_ADJUST takes off exactly what firmware had put on, and the MTRR becomes the boot processor's."""
    expect_in(r"^corbel: processor 1 \(APIC id 1\): its TSC was (5000\d\d\d|49999\d\d) ticks ahead: corrected$",
              uneven(lab, None))


@scenario(bound=60, slow=True)
def uneven_processors_for_good(lab):
    """A processor without TSC_ADJUST: the log tells by how much they differ, to the length of one answer."""
    expect_in(r"^corbel: warning: processor 1 \(APIC id 1\): its TSC is (5000\d\d\d|4999\d\d\d) ticks ahead of the boot "
              "processor's, and cannot be corrected$", uneven(lab, "corei5_arrandale_m520"))
