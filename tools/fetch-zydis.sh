#!/bin/bash
# Fetch Zydis (Debian's source package) and the Zycore headers it includes into a folder, without root and without
# touching the system's apt: lists, cache and sources are private and the archive's signature is checked as usual.
# usage: fetch-zydis.sh FOLDER ZYDIS_VERSION ZYCORE_VERSION
set -euo pipefail
folder=$(realpath "$1") zydis=$2 zycore=$3
suite=bookworm
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
private=$folder/apt log=$folder/fetch.log

fail() {
    echo "Cannot fetch Zydis: $1. Its log is $log; the build needs the network only this once." >&2
    exit 1
}

rm -rf "$private" "$folder/source" "$folder/zycore"
mkdir -p "$private/lists/partial" "$private/cache/archives/partial" "$private/files"
: > "$log"
options=(-q -o Dir::State::lists="$private/lists" -o Dir::Cache="$private/cache" -o Acquire::Languages=none
    -o APT::Sandbox::User=root -o APT::Update::Post-Invoke-Success= -o Acquire::Retries=2 -o Acquire::http::Timeout=20)

# Where the system gets Debian from, whichever that is and whatever form its sources have.
mirror=$(apt-get "${options[@]}" update --print-uris 2>>"$log" |
    sed -n "s@^'\(.*debian.*\)/dists/[a-z]*/InRelease' .*@\1@p" | head -n 1)
[ -n "$mirror" ] || fail "apt's sources name no archive of Debian"
[ -r "$keyring" ] || fail "$keyring is missing (package debian-archive-keyring)"
echo "Fetching Zydis $zydis from $mirror"

printf '%s [signed-by=%s] %s %s main\n' deb "$keyring" "$mirror" "$suite" \
    deb-src "$keyring" "$mirror" "$suite" > "$private/sources.list"
options+=(-o Dir::Etc::sourcelist="$private/sources.list" -o Dir::Etc::sourceparts=/dev/null)
cd "$private/files"
apt-get "${options[@]}" update --error-on=any >>"$log" 2>&1 ||
    fail "$mirror does not answer or its signature is wrong"
apt-get "${options[@]}" source --download-only "zydis=$zydis" >>"$log" 2>&1 ||
    fail "source package zydis $zydis is not to be had"
# Of Zycore the decoder needs three headers and no code: the binary package holds them.
apt-get "${options[@]}" download "libzycore-dev=$zycore" >>"$log" 2>&1 ||
    fail "package libzycore-dev $zycore is not to be had"
dpkg-source -x "zydis_$zydis.dsc" "$folder/source" >>"$log" 2>&1 || fail "dpkg-source failed (package dpkg-dev)"
dpkg-deb -x libzycore-dev_*.deb "$folder/zycore" >>"$log" 2>&1 || fail "libzycore-dev does not unpack"
rm -rf "$private"
