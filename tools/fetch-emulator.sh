#!/bin/bash
# Make FOLDER/bochs, a Bochs 3, or FOLDER/qemu, a QEMU 10: the installed one where it is that, else Debian 13's, fetched into
# the folder together with the libraries it runs on. Nothing is installed and nobody has to be root: apt's lists, cache and
# idea of what is installed are private, and the archive's signature is checked as usual.
# usage: fetch-emulator.sh bochs|qemu FOLDER
set -euo pipefail
suite=trixie what=$1
mkdir -p "$2"
folder=$(realpath "$2")
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
private=$folder/apt log=$folder/fetch.log root=$folder/root
lib=usr/lib/x86_64-linux-gnu

fail() {
    echo "Cannot fetch $what: $1. Its log is $log; the network is needed only this once." >&2
    exit 1
}

case $what in
bochs)
    package=bochs packages="bochs bochs-x bochsbios vgabios" least=3 program=bochs
    parts=('./usr/bin/bochs*' './usr/share/bochs/*')
    ;;
qemu)
    package=qemu-system-x86 packages=qemu-system-x86 least=1:10 program=qemu-system-x86_64
    parts=(./usr/bin/qemu-system-x86_64 './usr/share/qemu/*' './usr/share/seabios/*' './usr/lib/ipxe/qemu/*')
    ;;
esac

installed=$(dpkg-query -W -f '${Version}' "$package" 2> /dev/null || true)
rm -rf "$private" "$root" "$folder/$what"
if dpkg --compare-versions "$installed" ge "$least"; then
    printf '#!/bin/sh\nexec %s "$@"\n' "$program" > "$folder/$what"
    chmod 755 "$folder/$what"
    exit 0
fi
mkdir -p "$private/lists/partial" "$private/cache/archives/partial" "$root"
: > "$log"
: > "$private/status"
options=(-q -y -o Dir::State::lists="$private/lists" -o Dir::Cache="$private/cache" -o Acquire::Languages=none
    -o APT::Sandbox::User=root -o APT::Update::Post-Invoke-Success= -o Acquire::Retries=2 -o Acquire::http::Timeout=20)

# Where the system gets its own Debian from, whatever form its sources have.
mirror=$(apt-get "${options[@]}" update --print-uris 2>>"$log" |
    sed -n "s@^'\(.*debian\)/dists/[a-z]*/InRelease' .*@\1@p" | head -n 1)
[ -n "$mirror" ] || fail "apt's sources name no archive of Debian"
[ -r "$keyring" ] || fail "$keyring is missing (package debian-archive-keyring)"
echo "Fetching $what of Debian's $suite from $mirror"

echo "deb [signed-by=$keyring] $mirror $suite main" > "$private/sources.list"
options+=(-o Dir::Etc::sourcelist="$private/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::State::status="$private/status" -o APT::Install-Recommends=0)
apt-get "${options[@]}" update --error-on=any >>"$log" 2>&1 || fail "$mirror does not answer or its signature is wrong"
# shellcheck disable=SC2086
apt-get "${options[@]}" --download-only install $packages >>"$log" 2>&1 || fail "package $package of $suite is not to be had"
for deb in "$private"/cache/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$root" --no-same-owner --no-same-permissions --wildcards \
        "./$lib/*.so*" './usr/lib64/*' "${parts[@]}" 2>>"$log" || true # not in each package
done
run="exec \"\$here/usr/lib64/ld-linux-x86-64.so.2\" --library-path \"\$here/$lib:\$here/$lib/pulseaudio\""
case $what in
bochs)
    cat > "$folder/bochs" << END
#!/bin/sh
here=\$(dirname "\$(readlink -f "\$0")")/root
export LTDL_LIBRARY_PATH="\$here/$lib/bochs/plugins" BXSHARE="\$here/usr/share/bochs"
$run "\$here/usr/bin/bochs-bin" "\$@"
END
    version=("--help" "cpu")
    ;;
qemu)
    cat > "$folder/qemu" << END
#!/bin/sh
here=\$(dirname "\$(readlink -f "\$0")")/root
export QEMU_MODULE_DIR="\$here/$lib/qemu"
$run "\$here/usr/bin/qemu-system-x86_64" -L "\$here/usr/share/qemu" -L "\$here/usr/share/seabios" -L "\$here/usr/lib/ipxe/qemu" "\$@"
END
    version=("--version")
    ;;
esac
chmod 755 "$folder/$what"
"$folder/$what" "${version[@]}" >>"$log" 2>&1 || fail "it does not start"
rm -rf "$private"
sed -n 's/^ *Bochs x86 Emulator/fetched: Bochs/p; s/^QEMU emulator/fetched: QEMU/p' "$log"
