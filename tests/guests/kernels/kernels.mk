# Kernels of other kinds than bzImage, which check what the loaders tell them; and a test guest's own ELF file, without the
# bzImage's setup sectors, as a PVH kernel and, without its note, as a plain ELF64.
KERNELS := $(addprefix $(B)/guests/,multiboot32 multiboot64 multiboot_flat multiboot2 linux32 pvh elf64 sector disk_sector screen_sector flash_counter cpuid_signature.pvh \
        cpuid_signature.elf64)
K := tests/guests/kernels

$(B)/guests/obj/told%.o: $(K)/told.c
	@mkdir -p $(@D)
	$(call say,CC  )
	$(Q)$(CC) $(filter-out -mcmodel=small,$(GUEST_CFLAGS)) -m$* -MMD -MP -c $< -o $@

$(B)/guests/obj/entry-%.o: $(K)/entry.asm
	@mkdir -p $(@D)
	$(call say,ASM )
	$(Q)$(NASM) -f elf32 $(ENTRY_FLAGS_$*) $< -o $@
ENTRY_FLAGS_elf  := -DFLAGS=3
ENTRY_FLAGS_flat := -DFLAGS=0x10003
ENTRY_FLAGS_mb2   := -DMULTIBOOT2
ENTRY_FLAGS_linux := -DLINUX

KERNEL_LD = $(LD) -nostdlib -static -z noexecstack --no-warn-rwx-segments -T $(K)/kernels.ld -o $@ $(filter %.o,$^)
$(B)/guests/multiboot32: $(B)/guests/obj/entry-elf.o $(B)/guests/obj/told32.o $(K)/kernels.ld
	$(Q)$(KERNEL_LD) -m elf_i386 -e multiboot_entry
$(B)/guests/multiboot64: $(B)/guests/multiboot32
	$(Q)objcopy -I elf32-i386 -O elf64-x86-64 $< $@
$(B)/guests/multiboot_flat.elf: $(B)/guests/obj/entry-flat.o $(B)/guests/obj/told32.o $(K)/kernels.ld
	$(Q)$(KERNEL_LD) -m elf_i386 -e multiboot_entry
$(B)/guests/multiboot_flat: $(B)/guests/multiboot_flat.elf
	$(Q)objcopy -O binary $< $@
$(B)/guests/multiboot2: $(B)/guests/obj/entry-mb2.o $(B)/guests/obj/told32.o $(K)/kernels.ld
	$(Q)$(KERNEL_LD) -m elf_i386 -e multiboot_entry
$(B)/guests/linux32.elf: $(B)/guests/obj/entry-linux.o $(B)/guests/obj/told32.o $(K)/kernels.ld
	$(Q)$(KERNEL_LD) -m elf_i386 -e linux_entry
$(B)/guests/linux32: $(B)/guests/linux32.elf $(K)/linux32_setup.asm
	$(Q)objcopy -O binary $< $@.image
	$(Q)$(NASM) -f bin -DPARAGRAPHS=$$(( ($$(stat -c %s $@.image) + 15) / 16 )) $(K)/linux32_setup.asm -o $@
	$(Q)cat $@.image >> $@
$(B)/guests/pvh: $(B)/guests/obj/entry-pvh.o $(B)/guests/obj/told32.o $(K)/kernels.ld
	$(Q)$(KERNEL_LD) -m elf_i386 -e pvh_entry
$(B)/guests/elf64: $(B)/guests/obj/told64.o $(K)/kernels.ld
	$(Q)$(KERNEL_LD) -e told_by_start_info
$(B)/guests/sector $(B)/guests/disk_sector $(B)/guests/screen_sector $(B)/guests/flash_counter: $(B)/guests/%: $(K)/%.asm
	$(Q)$(NASM) -f bin $< -o $@
$(B)/guests/%.pvh: $(B)/guests/%.elf
	$(Q)objcopy -R .setup $< $@ 2> /dev/null # it warns of the header that stays
$(B)/guests/%.elf64: $(B)/guests/%.elf
	$(Q)objcopy -R .setup -R .note $< $@ 2> /dev/null
