"""VT-d: `mode = check` behind QEMU's intel-iommu, where devices reach what their drivers map, and one that does not keep to it."""

from check import report
from disks import Disk, raw
from harness import expect, expect_in, host, scenario
from host_nets import check_card

UNIT = ["-machine", "q35", "-device", "intel-iommu,intremap=on"]
DATA = "drive=data,serial=S7"


def check(lab, config, *extra, unit=UNIT, **options):
    """A check on a machine with an IOMMU; what COM1 said."""
    report(lab, lab.image(host(mode="check", log="debug", **config)), kind="qemu", model="Nehalem,-vmx", extra=[*unit, *extra],
           **options)
    return lab.machines[-1].text()


def expect_on(text):
    expect_in(r"^corbel: VT-d: 1 unit; devices reach what their drivers map; interrupts are remapped$", text)
    expect_in(r"^corbel: IOMMU         VT-d \(DMAR table\): yes, used; with interrupt remapping$", text)
    expect("VT-d: blocked" not in text, f"something was blocked:\n{text[-3000:]}")


def written(lab, name, *device, bypasses=False, **options):
    """A partition is written and read back, with interrupts, and nothing was blocked."""
    disk = Disk(lab)
    text = check(lab, {"check_disks": "write:scratch"}, *raw(disk), *device, **options)
    expect_on(text)
    expect_in(rf"^corbel: disk {name}: 8 MiB, .*serial S7, .*with interrupts$", text)
    expect_in(rf"^corbel: disk {name}: what was written and flushed is there$", text)
    expect_in(rf"^corbel: disk {name}: 0 errors, 0 retries, 0 resets; [1-9]", text)
    expect(("past the IOMMU" in text) == bypasses, f"who goes past the IOMMU:\n{text[-3000:]}")
    disk.check_written(text)


@scenario(bound=60)
def check_iommu_ahci(lab):
    """Two AHCI controllers: the boot disk's, and one more."""
    written(lab, "sata0", "-device", "ahci,id=ahci", "-device", f"ide-hd,{DATA},bus=ahci.0")


@scenario(bound=60)
def check_iommu_nvme(lab):
    """Two processors, with a queue and a vector each."""
    written(lab, "nvme0n1", "-device", f"nvme,{DATA}", cpus=2)


@scenario(bound=60)
def check_iommu_virtio(lab):
    """VIRTIO_F_ACCESS_PLATFORM: it goes by the IOMMU."""
    written(lab, "virtio0", "-device", f"virtio-blk-pci,{DATA},disable-legacy=on,iommu_platform=on")


@scenario(bound=60)
def check_iommu_virtio_past(lab):
    """Without it the hypervisor below lets it pass, and that is said."""
    written(lab, "virtio0", "-device", f"virtio-blk-pci,{DATA}", bypasses=True)


@scenario(bound=60)
def check_iommu_caching(lab):
    """A unit that remembers what is not there, behind a bridge that speaks for what is behind it."""
    written(lab, "sata1", "-device", "pcie-pci-bridge,id=old,bus=pcie.0", "-device", "ahci,id=ahci,bus=old,addr=3", "-device",
            f"ide-hd,{DATA},bus=ahci.0", unit=["-machine", "q35", "-device", "intel-iommu,intremap=on,caching-mode=on"])


@scenario(bound=60)
def check_iommu_e1000e(lab):
    """A network card: its rings and buffers, and its interrupt."""
    check_card(lab, "e1000e", "82574L", beside=UNIT)
    expect_on(lab.machines[-1].text())


@scenario(bound=60)
def check_iommu_virtio_net(lab):
    check_card(lab, "virtio-net-pci,disable-legacy=on,iommu_platform=on", "virtio-net", beside=UNIT)
    expect_on(lab.machines[-1].text())


@scenario(bound=60)
def check_iommu_stray(lab):
    """Drives that write to memory that is not theirs: nothing arrives, it is told who and where, and the driver begins anew. (Where
    it does so before the request has come back, further tries stray, too, until the drive is given up.)"""
    disk = Disk(lab)
    text = check(lab, {"test_dma": "yes"}, *raw(disk), "-device", f"nvme,{DATA}")
    for name, unit, driver in (("sata0", "sata0", "AHCI"), ("nvme0n1", "nvme0", "NVMe")):
        expect_in(rf"^corbel: warning: VT-d: blocked: 00:[0-9a-f]{{2}}\.\d \({driver}\) writes [0-9a-f]+000: it may not write there$",
                  text)
        expect_in(rf"^corbel: disk {name}: test_dma: error \d+; what lay there is as it was$", text)
        expect_in(rf"^corbel: warning: {unit}: it reached for memory that is not its: it is reset$", text)


@scenario(bound=60)
def check_iommu_off(lab):
    """Where it is not wanted, and where interrupts cannot be remapped; the same stray arrives in the first."""
    text = check(lab, {"iommu": "off", "test_dma": "yes"})
    expect_in(r"^corbel: IOMMU         VT-d \(DMAR table\): yes; off, as the config wants it: devices reach all memory$", text)
    expect_in(r"^corbel: disk sata0: test_dma: error 0; what lay there has changed$", text)
    text = check(lab, {"test_dma": "yes"}, unit=["-machine", "q35", "-device", "intel-iommu,intremap=off"])
    expect_in(r"^corbel: IOMMU         VT-d \(DMAR table\): yes, used; without interrupt remapping$", text)
    expect_in(r"^corbel: disk sata0: test_dma: error \d+; what lay there is as it was$", text)
