#!/usr/bin/env python3
"""Checks the licence of every package that this workspace is built from.

Reads `cargo metadata --format-version 1` on standard input. Prints one line a test.
"""

import json
import re
import sys

# What may be linked with a work under MIT or Apache-2.0 without more than a notice.
PERMISSIVE = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
}


def permits(expression):
    """Whether an SPDX expression can be met with permissive licences alone."""
    tokens = re.findall(r"\(|\)|AND\b|OR\b|[^()\s]+(?:\s+WITH\s+\S+)?", expression)

    def alternatives(at):
        good, at = all_of(at)
        while at < len(tokens) and tokens[at] == "OR":
            other, at = all_of(at + 1)
            good = good or other
        return good, at

    def all_of(at):
        good, at = one(at)
        while at < len(tokens) and tokens[at] == "AND":
            other, at = one(at + 1)
            good = good and other
        return good, at

    def one(at):
        if at >= len(tokens) or tokens[at] in ("AND", "OR", ")"):
            raise ValueError(expression)
        if tokens[at] != "(":
            return " ".join(tokens[at].split()) in PERMISSIVE, at + 1
        good, at = alternatives(at + 1)
        if at >= len(tokens) or tokens[at] != ")":
            raise ValueError(expression)
        return good, at + 1

    good, end = alternatives(0)
    if end != len(tokens):
        raise ValueError(expression)
    return good


def verdict(name, wrong):
    print(f"{'not ok' if wrong else 'ok'} - {name}")
    for line in wrong:
        print(f"    {line}")
    return bool(wrong)


def main():
    for expression, expected in {
        "MIT": True,
        "GPL-3.0-only": False,
        "GPL-3.0-only OR MIT": True,
        "(MIT OR GPL-3.0-only) AND GPL-2.0-only": False,
        "Apache-2.0 WITH LLVM-exception": True,
        "Apache-2.0 WITH another": False,
    }.items():
        if permits(expression) != expected:
            sys.exit(f"{expression}: read wrongly")
    packages = json.load(sys.stdin)["packages"]
    wrong = []
    for package in packages:
        # An old way to write OR.
        licence = (package["license"] or "").replace("/", " OR ")
        name = f"{package['name']} {package['version']}"
        try:
            if not permits(licence):
                wrong.append(f"{name}: {licence}")
        except ValueError:
            wrong.append(f"{name}: no licence that can be read: {licence!r}")
    if len(packages) < 20:
        wrong.append(f"{len(packages)} packages: that is not all of them")
    failed = verdict("every package's licence is permissive", wrong)
    sys.exit(failed)


main()
