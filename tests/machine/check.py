"""`mode = check`: a report in place of VMs, on processors with and without VT-x."""

from bad_input import start_through
from harness import (FIRMWARE, PATIENCE, corbel_lines, expect, expect_in, host, linux, scenario,
                     wait_for_power_off)


def report(lab, image=None, memory=256, **options):
    """Boot an image whose config has mode = check; returns the report. The machine has to switch itself off."""
    m = lab.start(image or lab.image(host(mode="check")), memory=memory, **options)
    m.read_until("^corbel: What this machine has", FIRMWARE * PATIENCE)
    wait_for_power_off(m)
    text = m.text()
    expect_in("^corbel: the check is done: power off$", text)
    lines = corbel_lines(text)
    end = next(i for i, line in enumerate(lines) if line.startswith("the check is done"))
    lines = lines[next(i for i, line in enumerate(lines) if line.startswith("What this machine has")):end]
    expect(len(lines) <= 33 and max(map(len, lines)) <= 91, f"the report does not fit on a screen:\n{text[-3000:]}")
    return "\n".join(lines) + "\n"


def expect_all(text, *patterns):
    for pattern in patterns:
        expect_in(pattern, text, "the report")


@scenario(bound=60)
def check_haswell(lab):
    """A machine that Corbel runs on; the VM in the config is not started, and its files are not even read."""
    text = report(lab, lab.image(host(mode="check", without="tpr") + linux()))
    expect_all(text, r"^processor     Intel\(R\) Core\(TM\) i7-4770 CPU @ 3\.40GHz, by GenuineIntel$",
               r"^              family 6h, model 3Ch, stepping 3",
                  r"^processors    1, 1 of them enabled; all of these answer$", r"^memory        2[45]\d MiB; firmware leaves 2\d\d MiB",
               r"^clock         TSC at \d+\.\d{3} MHz by ", r"^firmware      UEFI; ACPI tables: (yes|none)",
               r"^serial port   COM1 at 3F8h, 115200 baud, 8N1$", r"^screen        ",
               r"^IOMMU         VT-d \(DMAR table\): no",
               r"^VT-x          there.*; tried: VMXON works$", r"^  EPT leaves up to +1 GiB$",
               r"^  TPR shadow +switched off by 'without': each access to CR8 exits$",
               r"^Corbel would run here\.$")
    said = lab.machines[0].text()
    expect("starts with" not in said and "vmlinuz" not in said, f"it is not a check alone:\n{said[-3000:]}")


@scenario(bound=60)
def check_penryn(lab):
    """VT-x, but of a processor that is too old."""
    expect_all(report(lab, model="core2_penryn_t9600"), r"^processor     Intel\(R\) Core\(TM\)2 Duo",
               r"^VT-x          there", r"^  EPT leaves up to +there is no EPT$",
               r"^Corbel cannot run here: this CPU lacks unrestricted guest mode")


@scenario(bound=60)
def check_ryzen(lab):
    """An AMD processor."""
    expect_all(report(lab, model="ryzen"), r"^processor     AMD Ryzen .* by AuthenticAMD$", r"^VT-x          none$",
               r"^Corbel cannot run here: this is not an Intel CPU")


@scenario(bound=60)
def check_locked(lab):
    """Firmware has locked VT-x: the report says so, and what Corbel would use all the same."""
    image = lab.image(host(mode="check"))
    start_through(image, "LOCKED")
    expect_all(report(lab, image), r"^VT-x          there, but locked by firmware: off$", r"^  TPR shadow +used$",
               r"^Corbel cannot run here: VT-x is switched off and locked by firmware: enable")


@scenario(bound=60)
def check_without_vmx(lab):
    """QEMU's TCG; QEMU's own Intel model has no VT-x there."""
    expect_all(report(lab, kind="qemu", model="Nehalem,-vmx", memory=512), r"by GenuineIntel$",
               r"^firmware      UEFI; ACPI tables: yes$", r"^screen        \d+x\d+$", r"^VT-x          none$",
               r"^Corbel cannot run here: this CPU shows no VT-x \(VMX\)")


@scenario(bound=60)
def check_two_cards(lab):
    """Two graphics cards: the GOP of firmware's console, which draws on both, has no frame buffer; each card's has."""
    expect_all(report(lab, kind="qemu", model="Nehalem,-vmx", memory=512, extra=["-device", "secondary-vga"]),
               r"^screen        \d+x\d+$")
