"""Whoever sits at the console: what is typed is always taken, what is said is always shown."""
import re

from harness import BOOT, COMMAND, FIRMWARE, PATIENCE, expect, expect_in, host, scenario, vm, wait_for_power_off
from monitor import LEAVE, PROMPT, Monitor

NEXT = "cpuid_signature"  # a guest that says something and ends


def tiny(lab, name, guest=NEXT, **keys):
    return vm(name, lab.guest(guest), memory="16M", **keys)


def switch_off(m):
    m.send("poweroff now\r")
    expect(m.wait(BOOT * PATIENCE), "the machine did not switch itself off")


@scenario(bound=90)
def keyboard_is_never_dead(lab):
    """A VM that ends before anybody has pressed Ctrl-], beside one that is not to start by itself: the monitor takes what
    is typed, whether Ctrl-] comes first or not. What nobody reads does not keep Ctrl-] from being noticed."""
    m = lab.boot(tiny(lab, "a") + tiny(lab, "b", autostart="no") + tiny(lab, "deaf", "spin", autostart="no"))
    m.read_until(r"^corbel: a: ended after", 2 * FIRMWARE * PATIENCE)
    m.read_until(PROMPT, COMMAND * PATIENCE)
    p = Monitor(m)
    expect_in(r"^b +not started ", p.run("list"), "list")
    expect_in(r"^b: starts", p.run("start b"), "start")
    m.read_until(rb"corbel: b: ended after", COMMAND * PATIENCE)
    expect_in(r"^b +powered off ", p.run("list"), "list")
    m.send("console b\r")
    m.read_until(rb"corbel: console of b, which is off: Ctrl-\] for the monitor\r\n(?s:.*?)PASS", COMMAND * PATIENCE)
    m.send("list\r")  # not to b, which is off
    m.read_until(PROMPT + rb"list\r\n(?s:.*)\rcorbel> ", COMMAND * PATIENCE)
    p.run("start deaf")
    p.run("pause deaf")
    m.send("console deaf\r")
    m.read_until(rb"corbel: console of deaf: Ctrl-\] for the monitor\r\n", COMMAND * PATIENCE)
    for _ in range(8):  # more than all buffers hold
        m.send(b"x" * 500)
    p.enter()
    expect_in(r"^deaf +paused ", p.run("list"), "list")
    switch_off(m)


@scenario(bound=60)
def console_left_by_who_was_started(lab):
    """The machine began at the prompt; the VM whose console somebody has chosen ends: the prompt is back."""
    m = lab.boot(host(attach="monitor") + tiny(lab, "a", "answer", autostart="no"))
    m.read_until(PROMPT, FIRMWARE * PATIENCE)
    p = Monitor(m)
    m.send("start a\r")
    m.read_until(PROMPT, COMMAND * PATIENCE)
    m.send("console a\r")
    m.read_until(rb"corbel: console of a: Ctrl-\] for the monitor\r\n(?s:.*?)listening", COMMAND * PATIENCE)
    m.send("q")
    m.read_until(rb"corbel: a: ended after", COMMAND * PATIENCE)
    m.read_until(PROMPT, COMMAND * PATIENCE)
    expect_in(r"^a +powered off ", p.run("list"), "list")
    switch_off(m)


@scenario(bound=120)
def console_of_who_runs(lab):
    """`attach` names a VM that does not start, for each reason there is; or the first VM does not: the console is that
    of one that runs."""
    good, stays = tiny(lab, "good"), tiny(lab, "later", autostart="no")
    for n, (config, never) in enumerate((
            (host(attach="bad") + tiny(lab, "bad", colour="red") + good, "bad"),
            (host(attach="later") + good + stays, "later"),
            (stays + good, "later"),
            (host(attach="third", start="in-turn") + good + tiny(lab, "third"), None))):
        m = lab.boot(config)
        m.read_until(r"^corbel: console of good: Ctrl-\] for the monitor\r\n(?s:.*?)^PASS", 2 * FIRMWARE * PATIENCE)
        if never == "later":
            m.read_until(PROMPT, COMMAND * PATIENCE)
            switch_off(m)
        else:
            wait_for_power_off(m)
        consoles = re.findall(r"^corbel: console of (\w+)", m.text(), re.MULTILINE)
        expect(consoles == (["good"] if never else ["good", "third"]), f"config {n}: consoles of {consoles}")
