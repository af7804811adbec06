#!/usr/bin/env bash
# Fuzzes targets one after the other, each until it has used so many minutes of processor time: campaign.sh MINUTES [TARGET..]
# Ends with 1 when one of them found something. A busy machine makes it take longer, not do less.
set -euo pipefail
cd "$(dirname "$0")/.."

minutes="$1"
shift
targets=("$@")
((${#targets[@]})) || targets=(wire update sketch stream node config seal handshake frames)
budget=$((minutes * 60 * $(getconf CLK_TCK)))

# Processor time of a process so far, in ticks of the clock.
ticks() {
    local fields
    read -ra fields < <(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) || return 1
    echo $((fields[11] + fields[12]))
}

cargo +nightly fuzz build --sanitizer none --features net,lab
host="$(rustc -vV | sed -n 's/host: //p')"
out="${CARGO_TARGET_DIR:-fuzz/target}/$host/release"
failed=0
for target in "${targets[@]}"; do
    mkdir -p "fuzz/found/$target" "fuzz/artifacts/$target"
    log="fuzz/artifacts/$target/log"
    "$out/$target" "fuzz/found/$target" "fuzz/corpus/$target" -artifact_prefix="fuzz/artifacts/$target/" >"$log" 2>&1 &
    fuzzer=$!
    used=0
    while used="$(ticks "$fuzzer")" && ((used < budget)); do sleep 2; done
    # On this signal libFuzzer ends well and tells its figures.
    kill -USR1 "$fuzzer" 2>/dev/null || true
    if wait "$fuzzer"; then
        printf '%s: nothing found in %d minutes of processor time; %s\n' "$target" "$minutes" "$(grep -a '^#' "$log" | tail -1)"
    else
        printf '%s: FOUND something, see %s\n' "$target" "$log"
        failed=1
    fi
done
exit "$failed"
