# Corbel: `make help` lists the verbs.
MAKEFLAGS += --no-builtin-rules
SHELL     := /bin/bash
B         := build
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:

CC   := gcc
LD   := ld
NASM := nasm

include tools/zydis.mk

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef \
        -Wno-unused-parameter -Wenum-conversion

# --- the microkernel: freestanding ELF, linked at -2 GiB by linker.ld -------------------------------------------------
KERNEL_C   := $(wildcard arch/x86/*.c arch/x86/lib/*.c mm/*.c vmx/*.c drivers/*.c guest/*.c guest/*/*.c)
KERNEL_ASM := $(wildcard arch/x86/*.asm vmx/*.asm)
KERNEL_OBJ := $(KERNEL_C:%.c=$(B)/kernel/%.o) $(KERNEL_ASM:%.asm=$(B)/kernel/%.asm.o)
KERNEL_CFLAGS := -std=gnu11 -O2 -g $(WARN) -I. -ffreestanding -fno-pic -mcmodel=kernel -mno-red-zone \
        -mgeneral-regs-only -fno-omit-frame-pointer -fstack-protector-strong -mstack-protector-guard=global \
        -fno-asynchronous-unwind-tables -fcf-protection=none -fno-common -fno-delete-null-pointer-checks \
        -fno-strict-aliasing -ffunction-sections -fdata-sections -fmacro-prefix-map=$(CURDIR)/=

$(B)/kernel/%.o: %.c | $(B)/kernel/offsets.inc
	@mkdir -p $(@D)
	$(CC) $(KERNEL_CFLAGS) $(ZYDIS_CFLAGS) -MMD -MP -c $< -o $@

$(B)/kernel/%.asm.o: %.asm $(B)/kernel/offsets.inc
	@mkdir -p $(@D)
	$(NASM) -f elf64 -g -F dwarf -I$(B)/kernel/ -MD $(@:.o=.d) $< -o $@

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
	$(CC) $(KERNEL_CFLAGS) -MMD -MP -MT $@ -MF $(@:.inc=.d) -S $< -o $(@:.inc=.s)
	sed -n 's/^#OFFSET \([A-Z0-9_]*\) [$$]*\(-\?[0-9]*\).*/%define \1 \2/p' $(@:.inc=.s) > $@

KERNEL_OBJ := $(filter-out $(B)/kernel/vmx/offsets.o,$(KERNEL_OBJ))

# Linked twice: the second time with the table of its own symbols, for backtraces.
$(B)/corbel.elf: $(KERNEL_OBJ) $(ZYDIS_LIB) linker.ld tools/symbols.py
	$(LD) -nostdlib -static --gc-sections -z max-page-size=4096 -T linker.ld -o $@.1 $(KERNEL_OBJ) $(ZYDIS_LIB)
	nm -n $@.1 | python3 tools/symbols.py > $(B)/symbols.asm
	$(NASM) -f elf64 $(B)/symbols.asm -o $(B)/symbols.o
	$(LD) -nostdlib -static --gc-sections -z max-page-size=4096 -T linker.ld -o $@ $(KERNEL_OBJ) $(B)/symbols.o $(ZYDIS_LIB)

kernel: $(B)/corbel.elf

# --- the loader: a UEFI application by GNU-EFI, with the microkernel inside -------------------------------------------
LOADER_C   := $(wildcard boot/*.c) $(wildcard guest/config*.c) arch/x86/lib/string.c arch/x86/lib/format.c
LOADER_OBJ := $(LOADER_C:%.c=$(B)/loader/%.o) $(B)/loader/boot/switch.asm.o $(B)/loader/boot/embed.asm.o
LOADER_CFLAGS := -std=gnu11 -O2 -g $(WARN) -I. -isystem /usr/include/efi -isystem /usr/include/efi/x86_64 \
        -DGNU_EFI_USE_MS_ABI -maccumulate-outgoing-args -ffreestanding -fpic -fvisibility=hidden -fshort-wchar \
        -mno-red-zone -mgeneral-regs-only -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none \
        -fno-strict-aliasing -fno-common -fmacro-prefix-map=$(CURDIR)/=

$(B)/loader/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(LOADER_CFLAGS) -MMD -MP -c $< -o $@

$(B)/loader/%.asm.o: %.asm
	@mkdir -p $(@D)
	$(NASM) -f elf64 $(NASM_DEFINES) $< -o $@

# Into the boot disk's file goes no debug information: firmware reads it from slow disks.
$(B)/corbel-stripped.elf: $(B)/corbel.elf
	objcopy --strip-all $< $@
$(B)/loader/boot/embed.asm.o: NASM_DEFINES = -DKERNEL='"$(B)/corbel-stripped.elf"'
$(B)/loader/boot/embed.asm.o: $(B)/corbel-stripped.elf

$(B)/loader.so: $(LOADER_OBJ)
	$(LD) -nostdlib -shared -Bsymbolic -znocombreloc --no-undefined --build-id=none -T /usr/lib/elf_x86_64_efi.lds \
	    /usr/lib/crt0-efi-x86_64.o $(LOADER_OBJ) /usr/lib/libgnuefi.a -o $@

$(B)/BOOTX64.EFI: $(B)/loader.so
	objcopy -j .text -j .sdata -j .data -j .dynamic -j .dynsym -j '.rel*' -j '.rela*' -j .reloc \
	    --output-target=efi-app-x86_64 --subsystem=10 $< $@

loader: $(B)/BOOTX64.EFI

# --- pure code on the workstation: unit tests and fuzzers -------------------------------------------------------------
# A test names the sources it needs in a comment on its first line: /* links: guest/state.c guest/devices/bus.c */
UNIT_TESTS := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/test_*.c))
FUZZERS    := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
HOST_CFLAGS := -std=gnu11 -O1 -g $(WARN) -I. -fsanitize=address,undefined -fno-sanitize-recover=all \
        -fno-omit-frame-pointer -DCORBEL_HOSTED
links = $(shell sed -n '1s@^/\* links: \(.*\) \*/@\1@p' $(1))

.SECONDEXPANSION:
$(B)/unit/test_%: tests/unit/test_%.c $$(call links,tests/unit/test_$$*.c) | $$(ZYDIS_HOST_LIB)
	@mkdir -p $(@D)
	$(CC) $(HOST_CFLAGS) $(ZYDIS_HOST_CFLAGS) -MMD -MP -MF $@.d $(filter %.c,$^) $(ZYDIS_HOST_LIB) -lcmocka -o $@

$(B)/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $$(call links,tests/fuzz/fuzz_$$*.c) | $$(ZYDIS_HOST_LIB)
	@mkdir -p $(@D)
	clang $(filter-out -Wenum-conversion,$(HOST_CFLAGS)) $(ZYDIS_HOST_CFLAGS) -fsanitize=fuzzer -MMD -MP -MF $@.d $(filter %.c,$^) \
	    $(ZYDIS_HOST_LIB) -o $@

unit: $(UNIT_TESTS)
	@for t in $(UNIT_TESTS); do $$t || exit 1; done
FUZZ_RUNS ?= 20000
fuzz: $(FUZZERS)
	@for f in $(FUZZERS); do mkdir -p $(B)/corpus/$$(basename $$f); \
	    $$f -runs=$(FUZZ_RUNS) -seed=1 -max_len=65536 -close_fd_mask=1 $(B)/corpus/$$(basename $$f) \
	    $$(ls -d tests/fuzz/corpus/$$(basename $$f) 2>/dev/null) 2>$$f.log || { cat $$f.log; exit 1; }; done

all: loader

clean:
	rm -rf $(B)

.PHONY: all kernel loader unit fuzz clean
-include $(shell find $(B) -name '*.d' 2>/dev/null)
