"""Several vCPUs, several VMs and several processors: who runs, who is reached, who is disturbed."""
from guests import run_guests
from harness import scenario

SMP = ["smp_topology", "smp_ping", "smp_lock", "smp_tsc", "smp_init", "smp_absent", "smp_self_init", "smp_nmi",
       "smp_broadcast"]


def smp_guests(lab, vcpus, processors, host="", **options):
    run_guests(lab, SMP, f" with {vcpus} vCPUs on {processors}", host=host, more=f"cpus = {vcpus}", each=40,
               cpus=processors, **options)


@scenario(bound=90)
def smp_2_on_1(lab):
    """Two vCPUs that take turns on one processor."""
    smp_guests(lab, 2, 1)


@scenario(bound=150)
def smp_4_on_2(lab):
    """More vCPUs than processors."""
    smp_guests(lab, 4, 2)
