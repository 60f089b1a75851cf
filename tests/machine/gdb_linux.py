"""gdb on Debian's kernel with what tools/vmlinux makes of it: the session of docs/GDB.md."""
import os
import re
import time

from gdb import READY, Debugger
from harness import (BOOT, COMMAND, FIRMWARE, PATIENCE, TOP, Shell, expect, expect_in, host, linux, scenario,
                     wait_for_power_off)
from vmlinux import tool

MODEL = "corei7_ivy_bridge_3770k"  # without virtual-interrupt delivery, which Bochs does wrong: docs/CAVEATS.md

OPENS = "(do_sys_open|__x64_sys_open|__do_sys_open|__se_sys_open).*"


def debugger(lab, m, symbols):
    return Debugger(lab, m, symbols, "-x", os.path.join(TOP, "tools/linux_gdb.py"))


def start(lab, cmdline="console=ttyS0 quiet nokaslr", processors=1, **keys):
    """A machine whose VM a debugger may look at, and the kernel with symbols."""
    m = lab.boot(host(gdb="com2") + linux(cmdline=cmdline, **keys), memory=512, model=MODEL, gdb=0,
                 cpus=processors)
    symbols = lab.path("vmlinux")
    made = tool(lab.default("vmlinuz"), symbols)
    expect(made.returncode == 0, made.stdout)
    m.read_until(READY, FIRMWARE * PATIENCE)
    return m, symbols


def current(g):
    """The process that the chosen vCPU runs."""
    return (expect_in(r'= "([^"\\]*)', g.run("print $current()->comm"), "$current()")[1], g.value("$current()->pid"))


def frames(said):
    """The functions' names of a backtrace."""
    return re.findall(r"^#\d+ +(?:0x[0-9a-f]+ in )?(\S+) \(", said, re.MULTILINE)


def begins(said, *names):
    found = frames(said)
    expect(len(found) >= len(names) and all(re.fullmatch(n, f) for n, f in zip(names, found)),
           f"no backtrace of {names}:\n{said}")


def early(g):
    """Before the kernel has unpacked itself, and at its first process."""
    g.run("break kernel_init")
    expect_in("Cannot insert breakpoint 1", g.run("continue"), "a breakpoint where there is no memory yet")
    g.run("delete")
    g.run("hbreak kernel_init")
    expect_in(r"Breakpoint 2, .*kernel_init \(", g.run("continue", BOOT), "gdb")
    begins(g.run("bt"), "kernel_init", "ret_from_fork.*")
    expect(current(g)[1] == 1, f"the current process is {current(g)}")
    g.run("delete")
    g.run("watch *(enum system_states *) &system_state")
    said = g.run("continue", BOOT)
    expect_in(r"Old value = SYSTEM_SCHEDULING\nNew value = SYSTEM_FREEING_INITMEM", said, "gdb")
    begins(g.run("bt"), "kernel_init", "ret_from_fork.*")
    said = g.run("continue", BOOT)
    expect_in(r"Old value = SYSTEM_FREEING_INITMEM\nNew value = SYSTEM_RUNNING", said, "gdb")
    g.run("delete")


def system_call(g):
    """Init opens a file."""
    g.run("break do_sys_openat2")
    said = g.run("continue", BOOT)
    expect_in(r"Breakpoint \d+, .*do_sys_openat2 \(dfd=-100, filename=0x[0-9a-f]+ .*, how=0x[0-9a-f]+", said, "gdb")
    begins(g.run("bt"), "do_sys_openat2", OPENS, ".*sys.*", ".*sys.*|entry_.*")
    said = g.run("bt")
    expect(re.search(r"\bdo_syscall_64\b[^#]*#\d+ .*\bentry_SYSCALL_64", said), f"no system call:\n{said}")
    name = expect_in(r'"([^"]+)"', g.run("x/s filename"), "filename")[1]
    expect(name.startswith("/"), f"init opens {name!r}")
    at = g.value("$pc")
    for command in ("stepi", "stepi", "nexti", "nexti", "nexti", "nexti"):
        g.run(command)
    expect(at < g.value("$pc") < at + 100, f"six steps from {at:#x} lead to {g.value('$pc'):#x}")
    begins(g.run("bt"), "do_sys_openat2", OPENS)
    said = g.run("finish")
    expect_in(r"Value returned is \$\d+ = -?\d+", said, "finish")
    expect("do_sys_openat2" not in frames(g.run("bt")), "finish has not left the function")
    g.run("delete")


def user_mode(g, m):
    """Stopped in a program, of whose page tables the kernel is no part."""
    m.type("while :; do :; done &\n")
    for _ in range(20):
        time.sleep(0.3)
        g.interrupt()
        if g.value("$cs & 3") == 3:
            break
        g.start("continue")
    expect(g.value("$cs & 3") == 3, "a loop in the shell is always in the kernel")
    expect_in("do_sys_openat2", g.run("x/2i do_sys_openat2"), "gdb in user mode")
    g.run("break do_sys_openat2")
    g.start("continue")
    m.type("cat /proc/version\n")
    said = g.wait()
    expect_in(r"Breakpoint \d+, .*do_sys_openat2 \(", said, "gdb")
    comm, pid = current(g)
    expect(comm in ("cat", "sh", "busybox") and pid > 1, f"{comm}, process {pid}, opens a file")
    g.run("delete")


@scenario(bound=150)
def gdb_debian(lab):
    """Debian's kernel: a breakpoint before it is there, one at its first process, watch, backtrace, step, finish; to the
    shell, from a program that runs, and detach."""
    m, symbols = start(lab, paused="yes")
    g = debugger(lab, m, symbols)
    early(g)
    system_call(g)
    g.start("continue")
    s = Shell(m)
    expect(s.run("echo $((6 * 7))").strip() == "42", "the shell does not count")
    user_mode(g, m)
    expect_in("detached", g.run("detach"), "gdb")
    m.type("\n")
    s.prompt(COMMAND)
    expect("works" in s.run("kill %1; echo works"), "the shell does not answer after the debugger")
    s.poweroff()
    wait_for_power_off(m)


@scenario(bound=150, slow=True)
def gdb_debian_kaslr(lab):
    """A kernel that is somewhere else than its file says: tools/linux_gdb.py finds it."""
    m, symbols = start(lab, cmdline="console=ttyS0 quiet")
    s = Shell(m)
    g = debugger(lab, m, symbols)
    said = g.run("kaslr")
    expect_in(r"addresses \+ 0x[0-9a-f]*00000$", said, "kaslr")
    expect("+ 0x0\n" not in said, "it is at its file's addresses: is there no randomness here?")
    expect_in("addresses", g.run("kaslr"), "kaslr again")
    g.run("break do_sys_openat2")
    g.start("continue")
    m.type("cat /proc/version\n")
    expect_in(r"Breakpoint \d+, .*do_sys_openat2 \(dfd=-100, filename=", g.wait(), "gdb")
    begins(g.run("bt"), "do_sys_openat2", ".*", ".*")
    expect(current(g)[0] in ("cat", "sh", "busybox"), f"{current(g)} opens a file")
    g.run("delete")
    g.run("detach")
    s.prompt(COMMAND)
    s.poweroff()
    wait_for_power_off(m)


@scenario(bound=240, slow=True)
def gdb_debian_smp(lab):
    """Debian on two vCPUs and two processors, both busy: each comes to a breakpoint, has its own current process and its
    own stack; a watch on the clock; the shell goes on."""
    m, symbols = start(lab, processors=2, cpus=2)
    s = Shell(m)
    s.run("for i in 1 2; do (while :; do cat /proc/uptime; done > /dev/null) & done")
    g = debugger(lab, m, symbols)
    expect_in(r"(?s)Thread 1 \(linux vCPU 0.*Thread 2 \(linux vCPU 1", g.run("info threads"), "info threads")
    g.run("break do_sys_openat2")
    seen = {1: set(), 2: set()}
    for _ in range(60):
        said = g.run("continue")
        expect_in(r"Breakpoint \d+, .*do_sys_openat2 \(", said, "gdb")
        seen[g.value("$_thread")].add(current(g))
        expect_in(r"\bentry_SYSCALL_64", g.run("bt"), "bt")
        if all(seen.values()) and sum(len(tasks) for tasks in seen.values()) > 5:
            break
    expect(all(seen.values()), f"who opened files: {seen}")
    here = {thread: (g.run(f"thread {thread}"), current(g)[1], g.value("$gs_base"))[1:] for thread in (1, 2)}
    expect(here[1][1] != here[2][1], f"both have one GS base: {here}")
    expect(here[1][0] != here[2][0] or here[1][0] == 0, f"one process runs on both: {here}")
    g.run("delete")
    g.run("watch *(long *) &jiffies")
    for _ in range(3):
        said = g.run("continue")
        old, new = (int(expect_in(rf"{what} value = (-?\d+)", said, "gdb")[1]) for what in ("Old", "New"))
        expect(old < new < old + 50, f"jiffies goes from {old} to {new}")
    g.run("delete")
    g.run("set scheduler-locking step")
    for _ in range(10):
        g.run("stepi")
    expect_in("detached", g.run("detach"), "gdb")
    m.type("\n")
    s.prompt(COMMAND)
    expect("works" in s.run("kill %1 %2; echo works"), "the shell does not answer after the debugger")
    s.poweroff()
    wait_for_power_off(m)


@scenario(bound=240, slow=True)
def gdb_debian_reboots(lab):
    """A breakpoint in Debian's kernel, which unpacks itself anew when it reboots: it holds with no stop in between, and
    does that kernel no harm."""
    m, symbols = start(lab)
    Shell(m)
    g = debugger(lab, m, symbols)
    g.run("break __x64_sys_reboot")
    g.start("continue")
    m.type("reboot -f\n")
    expect_in(r"Breakpoint 1, .*__x64_sys_reboot", g.wait(), "gdb")
    said = g.run("continue", BOOT)  # init calls it, too, when it starts
    expect_in(r"linux was reset by its guest: .*0 of 1 breakpoints stand again", said, "what gdb is told")
    expect_in(r"Breakpoint 1, .*__x64_sys_reboot", said, "gdb behind a reboot")
    expect(current(g)[1] == 1, f"the current process is {current(g)}")
    g.run("delete")
    g.run("detach")
    s = Shell(m)
    said = s.run("dmesg | grep -cE 'WARN|BUG|Oops'")
    expect(said.strip() == "0", f"the kernel complains: {said} {s.run('dmesg | tail -40')}")
    s.poweroff()
    wait_for_power_off(m)
