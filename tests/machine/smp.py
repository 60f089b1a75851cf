"""Several vCPUs, several VMs and several processors: who runs, who gets how much, who is reached, who is disturbed."""
import os
import random
import re
import subprocess
import time

from guests import run_guests
from harness import (BOOT, BUILD, COMMAND, FIRMWARE, IDLE, PATIENCE, TOP, Shell, expect, expect_in, host, linux, scenario, vm,
                     wait_for_power_off)
from monitor import PROMPT, Monitor
from shell import prove, random_initrd

SLOW, SOAK = {"slow": True}, {"soak": True}
SMP = ["smp_topology", "smp_ping", "smp_yield", "smp_lock", "smp_touch", "smp_tsc", "smp_init", "smp_absent", "smp_self_init",
       "smp_eip_wrap", "smp_reset",
       "smp_nmi", "smp_broadcast", "smp_state", "smp_pic", "smp_apic_base", "smp_former_boot", "smp_devices"]

# --- tiny guests with several vCPUs ---


def smp_guests(vcpus, processors, guests=(), **options):
    def run(lab):
        run_guests(lab, guests or SMP, f" with {vcpus} vCPUs on {processors}", more=f"cpus = {vcpus}", each=20 * processors,
                   cpus=processors, **options)
    run.__doc__ = f"{vcpus} vCPUs on {processors} processors"
    return run


for _vcpus, _processors, _when in ((2, 1, {}), (4, 2, {}), (4, 1, SLOW), (2, 2, SLOW), (4, 4, SOAK), (3, 4, SOAK),
                                   (8, 4, SOAK), (8, 8, SLOW)):
    scenario(bound=60 * _processors, **_when, name=f"smp_{_vcpus}_on_{_processors}",
             row="guests")(smp_guests(_vcpus, _processors))
scenario(bound=150, processors=True, name="smp_4_on_2_without_vid", row="without vid")(
    smp_guests(4, 2, host="without = vid"))
# Without the preemption timer Bochs cannot take a processor from a vCPU that loops with interrupts off, as those of
# smp_init do (docs/CAVEATS.md).
scenario(bound=150, processors=True, name="smp_4_on_2_without_all", row="without all")(
    smp_guests(4, 2, [g for g in SMP if g != "smp_init"],
               host="without = tpr, preempt, ept-2m, vpid, invpcid, rdtscp, xsaves"))
scenario(bound=150, processors=True, name="smp_4_on_2_without_all_but_preempt", row="without all")(
    smp_guests(4, 2, host="without = tpr, ept-2m, vpid, invpcid, rdtscp, xsaves"))


# Reloads take time, which two of them measure. Without virtual-interrupt delivery EPT is dropped now and then, too. Those
# of smp_nmi often come between an NMI and its IRET, and the next vCPU on that processor is then deaf to NMIs in Bochs 2.7
# (docs/CAVEATS.md): that is for 3.0 (bochs3.py).
RELOADED = [g for g in SMP if g not in ("smp_ping", "smp_yield", "smp_nmi")]
scenario(bound=100, name="smp_2_on_1_reloaded", row="reload")(smp_guests(2, 1, RELOADED, host="test_reload = 20"))
scenario(bound=100, slow=True, name="smp_2_on_1_reloaded_without_vid", row="reload")(
    smp_guests(2, 1, RELOADED, host="test_reload = 20\nwithout = vid"))
scenario(bound=200, soak=True, name="smp_4_on_2_reloaded", row="reload")(smp_guests(4, 2, RELOADED, host="test_reload = 20"))


@scenario(bound=150, slow=True)
def locks_of_a_board(lab):
    """Eight vCPUs on four processors in UART, RTC and I/O APIC at once; `make debug`'s Corbel sees no lock out of order."""
    subprocess.run(["make", "-C", TOP, "debug"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    run_guests(lab, ["smp_devices"], " with 8 vCPUs on 4, debug build", more="cpus = 8", each=100, cpus=4,
               efi=os.path.join(BUILD, "debug", "BOOTX64.EFI"))


@scenario(bound=60)
def halts_on_another_processor(lab):
    """A guest's timer wakes it on a processor that nothing else wakes."""
    run_guests(lab, ["hlt_timer", "tsc_deadline"], " on processor 1", more="affinity = 1", cpus=2)


# --- many VMs, and somebody at the monitor ---


class Host(Monitor):
    """A machine at whose prompt somebody sits."""

    def __init__(self, lab, config, keys=None, **options):
        super().__init__(lab.boot(host(attach="monitor", **(keys or {})) + config, **options))
        self.m.read_until(PROMPT, FIRMWARE * PATIENCE)

    def console(self, name, typed, pattern, bound=COMMAND):
        """What a VM says to what is typed at its console; back at the prompt."""
        self.m.send(f"console {name}\r")
        self.m.read_until(rb"corbel: console of %s: Ctrl-\] for the monitor\r\n" % name.encode(), COMMAND * PATIENCE)
        self.m.send(typed)
        self.m.read_until(pattern, bound * PATIENCE)
        self.enter()

    def reach(self, *names):
        """Each of these VMs, which run tests/guests/answer.c, answers."""
        for name in names:
            key = random.choice("abcdefghijklmnop")
            self.console(name, key, rf"\d+: '{key}'\r\n".encode())

    def shares(self):
        """What `top` shows of one second: {name: percent of one processor}."""
        self.m.send("top\r")
        for _ in range(3):  # the first shows nothing yet, the second began with it
            screen = self.m.read_until(rb"\x1b\[H(?s:(.*?))\x1b\[J", COMMAND * PATIENCE)[1].decode()
        self.m.send("q")
        self.m.read_until(PROMPT, COMMAND * PATIENCE)
        return {name: float(share) for name, share in re.findall(r"^(\S+) +running +(\d+\.\d) ", screen, re.MULTILINE)}

    def end(self, command="poweroff now\r"):
        self.m.send(command)
        expect(self.m.wait(BOOT * PATIENCE), "the machine did not switch itself off")


def tiny(lab, name, guest="answer", **keys):
    return vm(name, lab.guest(guest), **{"memory": "16M", **keys})


@scenario(bound=60)
def shares_by_weight(lab):
    """Three VMs that spin on one processor get it by their weights; one with a cap gets that and no more."""
    p = Host(lab, "".join(tiny(lab, f"w{w}", "spin", weight=100 * w) for w in (1, 2, 4)))
    for name in ("w1", "w2", "w4"):
        p.wait_for(rf"^{name} +running")
    shares = p.shares()
    whole = sum(shares.values())
    expect(whole > 90, f"the processor was given away to {whole} %: {shares}")
    for name, part in (("w1", 1), ("w2", 2), ("w4", 4)):
        share = whole * part / 7
        expect(abs(shares[name] - share) <= share / 100 + 0.05, f"{name} got {shares[name]} %, not {share:.2f}: {shares}")
    p.run("kill w1")
    expect_in("cap=25", p.run("set w2 cap=25"), "set")
    shares = p.shares()
    expect(abs(shares["w2"] - 25) <= 0.3, f"a cap of 25 % beside another: {shares}")
    p.run("kill w4")
    p.wait_for(r"^w4 +killed")
    shares = p.shares()
    expect(abs(shares["w2"] - 25) <= 0.3, f"a cap of 25 %, alone: {shares}")
    p.end()


@scenario(bound=60)
def shares_beside_turns(lab):
    """On one processor, a VM that spins, and one of a vCPU that spins and eight that run a little and sleep in turns:
    half of it each. `top` shows the latter's vCPUs, whose shares add up to that."""
    p = Host(lab, tiny(lab, "one", "spin") + tiny(lab, "many", "turns", cpus=9))
    p.wait_for(r"^many +running")
    shares = p.shares()
    half = sum(shares.values()) / 2
    expect(half > 45, f"the processor was given away to {2 * half} %: {shares}")
    for name in ("one", "many"):
        expect(abs(shares[name] - half) <= half / 50 + 0.05, f"{name} got {shares[name]} %, not {half:.2f}: {shares}")
    p.m.send("top\r")
    p.m.read_until(rb"v shows vCPUs", COMMAND * PATIENCE)
    p.m.send("v")
    screen = p.m.read_until(rb"v hides vCPUs(?s:(.*?))\x1b\[J", COMMAND * PATIENCE)[1].decode()
    p.m.send("q")
    p.m.read_until(PROMPT, COMMAND * PATIENCE)
    vm = float(expect_in(r"^many +running +(\d+\.\d) ", screen, "top")[1])
    vcpus = [float(s) for s in re.findall(r"^  vCPU \d +(?:runs|waits|sleeps) +(\d+\.\d) ", screen, re.MULTILINE)]
    expect(len(vcpus) == 10, f"not the vCPUs of both, but {len(vcpus)}:\n{screen}")
    expect(any(abs(sum(part) - vm) <= 0.5 for part in (vcpus[:9], vcpus[1:])), f"vCPUs' shares are not {vm}:\n{screen}")
    p.end()


WOKEN_WITHIN = 10000  # ticks: docs/NUMBERS.md


@scenario(bound=60)
def woken_beside_spinners(lab):
    """A VM that sleeps most of the time handles its timer soon, each time, beside eight that spin on its processor."""
    m = lab.boot(host(attach="sleeper") + "".join(tiny(lab, f"spin{n}", "spin", memory="4M") for n in range(8)) +
                 tiny(lab, "sleeper", "vcpus", cpus=2))
    late = m.read_until(r"^sample tick_halted (\d+) (\d+) (\d+)\r", BOOT * PATIENCE)
    expect(int(late[3]) <= WOKEN_WITHIN, "from its deadline to the handler it took %s to %s ticks" %
           (late[1].decode(), late[3].decode()))


@scenario(bound=60)
def reached_beside_spinners(lab):
    """One processor, a VM that never leaves its guest with interrupts off, one of two vCPUs that spin, one that resets
    itself again and again: the monitor and a VM that sleeps answer; the restless one is held back."""
    p = Host(lab, tiny(lab, "cli", "cli_forever") + tiny(lab, "spin", "spin", cpus=2) +
             tiny(lab, "restless", "restarts") + tiny(lab, "sleeper"))
    p.wait_for(r"^sleeper +running")
    p.reach("sleeper", "sleeper")
    p.wait_for(r"^restless +restarts")
    expect_in(r"restless: restarts after less than 1000 ms: held back for the rest of them$", p.run("log"), "log")
    p.wait_for(r"^restless .* ([3-9]|\d\d)\b[^\d\n]*$", bound=20)
    up = float(expect_in(r"^restless: up (\d+\.\d+) s, 1 vCPU, \d+ restarts", p.run("stats restless"), "stats")[1])
    starts = int(expect_in(r"^restless +\S+ +1 +16M +100 +(\d+)", p.run("list"), "list")[1])
    expect(starts <= up + 3, f"{starts} starts in {up} s")
    for name in ("restless", "cli", "spin"):
        p.reach("sleeper")
        expect_in(rf"^{name}: is killed", p.run(f"kill {name}"), "kill")
        p.wait_for(rf"^{name} +killed")
    p.m.send("console sleeper\r")
    p.m.read_until(rb"corbel: console of sleeper:.*\r\n", COMMAND * PATIENCE)
    p.end("q")


@scenario(bound=90, slow=True)
def monitor_beside_a_flood(lab):
    """A VM that says more than COM1 can send, and one that sleeps, on one processor: Ctrl-] leads away from the former,
    the monitor looks at the latter again and again, both go on, and the one that is left waits for nobody."""
    p = Host(lab, tiny(lab, "flood", "floods") + tiny(lab, "sleeper"))
    p.wait_for(r"^sleeper +running")
    p.m.send("console flood\r")
    p.m.read_until(rb"corbel: console of flood: .*\r\n", COMMAND * PATIENCE)
    p.m.read_until(rb"(\d+\r?\n){100}", COMMAND * PATIENCE)
    p.enter()
    left = int(re.findall(r"^(\d+)\r?$", p.m.text(), re.MULTILINE)[-1])
    for _ in range(4):
        expect_in(r"^  rip [0-9a-f]{16} ", p.run("dump sleeper"), "dump")
    p.reach("sleeper")
    said = p.run("list")
    expect(len(re.findall(r"^(?:flood|sleeper) +running", said, re.MULTILINE)) == 2, f"not both run:\n{said}")
    p.m.send("console flood\r")
    p.m.read_until(rb"corbel: console of flood: .*\r\n", COMMAND * PATIENCE)
    first = int(p.m.read_until(rb"(\d+)\r?\n", COMMAND * PATIENCE)[1])
    expect(first > left + 5000, f"nobody was at its console: it has come from {left} to {first}")
    p.enter()
    p.end()


@scenario(bound=90)
def killed_in_the_middle(lab):
    """Four vCPUs in a storm of IPIs, INITs and device accesses are killed, reset and paused wherever they are: all
    memory comes back, and a neighbour answers."""
    p = Host(lab, tiny(lab, "storm", "smp_storm", cpus=4) + tiny(lab, "sleeper"), cpus=2)

    def free():
        p.wait_for(r"^storm +killed")
        return expect_in(r"^  free +(\S+)", p.run("memory"), "memory")[1]

    before = None
    for n in range(6):
        p.wait_for(r"^storm +running")
        time.sleep(random.uniform(0.1, 1.5))
        if n % 3 == 1:
            expect_in(r"^storm: stands still", p.run("pause storm"), "pause")
            p.wait_for(r"^storm +paused")
            expect_in(r"^storm: goes on", p.run("resume storm"), "resume")
            time.sleep(0.5)
        if n % 3 == 2:
            p.run("reset storm")
            p.wait_for(r"^storm +running")
            time.sleep(0.5)
        expect_in(r"^storm: is killed", p.run("kill storm"), "kill")
        now = free()
        expect(before in (None, now), f"{before} of memory were free, and then {now}")
        before = now
        p.reach("sleeper")
        if n < 5:
            expect_in(r"^storm: starts", p.run("start storm"), "start")
    expect("killed:" not in p.run("log"), "the VM was killed by itself: " + p.run("log 30"))
    p.end()


@scenario(bound=60)
def too_much_asked_for(lab):
    """Memory that ends at the n-th VM, a name given twice, processors that are not there: a sentence for each, and the
    VMs before run."""
    p = Host(lab, tiny(lab, "one", memory="64M", affinity="1") + tiny(lab, "two", memory="64M", cap=900) +
             tiny(lab, "absent", affinity="2-7,200") + tiny(lab, "big", memory="160M") + tiny(lab, "twin") +
             tiny(lab, "twin") + tiny(lab, "small"), cpus=2)
    p.wait_for(r"^small +running")
    said = p.run("log")
    expect_in(r"\[vm twin\] is given twice, first in line \d+; give each VM its own name$", said, "log")
    expect_in(r"two: cap = 900 is more than this machine's 2 processors give: it changes nothing$", said, "log")
    expect_in(r"absent: affinity names no processor that this machine has: it has 0 to 1$", said, "log")
    expect_in(r"\[vm big\]: not enough memory for its RAM: it wants 160 MiB and \d+ MiB are free", said, "log")
    said = p.run("list")
    for name, state in (("one", "running"), ("two", "running"), ("absent", "did not start"),
                        ("big", "did not start"), ("twin", "not started")):
        expect_in(rf"^{name} +{state} ", said, "list")
    p.reach("one", "two", "small")
    p.wait_for(r"^ +1 .* vcpu 0", "cpus")  # whoever was there last
    for _ in range(5):
        expect(not re.search(r"^ +0 .* one vcpu 0", p.run("cpus"), re.MULTILINE), "'one' is where it must not be")
    said = p.run("start absent") + p.run("start big")
    expect_in(r"affinity names no processor", said, "start")
    p.end()


@scenario(bound=120, slow=True)
def hundred_guests(lab):
    """100 VMs at once in 1 GiB on two processors, of which each wakes a hundred times per second."""
    names = [f"vm{n}" for n in range(100)]
    p = Host(lab, "".join(tiny(lab, name, memory="4M") for name in names), cpus=2, memory=1024)
    said = p.wait_for(r"^vm99 +running", bound=2 * BOOT)
    expect(len(re.findall(r"^vm\d+ +running", said, re.MULTILINE)) == 100, f"not all of them run:\n{said}")
    p.reach("vm0", "vm50", "vm99", *random.sample(names, 5))
    p.end()


# --- Debian ---

def column(text, row):
    """A row of /proc/interrupts, by CPU."""
    return [int(n) for n in expect_in(rf"^ *{row}: +((?:\d+ +)+)", text, "/proc/interrupts")[1].split()]


def debian(vcpus, processors, **keys):
    def run(lab):
        initrd, digest = random_initrd(lab)
        m = lab.boot(host(without="vid", **keys) + linux(initrd=initrd, cpus=vcpus), memory=512, cpus=processors)
        s = Shell(m)
        expect(s.run("nproc").strip() == str(vcpus), "nproc: " + s.run("nproc"))
        prove(s, digest)
        said = s.run("yes corbel | head -c 300000 > /tmp/f; for i in $(seq 8); do sha256sum /tmp/f > /tmp/s$i & done; "
                     "wait; cat /tmp/s? | sort | uniq -c", bound=4 * COMMAND)
        expect_in(r"^ +8 [0-9a-f]{64}  /tmp/f\n\Z", said[said.index("  8 "):] if "  8 " in said else said, "sha256sum")
        said = s.run("cat /proc/interrupts")
        local = column(said, "LOC")
        expect(len(local) == vcpus and min(local) > 20, f"LOC: {local}")
        expect(sum(column(said, "CAL")) + sum(column(said, "RES")) > 0, f"no IPIs:\n{said}")
        expect(column(said, "ERR")[:1] == [0] if re.search(r"ERR: +\d+ ", said) else "ERR:          0" in said, said)
        said = s.run("dmesg")
        expect_in(rf"smp: Brought up 1 node, {vcpus} CPUs", said, "dmesg")
        for word in ("Marking TSC unstable", "not responding", "rcu_sched detected stalls", "soft lockup", "Measured"):
            expect(word not in said, f"dmesg has {word!r}")
        s.poweroff()
        wait_for_power_off(m)
        if "test_reload" in keys:
            count = int(expect_in(r"^corbel:   state saved, wiped and reloaded (\d+) times", m.text())[1])
            expect(count > 20, f"it was reloaded only {count} times")
    run.__doc__ = f"Debian's cloud kernel with {vcpus} vCPUs on {processors} processors {keys or ''}"
    return run


for _vcpus, _processors, _when in ((4, 2, SLOW), (2, 4, SOAK)):
    scenario(bound=240 * _processors // 2, **_when, name=f"debian_{_vcpus}_on_{_processors}",
             row="cloud")(debian(_vcpus, _processors))
# All vCPUs stop at a random exit of one of them, everything is saved, wiped and loaded, and they go on.
scenario(bound=240, soak=True, name="reload_2_on_1", row="reload")(debian(2, 1, test_reload=200))
scenario(bound=480, soak=True, name="reload_4_on_2", row="reload")(debian(4, 2, test_reload=200))


@scenario(bound=900, soak=True, row="cloud")
def eight_debians(lab):
    """Eight at once on two processors; each is reached at its console, and ends by its own poweroff."""
    names = [f"debian{n}" for n in range(8)]
    p = Host(lab, "".join(linux(name, cmdline=IDLE, memory="96M") for name in names), {"without": "vid"}, cpus=2, memory=1024)
    p.wait_for(r"^debian7 +running")
    expect(len(re.findall(r"^debian\d +running", p.run("list"), re.MULTILINE)) == 8, "not all of them run")
    for name in names:
        p.console(name, "", rb"corbel:[^ \r\n]*# ", bound=8 * BOOT)
    for name in names:
        a, b = (random.randrange(1000, 10000) for _ in range(2))
        p.console(name, f"echo $(({a} * {b}))x\r", rf"\n{a * b}x\r".encode())
    for name in names[:-1]:
        p.m.send(f"console {name}\r")
        p.m.read_until(rb"corbel: console of %s:.*\r\n" % name.encode(), COMMAND * PATIENCE)
        p.m.send("poweroff\r")
        p.m.read_until(rb"corbel: %s: ended after" % name.encode(), BOOT * PATIENCE)
        p.enter()
        p.wait_for(rf"^{name} +powered off")
    p.m.send(f"console {names[-1]}\r")
    p.m.read_until(rb"corbel: console of debian7:.*\r\n", COMMAND * PATIENCE)
    p.end("poweroff\r")
