"""VMs with a display: what they show, and what is typed there."""
import glob
import os
import struct
import zlib

from com2 import tool
from harness import BOOT, COMMAND, IDLE, NO_VID, PATIENCE, Shell, expect, expect_in, linux, scenario
from monitor import Monitor
from smp import Host
from vm_firmware import firmware_vm


def points_of(path):
    """Width, height and rows of a PNG as tools/com2 writes it: eight bits each of red, green and blue, rows as they are."""
    with open(path, "rb") as f:
        data = f.read()
    expect(data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR", f"{path} is no PNG")
    width, height, form = struct.unpack(">II5s", data[16:29])
    expect(form == bytes([8, 2, 0, 0, 0]), f"{path} has {form}")
    packed, at = b"", 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 4:at + 8 + length]
        expect(zlib.crc32(body) == int.from_bytes(data[at + 8 + length:at + 12 + length], "big"), f"{path} is damaged")
        packed += body[4:] if kind == b"IDAT" else b""
        at += 12 + length
    rows = zlib.decompress(packed)
    line = 1 + 3 * width
    expect(len(rows) == line * height and not any(rows[::line]), f"{path} has other rows")
    return width, height, [rows[i * line + 1:(i + 1) * line] for i in range(height)]


def screens(lab, line):
    """The pictures in what came over COM2."""
    folder = lab.path("screens")
    _, said = tool(line, "--screens", folder)
    expect_in(r"com2: screen: \S+/pc-1\.png, \d+ by \d+ points", said, "tools/com2")
    return sorted(glob.glob(os.path.join(folder, "*.png")), key=lambda path: int(path[:-4].rsplit("-", 1)[1]))


def machine(lab, firmware, keys=None, **of_vm):
    """At its prompt: what firmware says to its debug console would stand in the middle of what is typed."""
    config = firmware_vm("pc", firmware, display="vga", **of_vm)
    return Host(lab, config, {"com2": "framed", "when_idle": "stay", "without": "vid", "log": "warn", **(keys or {})}, memory=512,
                com2=lab.path("com2"))


def letters(lab, keys=None):
    """SeaBIOS shows letters, as does a boot sector of what is typed; the machine's prompt."""
    with open(lab.guest("screen_sector"), "rb") as f:
        lab.file("disk.img", f.read() + bytes(1 << 20))
    p = machine(lab, "bios", keys, memory="64M", disk="ram:disk.img")
    said = p.wait_for(r"^the sector listens$", "screenshot pc", BOOT)
    expect_in(r"^pc shows 80 by 25 letters:$", said, "screenshot")
    expect_in(r"SeaBIOS \(version ", said, "screenshot")
    expect(p.run("type pc Hello, World! {~}\\n$ 2+2") == "", "type")
    p.wait_for(r"^Hello, World! \{~\}\n\$ 2\+2$", "screenshot pc")
    expect(p.run("keys pc backspace backspace 3 shift-4") == "", "keys")
    p.wait_for(r"^\$ 23\$$", "screenshot pc")
    expect_in(r"^'nothing' names no keys", p.run("keys pc nothing"), "keys")
    return p


def power_off(p):
    expect(p.run("keys pc f10") == "", "keys")
    p.wait_for(r"^pc +powered off ")
    expect_in(r"^pc is not on$", p.run("screenshot pc"), "screenshot")
    p.end()


@scenario(bound=2 * BOOT)
def bios_display(lab):
    """SeaBIOS and a boot sector show letters; what is typed is shown; points of colour come as a PNG."""
    p = letters(lab)
    expect(p.run("keys pc f1") == "", "keys")
    p.wait_for(r"pc: 640 by 480 points are sent, in \d+ bytes", "screenshot pc", BOOT)
    p.run("screenshot pc", BOOT)  # the first may have come while they were drawn
    power_off(p)
    width, height, rows = points_of(screens(lab, lab.path("com2"))[-1])
    expect((width, height) == (640, 480), f"{width} by {height} points")
    all_points = b"".join(rows)
    points = [all_points[i:i + 3] for i in range(0, len(all_points), 3)]
    colours = points[:65536:256]
    expect(len(set(colours)) > 64 and colours[0] == b"\0\0\0", f"{len(set(colours))} colours")
    expect(points[:65536] == [c for c in colours for _ in range(256)], "the points have other colours")
    expect(not any(b"".join(points[65536:])), "there are more points")


@scenario(bound=4 * BOOT, slow=True)
def bios_display_reloaded(lab):
    """The same letters while the VM's state is saved, wiped and loaded now and then."""
    power_off(letters(lab, {"test_reload": 200}))


@scenario(bound=4 * BOOT, slow=True)
def uefi_display(lab):
    """OVMF shows its shell in points of colour, and hears what is typed."""
    p = machine(lab, "uefi", memory="256M")
    p.m.send("console pc\r")
    p.m.read_until(rb"Shell> ", 3 * BOOT * PATIENCE)
    p.enter()
    p.wait_for(r"pc: \d+ by \d+ points are sent, in \d+ bytes", "screenshot pc", BOOT)
    expect(p.run("type pc reset -s\\n") == "", "type")
    p.wait_for(r"^pc +powered off ")
    p.end()
    width, height, rows = points_of(screens(lab, lab.path("com2"))[-1])
    expect(width >= 640 and height >= 480, f"{width} by {height} points")
    drawn = sum(1 for row in rows if len(set(zip(row[::3], row[1::3], row[2::3]))) > 1)
    expect(drawn > 30, f"{drawn} rows have more than one colour: that is no text")


@scenario(bound=5 * BOOT, slow=True)
def linux_display(lab):
    """Linux finds graphics card, keyboard and mouse, and hears what is typed."""
    m = lab.boot(NO_VID + linux("pc", kernel="vmlinuz-generic", cmdline=IDLE, display="vga", memory="256M"), memory=512)
    shell, p = Shell(m, slow=3), Monitor(m)
    said = shell.run("dmesg")
    for text in (r"serio: i8042 KBD port at 0x60,0x64 irq 1\b", r"serio: i8042 AUX port at 0x60,0x64 irq 12\b",
                 r"input: AT Translated Set 2 keyboard as "):
        expect_in(text, said, "dmesg")
    expect("0x030000" in shell.run("cat /sys/bus/pci/devices/*/class"), "there is no graphics card")
    shell.run("(head -n 1 /dev/tty1 > /tmp/t &)")
    p.enter()
    expect(p.run("type pc Hello from outside\\n") == "", "type")
    m.send("console pc\r")
    m.send("\r")
    shell.prompt(COMMAND)
    expect("Hello from outside\n" in shell.run("until [ -s /tmp/t ]; do sleep 1; done; cat /tmp/t"), "what was typed has not come")
    shell.poweroff()
