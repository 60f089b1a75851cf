#!/bin/bash
# What: how many sectors of a boot image of 40 MiB firmware is to load, the boot catalog tells in three ways: genisoimage
# writes a fifth of it, xorriso the most that fits for BIOS, and 0 for EFI. Both end with success and without a warning.
#
# El Torito counts in 16 bits, in sectors of 512 bytes: 32 MiB less one sector. An EFI system partition on a CD is easily
# larger. genisoimage prints the true number and then cuts off its upper bits: a reader that goes by the catalog gets a
# FAT volume that ends after 8 MiB, and of 32 or 64 MiB an image of no length at all. xorriso's 0 is for firmware that
# takes it for "all there is"; a reader has to know that.
#
# Versions: Debian 12: genisoimage 9:1.1.11-3.4, xorriso 1.5.4-4.
# Expected before it was run: both write 65535 or refuse.
# Seen: sectors in the catalog for images of 8, 32, 40 and 64 MiB; what genisoimage prints for 40 MiB:
#   genisoimage -b: 16384 0 16384 0
#   genisoimage -e: 16384 0 16384 0
#   xorriso -b: 16384 65535 65535 65535
#   xorriso -e: 16384 0 0 0
#   genisoimage: 81920 sectors
. "$(dirname "$0")/lib/debian"
packages bookworm genisoimage=9:1.1.11-3.4 xorriso=1.5.4-4
# number FILE OFFSET BYTES
number() { od -An -v -tu"$3" -j"$2" -N"$3" "$1" | tr -d ' '; }
# sectors OPTION COMMAND...: what the catalog says of each image
sectors() {
    local option=$1 mib catalog
    shift
    for mib in 8 32 40 64; do
        rm -rf "$t/root/cd" "$t/root/cd.iso"
        mkdir "$t/root/cd"
        truncate -s "${mib}M" "$t/root/cd/boot.img"
        inside "$@" -o /cd.iso "$option" boot.img -no-emul-boot -c boot.cat /cd > "$t/said.$mib" 2>&1
        catalog=$(number "$t/root/cd.iso" $((17 * 2048 + 71)) 4)
        number "$t/root/cd.iso" $((catalog * 2048 + 38)) 2
    done | tr '\n' ' ' | sed 's/ $//'
}
expect "genisoimage -b" "$(sectors -b genisoimage)" "16384 0 16384 0"
expect "genisoimage -e" "$(sectors -e genisoimage)" "16384 0 16384 0"
said=$(grep -oE '[0-9]+ sectors' "$t/said.40" | head -1)
expect "xorriso -b" "$(sectors -b xorriso -as mkisofs)" "16384 65535 65535 65535"
expect "xorriso -e" "$(sectors -e xorriso -as mkisofs)" "16384 0 0 0"
expect genisoimage "$said" "81920 sectors"
exit $changed
