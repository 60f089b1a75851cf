"""Whoever sits at the console: what is typed is always taken, what is said is always shown."""
import os
import re
import subprocess

from harness import BOOT, BUILD, COMMAND, FIRMWARE, PATIENCE, TOP, expect, expect_in, host, scenario, vm, wait_for_power_off
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
    p.wait_for(r"^deaf +paused ")
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


@scenario(bound=120, slow=True)
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


# --- a new user's mistakes ---


def three(lab, host_text=""):
    """What README.md's example becomes with three VMs, as lines."""
    return (f"[host]\nlog       = info\nwhen_idle = poweroff\n{host_text}\n" +
            "".join(f"[vm {name}]\nkernel  = {lab.guest(NEXT)}\ninitrd  = {lab.path('initrd')}\n"
                    f"cmdline = console=ttyS0\nmemory  = 8M\n\n" for name in ("first", "second", "third")))


def mistakes(lab):
    """Ten of them: the config, what to mend as the screen says it, which VMs run all the same, and whether `make image`
    has said the same before."""
    good, all_three = three(lab), ["first", "second", "third"]
    guest = lab.guest(NEXT)
    text = lab.file("notes.txt", "This is no kernel.\n" * 1000)

    def but(old, new, n=1):
        expect(old in good, f"{old!r} is not in the config")
        parts = good.split(old)
        return old.join(parts[:n]) + new + old.join(parts[n:])

    return (
        (but("memory", "memroy", 2), r"corbel\.conf:15: unknown key 'memroy' in \[vm second\]; did you mean 'memory'\?",
         ["first", "third"], True),
        (but("memory  = 8M", "memory  = 8"), r"corbel\.conf:9: memory = '8' in \[vm first\] is not a size; write a number and K, M or G",
         ["second", "third"], True),
        (but("when_idle = poweroff", "when_idle = off"), r"corbel\.conf:3: when_idle = 'off' is not known; it must be poweroff or stay",
         all_three, True),
        (but("[vm third]", "[vm second]"), r"corbel\.conf:17: \[vm second\] is given twice, first in line 11; give each VM its own name",
         ["first"], True),
        (but("[vm third]", "vm third"), r"corbel\.conf:17: 'vm third' is neither a section's header nor 'key = value'", ["first"], True),
        (but("memory  = 8M", "memory  = 900M", 3), r"corbel\.conf:21: \[vm third\]: not enough memory for its RAM: it wants 900 MiB and \d+ MiB are free",
         ["first", "second"], False),
        (good.replace(guest, "vmlinuz"), r"corbel\.conf:6: \[vm first\]: 'vmlinuz' cannot be loaded: there is no such file", [], False),
        (good.replace(guest, text), r"corbel\.conf:6: \[vm first\]: .* is not a kernel that Corbel can start", [], False),
        (good.encode("utf-16"), r"corbel\.conf:1: the file is UTF-16; save it as UTF-8", [], True),
        (but("cmdline =", "watch   = wirte phys:1000 log\ncmdline =", 2), r"corbel\.conf:14: watch in \[vm second\]: 'wirte' is no event: read, write, ",
         ["first", "third"], True),
    )


def make_mistakes(lab, which):
    """Each is read on the screen, and long enough where nothing else would be there."""
    lab.file("initrd", b"x" * 100)
    for config, sentence, run, told_before in mistakes(lab)[which]:
        path = lab.file("corbel.conf", config)
        p = subprocess.run([os.path.join(TOP, "tools", "image"), os.path.join(BUILD, "BOOTX64.EFI"), os.path.join(BUILD, "confscan"),
                            path, lab.path("disk.img")], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, check=True)
        said = p.stdout.decode()
        expect(bool(re.search(sentence, said)) == told_before,
               f"make image, where {sentence!r} is wrong, says:\n{said}")
        m = lab.start(lab.path("disk.img"), memory=256)
        m.read_until(rf"^corbel: error: {sentence}", 2 * FIRMWARE * PATIENCE)
        if not run:
            m.read_until(r"^corbel: error: no VM could start: power off in 60 s, at a key at once", COMMAND * PATIENCE)
            m.send("\r")
        wait_for_power_off(m)
        ran = re.findall(r"^corbel: (\S+): ended after", m.text(), re.MULTILINE)
        expect(sorted(ran) == run, f"with {sentence!r} these ran: {ran}")


@scenario(bound=120, slow=True)
def mistakes_in_sections(lab):
    """Five mistakes of a new user's in a config with three VMs: keys, values and headers."""
    make_mistakes(lab, slice(0, 5))


@scenario(bound=120, slow=True)
def mistakes_in_files(lab):
    """Five more: too much memory, files, the config's encoding, a watch."""
    make_mistakes(lab, slice(5, 10))
