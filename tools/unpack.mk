# What unpacks kernels, from Debian's source packages, built freestanding for the microkernel and hosted for tests: inflate
# of zlib, the decoders for LZMA2 and the filter for x86 of 7-Zip, the decoder of libzstd.
ZLIB_VERSION := 1:1.2.13.dfsg-1
SEVENZIP_VERSION := 22.01+really26.01+dfsg-0+deb12u1
ZSTD_VERSION := 1.5.4+dfsg2-5

UNPACK_DIR     := build/unpack# shared by all builds
UNPACK_FETCHED := $(UNPACK_DIR)/fetched-$(subst :,-,$(ZLIB_VERSION))-$(SEVENZIP_VERSION)-$(ZSTD_VERSION)
# Z_PREFIX: names of zlib's functions begin with z_, since there are others of those names.
UNPACK_CFLAGS  := -isystem $(UNPACK_DIR)/zlib -isystem $(UNPACK_DIR)/7zip/C -isystem $(UNPACK_DIR)/zstd/lib \
        -DZ_SOLO -DZ_PREFIX -DZLIB_CONST
UNPACK_DEFINES := -DNO_GZIP -DZ7_ST -DZSTD_LEGACY_SUPPORT=0 -DZSTD_DISABLE_ASM=1 -DZSTD_NO_INTRINSICS -DDYNAMIC_BMI2=0 \
        -DZSTD_TRACE=0 -DZSTD_STRIP_ERROR_STRINGS=1 -DXXH_NAMESPACE=ZSTD_ -DDEBUGLEVEL=0 \
        -DZSTD_DEPS_MALLOC '-DZSTD_malloc(s)=((void *)0)' '-DZSTD_calloc(n,s)=((void *)0)' '-DZSTD_free(p)=((void)(p))'
UNPACK_LIB      := $(UNPACK_DIR)/libunpack.a
UNPACK_HOST_LIB := $(UNPACK_DIR)/libunpack-host.a

UNPACK_PARTS := zlib/inflate zlib/inftrees zlib/inffast zlib/adler32 zlib/zutil 7zip/C/LzmaDec 7zip/C/Lzma2Dec 7zip/C/Bra86 \
        $(addprefix zstd/lib/common/,entropy_common error_private fse_decompress xxhash zstd_common) \
        $(addprefix zstd/lib/decompress/,huf_decompress zstd_ddict zstd_decompress zstd_decompress_block)

$(UNPACK_FETCHED): | tools/fetch-debian.sh # named by its version: another way to it fetches nothing else
	@mkdir -p $(UNPACK_DIR)
	@rm -f $(UNPACK_DIR)/fetched-*
	@tools/fetch-debian.sh $(UNPACK_DIR) zlib=source:zlib=$(ZLIB_VERSION) 7zip=source:7zip=$(SEVENZIP_VERSION) zstd=source:libzstd=$(ZSTD_VERSION)
	@touch $@

$(UNPACK_PARTS:%=$(UNPACK_DIR)/kernel/%.o): $(UNPACK_DIR)/kernel/%.o: $(UNPACK_FETCHED) tools/unpack.mk
	@mkdir -p $(@D)
	$(call say,CC  )
	$(Q)$(CC) -O2 $(LIBRARY_KERNEL_FLAGS) $(UNPACK_CFLAGS) $(UNPACK_DEFINES) -S $(UNPACK_DIR)/$*.c -o $(@:.o=.s)
	$(Q)$(call assemble,$(@:.o=.s))

# Whatever a damaged file makes them do is to be seen.
$(UNPACK_PARTS:%=$(UNPACK_DIR)/host/%.o): $(UNPACK_DIR)/host/%.o: $(UNPACK_FETCHED) tools/unpack.mk
	@mkdir -p $(@D)
	$(call say,CC  )
	$(Q)$(CC) -O2 -g -fsanitize=address $(UNPACK_CFLAGS) $(UNPACK_DEFINES) -c $(UNPACK_DIR)/$*.c -o $@

$(UNPACK_LIB): $(UNPACK_PARTS:%=$(UNPACK_DIR)/kernel/%.o)
	@rm -f $@
	$(call say,AR  )
	$(Q)ar rcsD $@ $^

$(UNPACK_HOST_LIB): $(UNPACK_PARTS:%=$(UNPACK_DIR)/host/%.o)
	@rm -f $@
	$(call say,AR  )
	$(Q)ar rcsD $@ $^

# Their headers are for these alone, which need them fetched first.
$(foreach b,kernel hosted fuzzed,$(B)/$(b)/guest/load/unpack_%.o): LIBRARY_CFLAGS += $(UNPACK_CFLAGS)
$(foreach b,kernel hosted fuzzed,$(B)/$(b)/guest/load/unpack_%.o): HOST_LIBRARY_CFLAGS += $(UNPACK_CFLAGS)
$(addprefix $(B)/kernel/guest/load/,unpack_gzip.o unpack_xz.o unpack_zstd.o): | $(UNPACK_FETCHED)
