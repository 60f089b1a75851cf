"""`make image` and `make run`, as a user meets them."""
import glob
import hashlib
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time

from harness import (BOOT, BUILD, COMMAND, FIRMWARE, PATIENCE, TOP, Failure, expect, expect_in, linux,
                     scenario, vm)

ESP = 2048 * 512


def make(*arguments, cwd=TOP, **options):
    return subprocess.run(["make", "-s", *([] if cwd == TOP else ["-C", TOP]), *arguments], cwd=cwd,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False,
                          env=dict(os.environ, MAKEFLAGS="", MAKELEVEL="", PWD=cwd), **options)


def content(image, name):
    """A file of an image, None when there is none."""
    p = subprocess.run(["mtype", "-i", f"{image}@@{ESP}", f"::/{name}"], stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return p.stdout if p.returncode == 0 else None


def config_of(image):
    return (content(image, "corbel/corbel.conf") or b"").decode(errors="replace")


def value(config, key, n=0):
    return re.findall(rf"^\s*{key}\s*=\s*(\S+)", config, re.MULTILINE)[n]


# Debian as apt shows it: of `library` there is version 2 only, and `other` is gone.
APT = """#!/bin/bash
case "$*" in
*--print-uris*) echo "'http://archive/debian/dists/bookworm/InRelease' bookworm" ;;
*" update "*) ;;
*" download library" | *" download library=2") touch library_2_amd64.deb ;;
*) exit 100 ;;
esac
"""


@scenario(bound=60)
def tool_fetch_debian(lab):
    """A package that Debian has replaced comes in the version that is there now, and that is said; one that is gone is named."""
    for name, text in (("apt-get", APT), ("dpkg-deb", '#!/bin/bash\nmkdir "$3" && cp "$2" "$3"\n')):
        os.chmod(lab.file(f"bin/{name}", text), 0o755)

    def fetch(package):
        return subprocess.run([os.path.join(TOP, "tools", "fetch-debian.sh"), lab.folder, f"there=binary:{package}"],
                              env=dict(os.environ, PATH=lab.path("bin") + ":" + os.environ["PATH"]), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)

    for wanted in ("library=2", "library=1"):
        p = fetch(wanted)
        expect(p.returncode == 0 and os.listdir(lab.path("there")) == ["library_2_amd64.deb"], f"{wanted}: {p.stdout}")
        expect(("in its place: library_2_amd64.deb" in p.stdout) == (wanted == "library=1"), f"{wanted}: {p.stdout}")
    p = fetch("other=1")
    expect(p.returncode, "a package that is gone is no error")
    expect_in("Cannot fetch .*: package other is not to be had", p.stdout)


@scenario(bound=60)
def make_image(lab):
    """The contract: paths, equal base names, warnings, no OUT after a failure, no root."""
    one, two = lab.file("a/kernel", b"one" * 1000), lab.file("b/kernel", b"two" * 1000)
    lab.file("conf/initrd", b"three")
    out = lab.path("out.img")

    # Absolute, "..", beside the config; equal base names; CRLF and comments stay.
    conf = lab.file("conf/test.conf", f"# a comment\r\n[vm x]\r\nkernel = {one} # here\r\ninitrd = initrd\r\n"
                    "[vm y]\r\nkernel = ../b/kernel\r\ncmdline = a # b\r\n")
    p = make("image", f"CONFIG={conf}", f"OUT={out}")
    expect(p.returncode == 0, f"make image: {p.stdout}")
    config = config_of(out)
    names = value(config, "kernel", 0), value(config, "kernel", 1)
    expect(len(set(n.lower() for n in names)) == 2, f"both kernels have one name:\n{config}")
    for name, path in zip(names, (one, two)):
        with open(path, "rb") as f:
            expect(content(out, f"corbel/{name}") == f.read(), f"{name} is not {path}")
    expect(content(out, "corbel/" + value(config, "initrd")) == b"three", "the initrd is not in the image")
    expect("cmdline = a # b" in config and config.count("\n") == 7, f"the config has changed:\n{config}")
    p = subprocess.run(["/usr/sbin/sgdisk", "--verify", out], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                       check=False)
    expect("No problems found" in p.stdout, f"sgdisk: {p.stdout}")

    # A file keeps its name, as far as a FAT file system and the config can have it: messages show it.
    own = "memtest86+x64,(8.10)=~@%!$&'^-_"
    lab.file(f"conf/{own}", b"four")
    conf = lab.file("conf/own.conf", f"[vm x]\nkernel = {own}\ninitrd = {lab.file('conf/a b[c]:d;e', b'five')}\n")
    p = make("image", f"CONFIG={conf}", f"OUT={out}")
    config = config_of(out)
    expect(value(config, "kernel") == own and content(out, f"corbel/{own}") == b"four", f"{own} became:\n{config}")
    expect(value(config, "initrd") == "a_b_c__d_e" and content(out, "corbel/a_b_c__d_e") == b"five", config)

    # Relative to the caller.
    os.remove(out)
    p = make("image", "CONFIG=conf/test.conf", "OUT=out.img", cwd=lab.folder)
    expect(p.returncode == 0 and os.path.exists(out), f"make -C: {p.stdout}")

    # What is missing or wrong warns only.
    conf = lab.file("conf/bad.conf", "[vm x]\nkernel = nowhere\nmemroy = 1G\n")
    p = make("image", f"CONFIG={conf}", f"OUT={out}")
    expect(p.returncode == 0, f"a missing file is an error: {p.stdout}")
    expect_in(r"warning: .*nowhere.*No such file", p.stdout, "make image")
    expect_in(r"memroy", p.stdout, "make image")
    expect(value(config_of(out), "kernel") == "nowhere", "the missing file has another name")

    # Failure: non-zero, a word about it, no OUT, not even the old one.
    p = make("image", f"CONFIG={lab.path('none.conf')}", f"OUT={out}")
    expect(p.returncode and "none.conf" in p.stdout, f"no config, and yet {p.returncode}: {p.stdout}")
    expect(not os.path.exists(out), "OUT is there after a failure")
    p = make("image", f"CONFIG={conf}", f"OUT={lab.path('no/such/folder.img')}")
    expect(p.returncode, "an OUT that cannot be written is no error")
    p = make("image", f"CONFIG={conf}")
    expect(p.returncode and "OUT" in p.stdout, f"without OUT: {p.returncode}, {p.stdout}")


@scenario(bound=60)
def make_image_without_root(lab):
    """Nothing of it needs root."""
    if os.getuid() != 0:
        return  # then make_image has shown it
    lab.file("conf/kernel", b"kernel")
    conf = lab.file("conf/test.conf", "[vm x]\nkernel = kernel\n")
    for name in ("BOOTX64.EFI", "confscan"):
        with open(os.path.join(BUILD, name), "rb") as f:
            lab.file(f"tool/{name}", f.read())
    for name in ("image", "partitions.py"):
        with open(os.path.join(TOP, "tools", name), "rb") as f:
            lab.file(f"tool/{name}", f.read())
    for folder, _, files in os.walk(lab.folder):
        os.chmod(folder, 0o777)
        for f in files:
            os.chmod(os.path.join(folder, f), 0o755)
    p = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/env",
                        f"TMPDIR={lab.folder}", "python3", lab.path("tool/image"), lab.path("tool/BOOTX64.EFI"),
                        lab.path("tool/confscan"), conf, lab.path("out.img")], stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    expect(p.returncode == 0 and content(lab.path("out.img"), "corbel/kernel") == b"kernel",
           f"as nobody: {p.returncode}: {p.stdout}")


@scenario(bound=60)
def tool_password(lab):
    """What tools/password says is what Python's hashlib makes of it; nothing but a password is one."""
    tool = os.path.join(TOP, "tools", "password")

    def run(text, *arguments):
        return subprocess.run([tool, *arguments], input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)

    for text, rounds in (("secret", 1000), ("gr\u00fc\u00dfe", 1234), ("x" * 64, 2000)):
        said = run(text.encode() + b"\n", str(rounds)).stdout.decode()
        kind, n, salt, result = expect_in(r"^password = (\S+)$", said, "tools/password")[1].split("$")
        expect((kind, n) == ("pbkdf2-blake2s", str(rounds)), said)
        expect(hashlib.pbkdf2_hmac("blake2s256", text.encode(), bytes.fromhex(salt), rounds).hex() == result, said)
        lab.file("kernel", b"kernel")
        p = subprocess.run([os.path.join(BUILD, "confscan"), lab.file("corbel.conf", f"[host]\n{said}[vm x]\nkernel = kernel\n")],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        expect("password" not in p.stdout, f"confscan: {p.stdout}")
    for text, *arguments in ((b"\n",), (b"x" * 65 + b"\n",), (b"a\tb\n",), (b"secret\n", "999"), (b"secret\n", "many"), (b"secret\n", "1000", "1")):
        p = run(text, *arguments)
        expect(p.returncode and not p.stdout and b"Traceback" not in p.stderr, f"{text} {arguments}: {p.stdout} {p.stderr}")


class Terminal:
    """`make run` on a terminal of ours."""

    def __init__(self, lab, *arguments):
        self.master, slave = pty.openpty()
        self.slave_name = os.ttyname(slave)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.output, self.read_to = b"", 0
        environment = dict(os.environ, MAKEFLAGS="", MAKELEVEL="", TMPDIR=lab.folder)

        def controlling():
            os.setsid()
            import fcntl
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(["make", "-s", "run", "MACHINE=bochs", *arguments], cwd=TOP, stdin=slave,
                                        stdout=slave, stderr=slave, preexec_fn=controlling, env=environment)

    def read_until(self, pattern, bound):
        until = time.monotonic() + bound * PATIENCE
        while True:
            match = re.compile(pattern, re.MULTILINE | re.DOTALL).search(self.output, self.read_to)
            if match:
                self.read_to = match.end()
                return match
            if time.monotonic() > until:
                raise Failure(f"no {pattern!r} on the terminal:\n" + self.output[-2500:].decode(errors="replace"))
            self.pump(1)

    def pump(self, timeout):
        ready, _, _ = select.select([self.master], [], [], timeout)
        if ready:
            self.output += os.read(self.master, 65536)

    def type(self, text):
        os.write(self.master, text)

    def wait(self, bound):
        """make's exit status."""
        until = time.monotonic() + bound * PATIENCE
        while self.process.poll() is None:
            self.pump(0.2)
            if time.monotonic() > until:
                raise Failure("make run has not ended:\n" + self.output[-2500:].decode(errors="replace"))
        self.pump(0.2)
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            # Its own children end with it: tools/run by the hang-up, the emulator by its parent's death.
            os.killpg(self.process.pid, signal.SIGHUP)
        os.close(self.slave)
        os.close(self.master)
        self.process.wait()


def check_nothing_is_left(lab, terminal):
    expect(termios.tcgetattr(terminal.slave) == terminal.before, "the terminal's settings were not restored")
    time.sleep(0.5)
    left = [f for f in os.listdir(lab.folder) if f.startswith("corbel-machine-")]
    expect(not left, f"left behind: {left}")
    for environment in glob.glob("/proc/[0-9]*/environ"):
        try:
            with open(environment, "rb") as f:
                ours = f"TMPDIR={lab.folder}".encode() in f.read()
            pid = int(environment.split("/")[2])
            if ours and pid != os.getpid():
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    command = f.read().replace(b"\0", b" ").decode(errors="replace")
                if "bochs" in command.split(" ")[0] or "tools/run " in command:
                    raise Failure(f"still running: {command}")
        except OSError:
            pass


def run_to_poweroff(lab):
    t = Terminal(lab)
    try:
        t.read_until(rb"^corbel: Corbel on ", FIRMWARE + BOOT)
        t.read_until(rb"Linux version 6\.\d+\.", BOOT)
        t.read_until(rb"^corbel:[^ \r\n]*# ", 2 * BOOT)
        t.type(b"echo $((6 * 7))x\r")
        t.read_until(rb"^42x\r\n", COMMAND)
        t.type(b"poweroff\r")
        t.read_until(rb"corbel: debian: ended after.*VM exits: \d+.*no VM is left: power off", BOOT)
        status = t.wait(BOOT)
        expect(status == 0, f"make run returns {status}:\n{t.output[-2000:].decode(errors='replace')}")
        check_nothing_is_left(lab, t)
    finally:
        t.close()


def run_until_ctrl_c(lab, pattern):
    t = Terminal(lab, f"CONFIG={lab.file('run.conf', linux())}")
    try:
        t.read_until(pattern, FIRMWARE + BOOT)
        time.sleep(1)
        t.type(b"\x03")
        t.wait(20)
        expect_in(r"ended by Ctrl-C|ended by a signal", t.output.decode(errors="replace"), "the terminal")
        check_nothing_is_left(lab, t)
    finally:
        t.close()


@scenario(bound=240)
def make_run(lab):
    """`make run`: on a terminal to poweroff and to Ctrl-C, early and late; without a terminal; nothing is left behind."""
    # One after the other: they share build/run.img.
    run_to_poweroff(lab)
    lab.verdict("make run: boot log, shell, poweroff, status 0, nothing left")
    for pattern in (rb"run: Bochs", rb"^corbel: linux: starts with"):
        run_until_ctrl_c(lab, pattern)
    lab.verdict("make run: Ctrl-C")
    conf = lab.file("run.conf", vm("a", lab.guest("cpuid_signature"), memory="16M"))
    p = make("run", "MACHINE=bochs", "MEMORY=256", f"CONFIG={conf}", timeout=2 * FIRMWARE * PATIENCE)
    expect(p.returncode == 0, f"make run returns {p.returncode}:\n{p.stdout[-2000:]}")
    expect_in(r"^PASS cpuid_signature$", p.stdout.replace("\r", ""))
    lab.verdict("make run: no terminal, no input")
