"""The test guests (tests/guests), one VM after the other in one boot: each says PASS or FAIL on COM1, or ends somehow."""
import os
import re
import subprocess
import time

from harness import ALL, BUILD, FIRMWARE, PATIENCE, TOP, MachineError, bochs_version, default_bochs, scenario

# Guests for which any end will do, as long as Corbel is alive afterwards; how the line must go on, if that matters.
SURVIVED = {
    "idt_in_mmio": r"(ended|killed) after",
    "hlt_forever": r"ended after .*: halted for good",
    "garbage": r"(ended|killed) after",
}
CPU = ["cpuid_features", "cpuid_signature", "cpuid_topology", "xsetbv", "msr_unknown", "misc_enable", "vmx_undefined", "cr_bits",
       "tsc_aux", "registers", "privilege", "speculation"]
EVENTS = ["sti_shadow", "mov_ss", "single_step", "step_interrupt", "software_interrupts", "fault_in_emulation",
          "fault_flags", "event_delivery", "nmi", "hlt_timer", "hlt_nmi", "debug_registers", "xsave_state", "xsavec",
          "eip_wrap"]
MEMORY = ["mode_switch", "segments", "paging_bits", "smap_smep", "caches", "memory_hole", "mmio_forms", "mmio_strings",
          "io_strings", "offset_wrap"]
TIME = ["tsc", "tsc_deadline", "apic_timer", "two_timers", "apic_modes", "apic_base", "ipi_priority", "ioapic", "pic", "pit"]
DEVICES = ["rtc", "uart", "uart_flood"]
HOSTILE = ["msr_all", "port_all", "cli_loop", "triple_fault", "keyboard_reset", "garbage", "idt_in_mmio", "hlt_forever"]
# Deliver events onto stacks that nobody has touched: an EPT violation, of which Bochs tells the wrong event where interrupts
# are delivered by the processor (docs/CAVEATS.md). So they are for models, and keys of [host], without that.
DELIVERED = ["event_delivery"]
NO_VID = ("corei5_arrandale_m520", "corei7_sandy_bridge_2600k", "corei7_ivy_bridge_3770k")
EVERY = CPU + EVENTS + MEMORY + TIME + DEVICES + HOSTILE


def verdict_of(guest, text):
    """None: not known yet; "": passed; else what is wrong."""
    text = text[:text.rfind("\n") + 1]  # whole lines only
    failed = re.search(rf"FAIL {guest}: .*", text)
    if failed:
        return failed.group(0)
    ended = re.search(rf"^corbel: {guest}: (ended|killed) after.*", text, re.MULTILINE)
    refused = re.search(rf"^corbel: .*{guest}.*(not run|cannot|needs).*", text, re.MULTILINE)
    if not ended:
        return refused.group(0) if refused and "killed" not in refused.group(0) else None
    if guest in SURVIVED:
        return "" if re.search(rf"^corbel: {guest}: {SURVIVED[guest]}", text, re.MULTILINE) else ended.group(0)
    if re.search(rf"^PASS {guest}$", text, re.MULTILINE) and "killed" not in ended.group(0):
        return ""
    return "no PASS: " + ended.group(0)


def run_guests(lab, guests, variant="", host="", memory="16M", machine=256, each=25, more="", **options):
    """Boot them all in one go; one that hangs is left out of a second boot with the rest."""
    without = re.search(r"without *=.*\b(vid|tpr|apicv)\b", host) or options.get("model") in NO_VID
    left = [g for g in guests if without or g not in DELIVERED]
    while left:
        config = f"[host]\nlog = info\nstart = in-turn\n{host}\n" + "".join(
            f"[vm {g}]\nkernel = {lab.guest(g)}\nmemory = {memory}\n{more}\n" for g in left)
        m = lab.boot(config, memory=machine, **options)
        started, at = time.monotonic(), 0
        patience = 100 * 3  # the firmware's and the loader's part
        while at < len(left) and time.monotonic() - started < patience:
            alive = m.pump(1) is not None
            text = m.text()
            verdict = verdict_of(left[at], text)
            if verdict is not None:
                lab.verdict(f"guest {left[at]}{variant}", verdict or None)
                at, started, patience = at + 1, time.monotonic(), each * 3
            elif not alive:
                break
        try:
            if at == len(left):
                m.wait(60)
                return
            lab.verdict(f"guest {left[at]}{variant}", f"it hung, or Corbel did\n{m.tail()}")
        except MachineError as error:
            lab.verdict(f"power off after the guests{variant}", str(error))
            return
        finally:
            m.kill()
        left = left[at + 1:]


@scenario(bound=240, row="guests")
def guests(lab):
    run_guests(lab, EVERY)


@scenario(bound=200, row="without vid")
def guests_without_vid(lab):
    """Interrupts by injection, the local APIC's registers by exits."""
    run_guests(lab, EVENTS + MEMORY + TIME, " without=vid", "without = vid")


@scenario(bound=200, row="without all")
def guests_without_tpr(lab):
    """No APIC virtualization of any kind, no preemption timer, small EPT leaves, no VPIDs."""
    run_guests(lab, CPU + EVENTS + TIME + ["cli_loop", "io_strings", "offset_wrap"], " without=tpr,preempt,...",
               "without = tpr, preempt, ept-2m, vpid, invpcid, rdtscp, xsaves, ins-outs")


@scenario(bound=240 if ALL else 120, row="guests")
def guests_on_skylake_x(lab):
    """AVX-512, XSAVES, protection keys' hole in leaf 0Dh, a wrong frequency in leaf 15h."""
    run_guests(lab, EVERY if ALL else CPU + EVENTS + ["msr_all"], " on skylake_x", model="corei7_skylake_x")
    said = "XSAVEC stores elsewhere than the SDM says: guests have neither" in lab.machines[0].text()
    wrong = bochs_version(default_bochs()).startswith("2.7")
    lab.verdict("XSAVEC is found to be wrong in Bochs 2.7 only", None if said == wrong else f"said: {said}")


@scenario(bound=240 if ALL else 100, row="guests")
def guests_on_arrandale(lab):
    """The oldest CPU that Corbel knows: no XSAVE, no APIC virtualization beyond TPR."""
    run_guests(lab, EVERY if ALL else CPU + EVENTS + TIME, " on arrandale", model="corei5_arrandale_m520")


@scenario(bound=240 if ALL else 100, row="guests")
def guests_on_tigerlake(lab):
    run_guests(lab, EVERY if ALL else CPU + EVENTS + TIME, " on tigerlake", model="tigerlake")


@scenario(bound=90)
def guests_with_large_code(lab):
    """A processor that has iTLB multihit by its model keeps what guests execute in small leaves, unless it is told not to care."""
    for host, small in ("", True), ("small_executable = off", False):
        run_guests(lab, ["mode_switch", "paging_bits"], f", {host or 'as always'}", host)
        said = "vmx: what guests execute is in EPT leaves of 4 KiB" in lab.machines[-1].text()
        lab.verdict(f"leaves of code, {host or 'as always'}", None if said == small else f"small ones: {said}")


@scenario(bound=60)
def guest_with_ram_above_the_hole(lab):
    """The top pages of RAM on both sides of a hole that is lowered to 64 MiB."""
    run_guests(lab, ["e820"], " with a low hole", memory="192M", machine=512, more="hole = 64M")


@scenario(bound=80, row="reload")
def guests_reloaded(lab):
    """Everything saved, wiped and reloaded at random exits; that takes time, which guests that measure it would see."""
    # When a host interrupt comes while a virtual one is pending, Bochs 2.7 delivers the virtual one in spite of IF = 0;
    # the time that reloads take makes that certain in step_interrupt.
    timeless = [g for g in EVENTS if g not in ("hlt_timer", "step_interrupt")] + [
        "apic_modes", "apic_base", "ipi_priority", "ioapic", "pic", "uart", "uart_flood", "cpuid_features", "xsetbv", "cr_bits",
        "paging_bits", "mode_switch", "segments", "mmio_forms"]
    run_guests(lab, timeless, " under test_reload", "test_reload = 20")


def shown_memory(what, guest="shown_memory", bound=60, when="processors", **how):
    def run(lab):
        subprocess.run(["make", "-C", TOP, "debug"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
        run_guests(lab, [guest], f" {what}, debug build", efi=os.path.join(BUILD, "debug", "BOOTX64.EFI"), **how)
    run.__doc__ = f"ROM, RAM elsewhere and trapped writes by `make debug`'s test device, {what}."
    scenario(bound=bound, **{when: True}, name=f"{guest}_{what.replace(' ', '_')}")(run)


shown_memory("on haswell", when="slow")
shown_memory("on ivy bridge", model="corei7_ivy_bridge_3770k")
shown_memory("without vid", host="without = vid, ept-2m")
shown_memory("reloaded", when="slow", host="test_reload = 20")
shown_memory("on 2 processors", "smp_shown_memory", bound=100, when="slow", more="cpus = 3", cpus=2, each=60)
shown_memory("without vpid", "smp_shown_memory", bound=100, more="cpus = 2", cpus=2, each=60, host="without = tpr, preempt, vpid")


@scenario(bound=40)
def guest_that_loops_for_ever(lab):
    """Nothing that Corbel or the guest has said may be held back by a guest that never exits again."""
    m = lab.boot("[host]\nlog = info\n[vm a]\nkernel = " + lab.guest("cli_forever") + "\nmemory = 16M\n")
    m.read_until("^PASS cli_forever\r?$", FIRMWARE * PATIENCE)


for _model in ("corei7_sandy_bridge_2600k", "corei7_ivy_bridge_3770k", "broadwell_ult", "corei3_cnl", "corei7_icelake_u"):
    def _on(lab, model=_model):
        run_guests(lab, EVERY, f" on {model}", model=model)
    scenario(bound=240, processors=True, name=f"guests_on_{_model}", row="guests")(_on)
