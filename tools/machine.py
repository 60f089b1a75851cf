"""A machine to start Corbel on: Bochs, QEMU with KVM, or QEMU's TCG (which has no VMX), with COM1 in our hands.

    with Machine("disk.img", memory=512) as m:
        m.start()
        m.read_until(r"corbel:.*# ", timeout=120)
        m.send("poweroff\\n")
        m.wait(timeout=60)

Each machine lives in a folder of its own, which holds its copy of the disk, and leaves nothing behind: no process, no
lock file, no terminal. All waits are bounded.
"""
import atexit
import ctypes
import functools
import glob
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

OVMF = "/usr/share/OVMF"
# Debian 12's Bochs has room for 2 MiB of firmware below 4 GiB; Debian 13 has only OVMF of 4 MiB, and a Bochs for it.
OVMF_SIZE = "" if os.path.exists(f"{OVMF}/OVMF_CODE.fd") else "_4M"
OVMF_CODE, OVMF_VARS = f"{OVMF}/OVMF_CODE{OVMF_SIZE}.fd", f"{OVMF}/OVMF_VARS{OVMF_SIZE}.fd"
TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BOCHS_3 = os.path.join(TOP, "build", "bochs3", "bochs")  # make bochs3
QEMU_10 = os.path.join(TOP, "build", "qemu10", "qemu")  # make qemu10
# Bochs 3.0 checks on processors with CET that no page becomes dirty which may not be written, forgets that CR0.WP must be
# set for that, and panics in OVMF: on these its processor's panics are reports.
CET_MODELS = ("tigerlake", "sapphire_rapids", "arrow_lake")
CET_PANIC = ", cpu0=report"
BOCHS_HOST_MEMORY = 2048  # MiB: more it cannot keep in memory at once
DEFAULT_MODEL = "corei7_haswell_4770"
DEFAULT_IPS = 100_000_000

# What Bochs says when the machine itself asked to be switched off. Its exit status is 1 then, as for a panic.
BOCHS_POWERED_OFF = re.compile(rb"shutdown requested|soft power off", re.IGNORECASE)

ANSI = re.compile(rb"\x1b\[[0-9;?=]*[A-Za-z]")


class MachineError(Exception):
    """The machine did not do what was expected of it; the text ends in COM1's last lines."""


def _die_with_parent():
    os.setsid()  # Ctrl-C at our terminal is ours to handle
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _sweep():
    """Remove the folders of runs that were themselves killed before they could tidy up."""
    for folder in glob.glob(os.path.join(tempfile.gettempdir(), "corbel-machine-*-*")):
        owner = folder.split("-")[-2]
        if owner.isdigit() and not os.path.exists(f"/proc/{owner}"):
            shutil.rmtree(folder, ignore_errors=True)


def host_has_vmx():
    """Whether KVM here can offer VMX to a guest. A /dev/kvm that opens proves nothing; /proc/cpuinfo does."""
    try:
        with open("/proc/cpuinfo") as f:
            if not re.search(r"^flags\s*:.*\bvmx\b", f.read(), re.MULTILINE):
                return False
        with open("/sys/module/kvm_intel/parameters/nested") as f:
            if f.read().strip() not in ("Y", "1"):
                return False
        return os.access("/dev/kvm", os.R_OK | os.W_OK)
    except OSError:
        return False


def default_bochs():
    """The installed Bochs, or Bochs 3 where the environment has BOCHS=3."""
    return BOCHS_3 if os.environ.get("BOCHS") == "3" else "bochs"


@functools.cache
def bochs_version(program):
    """Which Bochs a program is, "2.7" for one; "" for none at all."""
    try:
        said = subprocess.run([program, "--help"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False, timeout=30).stdout
        version = re.search(rb"Bochs x86 Emulator (\d+\.\d+)", said)
        return version[1].decode() if version else ""
    except (OSError, subprocess.TimeoutExpired):
        return ""


class Bridge(threading.Thread):
    """The machine's second serial port as a TCP port to which one debugger at a time connects. What the machine says
    while nobody is there is lost, as on a cable."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.machine = socket.create_server(("127.0.0.1", 0))  # the emulator connects here
        self.people = socket.create_server(("127.0.0.1", port))
        self.port = self.people.getsockname()[1]
        self.machine_port = self.machine.getsockname()[1]
        self.end, self.ended = socket.socketpair()

    def run(self):
        wire = gdb = None
        try:
            while True:
                ready, _, _ = select.select([s for s in (self.machine, self.people, self.ended, wire, gdb) if s], [], [])
                if self.ended in ready:
                    return
                if self.machine in ready:
                    wire, _ = self.machine.accept()
                if self.people in ready:
                    gdb, _ = self.people.accept()
                    gdb.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if wire in ready:
                    data = self._receive(wire)
                    if not data:
                        return
                    if gdb:
                        gdb = gdb if self._send(gdb, data) else None
                elif gdb in ready:
                    data = self._receive(gdb)
                    if not data:
                        gdb.close()
                        gdb = None
                    elif wire:
                        self._send(wire, data)
        finally:
            for s in (wire, gdb, self.machine, self.people):
                if s:
                    s.close()

    @staticmethod
    def _receive(wire):
        try:
            return wire.recv(4096)
        except OSError:
            return b""

    @staticmethod
    def _send(wire, data):
        try:
            wire.sendall(data)
            return True
        except OSError:
            wire.close()
            return False

    def stop(self):
        self.end.send(b".")


class Machine:
    """One run of one machine.

    image       disk image; the machine works on a copy
    in_place    it works on the image itself, so that what it writes stays
    kind        "bochs", "kvm" or "qemu" (TCG: no VMX)
    cpus        processors, 1 or more
    memory      MiB of RAM
    model       Bochs' cpu model, or QEMU's -cpu
    ips         Bochs: ticks per second of device time
    extra       Bochs: further lines for bochsrc; QEMU: further arguments
    boot        QEMU: arguments for the controller that the image is on, as drive "boot"; None: the first IDE disk
    replace     Bochs: {directive: line} instead of the line that begins with "directive:"
    log         file that COM1's output is copied to, as it comes
    gdb         TCP port of this machine at which a debugger finds the second serial port; 0: any, see gdb_port
    com1        whether there is a first serial port
    com2        file that the second serial port's output goes to; None: there is no such port
    firmware    Bochs: the files that make up the flash image; QEMU: (code, variables)
    bochs       which Bochs: a program; else what is installed, or Bochs 3 with BOCHS=3 in the environment
    cpu         Bochs: further options of the line cpu:
    """

    def __init__(self, image, kind="bochs", cpus=1, memory=512, model=None, ips=DEFAULT_IPS, extra=(), replace=None,
                 log=None, com1=True, com2=None, gdb=None, firmware=None, bochs=None, qemu="qemu-system-x86_64",
                 cpu="", in_place=False, boot=None):
        self.in_place, self.boot = in_place, boot
        self.image, self.kind, self.cpus, self.memory = image, kind, cpus, memory
        self.model = model or (DEFAULT_MODEL if kind == "bochs" else None)
        self.ips, self.extra, self.replace = ips, list(extra), dict(replace or {})
        self.com1 = com1
        self.com2 = com2 and os.path.abspath(com2)
        self.log_path, self.firmware, self.bochs, self.qemu = log, firmware, bochs or default_bochs(), qemu
        self.cpu = cpu
        self.output = bytearray()  # all of COM1 since the start
        self.read_to = 0  # where the next read_until() begins
        self.bridge = None if gdb is None else Bridge(gdb)
        self.gdb_port = self.bridge and self.bridge.port
        self.process = self.folder = self.wire = self.log = self.started = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    # --- starting ---

    def start(self):
        """Start the machine; its COM1 is connected when this returns."""
        atexit.register(self.kill)
        if self.bridge:
            self.bridge.start()
        _sweep()
        self.folder = tempfile.mkdtemp(prefix=f"corbel-machine-{os.getpid()}-")
        self.started = time.monotonic()
        if self.log_path:
            self.log = open(self.log_path, "wb")
        disk = os.path.join(self.folder, "disk.img")
        if self.in_place:
            os.symlink(os.path.abspath(os.fspath(self.image)), disk)
        elif subprocess.run(["cp", "--sparse=always", "--reflink=auto", os.fspath(self.image), disk]).returncode:
            raise MachineError(f"cannot copy {self.image} to {self.folder}")
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            listener.settimeout(30)
            port = listener.getsockname()[1]
            command = self._bochs(disk, port) if self.kind == "bochs" else self._qemu(disk, port)
            with open(os.path.join(self.folder, "emulator.txt"), "wb") as said:
                self.process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=said,
                                                stderr=said, preexec_fn=_die_with_parent)
            if self.com1:
                self._accept(listener)

    def _accept(self, listener):
        listener.settimeout(0.2)
        for _ in range(150):
            try:
                self.wire, _ = listener.accept()
                self.wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.wire.setblocking(False)
                return
            except TimeoutError:
                if self.process.poll() is not None:
                    break
        raise MachineError(f"{self.kind} did not start: {self._emulator_says()}")

    def _bochs(self, disk, port):
        parts = self.firmware or (OVMF_VARS, OVMF_CODE)
        with open(os.path.join(self.folder, "firmware.fd"), "wb") as out:
            for part in parts:
                with open(part, "rb") as f:
                    shutil.copyfileobj(f, out)
        size = sum(os.path.getsize(p) for p in parts)
        cpu = f"model={self.model}, count={self.cpus}, ips={self.ips}, reset_on_triple_fault=0{self.cpu}"
        lines = [
            "plugin_ctrl: unmapped=1, biosdev=1, speaker=0, iodebug=1",
            'display_library: rfb, options="timeout=0"',
            "config_interface: textconfig",
            f"cpu: {cpu}",
            f"memory: guest={self.memory}, host={min(self.memory, BOCHS_HOST_MEMORY)}",
            f"romimage: file=firmware.fd, address={0x100000000 - size:#x}",
            "vgaromimage: file=/usr/share/vgabios/vgabios.bin",
            "pci: enabled=1, chipset=i440fx",
            "vga: extension=vbe",
            "ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14",
            f"ata0-master: type=disk, path={os.path.basename(disk)}, mode=flat",
            "boot: disk",
            f"com1: enabled=1, mode=socket-client, dev=127.0.0.1:{port}" if self.com1 else "com1: enabled=0",
            "log: bochs.log",
            "info: action=ignore",
            "error: action=ignore",
            f"panic: action=fatal{CET_PANIC if self.model in CET_MODELS else ''}",
            "clock: sync=none, time0=local",
        ]
        if self.com2:
            lines.append(f"com2: enabled=1, mode=file, dev={self.com2}")
        if self.bridge:
            lines.append(f"com2: enabled=1, mode=socket-client, dev=127.0.0.1:{self.bridge.machine_port}")
        lines = [line for line in lines if line.split(":")[0] not in self.replace]
        lines += list(self.replace.values()) + self.extra
        with open(os.path.join(self.folder, "bochsrc"), "w") as f:
            f.write("\n".join(lines) + "\n")
        # Debian's Bochs starts in its debugger, which waits for "continue", and again when the machine resets itself.
        with open(os.path.join(self.folder, "debugger"), "w") as f:
            f.write(8 * "c\n")
        return [self.bochs, "-q", "-f", "bochsrc", "-rc", "debugger"]

    def _qemu(self, disk, port):
        code, variables = self.firmware or (OVMF_CODE, OVMF_VARS)
        shutil.copyfile(variables, os.path.join(self.folder, "variables.fd"))
        accelerator = ["-accel", "kvm", "-cpu", self.model or "host"] if self.kind == "kvm" else [
            "-accel", "tcg", "-cpu", self.model or "qemu64"]
        return [self.qemu, "-machine", "pc", *accelerator, "-smp", str(self.cpus), "-m", str(self.memory),
                "-nodefaults", "-vga", "std", "-display", "none",
                "-monitor", "unix:monitor,server=on,wait=off",
                "-drive", f"if=pflash,format=raw,readonly=on,file={code}",
                "-drive", "if=pflash,format=raw,file=variables.fd",
                "-drive", f"format=raw,file={os.path.basename(disk)}" + (",if=none,id=boot" if self.boot else ""),
                *(self.boot or []),
                *(["-chardev", f"socket,id=com1,host=127.0.0.1,port={port},nodelay=on", "-serial", "chardev:com1"]
                  if self.com1 else ["-serial", "none"]),
                *(["-serial", f"file:{self.com2}"] if self.com2 else []),
                *(["-chardev", f"socket,id=com2,host=127.0.0.1,port={self.bridge.machine_port},nodelay=on",
                   "-serial", "chardev:com2"] if self.bridge else []), *self.extra]

    # --- COM1 ---

    def pump(self, timeout):
        """Take what COM1 has said, waiting at most timeout seconds for it. Returns the bytes; None at the end."""
        if self.wire is None and not self.com1 and self.running():
            time.sleep(max(0, timeout))
            return b""
        if self.wire is None:
            return None
        ready, _, _ = select.select([self.wire], [], [], max(0, timeout))
        if not ready:
            return b""
        try:
            data = self.wire.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            self.wire.close()
            self.wire = None
            return None
        self.output += data
        if self.log:
            self.log.write(data)
            self.log.flush()
        return data

    def read_until(self, pattern, timeout):
        """The match of a regular expression (str or bytes) in COM1's output after the last match. Waits at most
        timeout seconds of wall clock; MachineError, with COM1's last lines, when it does not come."""
        expression = re.compile(pattern.encode() if isinstance(pattern, str) else pattern, re.MULTILINE)
        until = time.monotonic() + timeout
        while True:
            match = expression.search(self.output, self.read_to)
            if match:
                self.read_to = match.end()
                return match
            left = until - time.monotonic()
            if left <= 0:
                raise MachineError(f"no {pattern!r} within {timeout} s\n{self.tail()}")
            if self.pump(min(left, 1)) is None:
                match = expression.search(self.output, self.read_to)
                if not match:
                    raise MachineError(f"the machine ended without {pattern!r}\n{self.tail()}")

    def send(self, data, timeout=30):
        """Type bytes (or text) at COM1."""
        left = memoryview(data.encode() if isinstance(data, str) else data)
        until = time.monotonic() + timeout
        while left and self.wire:
            if time.monotonic() > until:
                raise MachineError(f"COM1 takes no input\n{self.tail()}")
            _, ready, _ = select.select([], [self.wire], [], 0.2)
            if ready:
                try:
                    left = left[self.wire.send(left):]
                except ConnectionError:
                    return
            self.pump(0)

    def type(self, text, patience=1):
        """Type like a person: each character when the one before has been answered, or after patience seconds. Pasted
        lines can kill a Linux in Bochs: see its virtual interrupts in docs/CAVEATS.md."""
        for character in text:
            answered, until = len(self.output), time.monotonic() + patience
            self.send(character)
            while self.wire and len(self.output) == answered and time.monotonic() < until:
                self.pump(until - time.monotonic())

    def text(self):
        """COM1's output so far as text, without terminal control sequences and carriage returns."""
        return ANSI.sub(b"", bytes(self.output)).replace(b"\r", b"").decode(errors="replace")

    def _where(self):
        """QEMU: where the first processor of a machine is that still runs, looked at twice; lines for people."""
        if self.kind == "bochs" or not self.running():
            return []
        found = []
        try:
            with socket.socket(socket.AF_UNIX) as monitor:
                monitor.settimeout(5)
                monitor.connect(os.path.join(self.folder, "monitor"))
                for _ in range(2):
                    monitor.send(b"info registers\n")
                    said = b""
                    while not (match := re.search(rb"RIP=.*?HLT=\d", said)):
                        data = monitor.recv(65536)
                        if not data:
                            raise ConnectionError("it has ended")
                        said += data
                    found.append(match[0].decode())
                    time.sleep(0.2)
        except OSError as error:
            found.append(f"QEMU's monitor does not answer: {error}")
        return [f"--- {line}" for line in found]

    def tail(self, lines=25):
        """The last lines of COM1, where the processor is, and what the emulator itself had to say."""
        said = self._emulator_says()
        return "\n".join(["--- COM1's last lines:", *self.text().splitlines()[-lines:], *self._where()] +
                         ([f"--- {self.kind}: {said}"] if said else []))

    # --- ending ---

    def wait(self, timeout):
        """Wait until the machine switches itself off. Returns True when it did, False when the emulator ended for
        another reason; MachineError when it still runs after timeout seconds."""
        until = time.monotonic() + timeout
        while self.pump(0.5) is not None:
            if time.monotonic() > until:
                raise MachineError(f"still running after {timeout} s\n{self.tail()}")
        try:
            status = self.process.wait(max(5, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise MachineError(f"COM1 closed but {self.kind} still runs\n{self.tail()}") from None
        if self.kind == "bochs":
            return bool(BOCHS_POWERED_OFF.search(self._bochs_log()))
        return status == 0

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """End the machine at once, however it is, and remove all that it had. May be called twice."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)  # Bochs catches SIGTERM
            self.process.wait()
        if self.bridge:
            self.bridge.stop()
            self.bridge = None
        if self.wire:
            while self.pump(0):
                pass
        if self.wire:
            self.wire.close()
            self.wire = None
        if self.log:
            self.log.close()
            self.log = None
        if self.folder:
            self.last_words = self._emulator_says()
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None
        atexit.unregister(self.kill)

    def emulator(self):
        """What it runs on: "Bochs" with its version, "KVM" or "QEMU TCG"."""
        if self.kind == "bochs":
            return f"Bochs {bochs_version(self.bochs)}"
        return "KVM" if self.kind == "kvm" else "QEMU TCG"

    def _bochs_log(self):
        if not self.folder:
            return b""
        try:
            with open(os.path.join(self.folder, "bochs.log"), "rb") as f:
                f.seek(0, os.SEEK_END)
                f.seek(max(0, f.tell() - 65536))
                return f.read()
        except OSError:
            return b""

    def _emulator_says(self):
        """What the emulator complained about, in one line or a few; empty when there is nothing."""
        if not self.folder:
            return getattr(self, "last_words", "")
        if self.kind == "bochs":
            panics = [line for line in self._bochs_log().splitlines() if b"PANIC" in line]
            if panics:
                return b"\n".join(panics[-3:]).decode(errors="replace")
        try:
            with open(os.path.join(self.folder, "emulator.txt"), "rb") as f:
                said = f.read()[-2000:].decode(errors="replace")
        except OSError:
            return ""
        return "" if self.kind == "bochs" and self.process.poll() is None else said.strip()
