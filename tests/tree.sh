#!/bin/bash
# Tests what a reader may rely upon in the sources. Prints one line a test.
set -u
# So that verdict, at the end of a pipeline, sets `failed` here.
shopt -s lastpipe
cd "$(dirname "$0")/.." || exit 69
failed=0

# verdict NAME: a test; what is wrong comes in on stdin.
verdict() {
    local wrong
    wrong=$(cat)
    if [ -z "$wrong" ]; then
        echo "ok - $1"
    else
        echo "not ok - $1"
        printf '%s\n' "$wrong" | sed 's/^/    /'
        failed=1
    fi
}

# The sources as they are, committed or not. An archive has no Git: then by folder.
sources() {
    if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
        git ls-files --cached --others --exclude-standard -- "$@" |
            while read -r file; do [ ! -f "$file" ] || printf '%s\n' "$file"; done
    else
        find . \( -name target -o -name .git \) -prune -o -type f -print |
            sed 's|^\./||' | grep -E "$(printf '%s\n' "$@" | sed 's/\./\\./g; s/\*/.*/g; s/^/^/; s/$/$/' | paste -sd '|')"
    fi
}

sources '*.rs' | while read -r file; do
    lines=$(wc -l <"$file")
    [ "$lines" -le 700 ] || echo "$file: $lines lines"
done | verdict "no source file has more than 700 lines"

sources '*.rs' | grep -vE '^(src/hooks/[a-z]*\.rs|src/symbols\.rs|crates/sys/.*|benches/redhook-peer/src/lib\.rs)$' |
    xargs -d '\n' grep -nE '^([^/"]|/[^/])*\bunsafe *(\{|\(|fn\b|impl\b|trait\b|extern\b)|\b(allow|expect)\( *unsafe_code' |
    grep -vE '^crates/client/src/c\.rs:[0-9]+:(#!\[allow\(unsafe_code\)\]|#\[unsafe\(no_mangle\)\])$' |
    verdict "unsafe is in the hooks, their symbols, crates/sys and a peer in benches/ alone, and symbols for C are named"

# A quoted duty, that is a `//= URL` followed by `//# ... MUST ...`, has a test:
# the same quotation with `//= type=test`.
# shellcheck disable=SC2016 # awk's own
sources '*.rs' | xargs -d '\n' awk '
    function close_block() {
        if (url != "" && quote ~ /MUST|SHALL/) {
            if (test) tested[url quote] = 1
            else duty[url quote] = where ": " url ": " quote
        }
        url = ""
    }
    FNR == 1 { close_block() }
    /^ *\/\/= *https?:/ {
        close_block()
        url = $2; quote = ""; test = 0; where = FILENAME ":" FNR
        next
    }
    url != "" && /^ *\/\/= *type=test/ { test = 1; next }
    url != "" && /^ *\/\/#/ { sub(/^ *\/\/# */, ""); quote = quote " " $0; next }
    { close_block() }
    END {
        close_block()
        for (key in duty) { count++; if (!(key in tested)) print duty[key] }
        if (!count) print "no duty is quoted anywhere"
    }' | verdict "every quoted MUST has a test that quotes it"

# Each row of docs/rfc-requirements.md: its files are there, its tests too, and every
# section that this code cites has a row. A test is a function behind `#[test]`.
# shellcheck disable=SC2016 # awk's own
{
    table=docs/rfc-requirements.md
    grep -oE '`[A-Za-z0-9_./-]+\.rs(::[a-z0-9_]+)?`' "$table" | tr -d '`' | sort -u |
        while IFS= read -r named; do
            file=${named%%::*}
            if [ ! -f "$file" ]; then
                echo "$table: $file is not there"
            elif [ "$file" != "$named" ]; then
                awk -v name="${named##*::}" '
                    /^ *#\[test\]/ { is_test = 1; next }
                    /^ *(#\[|\/\/)/ { next }
                    is_test && $0 ~ "fn " name "\\(" { found = 1 }
                    { is_test = 0 }
                    END { exit !found }' "$file" || echo "$table: no test $named"
            fi
        done
    # Rows that are neither a head nor a line name code and tests, where they have four
    # columns.
    awk -F ' \\| ' '/^\| RFC / && NF == 4 && ($3 !~ /`/ || $4 !~ /`/) {
        print FILENAME ":" FNR ": no code or no test" }' "$table"
    sources 'crates/wire/src/mobility/*.rs' 'crates/wire/src/ipv6/*.rs' \
        'crates/wire/src/icmpv6_error*.rs' 'crates/core/src/binding/*.rs' \
        'crates/core/src/relay/*.rs' 'crates/mobility/src/*.rs' 'aarp-agent/src/*.rs' \
        'aarp-binding/src/*.rs' |
        xargs -d '\n' grep -nE '^ *//= *https://www\.rfc-editor\.org/rfc/rfc[0-9]+#section-' |
        sed -E 's|^([^:]+:[0-9]+): *//= *https://www\.rfc-editor\.org/rfc/rfc([0-9]+)#section-([0-9.]+) *$|\1 RFC \2 §\3|' |
        while read -r where section; do
            grep -qF "| $section |" "$table" || echo "$where: $section has no row in $table"
        done
} | verdict "every requirement has its tests, and every section cited is one of them"

# What tests/context/unprotected.rs takes out, in the long tier: by then it is late to hear
# that there is nothing of the kind any more.
sources 'tests/context/*.patch' | while read -r patch; do
    git apply --check "$patch" 2>&1 | sed "s|^|$patch: |"
done | verdict "what the tests take out is there"

{ sources '*.sh'; sources '.ci/*'; } | {
    if command -v shellcheck >/dev/null; then
        xargs -d '\n' shellcheck -x -P "$PWD" 2>&1 | verdict "shellcheck has nothing to say"
    else
        echo "SKIPPED: shellcheck: not installed"
    fi
}
exit "$failed"
