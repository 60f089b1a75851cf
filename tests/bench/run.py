#!/usr/bin/env python3
"""Measure Corbel in Bochs, where time counts instructions and repeats exactly, and write docs/NUMBERS.md.

usage: tests/bench/run.py BUILD COUNT_BUILD [--quick]

BUILD and COUNT_BUILD are make's build folders: Corbel as it is, and Corbel that counts VMREADs, VMWRITEs and MSR
accesses. The figures go into docs/NUMBERS.md between its markers and to standard output. --quick leaves Linux out.
"""
import json
import os
import re
import socket
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools"))
import disks  # noqa: E402
from machine import Machine  # noqa: E402

# What the figures of KVM in the same emulator were measured with (docs/NUMBERS.md).
MODEL, IPS = "corei7_skylake_x", 400_000_000

# name in exits.c, what it is, KVM's figure, what Corbel aims at (with virtual-interrupt delivery, without)
ROWS = [
    ("cpuid_0", "CPUID leaf 0", "1102", 130, 130),
    ("cpuid_1", "CPUID leaf 1", "", 130, 130),
    ("cpuid_7", "CPUID leaf 7", "", 130, 130),
    ("cpuid_b", "CPUID leaf Bh", "", 130, 130),
    ("cpuid_d", "CPUID leaf Dh", "", 130, 130),
    ("cpuid_unknown", "CPUID, a leaf that does not exist", "", 130, 130),
    ("vmcall", "VMCALL, unknown", "1130", 110, 110),
    ("rdmsr_efer", "RDMSR IA32_EFER", "1162", None, None),
    ("rdmsr_misc_enable", "RDMSR IA32_MISC_ENABLE", "1212", None, None),
    ("wbinvd", "WBINVD", "964", None, None),
    ("port_read_uart", "port read, UART", "9278", 250, 250),
    ("port_write_uart", "port write, UART", "1386 (kernel)", 250, 250),
    ("port_read_pm_timer", "port read, PM timer", "9466", 250, 250),
    ("mmio_write_ioapic_select", "MMIO write, I/O APIC IOREGSEL", "8043", 500, 500),
    ("mmio_read_ioapic_window", "MMIO read, I/O APIC IOWIN", "8043", 500, 500),
    ("mmio_write_ioapic_window", "MMIO write, I/O APIC redirection entry", "8043", 500, 500),
    ("deadline_due_taken", "TSC deadline already due, and taken", "5389", 350, 350),
    ("deadline_future_set", "TSC deadline in the future, set", "", None, None),
    ("deadline_future_taken", "TSC deadline in the future, set and taken", "", 500, 500),
    ("self_ipi_nop", "self-IPI (x2APIC 83Fh), sti; nop", "5760", 0, 650),
    ("self_ipi_icr_nop", "self-IPI by ICR, sti; nop", "", None, 650),
    ("self_ipi_hlt", "self-IPI, sti; hlt", "6988", None, None),
    ("write_tmict", "WRMSR x2APIC TMICT", "1418", None, None),
    ("rdtsc", "RDTSC", "no exit", None, None),
    ("mov_cr3", "MOV to CR3", "no exit", None, None),
    ("write_memory", "MOV to memory", "no exit", None, None),
]
# VM exits that must not cost an instruction more while nobody traces, debugs or watches: more is an error.
LIMITS = {"cpuid_0": 131}
# name in vcpus.c and what it is
SCHEDULING = [
    ("switch", "vCPU switch: from the last instruction of one to the first of the next"),
    ("tick_running", "timer tick of a vCPU that runs: from the deadline to the handler"),
    ("tick_halted", "timer tick that ends a halt: the same"),
]
SLEEPERS, SPINNERS = 100, 8
LIVES = [("4 MiB, 1 vCPU", {"memory": "4M"}), ("4 MiB, 4 vCPUs", {"memory": "4M", "cpus": 4}),
         ("256 MiB, 1 vCPU", {"memory": "256M"})]
VARIANTS = [("", "as it is"), ("vid", "without vid"), ("tpr", "without tpr")]


def sh(*command):
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def image_of(build, config, folder):
    """A boot disk that starts that config, with large leaves whatever Bochs' model is."""
    path = os.path.join(folder, "corbel.conf")
    image = os.path.join(folder, "disk.img")
    with open(path, "w") as f:
        f.write(config.replace("[host]\n", "[host]\nsmall_executable = off\n", 1))
    sh(os.path.join(ROOT, "tools/image"), os.path.join(build, "BOOTX64.EFI"), os.path.join(ROOT, "build/confscan"),
       path, image)
    return image


def run(build, config, folder, timeout, memory=512, until=None, meanwhile=lambda m: None, **options):
    """COM1's text of one machine that starts that config, to its end or until a line comes."""
    image = image_of(build, config, folder)
    with Machine(image, kind="bochs", model=MODEL, ips=IPS, memory=memory, **options) as m:
        m.start()
        meanwhile(m)
        if until is not None:
            m.read_until(until, timeout)
        else:
            m.wait(timeout)
        return m.text()


def vm(name, guest, **keys):
    return f"[vm {name}]\nkernel = {ROOT}/build/guests/{guest}\n" + "".join(f"{k} = {v}\n" for k, v in keys.items())


def scheduling(build, folder, beside="", until="^PASS vcpus", **options):
    """What tests/bench/vcpus.c measures beside other VMs: {name: (least, median, most)}."""
    text = run(build, "[host]\nattach = bench\n" + beside + vm("bench", "vcpus", memory="16M", cpus=2), folder, 900,
               until=until, **options)
    return {n: tuple(int(x) for x in v.split()) for n, v in re.findall(r"^sample (\w+) (\d+ \d+ \d+)$", text, re.M)}


def lives(build, folder):
    """Of each VM of LIVES the second start and end, which find the heap as the first has left it: ticks to make it, of
    which to clear its RAM; KiB beside its RAM; ticks to take it down."""
    prompt, names = "corbel> ", [f"vm{n}" for n in range(len(LIVES))]

    def session(m):
        m.read_until(prompt, 300)
        for name in names:
            for command in 2 * (f"start {name}", f"kill {name}") + (f"show {name}",):
                m.send(command + "\r")
                m.read_until(f"{command}\r\n(?s:.*?)\r{prompt}", 60)

    config = "".join(vm(name, "asleep", autostart="no", **keys) for name, (_, keys) in zip(names, LIVES))
    text = run(build, "[host]\nattach = monitor\nlog = error\n" + config, folder, 60, until="", meanwhile=session)
    made = re.findall(r"made in (\d+) ticks, (\d+) of them to clear its RAM; (\d+) KiB", text)
    ended = re.findall(r"taken down in (\d+) ticks", text)
    return [(what, *m, e) for (what, _), m, e in zip(LIVES, made, ended, strict=True)]


def debugged(m):
    """A debugger that connects, lets the VM go on, and stays."""
    def packet(payload):
        return b"$" + payload + b"#%02x" % (sum(payload) & 255)

    m.read_until("gdb: a debugger may connect", 300)
    m.debugger = socket.create_connection(("127.0.0.1", m.gdb_port))
    m.debugger.sendall(packet(b"?"))
    m.debugger.settimeout(60)
    got = b""
    while b"$T" not in got:
        got += m.debugger.recv(4096)
    m.debugger.sendall(b"+" + packet(b"vCont;c"))


def exits(build, without, folder, host="", keys="", **options):
    config = "[host]\n" + host + (f"without = {without}\n" if without else "") + \
             f"[vm bench]\nkernel = {ROOT}/build/guests/exits\nmemory = 16M\n{keys}"
    text = run(build, config, folder, 300, **options)
    costs = {n: int(v) for n, v in re.findall(r"^bench (\w+) (\d+)$", text, re.M)}
    counts = {n: tuple(int(x) for x in v.split()) for n, v in re.findall(r"^count (\w+) (-?\d+ -?\d+ -?\d+)$", text, re.M)}
    if "PASS exits" not in text:
        raise SystemExit(f"the bench guest did not finish\n{text[-2000:]}")
    return costs, counts


def linux(build, folder, without=""):
    sh("nasm", "-f", "elf64", "tests/bench/init.asm", "-o", os.path.join(folder, "init.o"))
    sh("ld", "-nostdlib", "-static", "-o", os.path.join(folder, "init"), os.path.join(folder, "init.o"))
    sh("tools/initramfs", os.path.join(folder, "initrd"), f"bench_init={folder}/init")
    config = "[host]\n" + (f"without = {without}\n" if without else "") + \
             f"[vm linux]\nkernel = {ROOT}/build/default/vmlinuz\ninitrd = {folder}/initrd\n" \
             "cmdline = console=ttyS0 quiet rdinit=/bench_init\nmemory = 256M\n"
    return run(build, config, folder, 900)


def table_of_exits(plain, observed, counted):
    lines = ["| exit | Corbel | without vid | without tpr | trace = all | gdb attached | watched | aim | KVM | VMREAD | VMWRITE | MSR |",
             "|---|---|---|---|---|---|---|---|---|---|---|---|"]
    for name, what, kvm, aim, aim_plain in ROWS:
        cells = [str(plain[v][0].get(name, "-")) for v, _ in VARIANTS] + [str(costs.get(name, "-")) for costs, _ in observed]
        counts = counted[1].get(name)
        target = "" if aim is None and aim_plain is None else \
            str(aim) if aim == aim_plain else f"{'-' if aim is None else 'no exit' if aim == 0 else aim} / {aim_plain}"
        lines.append(f"| {what} | {' | '.join(cells)} | {target} | {kvm} | " +
                     (" | ".join(str(c) for c in counts) if counts else "- | - | -") + " |")
    return lines


def table_of_linux(text):
    rows = re.findall(r"^corbel:   (\S[^\n]*?)\s{2,}(\d+)\s+(\d+)%$", text, re.M)
    total = re.search(r"VM exits: (\d+)", text)
    time = re.search(r"([\d.]+)% of the rest in Corbel \((\d+) ticks of (\d+)\)", text)
    memory = re.search(r"Corbel itself (\d+) KiB", text)
    ept = re.search(r"(\d+) KiB of EPT", text)
    start = re.search(r"start: (\d+) ticks from the hand-over to the first instruction: (\d+) clearing RAM, (\d+) loading", text)
    if not (total and time and memory and start and ept):
        raise SystemExit(f"Linux did not get to init\n{text[-3000:]}")
    lines = [f"- VM exits from kernel entry to init: **{total[1]}** (aim: under 3000; KVM + QEMU: 12647)",
             f"- root mode, exit to entry, halts excluded: **{time[2]} ticks of {time[3]}, {time[1]} %** (aim: under 0.2 %)",
             f"- memory that Corbel itself uses on a 512 MiB machine: **{memory[1]} KiB** (aim: under 2048); EPT {ept[1]} KiB",
             f"- from firmware's hand-over to the guest's first instruction: {start[1]} ticks, of which clearing guest RAM "
             f"{start[2]} and copying kernel and initrd {start[3]}: "
             f"**{int(start[1]) - int(start[2])} without clearing** (aim: under 20 M)",
             "", "| exit reason | number | share |", "|---|---|---|"]
    lines += [f"| {what} | {n} | {share} % |" for what, n, share in rows]
    return lines


def three(samples, name):
    return " / ".join(str(n) for n in samples[name]) if name in samples else "-"


def table_of_scheduling(build, folder):
    asleep = "".join(vm(f"asleep{n}", "asleep", memory="4M") for n in range(SLEEPERS))
    spinning = "".join(vm(f"spin{n}", "spin", memory="4M") for n in range(SPINNERS))
    print("bench: vCPUs, alone", file=sys.stderr, flush=True)
    alone = scheduling(build, folder)
    print(f"bench: vCPUs, beside {SLEEPERS} VMs that sleep", file=sys.stderr, flush=True)
    beside = scheduling(build, folder, asleep, memory=1024)
    print("bench: vCPUs, on two processors", file=sys.stderr, flush=True)
    two = scheduling(build, folder, cpus=2)
    print(f"bench: vCPUs, beside {SPINNERS} VMs that spin", file=sys.stderr, flush=True)
    busy = scheduling(build, folder, spinning, "^sample tick_halted .*\n")
    lines = [f"| least / median / most of 200, in ticks | no other VM | {SLEEPERS} other VMs, asleep |", "|---|---|---|"]
    lines += [f"| {what} | {three(alone, name)} | {three(beside, name)} |" for name, what in SCHEDULING]
    lines += ["", "| IPI to the other vCPU and back | on one processor | on two |", "|---|---|---|"]
    lines += [f"| {what} | {three(alone, name)} | {three(two, name)} |"
              for name, what in (("ipi_halted", "both wait in HLT"), ("ipi_spinning", "both spin, with PAUSE"))]
    least, median, most = busy["tick_halted"]
    lines += ["", f"- wake-up beside {SPINNERS} VMs that spin on one processor, from the sleeper's deadline to its handler: "
              f"**{least} / {median} / {most}** ticks"]
    return lines


def table_of_lives(build, folder):
    print("bench: VMs that come and go", file=sys.stderr, flush=True)
    lines = ["| VM | made and started | of which clearing its RAM | taken down | memory beside its RAM |", "|---|---|---|---|---|"]
    for what, made, clear, kib, ended in lives(build, folder):
        lines.append(f"| {what} | {made} | {clear} | {ended} | {kib} KiB |")
    return lines


def table_of_disks(build, folder):
    with open(os.path.join(folder, "bench.img"), "wb") as f:
        f.truncate(disks.SIZE)
    partition = f"[disk bench]\nsize = {disks.SIZE >> 20}M\n"
    columns, linux_columns = [], []
    for what, source, more in (("Corbel, `ram:`", "ram:bench.img", ""), ("Corbel, `part:` on IDE", "part:bench", partition)):
        print(f"bench: disks, {what}", file=sys.stderr, flush=True)
        columns.append((what, disks.of_corbel(run(build, disks.config(source) + more, folder, 900))))
        print(f"bench: disks, Linux in {what}", file=sys.stderr, flush=True)
        linux_columns.append((what, disks.of_linux(run(build, disks.linux_config(folder, source) + more, folder, 1800))))
    what = "Corbel under KVM, `part:` on virtio-blk"
    print(f"bench: disks, {what}", file=sys.stderr, flush=True)
    columns.append((what, disks.nested(folder, image_of(build, disks.config("part:bench") + partition, folder),
                                       os.path.join(ROOT, "build/nested/disks-corbel.txt"))))
    # They are the same each time, and take long: once for a build folder.
    kept = os.path.join(ROOT, "build/nested/disks.json")
    if not os.path.exists(kept):
        print("bench: disks, under KVM", file=sys.stderr, flush=True)
        kvm = disks.under_kvm(folder, os.path.join(ROOT, "build/nested/disks.txt"))
        with open(kept, "w", encoding="ascii") as f:
            json.dump(kvm, f)
    with open(kept, encoding="ascii") as f:
        kvm = json.load(f)
    columns += [("KVM + QEMU, RAM disk", kvm["none"]), ("the same, iothread", kvm["iothread"])]
    return disks.table(columns) + [""] + disks.linux_table(linux_columns)


def grown(costs):
    """What costs more than it may, one sentence each."""
    return [f"{name} costs {costs[name]} instructions, and may cost {limit}" for name, limit in LIMITS.items()
            if costs.get(name, limit + 1) > limit]


def main():
    build, count_build = (os.path.abspath(p) for p in sys.argv[1:3])
    quick = "--quick" in sys.argv
    out = [f"Bochs 2.7, `cpu: model={MODEL}, ips={IPS}`, 1 CPU, 512 MiB, OVMF.", ""]
    with tempfile.TemporaryDirectory(prefix="corbel-bench-") as folder:
        plain = {}
        for without, what in VARIANTS:
            print(f"bench: exits, {what}", file=sys.stderr, flush=True)
            plain[without] = exits(build, without, folder)
        print("bench: exits, traced", file=sys.stderr, flush=True)
        traced = exits(build, "", folder, "trace = all\n")
        print("bench: exits, under a debugger that does nothing", file=sys.stderr, flush=True)
        attached = exits(build, "", folder, "gdb = com2\n", "paused = yes\n", gdb=0, meanwhile=debugged)
        print("bench: exits, watched", file=sys.stderr, flush=True)
        watched = exits(build, "", folder, keys="watch = cr3 count\nwatch = write phys:a00000+4K count\n")
        print("bench: exits, counting accesses", file=sys.stderr, flush=True)
        counted = exits(count_build, "", folder)
        out += table_of_exits(plain, [traced, attached, watched], counted)
        out += [""] + table_of_scheduling(build, folder) + [""] + table_of_lives(build, folder)
        out += [""] + table_of_disks(build, folder)
        if not quick:
            print("bench: Debian's cloud kernel to init", file=sys.stderr, flush=True)
            out += [""] + table_of_linux(linux(build, folder))
    print("\n".join(out))
    path = os.path.join(ROOT, "docs/NUMBERS.md")
    with open(path) as f:
        text = f.read()
    begin, end = "<!-- bench: begin -->", "<!-- bench: end -->"
    head, _, rest = text.partition(begin)
    tail = rest.partition(end)[2]
    if not quick:
        with open(path, "w") as f:
            f.write(head + begin + "\n" + "\n".join(out) + "\n" + end + tail)
    errors = grown(plain[""][0])
    for error in errors:
        print(f"bench: error: {error}", file=sys.stderr)
    return bool(errors)


sys.exit(main())
