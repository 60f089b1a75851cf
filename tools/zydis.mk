# Zydis, the kept instruction decoder, from Debian's source package: built freestanding for the microkernel (decoder
# only, in its minimal mode, since guest/insn/ reads the operands from the raw encoding itself) and hosted with
# operands for the tests, which compare against them.
ZYDIS_VERSION  := 4.0.0-1
ZYCORE_VERSION := 1.4.1-1

ZYDIS_DIR     := build/zydis# shared by all builds
ZYDIS_SOURCE  := $(ZYDIS_DIR)/source
ZYDIS_FETCHED := $(ZYDIS_DIR)/fetched-$(ZYDIS_VERSION)-$(ZYCORE_VERSION)
ZYDIS_DEFINES := -DZYDIS_STATIC_BUILD -DZYCORE_STATIC_BUILD -DZYDIS_DISABLE_ENCODER -DZYDIS_DISABLE_FORMATTER \
        -DZYDIS_DISABLE_AVX512 -DZYDIS_DISABLE_KNC -DZYDIS_DISABLE_SEGMENT
# -isystem: its headers are not ours to keep free of warnings.
ZYDIS_INCLUDE := -isystem $(ZYDIS_SOURCE)/include -isystem $(ZYDIS_DIR)/zycore/usr/include

ZYDIS_CFLAGS      := $(ZYDIS_INCLUDE) $(ZYDIS_DEFINES) -DZYDIS_MINIMAL_MODE -DZYAN_NO_LIBC
ZYDIS_LIB         := $(ZYDIS_DIR)/libzydis.a
ZYDIS_HOST_CFLAGS := $(ZYDIS_INCLUDE) $(ZYDIS_DEFINES)
ZYDIS_HOST_LIB    := $(ZYDIS_DIR)/libzydis-host.a

ZYDIS_PARTS      := Decoder DecoderData SharedData
ZYDIS_HOST_PARTS := $(ZYDIS_PARTS) Register
LIBRARY_KERNEL_FLAGS := -ffreestanding -fno-pic -mcmodel=kernel -mno-red-zone -mgeneral-regs-only \
        -fno-omit-frame-pointer -fno-asynchronous-unwind-tables -fcf-protection=none -fno-common -fno-strict-aliasing \
        -ffunction-sections -fdata-sections -fstack-protector-strong -mstack-protector-guard=global

$(ZYDIS_FETCHED): | tools/fetch-debian.sh # named by its version: another way to it fetches nothing else
	@mkdir -p $(ZYDIS_DIR)
	@rm -f $(ZYDIS_DIR)/fetched-*
	@# Of Zycore the decoder needs three headers and no code: the binary package holds them.
	@tools/fetch-debian.sh $(ZYDIS_DIR) source=source:zydis=$(ZYDIS_VERSION) zycore=binary:libzycore-dev=$(ZYCORE_VERSION)
	@touch $@

$(ZYDIS_PARTS:%=$(ZYDIS_DIR)/kernel/%.o): $(ZYDIS_DIR)/kernel/%.o: $(ZYDIS_FETCHED) tools/zydis.mk
	@mkdir -p $(@D)
	$(call say,CC  )
	$(Q)$(CC) -O2 $(LIBRARY_KERNEL_FLAGS) $(ZYDIS_CFLAGS) -I$(ZYDIS_SOURCE)/src -S $(ZYDIS_SOURCE)/src/$*.c -o $(@:.o=.s)
	$(Q)$(call assemble,$(@:.o=.s))

$(ZYDIS_HOST_PARTS:%=$(ZYDIS_DIR)/host/%.o): $(ZYDIS_DIR)/host/%.o: $(ZYDIS_FETCHED) tools/zydis.mk
	@mkdir -p $(@D)
	$(call say,CC  )
	$(Q)$(CC) -O2 -g $(ZYDIS_HOST_CFLAGS) -I$(ZYDIS_SOURCE)/src -c $(ZYDIS_SOURCE)/src/$*.c -o $@

$(ZYDIS_LIB): $(ZYDIS_PARTS:%=$(ZYDIS_DIR)/kernel/%.o)
	@rm -f $@
	$(call say,AR  )
	$(Q)ar rcsD $@ $^

$(ZYDIS_HOST_LIB): $(ZYDIS_HOST_PARTS:%=$(ZYDIS_DIR)/host/%.o)
	@rm -f $@
	$(call say,AR  )
	$(Q)ar rcsD $@ $^

# Whoever includes Zydis' headers needs them fetched first.
$(B)/kernel/guest/insn/decode.o: | $(ZYDIS_FETCHED)
