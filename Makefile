# Corbel: `make help` lists the verbs.
MAKEFLAGS += --no-builtin-rules -j$(shell nproc)
SHELL     := /bin/bash
B         := build
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:

# V=1 shows the commands themselves.
Q   := $(if $(V),,@)
say  = $(if $(V),,@echo "  $(1)  $@")

CC   := gcc
LD   := ld
NASM := nasm

# Make remakes a makefile before anything else: so what this machine lacks is installed first, and once.
ifneq ($(filter-out clean help password test-fresh test-next,$(or $(MAKECMDGOALS),all)),)
include $(B)/deps.mk
endif
$(B)/deps.mk: tools/deps
	@tools/deps
	@mkdir -p $(B) && touch $@

# What others keep: built once for the microkernel, once for tests.
include tools/zydis.mk tools/blake2.mk tools/unpack.mk
LIBRARIES           := $(ZYDIS_LIB) $(BLAKE2_LIB) $(UNPACK_LIB)
LIBRARY_CFLAGS      := $(ZYDIS_CFLAGS) $(BLAKE2_CFLAGS)
HOST_LIBRARIES      := $(ZYDIS_HOST_LIB) $(BLAKE2_HOST_LIB) $(UNPACK_HOST_LIB)
HOST_LIBRARY_CFLAGS := $(ZYDIS_HOST_CFLAGS) $(BLAKE2_CFLAGS)

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef \
        -Wno-unused-parameter -Wenum-conversion

# --- the microkernel: freestanding ELF, linked at -2 GiB by linker.ld -------------------------------------------------
KERNEL_C   := $(wildcard arch/x86/*.c arch/x86/lib/*.c mm/*.c vmx/*.c drivers/*.c guest/*.c guest/*/*.c guest/*/*/*.c)
ifneq ($(findstring CORBEL_DEBUG,$(COUNT)),)
KERNEL_C   += $(wildcard tests/devices/*.c)
endif
KERNEL_ASM := $(wildcard arch/x86/*.asm vmx/*.asm)
KERNEL_OBJ := $(KERNEL_C:%.c=$(B)/kernel/%.o) $(KERNEL_ASM:%.asm=$(B)/kernel/%.asm.o)
KERNEL_CFLAGS := -std=gnu11 -O2 -g $(WARN) -I. -ffreestanding -fno-pic -mcmodel=kernel -mno-red-zone -mpreferred-stack-boundary=3 \
        -mgeneral-regs-only -fno-omit-frame-pointer -fstack-protector-strong -mstack-protector-guard=global \
        -fno-asynchronous-unwind-tables -fcf-protection=none -fno-common -fno-delete-null-pointer-checks \
        -fno-strict-aliasing -ffunction-sections -fdata-sections -fmacro-prefix-map=$(CURDIR)/= $(COUNT)

# Indirect branches get room for others in their place: $(call assemble,from), behind a compiler's -S.
assemble = sed -E -f tools/branches.sed $(1) | as --64 -o $@ -

$(B)/kernel/%.o: %.c tools/branches.sed | $(B)/kernel/offsets.inc
	@mkdir -p $(@D)
	$(call say,CC  )
	$(Q)$(CC) $(KERNEL_CFLAGS) $(LIBRARY_CFLAGS) -MMD -MP -MT $@ -MF $(@:.o=.d) -S $< -o $(@:.o=.s)
	$(Q)$(call assemble,$(@:.o=.s))

$(B)/kernel/%.asm.o: %.asm $(B)/kernel/offsets.inc
	@mkdir -p $(@D)
	$(call say,ASM )
	$(Q)$(NASM) -f elf64 -g -F dwarf -I$(B)/kernel/ -MD $(@:.o=.d) $< -o $@

# The framebuffer's font comes from the build machine: Debian's psf-unifont.
FONT := /usr/share/consolefonts/Unifont-APL8x16.psf.gz
$(B)/kernel/font.inc: tools/font.py $(wildcard $(FONT))
	@mkdir -p $(@D)
	python3 tools/font.py $(FONT) > $@
$(B)/kernel/drivers/framebuffer.o: $(B)/kernel/font.inc
$(B)/kernel/drivers/framebuffer.o: KERNEL_CFLAGS += -I$(B)/kernel

# Offsets for nasm come from the C structures themselves: each DEFINE in offsets.c becomes one %define.
$(B)/kernel/offsets.inc: vmx/offsets.c
	@mkdir -p $(@D)
	$(call say,CC  )
	$(Q)$(CC) $(KERNEL_CFLAGS) -MMD -MP -MT $@ -MF $(@:.inc=.d) -S $< -o $(@:.inc=.s)
	$(Q)sed -n 's/^#OFFSET \([A-Z0-9_]*\) [$$]*\(-\?[0-9]*\).*/%define \1 \2/p' $(@:.inc=.s) > $@

# The exit path counts every instruction; backtraces leave its functions out and go on at entry.asm's frame.
EXIT_PATH := cpu/exit cpu/exit_msr cpu/msr cpu/exit_io cpu/exit_memory cpu/events cpu/timers cpu/linear cpu/exit_watched \
        board/board board/bus board/lapic_irq board/lapic_timer board/ioapic devices/uart insn/fast trace/exits trace/trace \
        devices/disk devices/virtio/blk devices/virtio/pci devices/virtio/queue storage/ram
$(EXIT_PATH:%=$(B)/kernel/guest/%.o): KERNEL_CFLAGS += -fomit-frame-pointer

KERNEL_OBJ := $(filter-out $(B)/kernel/vmx/offsets.o,$(KERNEL_OBJ))

# Linked twice: the second time with the tables of its own symbols, for backtraces, and of its indirect branches.
$(B)/corbel.elf: $(KERNEL_OBJ) $(LIBRARIES) linker.ld tools/symbols.py tools/branches.py
	$(call say,LD  )
	$(Q)$(LD) -nostdlib -static --gc-sections -z max-page-size=4096 -T linker.ld -o $@.1 $(KERNEL_OBJ) $(LIBRARIES)
	$(Q)nm -n $@.1 | python3 tools/symbols.py > $(B)/symbols.asm
	$(Q)$(NASM) -f elf64 $(B)/symbols.asm -o $(B)/symbols.o
	$(Q)set -o pipefail; objdump -d -j .text $@.1 | python3 tools/branches.py > $(B)/branches.asm
	$(Q)$(NASM) -f elf64 $(B)/branches.asm -o $(B)/branches.o
	$(Q)$(LD) -nostdlib -static --gc-sections -z max-page-size=4096 -T linker.ld -o $@ $(KERNEL_OBJ) $(B)/symbols.o $(B)/branches.o \
	    $(LIBRARIES)

kernel: $(B)/corbel.elf

# --- the loader: a UEFI application by GNU-EFI, with the microkernel inside -------------------------------------------
LOADER_C   := $(wildcard boot/*.c) $(wildcard guest/config/*.c) arch/x86/lib/string.c arch/x86/lib/format.c \
        arch/x86/lib/cpu_id.c
LOADER_OBJ := $(LOADER_C:%.c=$(B)/loader/%.o) $(B)/loader/boot/switch.asm.o $(B)/loader/boot/embed.asm.o
LOADER_CFLAGS := -std=gnu11 -O2 -g $(WARN) -I. -isystem /usr/include/efi -isystem /usr/include/efi/x86_64 \
        -DGNU_EFI_USE_MS_ABI -maccumulate-outgoing-args -ffreestanding -fpic -fvisibility=hidden -fshort-wchar \
        -mno-red-zone -mgeneral-regs-only -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none \
        -fno-strict-aliasing -fno-common -fmacro-prefix-map=$(CURDIR)/=

$(B)/loader/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC  )
	$(Q)$(CC) $(LOADER_CFLAGS) -MMD -MP -c $< -o $@

$(B)/loader/%.asm.o: %.asm
	@mkdir -p $(@D)
	$(call say,ASM )
	$(Q)$(NASM) -f elf64 $(NASM_DEFINES) $< -o $@

# Into the boot disk's file goes no debug information: firmware reads it from slow disks.
$(B)/corbel-stripped.elf: $(B)/corbel.elf
	$(call say,COPY)
	$(Q)objcopy --strip-all $< $@
$(B)/loader/boot/embed.asm.o: NASM_DEFINES = -DKERNEL='"$(B)/corbel-stripped.elf"'
$(B)/loader/boot/embed.asm.o: $(B)/corbel-stripped.elf

# GNU-EFI's crt0, library and linker script: Debian 13 and older have them in /usr/lib, later ones in the multiarch folder.
GNU_EFI = $(patsubst %/crt0-efi-x86_64.o,%,$(or $(firstword $(wildcard $(addsuffix /crt0-efi-x86_64.o, \
        /usr/lib /usr/lib/x86_64-linux-gnu))),$(error GNU-EFI's crt0-efi-x86_64.o is in no folder where it should be)))

# Debian 12's crt0 calls efi_main, Debian 13's _entry, with the same arguments.
$(B)/loader.so: $(LOADER_OBJ)
	$(call say,LD  )
	$(Q)$(LD) -nostdlib -shared -Bsymbolic --defsym=_entry=efi_main -znocombreloc --no-undefined --build-id=none \
	    -T $(GNU_EFI)/elf_x86_64_efi.lds $(GNU_EFI)/crt0-efi-x86_64.o $(LOADER_OBJ) $(GNU_EFI)/libgnuefi.a -o $@

$(B)/BOOTX64.EFI: $(B)/loader.so
	$(call say,COPY)
	$(Q)objcopy -j .text -j .sdata -j .data -j .rodata -j .dynamic -j .dynsym -j '.rel*' -j '.rela*' -j .reloc \
	    --output-target=efi-app-x86_64 --subsystem=10 $< $@

loader: $(B)/BOOTX64.EFI

# --- pure code on the workstation: unit tests and fuzzers -------------------------------------------------------------
# A test names the sources it needs in a comment on its first line: /* links: guest/board/state.c guest/board/bus.c */
UNIT_TESTS := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/test_*.c))
FUZZERS    := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
HOST_CFLAGS := -std=gnu11 -O1 -g $(WARN) -I. -fsanitize=address,undefined -fno-sanitize-recover=all \
        -fno-omit-frame-pointer -DCORBEL_HOSTED
links = $(shell sed -n '1s@^/\* links: \(.*\) \*/@\1@p' $(1))
objects = $(patsubst %.c,$(B)/$(1)/%.o,$(2) $(wildcard $(call links,$(2))))

# Each source is compiled once for all tests, and once more, by clang, for all fuzzers.
$(B)/hosted/%.o: %.c | $(HOST_LIBRARIES)
	@mkdir -p $(@D)
	$(call say,CC  )
	$(Q)$(CC) -Itests/unit/include $(HOST_CFLAGS) $(HOST_LIBRARY_CFLAGS) -MMD -MP -c $< -o $@

FUZZED_CFLAGS := -fsanitize=fuzzer-no-link
# No step of a sum tells a fuzzer anything, and most of the time would go into following them. What it reads is looked at.
$(B)/fuzzed/arch/x86/lib/crc32.o: FUZZED_CFLAGS := -O2 -fno-sanitize=undefined
$(B)/fuzzed/%.o: %.c | $(HOST_LIBRARIES)
	@mkdir -p $(@D)
	$(call say,CC  )
	$(Q)clang $(filter-out -Wenum-conversion,$(HOST_CFLAGS)) $(HOST_LIBRARY_CFLAGS) $(FUZZED_CFLAGS) -MMD -MP -c $< -o $@

# Threads as processors: who forgets a lock is found by the thread sanitizer, which goes with no other.
THREAD_CFLAGS := $(filter-out -fsanitize=% -fno-sanitize-recover=%,$(HOST_CFLAGS)) -fsanitize=thread -Wno-tsan # it knows no fences
$(B)/threaded/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC  )
	$(Q)$(CC) -Itests/unit/include $(THREAD_CFLAGS) -MMD -MP -c $< -o $@
.PRECIOUS: $(B)/hosted/%.o $(B)/fuzzed/%.o $(B)/threaded/%.o

.SECONDEXPANSION:
$(B)/unit/test_board_threads $(B)/unit/test_disk_threads $(B)/unit/test_layer_threads $(B)/unit/test_hotplug_threads $(B)/unit/test_switch_threads $(B)/unit/test_net_threads $(B)/unit/test_net_pairs_threads $(B)/unit/test_uplink_threads $(B)/unit/test_com2_threads $(B)/unit/test_capture_threads $(B)/unit/test_pv_threads $(B)/unit/test_memory_threads: $$(call objects,threaded,tests/unit/$$(@F).c)
	@mkdir -p $(@D)
	$(call say,LD  )
	$(Q)$(CC) $(THREAD_CFLAGS) $(filter %.o,$^) -lcmocka -o $@

$(B)/unit/test_%: $$(call objects,hosted,tests/unit/test_$$*.c)
	@mkdir -p $(@D)
	$(call say,LD  )
	$(Q)$(CC) $(HOST_CFLAGS) $(filter %.o,$^) $(HOST_LIBRARIES) -lcmocka -o $@

$(B)/fuzz/fuzz_%: $$(call objects,fuzzed,tests/fuzz/fuzz_$$*.c)
	@mkdir -p $(@D)
	$(call say,LD  )
	$(Q)clang $(HOST_CFLAGS) -fsanitize=fuzzer $(filter %.o,$^) $(HOST_LIBRARIES) -o $@

unit: $(UNIT_TESTS)
	@tools/verdict unit $(UNIT_TESTS)
FUZZ_RUNS ?= 20000
fuzz: $(FUZZERS)
	@FUZZ_RUNS=$(FUZZ_RUNS) tools/verdict fuzz $(FUZZERS)

# --- disk images and the default guest --------------------------------------------------------------------------------
HOST_TOOL_CFLAGS := -std=gnu11 -O2 -g $(WARN) -I. -DCORBEL_HOSTED
# It judges a `watch` by the names of the handlers, whose code nothing here calls: so that goes, and with it what it calls.
CONFSCAN_C := tools/confscan.c $(wildcard guest/config/*.c) guest/watch/spec.c guest/watch/check.c $(wildcard guest/handlers/*.c) \
        arch/x86/lib/format.c
$(B)/confscan: $(CONFSCAN_C) $(wildcard guest/config/*.h) guest/watch/spec.h guest/watch/handler.h
	@mkdir -p $(@D)
	$(call say,CC  )
	$(Q)$(CC) $(HOST_TOOL_CFLAGS) $(HOST_LIBRARY_CFLAGS) -DWATCH_NAMES_ONLY -ffunction-sections -Wl,--gc-sections $(CONFSCAN_C) -o $@

$(B)/default/vmlinuz: tools/debian-kernel
	@tools/debian-kernel cloud $@
$(B)/default/vmlinuz-generic: tools/debian-kernel
	@tools/debian-kernel generic $@
$(B)/default/initrd: tools/initramfs /bin/busybox
	@mkdir -p $(@D)
	@tools/initramfs $@
# For gdb: Debian's kernel with the symbols and unwind tables that it carries for itself.
$(B)/default/vmlinux: $(B)/default/vmlinuz $(wildcard tools/vmlinux*)
	@tools/vmlinux $< $@
vmlinux: $(B)/default/vmlinux
guest: $(B)/default/vmlinuz $(B)/default/initrd

# CONFIG and OUT are relative to who calls: with `make -C`, that is not the folder in which make works.
CONFIG ?= $(CURDIR)/tools/default/$(if $(filter trace,$(MAKECMDGOALS)),trace,$(if $(GDB),gdb,corbel)).conf
CALLER  = $(shell if grep -qzE '^(-[a-zA-Z]*C|--directory)' /proc/$$PPID/cmdline && \
        [[ "$(CONFIG)" == /* || -e "$(PWD)/$(CONFIG)" ]]; then echo "$(PWD)"; else echo "$(CURDIR)"; fi)
MAKE_IMAGE = cd "$(CALLER)" && $(CURDIR)/tools/image $(if $(filter 1,$(FRESH)),--fresh) $(CURDIR)/$(B)/BOOTX64.EFI $(CURDIR)/$(B)/confscan "$(CONFIG)"
IMAGE_NEEDS := $(B)/BOOTX64.EFI $(B)/confscan \
        $(if $(findstring $(CURDIR)/tools/default/,$(abspath $(CONFIG))),$(B)/default/vmlinuz $(B)/default/initrd)

image: $(IMAGE_NEEDS)
	@[ -n "$(OUT)" ] || { echo "make image: OUT= is missing: make image CONFIG=corbel.conf OUT=disk.img" >&2; exit 2; }
	@$(MAKE_IMAGE) "$(OUT)"

# A second Bochs, of Debian 13, which knows more of VMX than Debian 12's.
BOCHS_3 := $(B)/bochs3/bochs
$(BOCHS_3): tools/fetch-emulator.sh
	@tools/fetch-emulator.sh bochs $(@D)
bochs3: $(BOCHS_3)

# A second QEMU, of Debian 13, which has a network card more.
QEMU_10 := $(B)/qemu10/qemu
$(QEMU_10): tools/fetch-emulator.sh
	@tools/fetch-emulator.sh qemu $(@D)
qemu10: $(QEMU_10)
BOCHS_NEEDED := $(if $(filter 3,$(BOCHS)),$(BOCHS_3))

# --- running ----------------------------------------------------------------------------------------------------------
MACHINE ?= auto
CPUS    ?= 1
MEMORY  ?= 512
run: $(IMAGE_NEEDS) $(BOCHS_NEEDED)
	@$(MAKE_IMAGE) $(CURDIR)/$(B)/run.img
	@tools/run $(B)/run.img --machine $(MACHINE) --cpus $(CPUS) --memory $(MEMORY) $(if $(GDB),--gdb $(if $(filter 1,$(GDB)),1234,$(GDB)))

# A boot with everything recorded, and what tools/trace makes of it (docs/TRACE.md).
trace: $(IMAGE_NEEDS)
	@mkdir -p $(B)/trace
	@$(MAKE_IMAGE) $(CURDIR)/$(B)/trace/disk.img
	@echo poweroff | tools/run $(B)/trace/disk.img --machine $(MACHINE) --cpus $(CPUS) --memory $(MEMORY) --com2 $(B)/trace/stream
	@tools/trace $(B)/trace/stream --svg $(B)/trace/trace.svg --json $(B)/trace/trace.json --ctf $(B)/trace/ctf
	@echo "trace: see $(B)/trace/trace.svg; trace.json opens in ui.perfetto.dev; babeltrace2 $(B)/trace/ctf"

# --- all tests, checks of the source ----------------------------------------------------------------------------------
TEST_MACHINE := $(wildcard tests/machine/run.py)
# A kernel with the modules of virtio and IDE, for tests/machine/vm_disks.py, vm_virtio.py, vm_ide.py and vm_nets.py; modules
# tell a folder that lacks them.
DISKS_KERNEL := $(B)/disks/vmlinuz $(addprefix $(B)/disks/modules/,virtio-rng.ko virtio_balloon.ko virtio_console.ko virtio_net.ko)
$(DISKS_KERNEL) &: tools/debian-kernel
	@tools/debian-kernel cloud $(B)/disks/vmlinuz $(B)/disks/modules virtio virtio_ring virtio_pci_modern_dev \
	    virtio_pci_legacy_dev virtio_pci virtio_blk virtio-rng virtio_balloon virtio_console virtio_net net_failover failover \
	    scsi_common scsi_mod sd_mod libata ata_piix cdrom sr_mod isofs
# Debian's cloud kernel knows no AHCI and no e1000: the other one, with all that ext4 on such a disk takes.
SATA_KERNEL := $(B)/disks-sata/vmlinuz $(B)/disks-sata/modules/e1000.ko
$(SATA_KERNEL) &: tools/debian-kernel
	@tools/debian-kernel generic $(B)/disks-sata/vmlinuz $(B)/disks-sata/modules e1000 scsi_common scsi_mod libata libahci ahci crct10dif_common \
	    crct10dif_generic crc-t10dif crc64 crc64_rocksoft_generic crc64-rocksoft t10-pi sd_mod crc16 mbcache jbd2 \
	    crc32c_generic ext4
# A root file system with its kernel, for tests/machine/vm_root.py.
$(B)/debian-13/root.img: tools/debian-root
	@tools/debian-root trixie $(@D)
TEST_NESTED_NEEDS := $(B)/nested/vmlinuz $(B)/nested/poll_uart
test: $(UNIT_TESTS) $(FUZZERS) $(B)/BOOTX64.EFI $(B)/confscan $(if $(TEST_MACHINE),guest guests $(DISKS_KERNEL)) $(BOCHS_NEEDED)
	@FUZZ_SECONDS=20 FUZZ_RUNS=$(FUZZ_RUNS) tools/verdict all $(UNIT_TESTS) $(FUZZERS) $(TEST_MACHINE)
test-all: $(UNIT_TESTS) $(FUZZERS) $(B)/BOOTX64.EFI $(B)/confscan $(if $(TEST_MACHINE),guest guests $(DISKS_KERNEL) $(SATA_KERNEL) $(B)/default/vmlinuz-generic) \
        $(TEST_NESTED_NEEDS) $(BOCHS_3) $(QEMU_10)
	@CORBEL_TEST_ALL=1 FUZZ_RUNS=$$(( 10 * $(FUZZ_RUNS) )) tools/verdict all $(UNIT_TESTS) $(FUZZERS) $(TEST_MACHINE) \
	    tests/nested/run.py

# The same on other processors, without features of theirs, and in Bochs' next version; behind test-all it writes docs/EVIDENCE.md.
test-processors: $(B)/BOOTX64.EFI $(B)/confscan guests guest $(B)/default/vmlinuz-generic $(BOCHS_3)
	@CORBEL_TEST_ALL=1 tools/verdict processors tests/machine/run.py --processors

# What is too long for that: devices that are reloaded in mid-work, more memory, a million runs of each fuzzer. Three hours.
soak: $(FUZZERS) $(B)/BOOTX64.EFI $(B)/confscan guest guests $(DISKS_KERNEL) $(SATA_KERNEL) $(B)/default/vmlinuz-generic \
        $(BOCHS_3)
	@FUZZ_SECONDS=600 FUZZ_RUNS=$$(( 100 * $(FUZZ_RUNS) )) tools/verdict soak $(FUZZERS) tests/machine/run.py --soak

# The tools, and the programs of others that read what Corbel says.
test-tools: $(B)/BOOTX64.EFI $(B)/confscan $(B)/unit/test_trace $(B)/unit/test_com2_mux guest guests $(BOCHS_3)
	@tools/verdict tools tests/machine/run.py -k '^(gdb_|com2_|trace_|vmlinux_|debian_kernel|initramfs_|make_image|tool|research_ex)'

# On a fresh Debian 12, a fresh 13 and what will be the next, as root and as a user with sudo: see tests/fresh/run.py.
test-fresh:
	@FRESH='$(FRESH)' tools/verdict fresh tests/fresh/run.py
test-next:
	@FRESH=next-root tools/verdict next tests/fresh/run.py

# What Debian has newest (tools/newest): kernels, Xen and Memtest86+ that Corbel was not built with.
newest:
	@tools/newest $(B)/newest
test-newest: $(B)/BOOTX64.EFI $(B)/confscan $(B)/default/initrd $(BOCHS_3) newest
	@tools/verdict newest tests/machine/run.py -j 1 -k '^newest_'

# Debian 13 with its root on a partition, by each bus that a VM's disk can be on: a quarter of an hour each. And the disk that
# it is on by others of the machine's drivers.
test-roots: $(B)/BOOTX64.EFI $(B)/confscan $(B)/debian-13/root.img
	@tools/verdict roots tests/machine/run.py -k '^debian13_root_'

# Stored faults, put into copies of the source one at a time: each must turn a test red. MACHINE_TESTS=1 adds those that
# only a machine shows.
mutants: kernel $(UNIT_TESTS) $(if $(MACHINE_TESTS),guests $(LIBRARIES))
	@tests/mutants/run.py $(if $(MACHINE_TESTS),--machine)

# Checks that cost too much for every day: the order in which locks are taken. And devices that only tests want.
debug: $(B)/confscan
	@$(MAKE) --no-print-directory B=$(B)/debug COUNT=-DCORBEL_DEBUG loader

# Everything in docs/NUMBERS.md; the second Corbel counts VMREADs, VMWRITEs and MSR accesses.
bench: $(B)/BOOTX64.EFI $(B)/confscan $(addprefix $(B)/guests/,exits vcpus asleep spin disk) $(B)/default/vmlinuz $(B)/default/initrd \
        $(DISKS_KERNEL) $(TEST_NESTED_NEEDS)
	@$(MAKE) --no-print-directory B=$(B)/count COUNT=-DCORBEL_COUNT loader
	@tests/bench/run.py $(B) $(B)/count

# Under KVM, which Bochs carries: see tests/nested/run.py. That Linux is of one package, kernel and modules.
$(B)/nested/vmlinuz: tools/debian-kernel
	@tools/debian-kernel cloud $@ $(B)/nested/modules irqbypass kvm kvm-intel brd
$(B)/nested/poll_uart: tests/nested/poll_uart.c
	@mkdir -p $(@D)
	$(call say,CC  )
	$(Q)$(CC) -static -Os -Wall -Wextra -s $< -o $@
test-nested: $(B)/BOOTX64.EFI $(B)/confscan guest guests $(TEST_NESTED_NEEDS)
	@tools/verdict nested tests/nested/run.py

check: $(LIBRARIES) $(KERNEL_OBJ)
	@tools/check '$(B)' $(LIBRARY_CFLAGS) $(UNPACK_CFLAGS)

all: loader
	@echo "Corbel: $(B)/BOOTX64.EFI is up to date"

# For `password` in [host] (docs/CONFIG.md).
password:
	@tools/password $(ROUNDS)

clean:
	rm -rf $(B)

help:
	@echo "make                      build Corbel: $(B)/BOOTX64.EFI"
	@echo "make run                  start it with Debian's cloud kernel on the right emulator, and connect this terminal"
	@echo "     MACHINE=auto|bochs|kvm|qemu CPUS=1 MEMORY=512 (MiB) CONFIG=path/to/corbel.conf; GDB=1: under gdb (docs/GDB.md)"
	@echo "make image CONFIG=path/to/corbel.conf OUT=disk.img (or OUT=disk.iso: a hybrid ISO)"
	@echo "                          a bootable disk image; write it to a USB stick with: dd if=disk.img of=/dev/sdX bs=1M"
	@echo "                          partitions ([disk NAME]) that run's and image's disk has already are kept; FRESH=1: made anew"
	@echo "make password             asks for one, and says the line for corbel.conf by which COM1 asks for it"
	@echo "make trace                boot it with everything recorded: a picture and viewers' formats in $(B)/trace/ (docs/TRACE.md)"
	@echo "make vmlinux              Debian's cloud kernel with symbols, for gdb: $(B)/default/vmlinux (docs/GDB.md)"
	@echo "make debug                Corbel with checks of the order of locks: $(B)/debug/BOOTX64.EFI"
	@echo "make test                 unit tests, fuzzers and scenarios in the emulator; test-all: the longer ones, too"
	@echo "     test-newest          the newest kernels, Xen and Memtest86+ that Debian has (docs/GUESTS.md)"
	@echo "     test-processors      the same on other processors, and in Bochs 3.0; behind test-all it writes docs/EVIDENCE.md"
	@echo "     soak                 what is too long for test-all: some three hours"
	@echo "     test-roots           Debian 13 with its root on a partition of the machine's disk, by every bus="
	@echo "     unit, fuzz           only those; test-nested: under KVM's nested VMX, which an emulator carries"
	@echo "     BOCHS=3              in Bochs 3.0, which \`make bochs3\` fetches, instead of Debian 12's 2.7"
	@echo "make test-fresh           as root: on a fresh Debian 12, 13 and the next, made here; FRESH=\"12-root 13-user\": only some"
	@echo "     test-next            as root: what is newest in Debian, compilers, kernels, gdb, Xen: into docs/EVIDENCE.md"
	@echo "make mutants              put stored faults into copies of the source: are they noticed? MACHINE_TESTS=1: more"
	@echo "make bench                measure, and print the figures of docs/NUMBERS.md"
	@echo "make check                clang-format, cppcheck, clang-tidy, who uses whom (docs/ARCHITECTURE.md), what documents name"
	@echo "make clean                remove $(B)/"

.PHONY: all debug bench bochs3 qemu10 kernel loader guest image password vmlinux run trace unit fuzz test test-all test-processors soak test-nested test-tools test-fresh newest test-newest test-next test-roots mutants check clean help
-include tests/guests/guests.mk
-include $(shell find $(B) \( -path $(B)/fresh -o -path $(B)/unit -o -path $(B)/fuzz \) -prune -o -name '*.d' -print 2>/dev/null)
