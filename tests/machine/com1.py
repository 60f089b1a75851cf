"""COM1: the guest's bytes pass unchanged in both directions, but for Ctrl-], and Corbel's lines stand alone."""
import random
import re

from harness import COMMAND, NO_VID, PATIENCE, Shell, expect, expect_in, host, linux, scenario, vm, wait_for_power_off


@scenario(bound=90, slow=True)
def com1_bytes(lab):
    """All 256 byte values, to the guest and from it."""
    m = lab.boot(NO_VID + linux(), memory=512)
    s = Shell(m)
    data = bytes(range(256)) + bytes(random.randrange(256) for _ in range(768))

    # In: the terminal made transparent, as many bytes as are sent, shown in hexadecimal.
    m.send(f"stty raw -echo; echo read''y; head -c {len(data)} > /tmp/in; stty sane; od -An -v -tx1 /tmp/in; echo 'o'k\n")
    m.read_until(rb"ready\r?\n", COMMAND * PATIENCE)
    m.send(data.replace(b"\x1d", b"\x1d\x1d"))  # Ctrl-] leads to the monitor, a second one back and on to the guest
    got = m.read_until(rb"(?s)(.*?)^ok\r", COMMAND * PATIENCE)[1].replace(b"corbel> ", b"").replace(b"\x1b[K", b"")
    got = bytes.fromhex(re.sub(rb"[^0-9a-f]", b"", got).decode())
    expect(got == data, f"sent to the guest: {data.hex()}\nthe guest has: {got.hex()}")
    s.prompt(COMMAND)

    # Out: the same file as it is.
    m.send("stty raw; echo 'b'egin; cat /tmp/in; stty sane; echo; echo 'e'nd\n")
    got = m.read_until(rb"(?s)begin\r?\n(.*)\r?\nend\r", COMMAND * PATIENCE)[1].removesuffix(b"\r")
    expect(got == data, f"the guest has sent: {data.hex()}\nand this came: {got.hex()}")
    s.prompt(COMMAND)


@scenario(bound=40)
def com1_lines(lab):
    """What Corbel says while the guest is in the middle of a line waits for that line's end, or for the VM's."""
    m = lab.boot(host(log="debug") + vm("unfinished", lab.guest("unfinished_line"), memory="16M"))
    wait_for_power_off(m)
    expect_in(r"^one line\ncorbel: [^\n]*12345678[^\n]*\nPASS", m.text())
    expect_in(r"^and no end\ncorbel: [^\n]*12345679[^\n]*\ncorbel: ", m.text())


@scenario(bound=40)
def debug_console(lab):
    """What a guest writes to the debug console's ports comes to the log, line by line, and does nothing to a terminal."""
    m = lab.boot(vm("firmware", lab.guest("debug_console"), memory="16M"))
    wait_for_power_off(m)
    said = re.findall(r"^corbel: firmware: debug console: ([^\r\n]*)", m.text(), re.MULTILINE)
    expect(said == ["a line", "half of another", "?[2Jthat clears no screen"], f"the log has {said}")
    expect_in(r"^PASS debug_console", m.text())


@scenario(bound=60, slow=True)
def com1_without_input(lab):
    """Nobody types: the guest runs to its end all the same. Its own lines and Corbel's, as many as they can say, do
    not mix."""
    m = lab.boot(host(log="debug") + linux(cmdline="console=ttyS0 rdinit=/bin/poweroff -- -f"), memory=512)
    wait_for_power_off(m)
    expect_in(r"^\[ +\d+\.\d+\] Linux version 6\.\d+\.", m.text())
    expect_in(r"^corbel: linux: ended after", m.text())
