"""gdb on VMs with several vCPUs, which are its threads."""
import time

from gdb import Debugger
from harness import COMMAND, PATIENCE, expect, expect_in, scenario
from monitor import PROMPT
from smp import Host, tiny

AREAS, AREA_SIZE = 0x20000, 0x1800  # tests/guests/lib/smp.h: a stack for each vCPU but the first


def at_work(g, said, seen):
    """A vCPU has come to work(self, n), and missed none since it was there last."""
    expect_in(r"Breakpoint \d+, .*work \(self=.*, n=.*\)", said, "gdb")
    thread, self, n = (g.value(x) for x in ("$_thread", "self", "n"))
    expect(self == thread - 1, f"thread {thread} runs what vCPU {self} does")
    expect(n == seen.get(thread, 0) + 1, f"vCPU {self} is in round {n}, and was seen in {seen.get(thread)}")
    seen[thread] = n


def breakpoints(g):
    """Either vCPU comes to a breakpoint, and passes none by."""
    g.run("break work")
    seen = {}
    while min(seen.get(1, 0), seen.get(2, 0)) < 5 and sum(seen.values()) < 40:
        at_work(g, g.run("continue"), seen)
    expect(min(seen.get(1, 0), seen.get(2, 0)) >= 5, f"one of them hardly runs: {seen}")
    g.run("delete")


def threads(g):
    """Registers of each; one steps while the other stands."""
    said = g.run("info threads")
    expect_in(r"^. 1 +Thread 1 \(debugged vCPU 0\) .* in work|^. 1 .*worker|^. 1 .*work ", said, "info threads")
    expect_in(r"^. 2 +Thread 2 \(debugged vCPU 1\)", said, "info threads")
    g.run("thread 1")
    stack, first = g.value("$rsp"), g.value("$pc")
    g.run("thread 2")
    expect(AREAS + AREA_SIZE < g.value("$rsp") <= AREAS + 2 * AREA_SIZE, f"vCPU 1's stack is at {g.value('$rsp'):#x}")
    expect(stack != g.value("$rsp"), "both have one stack")
    g.run("set scheduler-locking on")
    before = g.value("rounds[0]"), g.value("rounds[1]")
    for _ in range(20):
        at = g.value("$pc")
        g.run("stepi")
        expect(g.value("$_thread") == 2, "another thread than 2 has stepped")
        expect(g.value("$pc") != at, f"a step from {at:#x} leads nowhere")
    after = g.value("rounds[0]"), g.value("rounds[1]")
    expect(after[0] == before[0] and after[1] > before[1], f"rounds before 20 steps of thread 2: {before}, then {after}")
    g.run("thread 1")
    expect(g.value("$pc") == first, "thread 1 has moved while thread 2 stepped")
    g.run("set scheduler-locking off")


def watches(g):
    """Each vCPU's variable is watched: no write is missed, also where both write at once."""
    values = [g.value(f"rounds[{i}]") for i in (0, 1)]
    numbers = {expect_in(r"watchpoint (\d+): ", g.run(f"watch rounds[{i}]"), "watch")[1]: i for i in (0, 1)}
    hits = [0, 0]
    while min(hits) < 5 and sum(hits) < 100:
        said = g.run("continue")
        hit = expect_in(r"watchpoint (\d+): rounds\[\d\]\n\nOld value = (\d+)\nNew value = (\d+)", said, "gdb")
        i, old, new = numbers[hit[1]], int(hit[2]), int(hit[3])
        expect(g.value("$_thread") == i + 1, f"rounds[{i}] is written by thread {g.value('$_thread')}")
        expect(old == values[i] and new == old + 1, f"rounds[{i}] was {values[i]}, and goes from {old} to {new}")
        values[i] = new
        hits[i] += 1
    expect(min(hits) >= 5, f"one of them hardly writes: {hits}")
    g.run("delete")


def session(lab, processors):
    p = Host(lab, tiny(lab, "debugged", "debugged_smp", cpus=2, paused="yes") + tiny(lab, "other"), keys={"gdb": "com2"},
             cpus=processors, gdb=0)
    g = Debugger(lab, p.m, lab.guest("debugged_smp.elf"))
    said = g.run("info threads")
    expect_in(r"Thread 1 \(debugged vCPU 0\)", said, "info threads")
    expect_in(r"Thread 2 \(debugged vCPU 1, waits for its start-up\)", said, "info threads")
    breakpoints(g)
    threads(g)
    watches(g)

    before = [g.value(f"rounds[{i}]") for i in (0, 1)]
    g.start("continue")
    time.sleep(1)
    p.reach("other")
    said = g.interrupt()
    expect_in("SIGINT", said, "gdb after Ctrl-C")
    after = [g.value(f"rounds[{i}]") for i in (0, 1)]
    expect(all(a > b for a, b in zip(after, before)), f"rounds before and after going on: {before}, {after}")
    p.reach("other", "other")
    expect([g.value(f"rounds[{i}]") for i in (0, 1)] == after, "it has gone on while gdb looked at it")

    p.m.send("console debugged\r")
    p.m.read_until(r"corbel: console of debugged: ", COMMAND * PATIENCE)
    g.run("break work")  # goes with the debugger
    g.run("set var enough = 1")
    expect_in("detached", g.run("detach"), "gdb")
    p.m.read_until(r"^PASS debugged_smp\r?$", COMMAND * PATIENCE)
    p.m.read_until(PROMPT, COMMAND * PATIENCE)
    p.wait_for("^debugged +powered off")
    p.reach("other")
    p.end()


@scenario(bound=120, slow=True)
def gdb_two_vcpus_on_two(lab):
    """Two vCPUs on two processors: breakpoints on either, registers, one steps alone, watches, Ctrl-C, another
    VM, detach."""
    session(lab, 2)


@scenario(bound=120, slow=True)
def gdb_two_vcpus_on_one(lab):
    """The same on one processor."""
    session(lab, 1)
