"""What test runs leave for tools/evidence: build/results.jsonl, one JSON object per verdict.

Every object has `commit`; a verdict has `scenario`, `part` (None: the scenario as a whole), `verdict` ("pass", "FAIL" or
"skip"), `why` (of the last two), and as a whole `row` (of the table in docs/EVIDENCE.md, if any), `seconds` and
`machines`: what it ran on.
"""
import functools
import json
import os
import re
import subprocess
import threading

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PATH = os.path.join(TOP, "build", "results.jsonl")
_lock = threading.Lock()


@functools.cache
def commit():
    """The source's commit, with a "+" when it was changed since."""

    def git(*command):
        p = subprocess.run(["git", "-C", TOP, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL, check=False)
        return p.stdout.decode().strip() if p.returncode == 0 else None

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs")
        return (git("rev-parse", "--short=10", "HEAD") or "unknown") + ("+" if changed else "")
    except OSError:
        return "unknown"


def record(**fields):
    line = json.dumps({"commit": commit(), **fields})
    with _lock:
        os.makedirs(os.path.dirname(PATH), exist_ok=True)
        with open(PATH, "a", encoding="utf-8") as f:
            f.write(line + "\n")


def machine_facts(machine):
    """What a tools.machine.Machine was, and what Corbel said that it uses there, or why it cannot run."""
    text = machine.text()
    features = re.search(r"^corbel: vmx: (EPT leaves .*)$", text, re.MULTILINE)
    refusal = re.search(r"^corbel: (.*with VT-x.*)$", text, re.MULTILINE)
    lacks = re.findall(r"^corbel: error: this CPU lacks (.*): Corbel needs", text, re.MULTILINE)
    why = refusal[1] if refusal else f"this CPU lacks {', '.join(lacks)}" if lacks else None
    return {"emulator": machine.emulator(), "model": machine.model if machine.kind == "bochs" else None,
            "features": features[1] if features else None,
            "refusal": why}


def load(path=PATH):
    """All of them, oldest first; none where there is no file."""
    try:
        with open(path, encoding="utf-8") as f:
            return [json.loads(line) for line in f]
    except FileNotFoundError:
        return []
