#!/bin/bash
# What: tpm2_eventlog computes a wrong PCR 0 from every log that tells the locality in which the TPM was started, and the same
# wrong one for each locality, even for 0.
#
# Such an event (StartupLocality) is of type EV_NO_ACTION: TCG's PC Client Platform Firmware Profile says that this type is
# informative and extends no PCR, that its digests are zeros, and that a verifier begins with PCR 0 at the locality's number. The
# tool extends the zeros. Who compares a virtual TPM's PCRs with its log blames the firmware that has written the log.
# Later versions pass over the event.
#
# Versions: Debian 12: tpm2-tools 5.4-1.
# Expected before it was run: locality 3 is the value that PCR 0 begins with.
# Seen: PCR 0 of a log with two measurements: without such an event, with locality 0, with 3; which of the values computed here
# it is: that from 0, from 3, or from 0 with 32 zero bytes extended before the two:
#   none: from 0
#   0: zeros extended
#   3: zeros extended
. "$(dirname "$0")/lib/debian"
packages bookworm tpm2-tools=5.4-1
digest() { sha256sum | cut -d ' ' -f 1; }
# binary HEX...: as bytes
binary() { printf '%b' "$(printf %s "$@" | sed 's/../\\x&/g')"; }
zeros=$(printf %064d 0)
# event PCR TYPE DIGEST: standard input is its data
event() {
    cat > "$t/data"
    bytes 4 "$1" "$2" 1
    bytes 2 11
    binary "$3"
    bytes 4 "$(stat -c %s "$t/data")"
    cat "$t/data"
}
version() { printf '1\0.\0'; }
separator() { bytes 4 0; }
# log [LOCALITY]
log() {
    bytes 4 0 3 0 0 0 0 0 33
    printf 'Spec ID Event03\0'
    bytes 4 0
    bytes 1 0 2 0 2
    bytes 4 1
    bytes 2 11 32
    bytes 1 0
    if [ $# = 1 ]; then { printf 'StartupLocality\0'; bytes 1 "$1"; } | event 0 3 "$zeros"; fi
    version | event 0 8 "$(version | digest)"
    separator | event 0 4 "$(separator | digest)"
}
# extended PCR DIGEST...
extended() {
    local pcr=$1 next
    shift
    for next; do pcr=$(binary "$pcr" "$next" | digest); done
    echo "$pcr"
}
measured="$(version | digest) $(separator | digest)"
declare -A is
is[$(extended "$zeros" $measured)]="from 0"
is[$(extended "${zeros:1}3" $measured)]="from 3"
is[$(extended "$zeros" "$zeros" $measured)]="zeros extended"
computed() {
    log "$@" > "$t/root/log"
    local pcr
    pcr=$(inside tpm2_eventlog /log 2>> "$t/err" | sed -n '/^pcrs:/,$ s/^ *0 *: 0x//p')
    echo "${is[${pcr:-none}]:-${pcr:-nothing}}"
}
expect none "$(computed)" "from 0"
expect 0 "$(computed 0)" "zeros extended"
expect 3 "$(computed 3)" "zeros extended"
exit $changed
