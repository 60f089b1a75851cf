"""The same in Bochs 3.0, whose processors have more of VMX: posted interrupts, monitor trap flag, mode-based execute
control; and in a Bochs where MSRs that do not exist fault, as they do on silicon."""
import os

from guests import CPU, EVENTS, EVERY, TIME, run_guests
from harness import NO_VID, Skip, expect_in, host, scenario
from machine import BOCHS_3
from shell import FALLBACKS, boot_and_prove, check_interrupts

MODELS = ("corei7_haswell_4770", "corei7_skylake_x", "tigerlake", "sapphire_rapids", "arrow_lake")
MODELS_OF_SOAK = MODELS[3:]


# MSRs that each Intel processor with VMX has, that firmware reads, and that Bochs lacks: with such a file it knows these,
# reads 0 there and keeps no writes.
FIRMWARE_MSRS = (0x17,)  # IA32_PLATFORM_ID


def bochs_3():
    if not os.path.exists(BOCHS_3):
        raise Skip("Bochs 3.0 is not here: make bochs3")
    return BOCHS_3


def strict(lab):
    """The options of Bochs' line cpu: with which other MSRs fault."""
    msrs = lab.file("msrs.def", "".join(f"{msr:#05x} 0 0x0 0x0 0xffffffff 0xffffffff 0xffffffff 0xffffffff\n"
                                        for msr in FIRMWARE_MSRS))
    return f", ignore_bad_msrs=0, msrs={msrs}"


def short(model):
    return model.removeprefix("corei7_").removesuffix("_4770")


def bochs3_guests(model):
    def run(lab):
        run_guests(lab, EVERY, f" on Bochs 3's {short(model)}", bochs=bochs_3(), model=model)
    run.__doc__ = f"The test guests on Bochs 3.0's {model}"
    return run


def bochs3_linux(model):
    def run(lab):
        boot_and_prove(lab, NO_VID, hardware={"bochs": bochs_3(), "model": model},
                       check=lambda s: check_interrupts(s.run("cat /proc/interrupts")))
    run.__doc__ = f"Cloud kernel on Bochs 3.0's {model}"
    return run


for _model in MODELS:
    _when = {"soak" if _model in MODELS_OF_SOAK else "processors": True}
    scenario(bound=240, **_when, name=f"bochs3_guests_{short(_model)}", row="guests")(bochs3_guests(_model))
    scenario(bound=120, **_when, name=f"bochs3_linux_{short(_model)}", row="cloud")(bochs3_linux(_model))


@scenario(bound=120, processors=True, row="without all")
def bochs3_without_all(lab):
    """Cloud kernel in Bochs 3.0, without any optional feature."""
    boot_and_prove(lab, host(without=", ".join(FALLBACKS)),
                   hardware={"bochs": bochs_3(), "model": "corei7_skylake_x"})


@scenario(bound=120, processors=True, row="without xsaves")
def bochs3_without_xsaves(lab):
    """Cloud kernel on a CPU without xsaves; Bochs 3.0 has it right."""
    text = boot_and_prove(lab, host(without="vid, xsaves"), hardware={"bochs": bochs_3(), "model": "corei7_skylake_x"})
    expect_in(r"^corbel: vmx: .*guests have RDTSCP INVPCID$", text)


@scenario(bound=120, processors=True, row="without vid")
def bochs3_guests_without_vid(lab):
    """Interrupts by injection in Bochs 3.0, where no trap of its own is pending at an exit."""
    run_guests(lab, CPU + EVENTS + TIME, " on Bochs 3 without=vid", host="without = vid", bochs=bochs_3())


@scenario(bound=200, processors=True, row="reload")
def bochs3_smp_nmi_reloaded(lab):
    """NMIs to other vCPUs, while everything is saved, wiped and reloaded at random exits."""
    run_guests(lab, ["smp_nmi"], " reloaded, with 4 vCPUs on 2 in Bochs 3.0", host="test_reload = 20", more="cpus = 4", each=100,
               cpus=2, bochs=bochs_3())


@scenario(bound=300, processors=True, row="generic")
def bochs3_linux_generic(lab):
    boot_and_prove(lab, NO_VID, kernel="vmlinuz-generic", memory="256M", hardware={"bochs": bochs_3()})


@scenario(bound=240, processors=True, row="strict")
def bochs3_guests_strict_msrs(lab):
    """Stray accesses to MSRs would fault in Corbel."""
    run_guests(lab, EVERY, " on Bochs 3 with strict MSRs", bochs=bochs_3(), model="corei7_skylake_x", cpu=strict(lab))


@scenario(bound=120, processors=True, row="strict")
def bochs3_linux_strict_msrs(lab):
    boot_and_prove(lab, NO_VID, hardware={"bochs": bochs_3(), "cpu": strict(lab)})


@scenario(bound=120, processors=True, row="strict")
def linux_strict_msrs(lab):
    """In the installed Bochs, too."""
    boot_and_prove(lab, hardware={"cpu": strict(lab)})
