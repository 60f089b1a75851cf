"""What scenarios are made of: a config, the files it names, a machine that boots them, and a verdict.

A scenario is a function that takes a Lab and raises when something is not as it should be:

    @scenario(bound=40)
    def hello(lab):
        m = lab.boot("[vm a]\\nkernel = " + lab.guest("cpuid_signature"))
        m.read_until("^PASS cpuid_signature\\r?$", 60)
        m.wait(30)

Each runs in a process of its own, which is ended when the bound (seconds of wall clock) is over; its machines die with
it. Names that scenarios add by lab.verdict() are counted one by one in place of the scenario's own.
"""
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(TOP, "build")
EFI = os.path.join(BUILD, "BOOTX64.EFI")
LOGS = os.path.join(BUILD, "machine")
sys.path.insert(0, os.path.join(TOP, "tools"))
import results  # noqa: E402
from machine import Machine, MachineError, _die_with_parent, bochs_version, default_bochs  # noqa: E402

ALL = os.environ.get("CORBEL_TEST_ALL") == "1"  # make test-all
# A busy machine is slower than the one on which the bounds were set.
PATIENCE = float(os.environ.get("CORBEL_PATIENCE", "4"))
SCENARIOS = {}

# Waits within a scenario, in seconds of an idle machine: they end what hangs, and measure nothing.
FIRMWARE = 40  # until Corbel speaks
BOOT = 90  # from there to Linux' shell
COMMAND = 30  # a command there


def scenario(bound, slow=False, processors=False, soak=False, apart=False, name=None, row=None):
    """Register a scenario: bound in seconds on an idle machine; slow ones run under `make test-all` only, those for
    `make test-processors` and `make soak` there only, those apart only when they are asked for by name; row is the one of docs/EVIDENCE.md's
    table that it says something about."""
    def register(function):
        function.bound, function.slow, function.apart, function.row = bound * PATIENCE, slow, apart, row
        function.kind = "processors" if processors else "soak" if soak else None
        SCENARIOS[name or function.__name__] = function
        return function
    return register


class Failure(Exception):
    """Something that the machine did is wrong."""


class Skip(Exception):
    """Why the scenario cannot run here."""


class OutOfTime(BaseException):
    """The scenario's bound is over."""


class Lab:
    """One scenario's folder, machines and verdicts."""

    def __init__(self, name, folder, report):
        self.name, self.folder, self.report = name, folder, report
        self.machines = []

    # --- files and images ---

    def guest(self, name):
        """Path of a test guest."""
        return os.path.join(BUILD, "guests", name)

    def default(self, name):
        """Path of a file of the default VM: vmlinuz, vmlinuz-generic, initrd."""
        return os.path.join(BUILD, "default", name)

    def path(self, name):
        return os.path.join(self.folder, name)

    def file(self, name, data=b""):
        """A file in the lab's folder, for a config to name."""
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data.encode() if isinstance(data, str) else data)
        return path

    def image(self, config, efi=EFI, out=None):
        """A disk image of Corbel with this config (text or bytes), or an image made anew for it."""
        path, out = self.file("corbel.conf", config), out or self.path(f"disk{len(self.machines)}.img")
        p = subprocess.run([os.path.join(TOP, "tools", "image"), efi, os.path.join(BUILD, "confscan"), path, out], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if p.returncode:
            raise Failure(f"no image: {p.stdout.decode(errors='replace')}")
        return out

    # --- machines ---

    def boot(self, config, memory=256, efi=EFI, **options):
        """Start a machine (256 MiB, Bochs' Haswell unless told otherwise) with this config and this Corbel."""
        # Bochs 3.0's virtual-interrupt delivery kills Linux within some lines at its console: see docs/CAVEATS.md.
        if (isinstance(config, str) and "/vmlinuz" in config and "without" not in config and "bochs" not in options and
                options.get("kind", "bochs") == "bochs" and bochs_version(default_bochs()).startswith("3.")):
            options.setdefault("model", "corei7_ivy_bridge_3770k")
        return self.start(self.image(config, efi), memory=memory, **options)

    def start(self, image, **options):
        """Start a machine from an image. What COM1 says is kept in build/machine/."""
        os.makedirs(LOGS, exist_ok=True)
        log = os.path.join(LOGS, f"{self.name}{'' if not self.machines else len(self.machines)}.txt")
        machine = Machine(image, log=log, **options)
        self.machines.append(machine)
        machine.start()
        return machine

    def spawn(self, command, **options):
        """A process that ends with the scenario, whatever happens."""
        return subprocess.Popen(command, preexec_fn=_die_with_parent, **options)

    def tail(self):
        return self.machines[-1].tail() if self.machines and self.machines[-1].started else ""

    # --- the end ---

    def verdict(self, name, error=None):
        """Count something on its own: passed, or failed with this error."""
        self.report(name, error)

    def close(self):
        for machine in self.machines:
            machine.kill()


# --- configs ---


def host(**keys):
    return "\n".join(["[host]"] + [f"{key} = {value}" for key, value in keys.items()]) + "\n"


# For scenarios in which a kernel's console is busy and virtual-interrupt delivery is not what they are about: Bochs
# delivers some at a wrong moment (docs/CAVEATS.md).
NO_VID = host(without="vid")


# For scenarios in which a Linux is to be idle: from 6.12 on, Debian's tests its ciphers behind init, for half a minute of
# Bochs' time (docs/CAVEATS.md).
IDLE = "console=ttyS0 quiet cryptomgr.notests=1"


def vm(name, kernel, **keys):
    return "\n".join([f"[vm {name}]", f"kernel = {kernel}"] + [f"{k} = {v}" for k, v in keys.items()]) + "\n"


def linux(name="linux", kernel="vmlinuz", initrd=None, cmdline="console=ttyS0 quiet", **keys):
    """A [vm] section of Debian's kernel with a shell."""
    folder = os.path.join(BUILD, "default")
    return vm(name, os.path.join(folder, kernel), initrd=initrd or os.path.join(folder, "initrd"), cmdline=cmdline,
              **keys)


# --- what is expected ---


def expect(condition, text):
    if not condition:
        raise Failure(text)


def expect_in(pattern, text, what="COM1"):
    """The match of a regular expression that text must hold."""
    match = re.search(pattern, text, re.MULTILINE)
    if not match:
        raise Failure(f"{what} has no {pattern!r}:\n{text[-3000:]}")
    return match


def expect_said(m, pattern, times=1):
    """COM1 has said it so often, or does so soon: a line of the log may come behind the answer to a command that has seen what
    the line is about."""
    until = time.monotonic() + COMMAND * PATIENCE
    while len(re.findall(pattern, m.text(), re.MULTILINE)) < times and time.monotonic() < until and m.pump(0.5) is not None:
        pass
    expect_in(pattern, m.text())


def corbel_lines(text):
    """Corbel's own lines, without "corbel: "."""
    return [line[8:] for line in text.splitlines() if line.startswith("corbel: ")]


def check_lines(text):
    """Corbel's lines never stand inside another line. (The shell's prompt is "corbel:/root# ".)"""
    for line in text.splitlines():
        if line.find("corbel: ", 1) > 0:
            raise Failure(f"a line of Corbel stands inside another line: {line!r}")


def wait_for_corbel(m):
    m.read_until("^corbel: Corbel on ", FIRMWARE * PATIENCE)


def wait_for_power_off(m):
    expect(m.wait(BOOT * PATIENCE), "the machine did not switch itself off")
    check_lines(m.text())


class Shell:
    """The guest's shell: commands and their output."""

    def __init__(self, m, slow=1):
        self.m, self.n = m, 0
        self.prompt(FIRMWARE + slow * BOOT)

    def prompt(self, bound):
        self.m.read_until(rb"^corbel:[^ \r\n]*# ", bound * PATIENCE)

    def run(self, command, bound=COMMAND):
        """A command's output. What is typed is echoed, and cannot be taken for it."""
        self.n += 1
        self.m.type(f"{command}; echo '>'{self.n}:$?\n")
        match = self.m.read_until(rb"(?s)echo '>'%d:\$\?\s*\n(.*?)>%d:(\d+)\r*\n" % (self.n, self.n), bound * PATIENCE)
        self.prompt(bound)
        return match[1].replace(b"\r", b"").decode(errors="replace")

    def poweroff(self, bound=BOOT):
        """Power the VM off; returns the summary's text."""
        self.m.type("poweroff\n")
        match = self.m.read_until(rb"(?s)corbel: (\S+: (?:ended|killed) after.*?VM exits: \d+.*?)(?=corbel: [^ ])",
                                  bound * PATIENCE)
        return match[1].replace(b"\r", b"").decode(errors="replace")


# --- one scenario, in its process ---

MARK = b"\x01verdict "


def run_one(name, folder):
    """Run a scenario; its verdicts go to standard output as lines of JSON."""
    function = SCENARIOS[name]

    def report(part, error, skipped=False):
        machines = []
        for facts in map(results.machine_facts, lab.machines if part is None else ()):
            if facts not in machines:
                machines.append(facts)
        sys.stdout.flush()
        sys.stdout.buffer.write(MARK + json.dumps([part, error, skipped, machines]).encode() + b"\n")
        sys.stdout.buffer.flush()

    def out_of_time(*_):
        raise OutOfTime

    lab = Lab(name, folder, report)
    signal.signal(signal.SIGALRM, out_of_time)
    signal.alarm(max(1, int(function.bound)))
    try:
        function(lab)
        report(None, None)
    except Skip as e:
        report(None, str(e), True)
    except (Failure, MachineError) as e:
        text = str(e)
        report(None, text if "COM1's last lines" in text else f"{text}\n{lab.tail()}")
    except OutOfTime:
        report(None, f"it hung: ended after {function.bound:.0f} s\n{lab.tail()}")
    except Exception:  # the scenario itself is wrong
        report(None, f"{traceback.format_exc()}\n{lab.tail()}")
    finally:
        signal.alarm(0)
        lab.close()
    return 0


# --- all of them, in parallel ---


class Runner:
    """Run scenarios, several at once, the longest first, so that none is left over at the end."""

    def __init__(self, names, jobs, keep=False):
        self.waiting = sorted(names, key=lambda n: -SCENARIOS[n].bound)
        self.jobs, self.keep = jobs, keep
        self.lock = threading.Lock()
        self.processes = set()
        self.counts = {"pass": 0, "FAIL": 0, "skip": 0}
        self.colour = {"pass": "32", "FAIL": "31", "skip": "33"} if sys.stdout.isatty() else {}

    def report(self, verdict, name, detail, error=None):
        with self.lock:
            self.counts[verdict] += 1
            shown = f"\x1b[{self.colour[verdict]}m{verdict}\x1b[0m" if self.colour else verdict
            text = [f"{shown} {name}{f' ({detail})' if detail else ''}"]
            text += ["    " + line for line in (error or "").splitlines()]
            print("\n".join(text), flush=True)

    def one(self, name):
        folder = tempfile.mkdtemp(prefix=f"corbel-{name}-"[:60])
        started, parts, done, noise, held = time.monotonic(), 0, False, b"", b""
        p = subprocess.Popen([sys.executable, os.path.join(TOP, "tests/machine/run.py"), "--one", name, folder],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             env=dict(os.environ, TMPDIR=folder), cwd=TOP, start_new_session=True)
        self.processes.add(p)
        until = started + SCENARIOS[name].bound + 60  # its own alarm comes first
        while True:
            ready, _, _ = select.select([p.stdout], [], [], max(0, until - time.monotonic()))
            data = os.read(p.stdout.fileno(), 65536) if ready else b""
            *lines, held = (held + data).split(b"\n")
            for line in lines:
                if not line.startswith(MARK):
                    noise += line + b"\n"
                    continue
                part, error, skipped, machines = json.loads(line[len(MARK):])
                seconds = round(time.monotonic() - started)
                verdict = "skip" if skipped else "FAIL" if error else "pass"
                results.record(scenario=name, part=part, verdict=verdict, why=error, row=SCENARIOS[name].row,
                               seconds=seconds, machines=machines)
                took = f"{seconds} s"
                if part is not None:
                    parts += 1
                    self.report(verdict, part, "", error)
                    continue
                done = True
                if skipped:
                    self.report("skip", name, error)
                elif error or not parts:
                    self.report(verdict, name, took, error)
            if not data:
                break
        if p.poll() is None and not done:
            try:
                p.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(p.pid, signal.SIGKILL)  # its machines end with it
        p.wait()
        p.stdout.close()
        self.processes.discard(p)
        if not done:
            results.record(scenario=name, part=None, verdict="FAIL", why="it ended without a verdict",
                           row=SCENARIOS[name].row, seconds=round(time.monotonic() - started), machines=[])
            self.report("FAIL", name, "", f"it ended without a verdict (status {p.returncode})\n" +
                        (noise + held).decode(errors="replace"))
        if self.keep:
            print(f"kept: {folder}", flush=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)

    def work(self):
        while True:
            with self.lock:
                if not self.waiting:
                    return
                name = self.waiting.pop(0)
            self.one(name)

    def run(self):
        threads = [threading.Thread(target=self.work, daemon=True) for _ in range(self.jobs)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.5)
        finally:
            with self.lock:
                self.waiting.clear()
            for p in list(self.processes):  # after Ctrl-C
                os.killpg(p.pid, signal.SIGKILL)
        skipped = f", {self.counts['skip']} skipped" if self.counts["skip"] else ""
        print(f"scenarios: {self.counts['pass']} passed, {self.counts['FAIL']} failed{skipped}")
        return 1 if self.counts["FAIL"] or not self.counts["pass"] else 0
