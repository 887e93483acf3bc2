#!/usr/bin/env bash
# Builds QEMU with its machine `nitro-enclave`, which Debian's own QEMU is without, from Debian's source package:
#
#     FOLDER/qemu-stock      as QEMU has it: its Nitro Secure Module does not sign what it says
#     FOLDER/qemu-signing    with nsm-signing.patch: it signs under a development root
#     FOLDER/firmware/       what the machine starts with
#
# Prints FOLDER, which is ~/.cache/symphony/qemu/DIGEST (SYMPHONY_QEMU_CACHE for ~/.cache/symphony/qemu). DIGEST is over
# the files beside this one, so that a second run only prints, and a change builds anew. Takes four minutes of two
# processors. Whatever is fetched comes from the Debian mirrors that this machine uses, and is judged by its digest; the
# files stay in the cache. Debian packages that the build needs are installed when this is root, and named when not.
#
# Usage: build.sh
set -euo pipefail

HERE=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
readonly HERE
readonly CACHE=${SYMPHONY_QEMU_CACHE:-$HOME/.cache/symphony/qemu}
readonly KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# Name of the file, its SHA-256, and what apt-get is asked for. QEMU wants a younger meson than Debian 12's; it is not
# installed, and nor is the firmware.
readonly FILES=(
  "qemu_10.0.2+ds.orig.tar.xz 0901da33844a331bf8b3602b9c1fbd178e60b737c8e3ade678255bd090c9b9f1 source=qemu=1:10.0.2+ds-2+deb13u1~bpo12+1"
  "qemu-system-data_1%3a10.0.2+ds-2+deb13u1~bpo12+1_all.deb 2d831088187087013b3fcbd19bdfb955b182a2d5a08f6dafa0ad1c6d2007fb4e binary=qemu-system-data=1:10.0.2+ds-2+deb13u1~bpo12+1"
  "meson_1.7.0-1~bpo12+1_all.deb 4b86d2f2cb4431d03826fa4b2c3a89508edeb8140509e7e4b285285ec3175bbe binary=meson=1.7.0-1~bpo12+1"
  "seabios_1.16.2-1_all.deb 08e5b3f761379f17a6051731cafa03e97686049e2cc1b8bdccc5a910646e2d8e binary=seabios=1.16.2-1"
)
readonly PACKAGES=(
  gcc libc6-dev make ninja-build patch pkg-config python3-venv xz-utils
  libcbor-dev libfdt-dev libglib2.0-dev libgnutls28-dev zlib1g-dev
)
readonly FIRMWARE=(
  seabios/bios-microvm.bin qemu/qboot.rom qemu/linuxboot_dma.bin qemu/kvmvapic.bin
)
readonly CONFIGURE=(
  --python=/usr/bin/python3 --target-list=x86_64-softmmu --without-default-features --without-default-devices
  --with-devices-x86_64=nitro --enable-kvm --enable-tcg --enable-system --enable-libcbor --enable-gnutls
  --enable-fdt=system --enable-vhost-user --enable-vhost-kernel --disable-docs --disable-tools --disable-guest-agent
  --disable-install-blobs
)
readonly DEVICES=(MICROVM NITRO_ENCLAVE VIRTIO_SERIAL VIRTIO_RNG VIRTIO_MMIO ISA_DEBUG)

say() { printf 'qemu: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

main() {
  local digest folder
  digest=$(cat "$HERE/build.sh" "$HERE/nsm-signing.patch" | sha256sum | cut -c 1-16)
  folder=$CACHE/$digest
  mkdir -p "$CACHE/files"
  exec 9>"$CACHE/lock"
  flock 9 || fail "expected the lock $CACHE/lock, got none"
  if [ ! -d "$folder" ]; then
    expect_packages
    # What a build that was killed left; there is one at a time.
    rm -rf "$CACHE/work"
    mkdir "$CACHE/work"
    trap 'rm -rf "$CACHE/work"' EXIT
    fetch_all
    build "$CACHE/work" >&2
    mv "$CACHE/work/built" "$folder"
  fi
  printf '%s\n' "$folder"
}

expect_packages() {
  local missing=() name
  for name in "${PACKAGES[@]}"; do
    dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$name")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  [ "$(id -u)" -eq 0 ] || fail "expected these packages, got none: apt-get install ${missing[*]}"
  say "installing ${missing[*]}"
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# Puts all of FILES into the cache.
fetch_all() {
  local line name sha256 what
  for line in "${FILES[@]}"; do
    read -r name sha256 what <<<"$line"
    [ -f "$CACHE/files/$name" ] || fetch "$name" "$what"
    printf '%s  %s\n' "$sha256" "$CACHE/files/$name" | sha256sum --check --status \
      || fail "$CACHE/files/$name: expected SHA-256 $sha256, got another; remove it, or put the right one there"
  done
}

# Fetches one file into a folder of its own, so that half a file is never in the cache.
fetch() {
  local name=$1 what=$2
  say "fetching $name"
  [ -d "$CACHE/work/lists" ] || read_lists
  mkdir "$CACHE/work/fetch"
  (
    cd "$CACHE/work/fetch"
    case $what in
      source=*) apt_get source --tar-only --download-only "${what#source=}" ;;
      binary=*) apt_get download "${what#binary=}" ;;
    esac
  ) >&2 || fail "$name: expected apt-get to fetch it, got a failure; put it into $CACHE/files by hand"
  mv "$CACHE/work/fetch/$name" "$CACHE/files/$name"
  rm -r "$CACHE/work/fetch"
}

# Lists of Debian 12 and its backports, sources too, from the mirror that this machine has for Debian 12. The machine's
# own lists stay as they are.
read_lists() {
  local mirror
  # shellcheck disable=SC2016  # apt-get's own word
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' | head -n 1)
  [ -n "$mirror" ] || fail "expected a mirror of Debian 12 among this machine's package sources, got none"
  mkdir -p "$CACHE/work/parts" "$CACHE/work/lists"
  printf '%s\n' 'Types: deb deb-src' "URIs: $mirror" 'Suites: bookworm bookworm-backports' 'Components: main' \
    "Signed-By: $KEYRING" >"$CACHE/work/parts/qemu.sources"
  apt_get update -qq >&2
}

apt_get() {
  apt-get -q -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$CACHE/work/parts" \
    -o Dir::State::lists="$CACHE/work/lists" -o Dir::Cache="$CACHE/work" -o APT::Sandbox::User="$(id -un)" "$@"
}

# Builds in folder $1 and leaves what is wanted in $1/built.
build() {
  local work=$1 name
  cd "$work"
  mkdir tools build built
  for name in "$CACHE"/files/*.deb; do dpkg-deb -x "$name" tools; done
  tar -xf "$CACHE/files/qemu_10.0.2+ds.orig.tar.xz"
  mv qemu-10.0.2 source
  # A package for QEMU's own tests, and firmware that Debian's archive is without.
  sed -i '/^pycotap/d' source/pythondeps.toml
  sed -i 's/^if unpack_edk2_blobs/if false/' source/pc-bios/meson.build
  printf 'CONFIG_%s=y\n' "${DEVICES[@]}" >source/configs/devices/x86_64-softmmu/nitro.mak
  export PYTHONPATH=$work/tools/usr/lib/python3/dist-packages PATH=/usr/sbin:/usr/bin:/sbin:/bin
  say "configuring"
  (cd build && ../source/configure "${CONFIGURE[@]}")
  compile stock
  patch -d source -p 1 <"$HERE/nsm-signing.patch"
  compile signing
  mkdir built/firmware
  for name in "${FIRMWARE[@]}"; do cp "tools/usr/share/$name" built/firmware; done
}

compile() {
  say "compiling $1"
  nice -n 10 ninja -C build qemu-system-x86_64
  strip -o "built/qemu-$1" build/qemu-system-x86_64
}

main
