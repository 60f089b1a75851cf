#!/bin/bash
# What: none of objdump, ndisasm and Capstone's cstool takes these three instructions to be as long as an Intel processor does.
# ndisasm does not know MOV from a control register if ModR/M's upper two bits are not 11; the others let a prefix of 66h halve a
# branch's displacement.
#
# Intel's manual says of MOV from and to control registers that the two mod bits are ignored, and of near branches (the opcode
# maps' f64) that in 64-bit mode nothing changes their operands' size. AMD's processors do heed the prefix: objdump and cstool go by
# AMD's manual without being asked; `-M intel64` makes objdump right, cstool has no such option. Who compares the lengths of an
# instruction decoder with any one of them finds faults that are not there.
#
# Versions: Debian 12: binutils 2.40-2, nasm 2.16.01-1, capstone-tool 4.0.2-5.
# Expected before it was run: 3 6 7 from all.
# Seen: the first instruction's length of 0f 20 40 (MOV), 66 e8 (CALL) and 66 0f 84 (JZ), with more bytes behind them:
#   objdump: 3 4 5
#   objdump -M intel64: 3 6 7
#   ndisasm: 1 6 7
#   cstool: 3 4 5
. "$(dirname "$0")/lib/debian"
packages bookworm binutils=2.40-2 $NASM capstone-tool=4.0.2-5
tail='00 00 00 00 90 90 90 90'
all=("0f 20 40 90 90 90 90 90" "66 e8 $tail" "66 0f 84 $tail")
# disassembled COMMAND...: where the second instruction begins in each of them. They are in /code, and BYTES is replaced by them
disassembled() {
    local code length row=()
    for code in "${all[@]}"; do
        printf '%b' "\\x${code// /\\x}" > "$t/root/code"
        length=$(inside "${@/BYTES/$code}" 2>> "$t/err" | sed -nE 's/^ *0*([0-9a-f]+):?[ \t]+[0-9A-Fa-f]{2}.*/\1/p' | sed -n 2p)
        row+=("${length:-none}")
    done
    echo "${row[*]}"
}
expect objdump "$(disassembled objdump -D -w -b binary -m i386:x86-64 /code)" "3 4 5"
expect "objdump -M intel64" "$(disassembled objdump -D -w -M intel64 -b binary -m i386:x86-64 /code)" "3 6 7"
expect ndisasm "$(disassembled ndisasm -b 64 /code)" "1 6 7"
expect cstool "$(disassembled cstool x64 BYTES)" "3 4 5"
exit $changed
