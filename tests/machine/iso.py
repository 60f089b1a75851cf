"""`make image OUT=x.iso`: the hybrid ISO boots as a CD and as a stick."""
import os
import subprocess

from harness import FIRMWARE, PATIENCE, expect, expect_in, scenario, vm, wait_for_power_off
from tools import make

NO_VMX = r"^corbel: (this CPU has no VT-x \(Intel VMX\)|Corbel needs an Intel processor with VT-x)"


def make_iso(lab, config):
    """An ISO of this config, and an empty disk for a machine whose only boot medium is the CD."""
    iso = lab.path("corbel.iso")
    p = make("image", f"CONFIG={lab.file('corbel.conf', config)}", f"OUT={iso}")
    expect(p.returncode == 0 and os.path.exists(iso), f"make image: {p.stdout}")
    return iso, lab.file("empty.img", bytes(1 << 20))


@scenario(bound=90)
def iso_without_vmx(lab):
    """QEMU's TCG boots it as a CD and, written to a disk, as that; its files also stand in the ISO's own file system,
    and the same input gives the same image."""
    config = vm("a", lab.guest("cpuid_signature"), memory="16M")
    iso, empty = make_iso(lab, config)
    with open(iso, "rb") as f:
        first = f.read()
    m = lab.start(empty, kind="qemu", memory=512, extra=["-cdrom", iso])
    m.read_until(NO_VMX, 2 * FIRMWARE * PATIENCE)
    m.kill()
    m = lab.start(iso, kind="qemu", memory=512)
    m.read_until(NO_VMX, 2 * FIRMWARE * PATIENCE)
    m.kill()
    names = subprocess.run(["xorriso", "-indev", iso, "-find", "/"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL, check=True, text=True).stdout
    for name in ("/EFI/BOOT/BOOTX64.EFI", "/corbel/corbel.conf", "/corbel/cpuid_signature"):
        expect(f"'{name}'" in names, f"the ISO lacks {name}:\n{names}")
    with open(make_iso(lab, config)[0], "rb") as f:
        expect(f.read() == first, "the same input gave another ISO")


@scenario(bound=60)
def iso_runs_a_guest(lab):
    """Bochs boots it as a CD, and a VM runs from its files."""
    iso, empty = make_iso(lab, vm("a", lab.guest("cpuid_signature"), memory="16M"))
    m = lab.start(empty, memory=256, extra=[f"ata0-slave: type=cdrom, path={iso}, status=inserted"])
    wait_for_power_off(m)
    expect_in(r"^PASS cpuid_signature$", m.text())
