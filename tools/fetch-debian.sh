#!/bin/bash
# Fetch parts of Debian packages into a folder, without root and without touching the system's apt: lists, cache and
# sources are private and the archive's signature is checked as usual.
# usage: fetch-debian.sh FOLDER PART...        each PART is SUBFOLDER=source:PACKAGE=VERSION or SUBFOLDER=binary:PACKAGE=VERSION
set -euo pipefail
folder=$(realpath "$1")
shift
suite=bookworm
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
private=$folder/apt log=$folder/fetch.log

fail() {
    echo "Cannot fetch what Corbel is built with: $1. Its log is $log; the build needs the network only this once." >&2
    exit 1
}

# The version that is wanted, or else the one that has taken its place: a stable release replaces a package for grave faults only.
get() {
    apt-get "${options[@]}" "$@" "$wanted" >>"$log" 2>&1 && return
    apt-get "${options[@]}" "$@" "$package" >>"$log" 2>&1 || return
    echo "Debian has another one in its place: $(basename -a "$package"_*.d[se][cb])"
}

rm -rf "$private"
mkdir -p "$private/lists/partial" "$private/cache/archives/partial" "$private/files"
: > "$log"
options=(-q -o Dir::State::lists="$private/lists" -o Dir::Cache="$private/cache" -o Acquire::Languages=none
    -o APT::Sandbox::User=root -o APT::Update::Post-Invoke-Success= -o Acquire::Retries=2 -o Acquire::http::Timeout=20)

# Where the system gets Debian from, whichever that is and whatever form its sources have.
mirror=$(apt-get "${options[@]}" update --print-uris 2>>"$log" |
    sed -n "s@^'\(.*debian.*\)/dists/[a-z]*/InRelease' .*@\1@p" | head -n 1)
[ -n "$mirror" ] || fail "apt's sources name no archive of Debian"
[ -r "$keyring" ] || fail "$keyring is missing (package debian-archive-keyring)"

printf '%s [signed-by=%s] %s %s main\n' deb "$keyring" "$mirror" "$suite" \
    deb-src "$keyring" "$mirror" "$suite" > "$private/sources.list"
options+=(-o Dir::Etc::sourcelist="$private/sources.list" -o Dir::Etc::sourceparts=/dev/null)
cd "$private/files"
apt-get "${options[@]}" update --error-on=any >>"$log" 2>&1 ||
    fail "$mirror does not answer or its signature is wrong"
for part; do
    place=$folder/${part%%=*} kind=${part#*=} wanted=${part#*:}
    package=${wanted%%=*} version=${wanted#*=}
    echo "Fetching $package $version from $mirror"
    rm -rf "$place"
    case $kind in
    source:*)
        get source --download-only || fail "source package $package is not to be had"
        dpkg-source -x "$package"_*.dsc "$place" >>"$log" 2>&1 || fail "dpkg-source failed (package dpkg-dev)"
        ;;
    binary:*)
        get download || fail "package $package is not to be had"
        dpkg-deb -x "$package"_*.deb "$place" >>"$log" 2>&1 || fail "$package does not unpack"
        ;;
    esac
done
rm -rf "$private"
