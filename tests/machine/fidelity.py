"""The test guests on the emulated PC itself, without Corbel: what they say there and do not say in a VM has to be in
docs/FIDELITY.md, with the reason; and what is there has to be so."""
import glob
import os
import re

from bochs3 import bochs_3
from harness import BUILD, PATIENCE, TOP, Failure, MachineError, scenario

FIDELITY = os.path.join(TOP, "docs", "FIDELITY.md")
BIOS = "/usr/share/bochs/BIOS-bochs-latest"
# As on silicon: a triple fault resets, and an MSR that does not exist faults.
CPU = ", reset_on_triple_fault=1, ignore_bad_msrs=0"
CYLINDER = 16 * 63 * 512


def tables():
    """docs/FIDELITY.md: [(guest, what it says, emulators)] of the differences, and the guests that have no business
    outside of a VM."""
    differ, inside, kind = [], set(), None
    with open(FIDELITY, encoding="utf-8") as f:
        for line in f:
            cells = [c.strip() for c in line.strip().strip("|").split("|")] if line.startswith("|") else None
            if not cells:
                kind = None
            elif not kind:
                kind = cells[:-1]
            elif kind == ["guest", "says", "in"]:
                differ.append((cells[0], cells[1].strip("`"), cells[2]))
            elif kind == ["guest"] and not cells[0].startswith("---"):
                inside |= set(cells[0].split(", "))
    return differ[1:], inside  # the first row is dashes


def disk(lab, guest):
    """A disk whose boot sector starts the guest; Bochs wants whole cylinders."""
    data = b""
    for name in ("bios", guest):
        with open(os.path.join(BUILD, "guests", name), "rb") as f:
            data += f.read()
    return lab.file("disk.img", data + bytes(-len(data) % CYLINDER))


def run_bare(lab, guest, **options):
    """What the guest finds different there: a list, empty where everything is as in a VM."""
    cpus = "1:4:1" if guest.startswith("smp_") else 1
    m = lab.start(disk(lab, guest), memory=64, firmware=[BIOS], cpu=CPU, cpus=cpus, **options)
    end = []
    try:
        m.read_until(rf"^(PASS|FAIL) {guest}\b[^\r\n]*\r?\n", 30 * PATIENCE)
    except MachineError as e:
        panic = re.search(r">>PANIC<< (.*)", str(e))
        end = [f"Bochs ends: {panic[1].strip()}" if panic else "nothing more"]
    finally:
        m.kill()
    return re.findall(rf"^(?:DIFF|FAIL) {guest}: (.*)$", m.text(), re.MULTILINE) + end


def same(expected, said):
    """An ellipsis stands for anything, such as a number that is another one each time."""
    return len(expected) == len(said) and all(
        re.fullmatch(".*".join(map(re.escape, e.split("…"))), s) for e, s in zip(expected, said))


def listed(differences):
    return "\n".join(f"    {d}" for d in differences) or "    nothing"


def compare(lab, **options):
    differ, inside = tables()
    guests = {os.path.basename(path)[:-2] for path in glob.glob(os.path.join(TOP, "tests", "guests", "*.c"))}
    unknown = ({guest for guest, _, _ in differ} | inside) - guests
    if unknown:
        raise Failure(f"docs/FIDELITY.md names guests that do not exist: {', '.join(sorted(unknown))}")
    for guest in sorted(guests - inside):
        said = run_bare(lab, guest, **options)
        emulator = lab.machines[-1].emulator()
        expected = [what for name, what, where in differ if name == guest and emulator.split()[-1] in where]
        lab.verdict(f"guest {guest} without Corbel in {emulator}", None if same(expected, said) else
                    f"it finds different:\n{listed(said)}\ndocs/FIDELITY.md has:\n{listed(expected)}")


@scenario(bound=150, processors=True, row="fidelity")
def fidelity(lab):
    """The test guests on Bochs' PC without Corbel."""
    compare(lab)


@scenario(bound=150, processors=True, row="fidelity")
def bochs3_fidelity(lab):
    """And on Bochs 3.0's."""
    compare(lab, bochs=bochs_3())
