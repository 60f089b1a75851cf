# Zydis, the kept instruction decoder, from Debian's source package: built freestanding for the microkernel.
ZYDIS_CFLAGS      :=
ZYDIS_LIB         :=
ZYDIS_HOST_CFLAGS :=
ZYDIS_HOST_LIB    :=
