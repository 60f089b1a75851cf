# BLAKE2s (RFC 7693) from Debian's source package of libb2: its reference implementation, built freestanding for the
# microkernel and hosted for tests.
BLAKE2_VERSION := 0.98.1-1.1

BLAKE2_DIR     := build/blake2# shared by all builds
BLAKE2_SOURCE  := $(BLAKE2_DIR)/source/src
BLAKE2_FETCHED := $(BLAKE2_DIR)/fetched-$(BLAKE2_VERSION)
# SUFFIX: what its functions' names end in, where there are several of each for one to be chosen at run time.
BLAKE2_DEFINES := -DNATIVE_LITTLE_ENDIAN -DSUFFIX=
BLAKE2_CFLAGS  := -isystem $(BLAKE2_SOURCE)
BLAKE2_LIB      := $(BLAKE2_DIR)/kernel.o
BLAKE2_HOST_LIB := $(BLAKE2_DIR)/host.o

$(BLAKE2_FETCHED): | tools/fetch-debian.sh # named by its version: another way to it fetches nothing else
	@mkdir -p $(BLAKE2_DIR)/configured
	@rm -f $(BLAKE2_DIR)/fetched-*
	@tools/fetch-debian.sh $(BLAKE2_DIR) source=source:libb2=$(BLAKE2_VERSION)
	@: > $(BLAKE2_DIR)/configured/config.h # nothing in it matters here
	@touch $@

$(BLAKE2_LIB): $(BLAKE2_FETCHED) tools/blake2.mk
	$(call say,CC  )
	$(Q)$(CC) -O2 $(LIBRARY_KERNEL_FLAGS) $(BLAKE2_DEFINES) -I$(BLAKE2_DIR)/configured -S $(BLAKE2_SOURCE)/blake2s-ref.c -o $(@:.o=.s)
	$(Q)$(call assemble,$(@:.o=.s))

$(BLAKE2_HOST_LIB): $(BLAKE2_FETCHED) tools/blake2.mk
	$(call say,CC  )
	$(Q)$(CC) -O2 -g $(BLAKE2_DEFINES) -I$(BLAKE2_DIR)/configured -c $(BLAKE2_SOURCE)/blake2s-ref.c -o $@

# Whoever includes its header needs it fetched first.
$(addprefix $(B)/kernel/,arch/x86/random.o guest/monitor/pbkdf2.o guest/monitor/login.o guest/monitor/monitor.o guest/monitor/users.o): | $(BLAKE2_FETCHED)
