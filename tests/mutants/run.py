#!/usr/bin/env python3
"""Put stored faults into copies of the source, one at a time: for each, the test that is named for it must turn red.

usage: tests/mutants/run.py [--machine] [-j N] [-k PATTERN] [--list]

The lists are tests/mutants/*.txt; a fault is

    NAME  FILE  TEST...
    - the line, or a part of it, that is in the file once (several such lines: one piece of text)
    + what stands there instead (no such line: nothing does)

and TEST is a program of tests/unit, or "guests A,B [KEY=VALUE]": test guests that are booted with these keys of [host]
(vcpus=N: each has so many; processors=N: on a machine of so many), or "scenario NAME" of tests/machine. The latter two
boot an emulator each, and run with --machine only. "arrows" is tools/arrows over the faulty source and the object files as
they are, so that includes alone show. "nobody REASON" instead of a test says why none of them can notice. Before any fault the tests have to be green. Prints "pass NAME" for a fault that was noticed, "FAIL NAME" for
one that was not, and a last line of counts.
"""
import argparse
import glob
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
UNIT_SECONDS, BOOT_SECONDS, MAKE_SECONDS = 300, 900, 600  # more than any takes on a busy machine
# Without the outer make's flags and job server; without warnings, which are not what a fault is to be found by.
MAKE = ["make", "--no-print-directory", "WARN=-w"]
NOTICED = 3
MACHINE_TARGETS = ["build/BOOTX64.EFI", "build/confscan"]
ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")}


class Fault:
    """One row: what to replace where, and the test that must notice."""

    def __init__(self, place, area, head):
        self.place, self.area = place, area
        self.name, self.file, *self.tests = head.split()
        self.old, self.new = [], []
        self.scenario = self.tests[:1] == ["scenario"]
        self.machine = self.scenario or self.tests[:1] == ["guests"]
        self.arrows = self.tests == ["arrows"]
        self.reason = " ".join(self.tests[1:]) if self.tests[:1] == ["nobody"] else None

    def keys(self):
        """What is measured in one go: a scenario, or guests with the same keys."""
        return " ".join(self.tests if self.scenario else ["guests", *self.tests[2:]])

    def apply(self, text):
        return text.replace("\n".join(self.old), "\n".join(self.new))

    def problem(self):
        """None, or why the row itself is wrong."""
        path = os.path.join(TOP, self.file)
        if not self.tests or self.reason == "" or (self.machine and len(self.tests) < 2):
            return "it names no test"
        needed = ([] if self.reason or self.scenario or self.arrows else
                  [f"tests/guests/{g}.c" for g in self.tests[1].split(",")] if self.machine
                  else [f"tests/unit/{t}.c" for t in self.tests])
        for name in [self.file, *needed]:
            if not os.path.exists(os.path.join(TOP, name)):
                return f"there is no {name}"
        with open(path) as f:
            text = f.read()
        if not self.old or text.count("\n".join(self.old)) != 1:
            return f"{self.file} has this {text.count(chr(10).join(self.old)) if self.old else 0} times: {' '.join(self.old)}"
        return "it changes nothing" if self.apply(text) == text else None


def read_lists():
    faults = []
    for path in sorted(glob.glob(os.path.join(TOP, "tests/mutants/*.txt"))):
        area = None
        with open(path) as f:
            for number, line in enumerate(f, 1):
                line = line.rstrip("\n")
                if not line.strip() or line.startswith("#"):
                    continue
                if line.startswith("["):
                    area = line.strip("[]")
                elif line == "-" or line.startswith("- "):
                    faults[-1].old.append(line[2:])
                elif line == "+" or line.startswith("+ "):
                    faults[-1].new.append(line[2:])
                else:
                    faults.append(Fault(f"{os.path.relpath(path, TOP)}:{number}", area, line))
    return faults


# --- running one thing, bounded ---


def run(command, seconds, cwd):
    """Exit status (None: ended because it hung) and output. Temporary files go with the process."""
    folder = tempfile.mkdtemp(prefix="corbel-mutants-")
    p = subprocess.Popen(command, cwd=cwd, env=dict(ENVIRONMENT, TMPDIR=folder), stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    running[p] = folder
    try:
        out, _ = p.communicate(timeout=seconds)
        return p.returncode, out.decode(errors="replace")
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, signal.SIGKILL)
        out, _ = p.communicate()
        return None, out.decode(errors="replace")
    finally:
        del running[p]
        shutil.rmtree(folder, ignore_errors=True)


running = {}  # processes and their folders


def end_all(*_):
    for p, folder in list(running.items()):
        try:
            os.killpg(p.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(130)


def why(status, out):
    """What a red test says, in a few words."""
    if status is None:
        return "it hung"
    for pattern in (r"^FAIL .*\n +(.*)", r"^\[  FAILED  \] (\w+)$", r"runtime error: (.*)", r"ERROR: (\w+Sanitizer: \S+)", r"^RED (.*)"):
        match = re.search(pattern, out, re.MULTILINE)
        if match:
            return match[1][:100]
    return f"status {status}"


# --- test guests in a machine, in a process of their own ---


def boot(guests, keys):
    """0: all passed; NOTICED: one did not. (Python's own status for an error of ours is 1.)"""
    sys.path.insert(0, os.path.join(TOP, "tests/machine"))
    import guests as library
    import harness

    class Red(BaseException):
        pass

    def results(name, error, *_):
        if error:
            print("RED", name + ":", error.splitlines()[0], flush=True)
            raise Red

    lab = harness.Lab("mutants", tempfile.gettempdir(), results)
    given = dict(key.split("=", 1) for key in keys)
    vcpus, processors = given.pop("vcpus", 1), int(given.pop("processors", 1))
    try:
        library.run_guests(lab, guests, host="\n".join(f"{k} = {v}" for k, v in given.items()), more=f"cpus = {vcpus}",
                           each=25 * processors, cpus=processors)
        return 0
    except Red:
        return NOTICED
    except harness.MachineError as error:
        print("RED", str(error).splitlines()[0])
        return NOTICED
    finally:
        lab.close()


def boot_command(tests):
    if tests[0] == "scenario":
        return [sys.executable, "tests/machine/run.py", "-k", f"^{tests[1]}$"]
    return [sys.executable, "tests/mutants/run.py", "--boot", *tests[1:]]


# --- copies of the tree ---


def make_copy(folder):
    """The files as they stand here; from the build only what no fault changes."""
    shutil.rmtree(folder, ignore_errors=True)
    names = subprocess.run(["git", "ls-files", "-coz", "--exclude-standard"], cwd=TOP, check=True,
                           stdout=subprocess.PIPE).stdout.decode().split("\0")
    for name in filter(None, names):
        if os.path.exists(os.path.join(TOP, name)):
            os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
            shutil.copy2(os.path.join(TOP, name), os.path.join(folder, name))
    os.makedirs(os.path.join(folder, "build"))
    for name in ("zydis", "blake2", "unpack", "guests"):
        if os.path.exists(os.path.join(TOP, "build", name)):
            os.symlink(os.path.join(TOP, "build", name), os.path.join(folder, "build", name))
    with open(os.path.join(folder, "build/deps.mk"), "w"):
        pass
    return folder


ARROWS = ["tools/arrows", os.path.join(TOP, "build")]


def judge(fault, folder, bounds):
    """Whether the fault was noticed, and how; None: the row is wrong."""
    if fault.arrows:
        status, out = run(ARROWS, bounds["arrows"], folder)
        return status != 0, "arrows: " + out.split("\n", maxsplit=1)[0]
    targets = MACHINE_TARGETS if fault.machine else [f"build/unit/{t}" for t in fault.tests]
    status, out = run(MAKE + targets, MAKE_SECONDS, folder)
    if status != 0:
        return None, "it cannot be built:\n" + out[-2000:]
    if fault.machine:
        status, out = run(boot_command(fault.tests), bounds[fault.keys()], folder)
        if fault.scenario and status == 1 and re.search(r"^FAIL ", out, re.MULTILINE):
            status = NOTICED
        return (status != 0, why(status, out)) if status in (0, NOTICED, None) else (None, out[-2000:])
    for test, target in zip(fault.tests, targets):
        status, out = run([target], bounds[test], folder)
        if status != 0:
            return True, f"{test}: {why(status, out)}"
    return False, " ".join(fault.tests)


def worker(folder, waiting, bounds, report):
    while True:
        try:
            fault = waiting.get_nowait()
        except queue.Empty:
            return
        started, path = time.monotonic(), os.path.join(folder, fault.file)
        with open(path) as f:
            text = f.read()
        with open(path, "w") as f:
            f.write(fault.apply(text))
        noticed, detail = judge(fault, folder, bounds)
        with open(path, "w") as f:
            f.write(text)
        for test in fault.tests if not (fault.machine or fault.arrows) else []:
            if os.path.exists(os.path.join(folder, "build/unit", test)):
                os.unlink(os.path.join(folder, "build/unit", test))
        report(fault, noticed, detail, time.monotonic() - started)


# --- before any fault: what is red, and how long each test may take (a fault can make it hang) ---


def measure(name, command, seconds, cwd, bounds, red):
    started = time.monotonic()
    status, out = run(command, seconds, cwd)
    bounds[name] = 60 + 4 * (time.monotonic() - started)  # others may come to work here meanwhile
    if status != 0:
        red.append(f"{name}: {why(status, out)}\n{out[-1000:]}")


def measure_units(faults, folder, bounds, red):
    """As the outer make has built them, but in a copy: that has all that they read."""
    for test in sorted({t for f in faults if not (f.machine or f.arrows) for t in f.tests}):
        measure(test, [os.path.join(TOP, "build/unit", test)], UNIT_SECONDS, folder, bounds, red)


def measure_boots(faults, folder, bounds, red):
    """Guests with the same keys are booted together."""
    for keys in sorted({f.keys() for f in faults if f.machine}):
        guests = sorted({g for f in faults if f.machine and f.keys() == keys for g in f.tests[1].split(",")})
        command = boot_command(keys.split() if keys.startswith("scenario") else
                               ["guests", ",".join(guests), *keys.split()[1:]])
        measure(keys, command, BOOT_SECONDS, folder, bounds, red)


def main():
    p = argparse.ArgumentParser(prog="tests/mutants/run.py")
    p.add_argument("--machine", action="store_true", help="those, too, that only an emulator shows")
    p.add_argument("-j", metavar="N", type=int, default=int(os.environ.get("CORBEL_JOBS", os.cpu_count() or 1)))
    p.add_argument("-k", metavar="PATTERN", help="faults whose name matches this regular expression")
    p.add_argument("--list", action="store_true", help="list them, and how many each area has")
    p.add_argument("--boot", nargs="+", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.boot:
        return boot(a.boot[0].split(","), a.boot[1:])
    faults = read_lists()
    wrong = [f"{f.place}: {f.name}: {f.problem()}" for f in faults if f.problem()]
    names = [f.name for f in faults]
    wrong += [f"{f.place}: {f.name} is there twice" for f in faults if names.count(f.name) > 1]
    if a.list:
        for area in dict.fromkeys(f.area for f in faults):
            print(f"{area}: " + " ".join(f.name for f in faults if f.area == area))
        machine, nobody = sum(f.machine for f in faults), sum(bool(f.reason) for f in faults)
        print(f"{len(faults) - machine - nobody} by unit tests, {machine} in a machine, {nobody} by nobody")
    if wrong:
        print(*wrong, f"0 passed, {len(wrong)} failed", sep="\n")
    if wrong or a.list:
        return bool(wrong)
    faults = [f for f in faults if (a.machine or not f.machine) and (not a.k or re.search(a.k, f.name))]
    for f in faults:
        if f.reason:
            print(f"skip {f.name} ({f.reason})", flush=True)
    skipped = sum(bool(f.reason) for f in faults)
    faults = [f for f in faults if not f.reason]
    signal.signal(signal.SIGTERM, end_all)
    signal.signal(signal.SIGINT, end_all)

    copies = [make_copy(os.path.join(TOP, "build/mutants", str(i))) for i in range(max(1, a.j))]
    red, bounds = [], {}
    measure_units(faults, copies[0], bounds, red)
    if any(f.arrows for f in faults):
        measure("arrows", ARROWS, UNIT_SECONDS, copies[0], bounds, red)
    if any(f.machine for f in faults):
        measure("build", MAKE + MACHINE_TARGETS, MAKE_SECONDS, copies[0], bounds, red)
        measure_boots(faults, copies[0], bounds, red)
    if red:
        print("red without any fault:", *red, f"0 passed, {len(red)} failed", sep="\n")
        return 1

    counts, lock, survivors = [0, 0], threading.Lock(), []

    def report(fault, noticed, detail, seconds):
        with lock:
            counts[not noticed] += 1
            if noticed:
                print(f"pass {fault.name} ({detail}; {seconds:.1f} s)", flush=True)
                return
            text = f"FAIL {fault.name} ({fault.place})\n    "
            if noticed is None:
                text += detail
            else:
                survivors.append(fault.name)
                text += f"{fault.file} with this fault passes {detail}:\n"
                text += "\n".join([f"    - {t}" for t in fault.old] + [f"    + {t}" for t in fault.new])
            print(text, flush=True)

    # Boots last long: they go first.
    waiting = queue.Queue()
    for fault in sorted(faults, key=lambda f: not f.machine):
        waiting.put(fault)
    threads = [threading.Thread(target=worker, args=(c, waiting, bounds, report), daemon=True) for c in copies]
    for t in threads:
        t.start()
    for t in threads:
        while t.is_alive():
            t.join(0.5)
    if survivors:
        print("not noticed:", " ".join(survivors))
    left = len(faults) - sum(counts)
    if left:
        print(f"{left} were not tried: a worker ended early")
    print(f"{counts[0]} passed, {counts[1] + left} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if counts[1] or left or not counts[0] else 0


sys.exit(main())
