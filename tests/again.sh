#!/usr/bin/env bash
# usage: again.sh NAME COMMAND...   One run of pytest (COMMAND), with a memory of its own (NAME) of what failed in it.
# With AGAIN=1, as CI has it, up to FEW failed tests are asked once more, alone: one that fails twice fails the run; one that holds
# is told as FLAKY, and its cause is owed. A crash of the run itself, or more failures than that, is never asked twice.
set -u
few=4
memory=.pytest_cache/$1
shift
rm -rf "$memory"
"$@" -o cache_dir="$memory"
code=$?
[ "$code" = 1 ] && [ "${AGAIN:-}" = 1 ] || exit "$code"
failed=$(python3 -c 'import json, sys; print("\n".join(json.load(open(sys.argv[1]))))' "$memory/v/cache/lastfailed") || exit "$code"
[ "$(wc -l <<<"$failed")" -le "$few" ] || exit "$code"
echo "again, alone:"
"$@" -o cache_dir="$memory" -n 0 --last-failed --last-failed-no-failures none || exit "$code"
sed 's/^/FLAKY (failed beside others, held alone; its cause is owed): /' <<<"$failed" | tee -a .pytest_cache/flaky
