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
    verdict "unsafe is in the hooks, their symbols, crates/sys and a peer in benches/ alone"

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

{ sources '*.sh'; sources '.ci/*'; } | {
    if command -v shellcheck >/dev/null; then
        xargs -d '\n' shellcheck -x -P "$PWD" 2>&1 | verdict "shellcheck has nothing to say"
    else
        echo "SKIPPED: shellcheck: not installed"
    fi
}
exit "$failed"
