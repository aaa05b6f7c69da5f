#!/bin/bash
# Searches epochs.pml: first as the protocol is, in small rooms to the last state and
# in a larger one for half a minute, then with one mistake at a time, which the
# search must find.
#
# Each search ends after SECONDS_MOST (90) and with at most 4 GB of memory.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# search OPTIONS... builds the search with the given macros and runs it; its report
# is in the file report.
search() {
	spin "$@" -a "$here/epochs.pml"
	# shellcheck disable=SC2086
	gcc -O1 -w -DSAFETY -DNOREDUCE -DMEMLIM=4096 ${BUILD:-} -o pan pan.c
	timeout -s INT "${SECONDS_MOST:-90}" ./pan -m100000 ${RUN:-} >report 2>&1 || true
}

figure() { sed -n "s/^ *\([0-9.e+]*\) $1.*/\1/p" report | head -n 1; }

# holds WHAT OPTIONS... fails unless the search found nothing and reached all states.
holds() {
	local what=$1
	shift
	search "$@"
	if ! grep -q 'errors: 0' report || { [ -z "${PARTLY:-}" ] && grep -q 'interrupted\|incomplete\|out of memory\|max search depth\|Search not completed' report; }; then
		echo "$what: not so" >&2
		cat report >&2
		exit 1
	fi
	printf '%-62s %9s states%s\n' "$what" "$(figure 'states, stored')" "${PARTLY:+, not all}"
}

# breaks MISTAKE OPTIONS... fails unless the search finds that an assertion is broken.
breaks() {
	local mistake=$1
	shift
	search "-D$mistake" "$@"
	if ! grep -q 'assertion violated' report; then
		echo "$mistake: not found" >&2
		cat report >&2
		exit 1
	fi
	printf '%-62s %9s states\n' "found: $mistake" "$(figure 'states, stored')"
}

small=(-DWRITTEN=2 -DCLOSED=1 -DCRASHES=1)
holds "all in the view, 2 entries, 1 change, 1 crash" "${small[@]}" -DFIRST=7
holds "two of three in the view" "${small[@]}" -DFIRST=3
holds "one of three in the view" "${small[@]}" -DFIRST=1
holds "1 entry, 2 changes, 1 crash" -DWRITTEN=1 -DCLOSED=2 -DCRASHES=1
PARTLY=yes SECONDS_MOST=30 BUILD=-DBITSTATE RUN=-w30 holds "3 entries, 2 changes, 1 crash" -DWRITTEN=3 -DCLOSED=2 -DCRASHES=1

breaks NO_FREEZE "${small[@]}"
breaks SELF_MOVES "${small[@]}" -DFIRST=3
breaks FORGET_SEAL "${small[@]}" -DFIRST=3
breaks UNCOVERED "${small[@]}"
breaks BLIND_CLOCK "${small[@]}"
breaks ANY_EPOCH "${small[@]}"
breaks ACK_EARLY "${small[@]}"
breaks LONELY_CUT "${small[@]}"
breaks NO_VIEW_MEMBER "${small[@]}" -DFIRST=1
