#!/usr/bin/env bash
# Writes the corpora anew: what real nodes say and live through, the files of scenarios, and changes of one bit.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo run -q -p rumormill-core --example corpus

mkdir -p fuzz/corpus/config
for file in crates/lab/scenarios/*.toml; do
    cp "$file" "fuzz/corpus/config/$(basename "$file" .toml)"
done
cargo run -q -p rumormill-agent -- config default >fuzz/corpus/config/default

# The first byte says that the rest changes something genuine: at a place of two bytes, by a third.
for target in seal handshake frames; do
    mkdir -p "fuzz/corpus/$target"
    printf '\1' >"fuzz/corpus/$target/genuine"
    printf '\1\0\0\1' >"fuzz/corpus/$target/first"
    printf '\1\022\0\200' >"fuzz/corpus/$target/introduced"
    printf '\1\055\0\001\056\0\377' >"fuzz/corpus/$target/two"
    printf '\1!' >"fuzz/corpus/$target/longer"
    printf '\0\025\0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' >"fuzz/corpus/$target/other"
done
