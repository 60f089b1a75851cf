#!/usr/bin/env python3
"""The README's commands on a fresh machine; prints "pass NAME" or "FAIL NAME" for each root and command.

usage: tests/fresh/run.py [ROOT ...]                 as root; or FRESH="ROOT ..."; else all but next-root, see ROOTS
       tests/fresh/run.py --enter ROOT [COMMAND]     into one that is there: those in which something failed are kept

A fresh machine is a minimal Debian, by debootstrap, and what somebody has who clones a repository: git, make, and sudo
if they are not root. The rest is up to Corbel's make. All is in build/fresh/: each Debian as debootstrap made it, the
packages that have been downloaded, the roots, and what the commands said. What is tested is the last commit. "next" is
Debian's next release as it is today; what the root of that name has shown goes into docs/EVIDENCE.md (make test-next).

Mounts and processes are in namespaces of their own and end with the command, however that ends.
"""
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FRESH = os.path.join(TOP, "build", "fresh")
SUITES = {"12": "bookworm", "13": "trixie", "next": "sid"}

RUN = "printf 'echo $((6 * 7))x\\npoweroff\\n' | make run"
# Seconds, on a busy machine; and what has to be in the output.
COMMANDS = {"make run": (RUN, 2400, r"(?s)^42x\r?$.*ended after.*no VM is left: power off"),
            "make test": ("make test", 7200, r"^\d+ passed, 0 failed"),
            "make unit": ("make unit", 2400, r"^\d+ passed, 0 failed"),
            "make fuzz": ("make fuzz", 3600, r"^\d+ passed, 0 failed"),
            "make test-tools": ("make test-tools", 7200, r"^\d+ passed, 0 failed"),
            "make test-newest": ("make test-newest", 14400, r"^\d+ passed, 0 failed")}
# All scenarios take long: once per Debian, and once per kind of user.
ROOTS = {"12-root": ("make run", "make test"), "12-user": ("make run", "make unit"),
         "13-root": ("make run", "make unit"), "13-user": ("make run", "make test"),
         "next-user": ("make run", "make unit"),
         "next-root": ("make run", "make unit", "make fuzz", "make test-tools", "make test-newest")}
NEWEST = "next-root"
# What a row of docs/EVIDENCE.md says it was done with.
VERSIONS = ("gcc", "clang", "nasm", "gnu-efi", "libcmocka-dev", "bochs", "ovmf", "qemu-system-x86", "gdb")

# Runs in the new namespaces, as their first process.
ENTER = r"""
set -e
root=$1 packages=$2 user=$3 command=$4
hostname fresh
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
mount --bind "$packages" "$root/var/cache/apt/archives"
chroot "$root" su -l -w CORBEL_PATIENCE,CORBEL_JOBS "$user" ${command:+-c "$command"}
exit $?  # not exec: this shell takes care of orphans
"""

# What somebody with a clone of a repository has.
PREPARE = r"""
set -e
export DEBIAN_FRONTEND=noninteractive
# What an archive says that stands still is past its date one day.
echo 'Acquire::Check-Valid-Until "false";' > /etc/apt/apt.conf.d/90standing
apt-get -q update
apt-get -q -y --no-install-recommends install git make sudo
rm -rf /var/lib/apt/lists/*
ln -sf pts/ptmx /dev/ptmx
useradd --create-home --shell /bin/bash --groups sudo user
echo '%sudo ALL=(ALL:ALL) NOPASSWD: ALL' > /etc/sudoers.d/fresh
echo '127.0.0.1 localhost fresh' > /etc/hosts
"""


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def inside(root, user, command, bound=None, **options):
    """Run a command in a root, in its user's login shell. Returns its exit status, None when it was ended."""
    suite = os.path.basename(root).split("-")[0]
    packages = os.path.join(FRESH, f"packages-{suite}")
    os.makedirs(packages, exist_ok=True)
    shutil.copy("/etc/resolv.conf", os.path.join(root, "etc"))
    process = subprocess.Popen(["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "bash", "-c",
                                ENTER, "enter", root, packages, user, command], preexec_fn=die_with_parent, **options)
    try:
        return process.wait(bound)
    except subprocess.TimeoutExpired:
        return None
    finally:
        process.kill()  # and with it all processes and mounts in there
        process.wait()


def sources(suite):
    """Lines for apt's sources: where this machine gets its Debian from, with another suite."""
    said = subprocess.run(["apt-get", "update", "--print-uris"], stdout=subprocess.PIPE, text=True, check=True).stdout
    lines = []
    for part in ("",) if suite == "sid" else ("", "-updates", "-security"):
        found = re.search(rf"^'(\S*debian\S*)/dists/({'|'.join(SUITES.values())}){part}/InRelease'", said, re.MULTILINE)
        if found:
            lines.append((found[1], suite + part))
    return lines


def base(number):
    """A Debian as it is before anybody has used it; made once."""
    root = os.path.join(FRESH, f"{number}-base")
    if os.path.exists(root):
        return root
    lines = sources(SUITES[number])
    if not lines:
        sys.exit("fresh: apt's sources here name no archive of Debian 12 or 13")
    mirror = lines[0][0]
    making = f"{root}.part"
    shutil.rmtree(making, ignore_errors=True)
    print(f"fresh: making {root} from {mirror}", flush=True)
    with open(f"{root}.txt", "wb") as log:
        made = subprocess.run(["debootstrap", "--variant=minbase", SUITES[number], making, mirror],
                              stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False).returncode == 0
        if made:
            with open(os.path.join(making, "etc/apt/sources.list"), "w") as f:
                f.writelines(f"deb {uri} {suite} main\n" for uri, suite in lines)
            made = inside(making, "root", PREPARE, stdin=subprocess.DEVNULL, stdout=log, stderr=log) == 0
    if not made:
        sys.exit(f"fresh: no root of Debian {number}: see {root}.txt")
    os.rename(making, root)
    return root


def fresh_root(name):
    """A copy of the base, with a clone of this repository."""
    number, user = name.split("-")
    root = os.path.join(FRESH, name)
    shutil.rmtree(root, ignore_errors=True)
    subprocess.run(["cp", "-a", "--reflink=auto", base(number), root], check=True)
    home = os.path.join(root, "root" if user == "root" else "home/user")
    clone = os.path.join(home, "corbel")
    subprocess.run(["git", "clone", "-q", f"file://{TOP}", clone], check=True)
    owner = os.stat(home)
    subprocess.run(["chown", "-R", f"{owner.st_uid}:{owner.st_gid}", clone], check=True)
    return root


def evidence(root, done):
    """Let tools/evidence write what the newest Debian has shown."""
    said = subprocess.run(["chroot", root, "dpkg-query", "-W", "-f", "${Package} ${source:Upstream-Version}\\n", *VERSIONS],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False).stdout
    path = f"{root}.json"
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"versions": dict(line.split() for line in said.splitlines()), "commands": done}, f)
    subprocess.run([os.path.join(TOP, "tools/evidence"), "--next", path,
                    os.path.join(root, "root/corbel/build/results.jsonl")], stdin=subprocess.DEVNULL, check=True)


def try_all(name):
    """Run a root's commands. Returns whether all passed."""
    root, good, done = fresh_root(name), True, []
    for command in ROOTS[name]:
        line, bound, expected = COMMANDS[command]
        path, start = f"{root}-{command.replace(' ', '-')}.txt", time.monotonic()
        with open(path, "w+b") as log:
            status = inside(root, name.split("-")[1], f"cd corbel && {line}", bound, stdin=subprocess.DEVNULL,
                            stdout=log, stderr=log)
            log.seek(0)
            text = log.read().decode(errors="replace")
        passed = status == 0 and re.search(expected, text, re.MULTILINE)
        print(f"{'pass' if passed else 'FAIL'} {name}: {command} ({time.monotonic() - start:.0f} s)", flush=True)
        counts = re.findall(r"^\d+ passed, \d+ failed.*", text, re.MULTILINE)
        done.append((command, bool(passed), counts[-1] if counts else ""))
        if not passed:
            good = False
            how = f"ended after {bound} s" if status is None else f"status {status}"
            print("".join(f"    {line}\n" for line in [*text.splitlines()[-40:], f"{how}; all of it is in {path}"]),
                  end="", flush=True)
    if name == NEWEST:
        evidence(root, done)
    return good


def main():
    if os.geteuid() != 0:
        sys.exit("fresh: only root can make roots: sudo make test-fresh")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if sys.argv[1:2] == ["--enter"] and len(sys.argv) in (3, 4):
        return inside(os.path.join(FRESH, sys.argv[2]), sys.argv[2].split("-")[1], " ".join(sys.argv[3:]))
    names = sys.argv[1:] or os.environ.get("FRESH", "").split() or [name for name in ROOTS if name != NEWEST]
    unknown = [name for name in names if name not in ROOTS]
    if unknown:
        sys.exit(f"fresh: no root is called {unknown[0]}: there are {' '.join(ROOTS)}")
    if not shutil.which("debootstrap"):
        sys.exit("fresh: debootstrap is missing: apt-get install debootstrap")
    os.makedirs(FRESH, exist_ok=True)
    bad = 0
    for name in names:
        if try_all(name):
            shutil.rmtree(os.path.join(FRESH, name))
        else:
            bad += 1
    return 1 if bad else 0


sys.exit(main())
