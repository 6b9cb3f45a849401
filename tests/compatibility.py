#!/usr/bin/python3
"""Makes the table of docs/programs.md from what the tests of programs found.

Usage: tests/compatibility.py write [FOLDER]
       tests/compatibility.py check FOLDER [--whole]

write  puts the records into the table. Without a FOLDER it runs the tests first:
       all that the table is about, in some minutes.
check  prints `ok - ...` or `not ok - ...`: whether every record is a row of the
       table; with --whole also whether every row has a record. The version of a
       program does not count.

The tests write their records into the folder that AARP_RECORDS names: files of JSON
lines. Exit status: 0, 1 for a difference or a failed test, 64 usage.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/programs.md"
BEGIN = "<!-- begin: written by tests/compatibility.py -->\n"
END = "<!-- end -->\n"
COLUMNS = ["program", "version", "calls", "tried", "result", "reason"]
HEADS = ["program", "version", "its socket", "what was tried", "result", "reason"]
TESTS = ["cargo", "test", "--locked", "-p", "aarp", "--test", "programs", "--test", "datagrams"]


def run_tests(folder):
    """All of them, those that are kept for the full tier too."""
    environment = dict(os.environ, AARP_RECORDS=folder)
    words = [*TESTS, "--no-fail-fast", "--", "--include-ignored"]
    if subprocess.run(words, cwd=ROOT, env=environment).returncode != 0:
        sys.exit("a test failed: nothing is written")


def read_records(folder):
    """The rows that the records make: what was found twice is one row."""
    rows = set()
    for file in sorted(pathlib.Path(folder).glob("*.jsonl")):
        for line in file.read_text().splitlines():
            record = json.loads(line)
            if (record["schema"], record["type"]) != (1, "program"):
                sys.exit(f"{file}: what is this? {line}")
            row = tuple(record[column] for column in COLUMNS)
            if any("|" in cell for cell in row):
                sys.exit(f"{file}: a | would end the cell: {line}")
            rows.add(row)
    return sorted(rows)


def table(rows):
    # What came out alike is one row.
    tried = {}
    for row in rows:
        program, version, calls, what, result, reason = row
        tried.setdefault((program, version, calls, result, reason), []).append(what)
    lines = [HEADS, ["---"] * len(HEADS)]
    for key in sorted(tried, key=lambda key: (key[0].lower(), key)):
        program, version, calls, result, reason = key
        shown = result if result == "pinned" else f"**{result}**"
        lines.append([program, version, calls, "<br>".join(tried[key]), shown, reason])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def written_rows(text):
    rows = []
    for line in text.splitlines()[2:]:
        cells = [cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")]
        program, version, calls, tried, result, reason = cells
        for what in tried.split("<br>"):
            rows.append((program, version, calls, what, result.strip("*"), reason))
    return rows


def parts():
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    written, after = rest.split(END)
    return before, written, after


def check(folder, whole):
    # Without the version.
    found = {row[:1] + row[2:] for row in read_records(folder)}
    written = {row[:1] + row[2:] for row in written_rows(parts()[1])}
    wrong = [("not in the page", row) for row in sorted(found - written)]
    if whole:
        wrong += [("found by no test", row) for row in sorted(written - found)]
    if not found:
        wrong.append(("no records in", folder))
    name = "docs/programs.md says what the tests found"
    print(f"not ok - {name}" if wrong else f"ok - {name}")
    for what, row in wrong:
        print(f"    {what}: {row}")
    if wrong:
        print("    tests/compatibility.py write makes it anew")
    return 1 if wrong else 0


def write(folder):
    rows = read_records(folder)
    if not rows:
        sys.exit(f"no records in {folder}")
    before, _, after = parts()
    PAGE.write_text(f"{before}{BEGIN}{table(rows)}{END}{after}")
    return 0


def main(arguments):
    match arguments:
        case ["write"]:
            with tempfile.TemporaryDirectory() as folder:
                run_tests(folder)
                return write(folder)
        case ["write", folder]:
            return write(folder)
        case ["check", folder]:
            return check(folder, whole=False)
        case ["check", folder, "--whole"]:
            return check(folder, whole=True)
        case ["--help"]:
            print(__doc__.strip())
            return 0
        case _:
            print(__doc__.strip(), file=sys.stderr)
            return 64


sys.exit(main(sys.argv[1:]))
