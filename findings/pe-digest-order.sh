#!/bin/bash
# What: pesign computes another digest of a PE file than efitools where two sections lie in the file in another order
# than in the section table.
#
# The table goes by addresses; where in the file a section lies it is free to choose. Authenticode's digest takes the sections
# sorted by PointerToRawData, as efitools does. What `pesign -h` names to be enrolled, others compute differently, for no visible
# reason.
#
# Versions: Debian 12: pesign 0.112-6, efitools 1.9.2-3, NASM 2.16.01-1.
# Expected before it was run: the digest of the file from both, as all of it is header or section.
# Seen: for a file in the table's order, and for one that has the two sections swapped, whether the digest is that of the bytes
# from the file's beginning to its end, without the checksum and the certificates' directory entry:
#   pesign: yes no
#   efitools: yes yes
. "$(dirname "$0")/lib/debian"
packages bookworm pesign=0.112-6 efitools=1.9.2-3 $NASM
lib=$t/root/lib/x86_64-linux-gnu
# pesign outside of chroot, as NSS, which it takes the digest from, does not start without /dev/urandom
pesign() { "$lib/ld-linux-x86-64.so.2" --library-path "$lib:$t/root/usr/lib/x86_64-linux-gnu" "$t/root/usr/bin/pesign" -h -i "$t/root/pe.efi"; }
efitools() { inside hash-to-efi-sig-list /pe.efi /list; }
# image TEXT DATA: their places in the file
image() {
    cat > "$t/root/pe.asm" << ASM
        bits 64
        db "MZ"
        times 3ch - (\$ - \$\$) db 0
        dd 40h
        db "PE", 0, 0
        dw 8664h, 2             ; x86-64, two sections
        dd 0, 0, 0
        dw 240, 22h
        dw 20bh, 0
        dd 200h, 200h, 0, 1000h, 1000h
        dq 400000h
        dd 1000h, 200h, 0, 0, 0, 0, 3000h, 200h
        dd 0                    ; the checksum, at 98h
        dw 10, 0                ; an EFI application
        dq 100000h, 1000h, 100000h, 1000h
        dd 0, 16
        times 32 dd 0           ; directories; that of the certificates is at e8h
        db ".text", 0, 0, 0
        dd 200h, 1000h, 200h, $1, 0, 0, 0, 60000020h
        db ".data", 0, 0, 0
        dd 200h, 2000h, 200h, $2, 0, 0, 0, 0c0000040h
        times 200h - (\$ - \$\$) db 0
        times 200h db 0c3h
        times 200h db 55h
ASM
    SLOT='' inside nasm -f bin -o /pe.efi /pe.asm
}
file_digest() { { head -c $((0x98)) "$t/root/pe.efi"; tail -c +$((0x9d)) "$t/root/pe.efi" | head -c $((0xe8 - 0x9c)); tail -c +$((0xf1)) "$t/root/pe.efi"; } | sha256sum | cut -d ' ' -f 1; }
# same COMMAND...: whether the digest that it prints is the file's
same() {
    if "$@" 2>> "$t/err" | grep -oiE '[0-9a-f]{64}' | grep -qiFx "$(file_digest)"; then echo yes; else echo no; fi
}
image 200h 400h
first="$(same pesign) $(same efitools)"
image 400h 200h
second="$(same pesign) $(same efitools)"
expect pesign "${first% *} ${second% *}" "yes no"
expect efitools "${first#* } ${second#* }" "yes yes"
exit $changed
