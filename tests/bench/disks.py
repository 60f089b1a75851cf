"""What a disk request costs: tests/bench/disk.c under Corbel, and under KVM + QEMU in the same emulator.

Each kind is run in two VMs, with few runs and with many. What the one has more exits than the other, the runs have cost
that it has more. Linux' own driver under Corbel beside it: what a VM takes that reads, or writes, more than one that only
starts and ends.
"""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests/nested"))
import outer  # noqa: E402

# name in disk.c, what it is, requests of a run
KINDS = [
    ("read_1", "4 KiB read, one at a time", 1),
    ("write_1", "4 KiB written, one at a time", 1),
    ("read_32", "4 KiB read, 32 at a time", 32),
    ("write_32", "4 KiB written, 32 at a time", 32),
    ("read_128k", "128 KiB read, one after the other", 1),
    ("write_128k", "128 KiB written, one after the other", 1),
    ("flush", "flush", 1),
]
RUNS = (32, 160)
SIZE = 16 << 20
CMDLINE = "console=ttyS0,115200 quiet tsc_early_khz=400000 lpj=1600000 tsc=reliable cryptomgr.notests"


def config(source):
    """A VM for each kind and number of runs, one after the other, on that disk."""
    vms = "".join(f"[vm {kind}-{runs}]\nkernel = {ROOT}/build/guests/disk\nmemory = 16M\ndisk = {source}\n"
                  f"cmdline = {kind} {runs}\n" for kind, _, _ in KINDS for runs in RUNS)
    return "[host]\nstart = in-turn\n" + vms


# Of Linux
LINUX_KINDS = [("read", "4 KiB read, one at a time"), ("write", "4 KiB written, one at a time")]
LINUX_RUNS = 1000
LINUX_MODULES = ("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_blk")


def linux_config(folder, source):
    """The same for Linux, with an initramfs in that folder: a VM that starts and ends, and one for each kind."""
    modules = os.path.join(ROOT, "build/disks/modules")
    subprocess.run([os.path.join(ROOT, "tools/initramfs"), os.path.join(folder, "initrd"), f"bench={ROOT}/tests/bench/disk_init",
                    *(f"modules/{m}.ko={modules}/{m}.ko" for m in LINUX_MODULES)], check=True, stdout=subprocess.DEVNULL)
    return "[host]\nstart = in-turn\n" + "".join(
        f"[vm linux-{kind}]\nkernel = {ROOT}/build/disks/vmlinuz\ninitrd = {folder}/initrd\nmemory = 128M\ndisk = {source}\n"
        f"cmdline = console=ttyS0 quiet cryptomgr.notests=1 rdinit=/bench bench_kind={kind} bench_runs={LINUX_RUNS}\n"
        for kind in ("none", *(k for k, _ in LINUX_KINDS)))


def of_linux(text):
    """{kind: (exits of a request, ticks in Corbel)}"""
    took = {}
    for kind in ("none", *(k for k, _ in LINUX_KINDS)):
        said = re.search(rf"^bench: {kind} done.*?^corbel: linux-{kind}: ended after .*?in Corbel \((\d+) ticks .*?VM exits: (\d+)", text,
                         re.M | re.S)
        if not said:
            raise SystemExit(f"Linux did not come to its end: {kind}\n{text[-3000:]}")
        took[kind] = int(said[2]), int(said[1])
    return {kind: tuple((n - idle) / LINUX_RUNS for n, idle in zip(took[kind], took["none"])) for kind, _ in LINUX_KINDS}


def cells(samples, exits):
    """{kind: (exits of a request, ticks outside of the guest: least, median, most)}"""
    out = {}
    for kind, _, requests in KINDS:
        few, many = (int(exits[kind, str(runs)]) for runs in RUNS)
        out[kind] = ((many - few) / (RUNS[1] - RUNS[0]) / requests,
                     *(round(int(n) / requests) for n in samples[kind, str(RUNS[1])].split()))
    return out


def of_corbel(text):
    samples, exits = {}, {}
    for name, part in re.findall(r"^corbel: (\w+-\d+): ended after (.*?VM exits: \d+)", text, re.M | re.S):
        exits[tuple(name.split("-"))] = re.search(r"VM exits: (\d+)", part)[1]
    said = re.findall(r"sample (\w+) (\d+ \d+ \d+)", text)
    for at, (kind, numbers) in enumerate(said):
        samples[kind, str(RUNS[at % len(RUNS)])] = numbers
    return cells(samples, exits)


def under_kvm(folder, log):
    """{"none": cells, "iothread": cells}: where QEMU's main loop looks after the disk, and where a thread does."""
    for name, words in (("kinds", [k for k, _, _ in KINDS]), ("runs", [str(n) for n in RUNS])):
        with open(os.path.join(folder, name), "w", encoding="ascii") as f:
            f.write(" ".join(words) + "\n")
    files = {"/kinds": f"{folder}/kinds", "/runs": f"{folder}/runs", "/disk.elf": f"{ROOT}/build/guests/disk.elf"}
    for rom in ("/usr/share/seabios/bios-256k.bin", "/usr/share/qemu/pvh.bin", "/usr/share/qemu/kvmvapic.bin"):
        files["/usr/share/qemu/" + os.path.basename(rom)] = rom
    disc = outer.cd(folder, os.path.join(ROOT, "tests/bench/kvm_init"), files, CMDLINE)
    with outer.machine(disc, 640, log) as m:
        m.start()
        m.read_until("^outer: done", 3600)
        text = m.text()
    out = {}
    for thread in ("none", "iothread"):
        samples, exits = {}, {}
        for kind, runs, n, said in re.findall(rf"^outer: {thread} (\w+) (\d+) exits (\d+)\r?\n((?:outer: (?!none|iothread|done).*\r?\n)*)",
                                              text, re.M):
            exits[kind, runs] = n
            samples[kind, runs] = re.search(r"sample \w+ (\d+ \d+ \d+)", said)[1]
        out[thread] = cells(samples, exits)
    return out


def nested(folder, image, log):
    """Corbel under KVM, on a virtio disk of QEMU's: that image, with what config() says. Exits alone mean something there."""
    files = {file: file for file in ("/usr/share/ovmf/OVMF.fd", "/usr/share/qemu/kvmvapic.bin")}
    files["/corbel.img"] = image
    disc = outer.cd(folder, os.path.join(ROOT, "tests/nested/init"), files, CMDLINE + " mitigations=off init_on_alloc=0")
    with outer.machine(disc, 1280, log) as m:
        m.start()
        m.read_until("^outer: QEMU ended", 3600)
        text = m.text()
    return {kind: n[:1] for kind, n in of_corbel(text).items()}


def cell(exits, *ticks):
    return f"{exits:.2f}" + ("; " + " / ".join(str(n) for n in ticks) if ticks else "")


def table(columns):
    """Lines of Markdown; columns are [(what, cells)]."""
    lines = ["| of one request: exits; least / median / most ticks outside of the guest | " +
             " | ".join(what for what, _ in columns) + " |", "|---|" + "---|" * len(columns)]
    for kind, what, _ in KINDS:
        lines.append(f"| {what} | " + " | ".join(cell(*c[kind]) for _, c in columns) + " |")
    return lines


def linux_table(columns):
    """The same for Linux."""
    lines = ["| of one request of Linux' virtio-blk, the mean of 1000: exits; ticks in Corbel | " + " | ".join(what for what, _ in columns) +
             " |", "|---|" + "---|" * len(columns)]
    for kind, what in LINUX_KINDS:
        lines.append(f"| {what} | " + " | ".join("{:.2f}; {:.0f}".format(*c[kind]) for _, c in columns) + " |")
    return lines
