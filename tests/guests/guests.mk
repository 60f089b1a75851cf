# Test guests: tests/guests/NAME.c (with NAME.asm beside it, where there is one) becomes build/guests/NAME, a bzImage.
GUEST_SOURCES := $(wildcard tests/guests/*.c tests/bench/*.c)
GUEST_NAMES   := $(notdir $(GUEST_SOURCES:.c=))
GUESTS        := $(GUEST_NAMES:%=$(B)/guests/%)
GUEST_CFLAGS  := -std=gnu11 -O2 -g $(WARN) -I. -Itests/guests/lib -ffreestanding -fno-pic -mcmodel=small -mno-red-zone \
        -mgeneral-regs-only -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none -fno-common \
        -fno-strict-aliasing -fno-delete-null-pointer-checks -Wno-array-bounds
GUEST_LIB     := $(addprefix $(B)/guests/obj/,entry.asm.o pvh.asm.o trampoline.asm.o runtime.o smp.o format.o string.o)

vpath %.c tests/guests tests/bench tests/guests/lib arch/x86/lib
vpath %.asm tests/guests tests/bench tests/guests/lib

$(B)/guests/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC  )
	$(Q)$(CC) $(GUEST_CFLAGS) -MMD -MP -c $< -o $@

$(B)/guests/obj/%.asm.o: %.asm
	@mkdir -p $(@D)
	$(call say,ASM )
	$(Q)$(NASM) -f elf64 -g -F dwarf -Itests/guests/lib/ -MD $(@:.o=.d) $< -o $@

$(B)/guests/obj/%.name.o: | $(B)/guests/obj/runtime.o
	$(Q)echo 'extern const char test_name[]; const char test_name[] = "$*";' | $(CC) $(GUEST_CFLAGS) -xc -c - -o $@

.SECONDEXPANSION:
$(B)/guests/%.elf: $(B)/guests/obj/%.o $(B)/guests/obj/%.name.o \
        $$(addprefix $(B)/guests/obj/,$$(addsuffix .o,$$(notdir $$(wildcard tests/guests/$$*.asm tests/bench/$$*.asm)))) $(GUEST_LIB) tests/guests/lib/guest.ld
	$(Q)$(LD) -nostdlib -static -z noexecstack --no-warn-rwx-segments -T tests/guests/lib/guest.ld -o $@ $(filter %.o,$^)

# The file starts with the setup sectors and ends where the image does: bss is the loader's to clear.
$(GUESTS): $(B)/guests/%: $(B)/guests/%.elf
	$(call say,COPY)
	$(Q)objcopy -O binary -j .setup -j .text -j .note $< $@

# The boot sector that starts one without Corbel.
$(B)/guests/bios: tests/guests/lib/bios.asm
	@mkdir -p $(@D)
	$(call say,ASM )
	$(Q)$(NASM) -f bin $< -o $@

include tests/guests/kernels/kernels.mk
guests: $(GUESTS) $(KERNELS) $(B)/guests/bios
.PHONY: guests
