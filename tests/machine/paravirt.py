"""KVM's paravirtual interfaces (docs/PARAVIRT.md): test guests that use them, rightly and wrongly, and Debian's kernel."""
import re

from guests import run_guests
from harness import (COMMAND, IDLE, NO_VID, PATIENCE, Shell, expect, expect_in, host, linux, scenario, wait_for_power_off)
from monitor import LEAVE, Monitor

GUESTS = ["smp_pv_clock", "smp_pv_steal", "smp_pv_calls", "pv_eoi"]


def pv_guests(vcpus, processors, guests=(), pv="all", **options):
    def run(lab):
        run_guests(lab, guests or GUESTS, f" with {vcpus} vCPUs on {processors}", more=f"cpus = {vcpus}\npv = {pv}",
                   each=20 * processors, cpus=processors, **options)
    run.__doc__ = f"{vcpus} vCPUs on {processors} processors"
    return run


scenario(bound=60, name="pv_2_on_1")(pv_guests(2, 1))
scenario(bound=60, name="pv_2_on_1_without_vid", slow=True)(pv_guests(2, 1, host="without = vid, vpid"))
scenario(bound=30, name="pv_eoi_by_a_bit")(pv_guests(1, 1, ["pv_eoi"], host="without = vid"))
scenario(bound=120, name="pv_4_on_2", slow=True)(pv_guests(4, 2))
# Reloads take time, which smp_pv_steal measures.
scenario(bound=60, name="pv_2_on_1_reloaded", row="reload")(
    pv_guests(2, 1, ["smp_pv_clock", "smp_pv_calls", "pv_eoi"], host="test_reload = 20\nwithout = vid"))


SAID = {
    "clock": ["kvm-clock: Using msrs 4b564d01 and 4b564d00", r"kvm-clock: using sched offset of \d+ cycles",
              "clocksource: Switched to clocksource kvm-clock"],
    "tlb-flush": ["KVM setup pv remote TLB flush"],
    "ipi": ["setup PV IPIs"],
    "unhalt": ["PV spinlocks enabled"],
    "yield": ["setup PV sched yield"],
}


def check_dmesg(dmesg):
    for what in ("WARNING:", r"\bBUG:", "unstable", "backwards", "self-detected stall", "soft lockup"):
        expect(not re.search(what, dmesg), f"dmesg has {what}:\n{dmesg}")


def number(pattern, said):
    return int(expect_in(pattern, said, "stats")[1])


def steal_agrees(s, said):
    """What the guest counts, what it was told, and what the scheduler says."""
    inside = int(s.run("awk '/^cpu / { print $9 }' /proc/stat")) * 10  # of its ticks, 10 ms each
    told = number(r"steal time of 2 vCPUs: (\d+) ms", said)
    minutes, seconds = expect_in(r"^debian: up (?:(\d+):)?(\d+(?:\.\d+)?)(?: s)?,", said, "stats").groups()
    up = int(minutes or 0) * 60 + float(seconds)
    waited = float(expect_in(r"waited for a CPU (\d+\.\d+) %", said, "stats")[1]) * up * 2 * 10
    expect(told <= waited * 1.05 + 100, f"{told} ms were told, and {waited:.0f} waited")
    expect(told > waited / 2 > 0, f"only {told} ms of {waited:.0f} were told")
    expect(told * 0.5 - 100 < inside < told * 1.3 + 300, f"the guest counts {inside} ms, and was told {told}")


@scenario(bound=150, apart=True)
def debian_paravirtualized(lab):
    """Debian's cloud kernel uses each interface that it is offered, over a pause; its steal time is what stats says."""
    m = lab.boot(NO_VID + linux("debian", cmdline=IDLE, cpus=2, pv="all"), memory=512)
    s = Shell(m)
    dmesg = s.run("dmesg", bound=4 * COMMAND)
    for name, lines in SAID.items():
        for line in lines:
            expect_in(line, dmesg, f"{name}: dmesg")
    check_dmesg(dmesg)
    expect_in("kvm-clock", s.run("cat /sys/devices/system/clocksource/clocksource0/available_clocksource"))
    s.run("yes corbel | head -c 300000 > /tmp/f; for i in 1 2 3 4; do sha256sum /tmp/f & done; wait", bound=4 * COMMAND)
    before = float(s.run("cut -d' ' -f1 /proc/uptime"))
    p = Monitor(m)
    p.enter()
    p.run("pause debian")
    said = p.run("stats debian")
    expect_in(r"paravirtual: clock of 2 vCPUs, stable, written \d+ times", said, "stats")
    expect(number(r"(\d+) EOIs without an exit", said) > 100, said)
    expect_in(r"^  pv +all$", p.run("show debian"), "show")
    p.run("resume debian")
    m.send(LEAVE)
    m.read_until(rb"corbel:[^ ]*# ", COMMAND * PATIENCE)
    after = float(s.run("cut -d' ' -f1 /proc/uptime"))
    expect(before <= after, f"the guest's clock went from {before} to {after}")
    steal_agrees(s, said)
    s.poweroff()
    wait_for_power_off(m)


@scenario(bound=150, apart=True)
def debian_paravirtualized_reloaded(lab):
    """The same kernel, saved, wiped and reloaded at random exits."""
    m = lab.boot(host(without="vid", test_reload=200) + linux("debian", cmdline=IDLE, cpus=2, pv="all"), memory=512)
    s = Shell(m, slow=2)
    s.run("yes corbel | head -c 300000 > /tmp/f; for i in 1 2 3 4; do sha256sum /tmp/f & done; wait", bound=8 * COMMAND)
    dmesg = s.run("dmesg", bound=8 * COMMAND)
    check_dmesg(dmesg)
    s.poweroff()
    wait_for_power_off(m)
    expect(int(expect_in(r"^corbel:   state saved, wiped and reloaded (\d+) times", m.text())[1]) > 20, "few reloads")


@scenario(bound=60, slow=True)
def debian_without_paravirtualization(lab):
    """Without `pv` nothing is different: the signature, and no feature."""
    m = lab.boot(NO_VID + linux("debian", cmdline=IDLE, cpus=2, pv="none"), memory=512)
    s = Shell(m)
    dmesg = s.run("dmesg", bound=4 * COMMAND)
    expect_in("PV spinlocks disabled", dmesg, "dmesg")
    for lines in SAID.values():
        for line in lines:
            expect(not re.search(line, dmesg), f"dmesg has {line}")
    s.poweroff()
    wait_for_power_off(m)
