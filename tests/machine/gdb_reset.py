"""gdb and what becomes of its VM: resets, somebody at the monitor, another VM, `kill`."""
import time

from gdb import Debugger, Wire
from harness import FIRMWARE, PATIENCE, expect, expect_in, host, scenario, wait_for_power_off
from smp import Host, tiny

LATER = 0x300000  # tests/guests/debugged_reset.c: code that comes to be while it runs


def start(lab, **keys):
    """The machine, its monitor's prompt and a gdb."""
    p = Host(lab, tiny(lab, "debugged", "debugged_reset", paused="yes") + tiny(lab, "other"),
             keys={"gdb": "com2", "when_idle": "stay", **keys}, gdb=0)
    return p, Debugger(lab, p.m, lab.guest("debugged_reset.elf"))


def settle(g):
    """In its loop, which it does not leave."""
    g.run("tbreak round")
    expect_in(r"Temporary breakpoint \d+, .*round \(\)", g.run("continue"), "gdb")
    g.run("set var stay = 1")


@scenario(bound=150)
def gdb_guest_resets(lab):
    """The guest resets itself: hbreak, watch and break hold; a break in code that comes to be late, too; one in code that
    does not come to be again is said to be gone."""
    p, g = start(lab)
    g.run("hbreak born")
    expect_in(r"Breakpoint 1, .*born \(n=(?:n@entry=)?1\)", g.run("continue"), "gdb")
    g.run("break visit")
    g.run("watch written")
    expect_in(r"Breakpoint 2, .*visit \(n=(?:n@entry=)?1\)", g.run("continue"), "gdb")
    expect_in(r"Old value = 0\nNew value = 1\n", g.run("continue"), "gdb")
    settle(g)
    g.run("set var again = 1")
    said = g.run("continue")
    expect_in(r"debugged was reset by its guest: .*1 of 1 breakpoints stand again", said, "what gdb is told")
    expect_in(r"Old value = 1\nNew value = 0\n", said, "gdb at the first instructions, which clear variables")
    expect_in(r"Breakpoint 1, .*born \(n=(?:n@entry=)?2\)", g.run("continue"), "gdb behind a reset")
    expect_in(r"Breakpoint 2, .*visit \(n=(?:n@entry=)?2\)", g.run("continue"), "gdb")
    expect_in(r"New value = 2\n", g.run("continue"), "gdb")

    g.run("delete")
    settle(g)
    g.run("break visit")  # with no stop between the reset and it
    g.run("set var again = 1")
    expect_in(r"Breakpoint \d+, .*visit \(n=(?:n@entry=)?3\)", g.run("continue"), "gdb behind a reset")
    g.run("delete")
    settle(g)
    g.run(f"break *{LATER:#x}")
    g.run("set var again = 1")
    said = g.run("continue")
    expect_in(rf"Breakpoint \d+, .*{LATER:#x}|Breakpoint \d+, 0x0*{LATER:x} in", said, "gdb in late code")
    expect_in(r"0 of 1 breakpoints stand again", said, "what gdb is told")
    settle(g)
    g.run("set var never = 1")
    g.run("set var again = 1")
    g.start("continue")
    until = time.monotonic() + 40 * PATIENCE
    while "is gone" not in g.said and time.monotonic() < until:
        g.look()
    expect_in(rf"the breakpoint at {LATER:#x} is gone: its code has not come back", g.interrupt(), "gdb")
    g.run("delete")
    g.run("set var enough = 1")
    expect_in("detached", g.run("detach"), "gdb")
    p.wait_for("^debugged +powered off")
    p.reach("other")
    p.end()


@scenario(bound=150)
def gdb_monitor_interferes(lab):
    """Whoever sits at the monitor resets, resumes, pauses and kills the VM while gdb is at its prompt, and while gdb waits:
    gdb is told, and nothing runs behind its back."""
    p, g = start(lab)
    settle(g)
    p.run("reset debugged")
    said = g.run("continue")
    expect_in(r"debugged was reset from the monitor.*stands before its first instruction", said, "gdb")
    expect_in("SIGINT", said, "gdb behind a reset")
    expect(g.value("(char) stay") == 0, "its memory is not as it was at first")
    g.run("break visit")
    expect_in(r"Breakpoint \d+, .*visit \(n=(?:n@entry=)?2\)", g.run("continue"), "gdb")
    g.run("delete")
    settle(g)
    p.run("resume debugged")
    p.wait_for("^debugged +running")
    g.run("hbreak round")
    said = g.run("continue")
    expect_in(r"debugged was resumed from the monitor", said, "gdb")
    p.wait_for("^debugged +paused")
    expect_in(r"Breakpoint \d+, .*round", g.run("continue") + g.run("continue"), "gdb behind a resume")
    g.run("delete")
    g.start("continue")
    p.wait_for("^debugged +running")
    p.run("pause debugged")
    expect_in("SIGINT", g.wait(), "gdb behind a pause")
    g.run("hbreak born")
    g.start("continue")
    p.wait_for("^debugged +running")
    p.run("reset debugged")
    said = g.wait()
    expect_in(r"debugged was reset from the monitor", said, "gdb while it waits")
    expect_in(r"Breakpoint \d+, .*born \(n=(?:n@entry=)?3\)", said, "gdb while it waits")
    p.run("kill debugged")
    expect_in(r"Program terminated with signal SIGKILL", g.run("continue"), "gdb behind a kill")
    g.p.stdin.close()
    p.run("start debugged")
    p.wait_for("^debugged +paused")
    w = Wire(p.m)  # another one, and another life of that VM
    w.send(b"+")
    w.ask("qSupported")
    expect(w.ask("?") == b"T02thread:1;", "a new gdb")
    p.run("kill debugged")
    p.run("start debugged")
    said = w.ask("g")
    expect(said.startswith(b"E"), f"registers of one that was killed: {said}")
    expect(w.ask("vCont;c") == b"X09", "gdb is not told that it was killed")
    p.wait_for("^debugged +paused")
    p.run("kill debugged")
    p.reach("other")
    p.end()


@scenario(bound=90)
def gdb_between_vms(lab):
    """`monitor vm` lists the VMs and chooses another one; the first goes on without its breakpoints. `kill` ends none. What
    is traced meanwhile stays in memory."""
    p = Host(lab, tiny(lab, "first", "debugged", paused="yes") + tiny(lab, "second", "debugged_reset", paused="yes"),
             keys={"gdb": "com2", "when_idle": "stay"}, gdb=0)
    g = Debugger(lab, p.m, lab.guest("debugged.elf"))
    g.run("break inner")
    expect_in(r"Breakpoint 1, .*inner \(n=(?:n@entry=)?1\)", g.run("continue"), "gdb")
    expect_in(r"^\* first: paused\n  second: paused\n", g.run("monitor vm"), "monitor vm")
    expect_in(r"^third is no VM", g.run("monitor vm third"), "monitor vm")
    expect_in(r"^second now", g.run("monitor vm second"), "monitor vm")
    p.wait_for("^first +powered off")
    g.run("maintenance flush register-cache")
    g.run("delete")
    g.run(f"file {lab.guest('debugged_reset.elf')}")
    g.run("hbreak born")
    expect_in(r"Breakpoint 2, .*born \(n=(?:n@entry=)?1\)", g.run("continue"), "gdb in the other VM")
    expect_in(r"\(second vCPU 0\)", g.run("info threads"), "info threads")
    p.run("trace on second exits")  # stays in memory: gdb has the port
    g.run("break round")
    expect_in(r"Breakpoint 3, .*round \(\)", g.run("continue"), "gdb")
    expect_in(r"cpu0 second/0 +exits ", p.run("trace show 5"), "trace show")
    expect_in(r"the debugger has it", p.run("trace"), "trace")
    p.run("trace off")
    g.run("break visit")
    g.run("kill")
    p.wait_for("^second +powered off")
    p.run("start second")
    p.wait_for("^second +paused")
    p.end()


@scenario(bound=60)
def gdb_beside_trace(lab):
    """The trace has the second serial port, without frames: gdb is refused, in one line."""
    m = lab.boot(host(gdb="com2", trace="exits") + tiny(lab, "a", "cpuid_signature"), gdb=0)
    m.read_until(r"^corbel: error: corbel\.conf:2: gdb = com2 and trace in \[host\] cannot both have the second serial port as "
                 r"it is: the trace gets it; add a line 'com2 = framed', .*\r?$", FIRMWARE * PATIENCE)
    wait_for_power_off(m)
    expect_in(r"^PASS cpuid_signature", m.text(), "the guest")
