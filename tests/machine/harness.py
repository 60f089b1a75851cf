"""What scenarios are made of: a config, the files it names, a machine that boots them, and a verdict.

A scenario is a function that takes a Lab and raises when something is not as it should be:

    @scenario(bound=120)
    def hello(lab):
        m = lab.boot("[vm a]\\nkernel = " + lab.guest("cpuid_signature"))
        m.read_until("^PASS cpuid_signature$", 60)
        m.wait(30)

Each runs in a process of its own, which is ended when the bound (seconds of wall clock) is over; the machines die with
it. Names that scenarios add by lab.verdict() are counted one by one in place of the scenario's own.
"""
import os
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(TOP, "build")
LOGS = os.path.join(BUILD, "machine")
sys.path.insert(0, os.path.join(TOP, "tools"))
from machine import Machine, MachineError  # noqa: E402

ALL = bool(os.environ.get("CORBEL_TEST_ALL"))  # make test-all
# A busy machine is slower than the one on which the bounds were set.
PATIENCE = float(os.environ.get("CORBEL_PATIENCE", "3"))
SCENARIOS = []


def scenario(bound, slow=False):
    """Register a scenario: bound in seconds on an idle machine; slow ones run under `make test-all` only."""
    def register(function):
        if ALL or not slow:
            SCENARIOS.append((function.__name__, function, bound * PATIENCE))
        return function
    return register


class Failure(Exception):
    """Something that the machine did is wrong."""


class Lab:
    """One scenario's folder, machines and verdicts."""

    def __init__(self, name, results):
        self.name, self.results = name, results
        self.folder = tempfile.mkdtemp(prefix=f"corbel-{name}-")
        self.machines = []

    def guest(self, name):
        """Path of a test guest."""
        return os.path.join(BUILD, "guests", name)

    def default(self, name):
        """Path of a file of the default VM: vmlinuz, vmlinuz-generic, initrd."""
        return os.path.join(BUILD, "default", name)

    def file(self, name, data=b""):
        """A file in the lab's folder, for a config to name."""
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data)
        return path

    def image(self, config):
        """A disk image of Corbel with this config (text or bytes; None: no config at all)."""
        path, out = self.file("corbel.conf", config.encode() if isinstance(config, str) else config), None
        out = os.path.join(self.folder, f"disk{len(self.machines)}.img")
        p = subprocess.run([os.path.join(TOP, "tools", "image"), os.path.join(BUILD, "BOOTX64.EFI"),
                            os.path.join(BUILD, "confscan"), path, out], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, check=False)
        if p.returncode:
            raise Failure(f"no image: {p.stdout.decode(errors='replace')}")
        return out

    def boot(self, config, memory=256, **options):
        """Start a machine (256 MiB, Bochs' Haswell unless told otherwise) with this config."""
        return self.start(self.image(config), memory=memory, **options)

    def start(self, image, **options):
        log = os.path.join(LOGS, f"{self.name}{'' if not self.machines else len(self.machines)}.txt")
        machine = Machine(image, log=log, **options)
        self.machines.append(machine)
        machine.start()
        return machine

    def verdict(self, name, error=None):
        """Count something on its own: passed, or failed with this error."""
        self.results.send((name, error))

    def close(self):
        for machine in self.machines:
            machine.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def expect(condition, text):
    if not condition:
        raise Failure(text)


def _in_process(name, function, results):
    lab = Lab(name, results)
    try:
        function(lab)
        results.send((None, None))
    except (Failure, MachineError) as error:
        tail = lab.machines[-1].tail() if lab.machines else ""
        text = str(error)
        results.send((None, text if "COM1's last lines" in text else f"{text}\n{tail}"))
    except Exception:  # the scenario itself is wrong
        results.send((None, traceback.format_exc()))
    finally:
        lab.close()


class _Running:
    def __init__(self, name, function, bound):
        self.name, self.bound, self.counted = name, bound, 0
        self.results, child = multiprocessing.Pipe(duplex=False)
        self.start = time.monotonic()
        self.process = multiprocessing.Process(target=_in_process, args=(name, function, child))
        self.process.start()
        child.close()

    def poll(self):
        """True when it has ended; all that it reported is printed."""
        over = time.monotonic() - self.start > self.bound
        try:
            while self.results.poll(0 if over else 0.1):
                name, error = self.results.recv()
                if name is None:
                    self.end(error)
                    return True
                self.counted += 1
                report(name, error)
        except EOFError:
            self.end("it ended without a verdict")
            return True
        if over:
            self.process.kill()
            self.end(f"it hung: ended after {self.bound:.0f} s\n{self.log_tail()}")
        return over

    def log_tail(self):
        try:
            with open(os.path.join(LOGS, f"{self.name}.txt"), "rb") as f:
                lines = f.read().replace(b"\r", b"").decode(errors="replace").splitlines()
            return "\n".join(["--- COM1's last lines:", *lines[-25:]])
        except OSError:
            return "it said nothing"

    def end(self, error):
        self.process.join(30)
        if self.process.is_alive():
            self.process.kill()
        if error or not self.counted:
            report(self.name, error, time.monotonic() - self.start)


def report(name, error=None, seconds=None):
    took = f" ({seconds:.0f} s)" if seconds is not None else ""
    print(f"{'FAIL' if error else 'pass'} {name}{took}", flush=True)
    if error:
        print("\n".join("    " + line for line in error.splitlines()), flush=True)
        report.failed = True


report.failed = False


def run_all(wanted):
    """Run the registered scenarios, or those whose names contain one of `wanted`; as many at once as there are CPUs."""
    os.makedirs(LOGS, exist_ok=True)
    waiting = [s for s in SCENARIOS if not wanted or any(w in s[0] for w in wanted)]
    waiting.sort(key=lambda s: -s[2])  # the longest first, so that none is left over at the end
    jobs = int(os.environ.get("CORBEL_JOBS", os.cpu_count() or 1))
    running = []
    while waiting or running:
        while waiting and len(running) < jobs:
            running.append(_Running(*waiting.pop(0)))
        running = [r for r in running if not r.poll()]
    return 1 if report.failed else 0
