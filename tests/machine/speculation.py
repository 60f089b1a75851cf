"""Steps against errata of speculation. No emulated processor asks for any: `test_mitigations` does."""
from guests import run_guests
from harness import expect, expect_in, host, scenario
from shell import boot_and_prove

ROAD = "retpoline, rsb-fill, bhi-clear, verw"
WORDS = ("retpolines, branch history cleared behind each VM exit, RSB filled behind each VM exit, buffers cleared before each VM "
         "entry")
# CPUID, port and device memory exits, device models, timers, steps, faults; one that is killed by its own doing.
SOME = ["cpuid_features", "speculation", "msr_unknown", "registers", "single_step", "fault_in_emulation", "nmi", "hlt_timer",
        "mmio_forms", "mmio_strings", "io_strings", "tsc_deadline", "apic_modes", "ioapic", "rtc", "uart", "triple_fault", "garbage"]


def forced(steps, **keys):
    return f"test_mitigations = {steps}\n" + "".join(f"{k} = {v}\n" for k, v in keys.items())


def said(lab):
    return "\n".join(m.text() for m in lab.machines)


@scenario(bound=120)
def speculation_retpolines(lab):
    """Every indirect branch patched, every exit and entry by the guarded road."""
    run_guests(lab, SOME, f" with {ROAD}", forced(ROAD))
    expect_in(rf"^corbel: speculation: 1 processor \d+\.\d+\.\d+ \(emulated\): {WORDS}$", said(lab))
    expect("left open" not in said(lab), "an emulated processor has nothing open")


@scenario(bound=120)
def speculation_aligned(lab):
    """The other kind of branches, with state reloaded, traced exits and two processors."""
    run_guests(lab, ["cpuid_features", "registers", "segments", "mmio_forms"], " with aligned branches, reloaded",
               forced("aligned, rsb-one, verw", test_reload=20, trace="exits"), cpus=2, more="cpus = 2")
    expect_in(r"^corbel: speculation: 2 processors \d+\.\d+\.\d+ \(emulated\): aligned branches, one RSB entry behind each VM exit, "
              r"buffers cleared before each VM entry$", said(lab))


@scenario(bound=60)
def speculation_refused(lab):
    """A step whose register the processor lacks: a sentence, and nothing is done."""
    for step, needs in (("ibrs", "IA32_SPEC_CTRL"), ("l1d", "IA32_FLUSH_CMD"), ("bhi-dis", "BHI_DIS_S")):
        m = lab.boot(f"[host]\nlog = info\n{forced(step + ', retpoline')}[vm a]\nkernel = {lab.guest('cpuid_topology')}\n"
                     "memory = 4M\n")
        m.read_until(r"^corbel: a: ended", 60)
        expect_in(rf"^corbel: error: test_mitigations: .*{step}.* needs? .*{needs}.*, which this processor lacks$", m.text())
        expect_in(r"^corbel: speculation: 1 processor \d+\.\d+\.\d+ \(emulated\): nothing$", m.text())
        expect_in("^PASS cpuid_topology$", m.text())
        m.kill()


@scenario(bound=240, slow=True)
def speculation_linux(lab):
    """Linux to a shell, and back."""
    text = boot_and_prove(lab, host(test_mitigations=ROAD))
    expect_in(rf": {WORDS}$", text)
