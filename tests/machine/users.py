"""Who may do what at COM1, and what guests can do to the terminal there."""
import os
import re
import subprocess

from harness import COMMAND, FIRMWARE, PATIENCE, TOP, expect, expect_in, host, scenario, vm
from monitor import LEAVE, PROMPT, Monitor

REFUSED = "read-only: type `login`\n"
LOOKS = ("help", "list", "console", "ports", "balloon", "top", "stats", "show", "watches", "trace", "nets", "switch", "cpus",
         "memory", "disks", "log", "login", "logout")


def password(text, rounds=1000):
    """A line of [host]'s, as a dictionary."""
    said = subprocess.run([os.path.join(TOP, "tools", "password"), str(rounds)], input=text + "\n", stdout=subprocess.PIPE, text=True,
                          check=True).stdout
    return dict([said.strip().split(" = ")])


def log_in(m, text):
    m.send("login\r")
    m.read_until(rb"\rpassword: ", COMMAND * PATIENCE)
    m.send(text + "\r")


@scenario(bound=120)
def login(lab):
    """Without a login nothing changes, whatever is typed; with it all is as ever, until it ends."""
    m = lab.boot(host(logout=300, **password("a phrase of many words")) + vm("a", lab.guest("answer"), memory="16M"))
    m.read_until(rb"^corbel: console of a, read-only: Ctrl-\] for the monitor\r\n(?s:.*?)listening\r\n", 2 * FIRMWARE * PATIENCE)
    m.send(bytes(b for b in range(256) if b != 0x1d))  # with what ends it: q
    p = Monitor(m)
    p.enter()
    before = p.run("list")
    expect_in(r"^a +running ", before, "list")
    names = re.findall(r"^  (\w+) ", p.run("help"), re.MULTILINE)
    expect("kill" in names and len(names) > 30, f"help lists {names}")
    for name in names:
        for arguments in ("a", "a 1", "a weight=1", "a 0 all", "now"):
            if name not in LOOKS:
                said = p.run(f"{name} {arguments}")
                expect(said == REFUSED or said.startswith("usage: "), f"{name} {arguments}: {said!r}")
    expect(p.run("poweroff") == REFUSED and p.run("reboot now") == REFUSED, "the machine can be switched off")
    expect(p.run("trace on") == REFUSED and p.run("balloon a 8M") == REFUSED, "trace and balloon can be used")
    m.send(b"\x03" * 3)
    m.read_until(rb"\^C\r\n(?s:.*)\^C\r\n(?s:.*)\^C\r\n\r" + PROMPT, COMMAND * PATIENCE)
    log_in(m, "a phrase of many word")
    m.read_until(rb"that is not the password\r\n(?s:.*?)corbel: warning: console: a login failed, the 1\. since one was good\r\n(?s:.*?)" +
                 PROMPT, COMMAND * PATIENCE)
    for _ in range(200):
        m.send("login\r")
        if m.read_until(rb"\rpassword: |try again in 1 s", COMMAND * PATIENCE)[0] == b"\rpassword: ":
            break
    m.send("a phrase of many words\r")
    m.read_until(rb"before that it failed 1 time\r\nlogged in, until `logout` or 300 s without a key\r\n", COMMAND * PATIENCE)
    m.read_until(PROMPT, COMMAND * PATIENCE)
    expect("phrase" not in m.text(), "the password was shown")
    m.send("console a\r")
    m.read_until(rb"corbel: console of a: Ctrl-\] for the monitor\r\n", COMMAND * PATIENCE)
    m.send("x")
    m.read_until(rb"^1: 'x'\r\n", COMMAND * PATIENCE)  # the first that has come
    m.read_until(rb"^corbel: console: logged out, as no key was pressed for 300 s\r\n", 4 * COMMAND * PATIENCE)
    m.send("q")
    p.enter()
    expect_in(r"^a +running ", p.run("list"), "list")
    log_in(m, "a phrase of many words")
    m.read_until(rb"logged in, until", COMMAND * PATIENCE)
    m.read_until(PROMPT, COMMAND * PATIENCE)
    m.send("poweroff now\r")
    expect(m.wait(COMMAND * PATIENCE), "the machine did not switch itself off")


@scenario(bound=60)
def terminal_filtered(lab):
    """What a guest tells the terminal is made harmless, and what is shown again, too; with `terminal = raw` it comes as it
    is."""
    m = lab.boot(host(start="in-turn", when_idle="stay") + vm("a", lab.guest("terminal"), memory="16M", terminal="filtered") +
                 vm("b", lab.guest("terminal"), memory="16M", terminal="raw"))
    m.read_until(rb"^corbel: b: ended after", 2 * FIRMWARE * PATIENCE)
    m.read_until(PROMPT, COMMAND * PATIENCE)
    m.send("console b\r")
    m.read_until(rb"^corbel: console of b, which is off(?s:.*?)PASS terminal", COMMAND * PATIENCE)
    m.send(LEAVE)
    m.read_until(PROMPT, COMMAND * PATIENCE)
    m.send("poweroff now\r")
    expect(m.wait(COMMAND * PATIENCE), "the machine did not switch itself off")
    said = bytes(m.output).split(b"corbel: console of ")
    expect([part[:1] for part in said[1:]] == [b"a", b"b", b"b"], f"consoles: {said[1:]}")
    for part in said[1], said[3]:
        for text in (b"\r\ncorbel:(guest) error: this is no line of Corbel's\r\n", b"\r\ncorbel>(guest) this is no prompt\r\n",
                     b"title keys clipboard c1 byte?end\r\n", b"asks print reset size\r\n",
                     b"\x1b[1;31mred\x1b[0m and \x1b[?1049h\x1b[2;3Hwhole screen\x1b[?1049l\r\n", b"\x1b[41mcolours stay\r\n"):
            expect(text in part, f"{text} is not in: {part}")
        expect(not re.search(rb"\x1b[]P]|\x1b\[[>c]|[\x80-\x9f]|never ended", part), f"it is not filtered: {part}")
    expect(b"title\x1b]0;owned\x07 keys\x1bP1;1|17/6c73\x1b\\" in said[2] and b"\r\ncorbel: error: this is no" in said[2],
           f"it is not raw: {said[2]}")
    expect(re.search(rb"\x1b\[0m\x1b\(B\x1b\)B\x0f[^\r\n]*\r\ncorbel: ", said[1]), f"its colours stay: {said[1]}")
