#!/usr/bin/env bash
# Makes the peers that the tests run against: OTP 25 from the distribution's
# packages, OTP 27 and 29 as root file systems, one more with Elixir 1.18, RabbitMQ
# and ejabberd, two with an older and a newer Elixir, two with systemd, and the libei
# programs. Quick when all is there. `prepare.sh day` makes only those that test/run.sh meets by day: OTP 25
# and 29, the newest Elixir and systemd, libei. `prepare.sh clean` removes what it made, but no package.
# `prepare.sh newest` makes only one more, of what Debian's unstable has that day, and prints it as
# "RELEASE=PATH OF ERL".
#
# The variables that the Go tests read go to the file `env` of the cache, for
# run.sh and for tests started by hand: . ~/.cache/cnode/env && go test ./...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

cache=${CNODE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cnode}
erlang=(erlang-base erlang-crypto erlang-ssl erlang-public-key erlang-asn1
	erlang-inets erlang-runtime-tools erlang-dev)
others=(openssl python3 tshark chromium-headless-shell nginx-light # which tests compare with, or look with
	zsh fish               # shells, beside bash
	git erlang-examples) # OTP's own carriers of the distribution
at_night=(rebar3 erlang-wx xvfb) # what builds Erlang projects, and shows Observer

fail() {
	printf 'prepare: %s\n' "$*" >&2
	if [[ -s $cache/log ]]; then
		printf 'prepare: the last lines of %s:\n' "$cache/log"
		tail -n 15 "$cache/log"
	fi >&2
	exit 1
}

# missing NAME... prints the packages that are not installed.
missing() {
	local name
	for name; do
		[[ $(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) == installed ]] || echo "$name"
	done
}

install_packages() {
	local want
	mapfile -t want < <(missing "${erlang[@]}" "${others[@]}" mmdebstrap gcc libc6-dev util-linux mount iproute2)
	((${#want[@]})) || return 0
	[[ $(id -u) == 0 ]] || fail "not installed: ${want[*]}; only root can install packages"
	echo "installing ${want[*]}"
	export DEBIAN_FRONTEND=noninteractive
	# What tests need is no service: nginx would take port 80, or fail to. See invoke-rc.d(8).
	local policy=/usr/sbin/policy-rc.d
	if [[ -e $policy ]]; then
		policy=
	else
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
	fi
	local get=(apt-get -o Acquire::Retries=5 -o DPkg::Lock::Timeout=600)
	# The package lists of a fresh machine are missing or too old.
	{
		"${get[@]}" install -y --no-install-recommends "${want[@]}" ||
			{ "${get[@]}" update && "${get[@]}" install -y --no-install-recommends "${want[@]}"; }
	} >>"$cache/log" 2>&1 || { rm -f "$policy" && fail "apt-get install ${want[*]} failed"; }
	rm -f "$policy"
}

# mirror prints the address of the package mirror that this machine uses.
mirror() {
	local found=''
	if [[ -r /etc/apt/sources.list.d/debian.sources ]]; then
		found=$(awk '$1 == "URIs:" { print $2; exit }' /etc/apt/sources.list.d/debian.sources)
	fi
	if [[ -z $found && -r /etc/apt/sources.list ]]; then
		found=$(sed 's/\[[^]]*\]//' /etc/apt/sources.list | awk '$1 == "deb" { print $2; exit }')
	fi
	[[ -n $found ]] && echo "$found"
}

# extract DIR SUITE PACKAGES URI makes DIR/root of packages.
extract() {
	rm -rf --one-file-system "$1"
	mkdir -p "$1"
	mmdebstrap --quiet --aptopt='Acquire::Check-Valid-Until false' --aptopt='Acquire::Retries "5"' --variant=extract \
		--include="$3" "$2" "$1/root" "$4" >>"$cache/log" 2>&1
}

# root_file_system NAME SUITE PACKAGES PROGRAM... makes $cache/NAME/root and,
# beside it, bin with the programs, which run inside it.
root_file_system() {
	local dir=$cache/$1 suite=$2 include=$3 uri program
	if [[ $(cat "$dir/made-of" 2>/dev/null) != "$suite $include" ]]; then
		[[ $(id -u) == 0 ]] || fail "$1: only root can make its root file system"
		uri=$(mirror) || fail "$1: apt's sources name no package mirror"
		echo "making the root file system $1"
		extract "$dir" "$suite" "$include" "$uri" || extract "$dir" "$suite" "$include" "$uri" || # a mirror may have a bad moment
			fail "$1: mmdebstrap of $suite failed"
		echo "$suite $include" >"$dir/made-of"
	fi
	mkdir -p "$dir/bin"
	if ! cmp -s ../internal/test/otp/inroot.sh "$dir/bin/inroot.sh"; then
		# Somebody may be reading the old one, so it is replaced, not rewritten.
		cp ../internal/test/otp/inroot.sh "$dir/bin/inroot.sh.new"
		chmod 755 "$dir/bin/inroot.sh.new"
		mv -f "$dir/bin/inroot.sh.new" "$dir/bin/inroot.sh"
	fi
	for program in "${@:4}"; do
		[[ -L $dir/bin/$program ]] || ln -sfn inroot.sh "$dir/bin/$program"
	done
}

# release NUMBER SUITE is the root file system of an Erlang/OTP.
release() {
	root_file_system "otp-$1" "$2" "$(
		IFS=,
		echo "${erlang[*]},dash,coreutils,sed,bash"
	)" erl erlc epmd erl_call
}

# observer NUMBER SUITE is the application observer of a release, for its etop: its
# package alone, without the libraries for windows that it depends on.
observer() {
	local dir=$cache/observer-$1 uri
	local get=(apt-get -o Dir::Etc::sourcelist="$dir/sources" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$dir/lists"
		-o Dir::Cache="$dir/cache" -o Acquire::Check-Valid-Until=false -o Acquire::Retries=5 -o APT::Sandbox::User=root)
	if [[ ! -d $dir/ebin ]]; then
		uri=$(mirror) || fail "observer of OTP $1: apt's sources name no package mirror"
		echo "fetching the application observer of OTP $1"
		rm -rf --one-file-system "$dir"
		mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial" "$dir/root"
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $2 main" >"$dir/sources"
		(
			cd "$dir"
			"${get[@]}" update && "${get[@]}" download erlang-observer && dpkg-deb -x erlang-observer_*.deb root
		) >>"$cache/log" 2>&1 || fail "observer of OTP $1: its package cannot be had"
		mv "$dir"/root/usr/lib/erlang/lib/observer-*/ebin "$dir/ebin"
		rm -rf --one-file-system "$dir/root" "$dir/lists" "$dir/cache" "$dir"/*.deb
	fi
	echo "application observer of OTP $1: $dir"
}

# neighbours is the root file system of the programs that nodes are used next to.
neighbours() {
	root_file_system neighbours trixie "$(
		IFS=,
		echo "${erlang[*]},elixir,rabbitmq-server,ejabberd,dash,coreutils,sed,bash,grep,gawk,util-linux,procps,hostname,git"
	)" bash elixir iex
	echo "peers Elixir, RabbitMQ, ejabberd: $cache/neighbours"
}

# elixir SUITE prints "VERSION=PROGRAM" of the Elixir of a root file system, or of a new one.
elixir() {
	local name=neighbours version
	if [[ $1 != trixie ]]; then
		name=elixir-$1
		root_file_system "$name" "$1" elixir,dash,coreutils,sed,bash,git elixir iex bash >&2
	fi
	version=$(HOME=/tmp "$cache/$name/bin/elixir" --short-version 2>>"$cache/log") || fail "Elixir of $1 does not run"
	[[ -n $version ]] || fail "Elixir of $1 does not tell its version"
	echo "peer Elixir $version: $cache/$name" >&2
	echo "${version%.*}=$cache/$name/bin/elixir"
}

# service_manager SUITE prints "VERSION=DIRECTORY" of a root file system with systemd.
service_manager() {
	local dir=$cache/systemd-$1 version
	root_file_system "systemd-$1" "$1" base-files,coreutils,dash,mount,passwd,procps,systemd >&2
	version=$(chroot "$dir/root" /lib/systemd/systemd --version 2>>"$cache/log" | awk 'NR == 1 { print $2 }')
	[[ -n $version ]] || fail "systemd of $1 does not run"
	echo "peer systemd $version: $dir" >&2
	echo "$version=$dir/root"
}

# peer RELEASE ERL proves that ERL boots as that release and prints its version.
peer() {
	local version
	version=$(HOME=/tmp "$2" -noinput -boot start_clean -eval '
		"'"$1"'" = erlang:system_info(otp_release),
		{ok, V} = file:read_file(filename:join([code:root_dir(), "releases", "'"$1"'", "OTP_VERSION"])),
		io:put_chars(V), halt().' 2>>"$cache/log") || fail "OTP $1: $2 does not run as that release"
	[[ -n $version ]] || fail "OTP $1: $2 does not tell its version"
	echo "peer OTP $1: $2 ($version)"
}

# libei_programs compiles interop/libei/*.c against the libei of OTP 25.
libei_programs() {
	local libei source program
	for libei in /usr/lib/erlang/lib/erl_interface-*; do :; done
	[[ -f $libei/include/ei.h ]] || fail "libei: no ei.h in $libei"
	mkdir -p "$cache/libei"
	for source in interop/libei/*.c; do
		program=$cache/libei/$(basename "$source" .c)
		# A clone gives every file the same time, so contents are compared.
		if [[ ! -x $program ]] || ! cmp -s "$source" "$program.c" || ! cmp -s interop/libei/node.h "$cache/libei/node.h"; then
			gcc -std=gnu11 -O2 -pthread -Wall -Wextra -Werror -I"$libei/include" -o "$program.new" "$source" \
				-L"$libei/lib" -lei >>"$cache/log" 2>&1 || fail "libei: $source does not compile"
			mv -f "$program.new" "$program"
			cp "$source" "$program.c"
		fi
	done
	cp interop/libei/node.h "$cache/libei/node.h"
	echo "peer libei: $cache/libei (${libei##*-})"
}

if [[ ${1:-} == clean ]]; then
	rm -rf --one-file-system "$cache"/otp-* "$cache"/observer-* "$cache"/elixir-* "$cache"/systemd-* "$cache/neighbours" "$cache/libei" "$cache"/env* "$cache/log"
	exit
fi

exec </dev/null
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
exec 9>"$cache/lock"
flock 9
: >"$cache/log"

if [[ ${1:-} == newest ]]; then
	rm -f "$cache/otp-newest/made-of" # yesterday's
	release newest sid >&2
	number=$(HOME=/tmp "$cache/otp-newest/bin/erl" -noinput -boot start_clean \
		-eval 'io:put_chars(erlang:system_info(otp_release)), halt().' 2>>"$cache/log") || fail "the newest OTP does not run"
	echo "$number=$cache/otp-newest/bin/erl"
	exit
fi

elixirs=(forky)
managers=(forky)
if [[ ${1:-} != day ]]; then
	others+=("${at_night[@]}")
	elixirs=(bookworm trixie forky)
	managers=(trixie forky)
fi
install_packages
releases="25=/usr/bin/erl" observers=''
peer 25 /usr/bin/erl
if [[ ${1:-} != day ]]; then
	release 27 trixie
	peer 27 "$cache/otp-27/bin/erl"
	releases+=" 27=$cache/otp-27/bin/erl"
	observer 25 bookworm
	observer 27 trixie
	observer 29 forky
	observers="25=$cache/observer-25 27=$cache/observer-27 29=$cache/observer-29"
	neighbours
fi
release 29 forky
peer 29 "$cache/otp-29/bin/erl"
releases+=" 29=$cache/otp-29/bin/erl"
libei_programs
examples=$(dpkg-query -L erlang-examples | grep '/lib/kernel-[^/]*/examples$') || fail "erlang-examples has no examples of kernel"
found_elixirs='' found_managers=''
for suite in "${elixirs[@]}"; do
	found=$(elixir "$suite")
	found_elixirs+="${found_elixirs:+ }$found"
done
for suite in "${managers[@]}"; do
	found=$(service_manager "$suite")
	found_managers+="${found_managers:+ }$found"
done
file=$cache/env
[[ ${1:-} != day ]] || file=$cache/env-day
{
	printf 'export CNODE_TEST_OTP=%q\n' "$releases"
	printf 'export CNODE_TEST_LIBEI=%q\n' "$cache/libei"
	printf 'export CNODE_TEST_OBSERVER=%q\n' "$observers"
	printf 'export CNODE_TEST_NEIGHBOURS=%q\n' "${observers:+$cache/neighbours/bin}"
	printf 'export CNODE_TEST_ELIXIR=%q\n' "$found_elixirs"
	printf 'export CNODE_TEST_SYSTEMD=%q\n' "$found_managers"
	printf 'export CNODE_TEST_UDS_DIST=%q\n' "$examples/erl_uds_dist/src/erl_uds_dist.erl"
	printf 'export CNODE_TEST_GEN_TCP_DIST=%q\n' "$examples/gen_tcp_dist/src/gen_tcp_dist.erl"
} >"$file.new"
mv -f "$file.new" "$file" # another run may be reading it
[[ $file == "$cache/env" || -e $cache/env ]] || cp "$file" "$cache/env"
