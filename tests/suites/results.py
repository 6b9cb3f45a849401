#!/usr/bin/python3
"""Reads, compares and writes down what suites of tests have found.

Usage: tests/suites/results.py junit UNIT STATUS FILE
       tests/suites/results.py tap UNIT STATUS FILE
       tests/suites/results.py unsteady FOLDER
       tests/suites/results.py judge FOLDER TITLE PINNED
       tests/suites/results.py write PAGE FOLDER...

junit, tap  prints a line `UNIT<tab>TEST<tab>RESULT` for each test of a unit that ended
            with STATUS; where it did not come to its end, one for the unit.
unsteady    prints the units whose results under the library are not those without.
judge       prints `ok - ...` or `not ok - ...` for the results in FOLDER, and leaves
            FOLDER/summary.json.
write       puts summaries into the table of PAGE.

FOLDER has native, native-again and library, as arm.sh leaves them, and again/ with
native-N and library-N for the units that were unsteady.
"""
import collections
import json
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree

BEGIN = "<!-- begin: written by tests/suites/run.sh -->\n"
END = "<!-- end -->\n"
NATIVE = ["native", "native-again"]
WORDS = ["ok", "skip", "fail", "error"]


def junit(file):
    for case in ElementTree.parse(file).iter("testcase"):
        name = case.get("name")
        kinds = {child.tag for child in case}
        if "error" in kinds:
            yield name, "error"
        elif "failure" in kinds:
            yield name, "fail"
        elif "skipped" in kinds:
            yield name, "skip"
        else:
            yield name, "ok"


def tap(file):
    """The Test Anything Protocol, subtests too, each below the name of its parent."""
    pending = []
    line_of_test = re.compile(r"^( *)(not )?ok\b *\d*[ -]*(.*?)(?: # *(skip|todo)\b.*)?$", re.I)
    for line in pathlib.Path(file).read_text(errors="replace").splitlines():
        found = line_of_test.match(line)
        if not found:
            continue
        indent, bad, name, directive = found.groups()
        result = "fail" if bad else "ok"
        if directive:
            result = "skip" if directive.lower() == "skip" else "ok"
        depth = len(indent) // 4
        inner = [entry for entry in pending if entry[0] > depth]
        pending = [entry for entry in pending if entry[0] <= depth]
        for _, below, what in inner:
            pending.append((depth, f"{name.strip()} / {below}", what))
        pending.append((depth, name.strip(), result))
    for _, name, result in pending:
        yield name, result


def unit_results(read, unit, status, file):
    """One line a test; names that come several times are numbered."""
    seen = collections.Counter()
    try:
        for name, result in read(file):
            # Ports are others each time.
            name = re.sub(r"(?<=:)[0-9]{4,5}\b", "PORT", name)
            seen[name] += 1
            number = f" #{seen[name]}" if seen[name] > 1 else ""
            print(f"{unit}\t{name}{number}\t{result}")
    except (OSError, ElementTree.ParseError) as error:
        print(f"{unit}: {error}", file=sys.stderr)
    if int(status) >= 124 or (not seen and int(status) != 0):
        print(f"{unit}\t(the unit itself)\tended with status {status}")
    return 0


def arm(folder):
    """{(unit, test): result}."""
    found = {}
    for file in sorted(folder.glob("*.results")):
        for line in file.read_text().splitlines():
            unit, test, result = line.split("\t")
            found[unit, test] = result
    return found


def differing(folder):
    """The tests with another result under the library than each of those without."""
    natives = [arm(folder / name) for name in NATIVE]
    library = arm(folder / "library")
    keys = library.keys() | natives[0].keys() | natives[1].keys()
    return {
        key: ([native.get(key, "absent") for native in natives], library.get(key, "absent"))
        for key in sorted(keys)
        if library.get(key, "absent") not in [native.get(key, "absent") for native in natives]
    }


def unsteady(folder):
    for unit in sorted({unit for unit, _ in differing(folder)}):
        print(unit)
    return 0


def statistics(folder):
    """The sums of what all processes have counted."""
    sums = collections.Counter()
    for file in folder.glob("**/statistics"):
        for line in file.read_text(errors="replace").splitlines():
            for name, count in re.findall(r"([a-z.-]+)=(\d+)", line):
                sums[name] += int(count)
    return sums


def rerun(folder, key):
    """What came out when its unit was run again, alone."""
    found = {"native": [], "library": []}
    for place in sorted((folder / "again").glob("*-*")):
        results = arm(place)
        if key[0] in {unit for unit, _ in results}:
            found[place.name.split("-")[0]].append(results.get(key, "absent"))
    return found


def say(good, text, details=()):
    print(f"{'ok' if good else 'not ok'} - {text}")
    for line in details:
        print(f"    {line}")
    return good


def judge(folder, title, least):
    natives = [arm(folder / name) for name in NATIVE]
    library = arm(folder / "library")
    counts = collections.Counter(library.values())
    good = say(counts["ok"] > 0, f"{title}: tests ran", [] if counts["ok"] else ["none passed"])

    # What is no steady result natively either says nothing about the library.
    flaky = {key for key in natives[0].keys() | natives[1].keys()
             if natives[0].get(key) != natives[1].get(key)}
    wrong, excused = [], []
    for key, (before, after) in differing(folder).items():
        runs = rerun(folder, key)
        line = f"{' '.join(key)}: {', '.join(before)} natively, {after} under the library"
        if runs["native"] and runs["library"]:
            line += f"; alone {', '.join(runs['native'])} and {', '.join(runs['library'])}"
            if set(runs["library"]) <= set(runs["native"]) | set(before):
                excused.append(line)
                flaky.add(key)
                continue
        wrong.append(line)
    text = f"{title}: the same {len(library)} results with and without the library"
    good &= say(not wrong, text, wrong)
    for line in excused:
        print(f"    unsteady, and alike when run alone: {line}")
    for key in sorted(flaky):
        print(f"    not steady: {' '.join(key)}")
    sums = statistics(folder / "library")
    good &= say(sums["pinned"] >= least, f"{title}: {sums['pinned']} pinned, at least {least}")
    rest = " ".join(f"{name}={count}" for name, count in sorted(sums.items()) if name != "pinned")
    print(f"    {rest}")
    failing = sorted(f"{unit} {test}" for (unit, test), result in natives[0].items()
                     if result not in ("ok", "skip") and library.get((unit, test)) == result)
    summary = {
        "title": title,
        "counts": {word: counts[word] for word in WORDS},
        "other": sorted({what for what in counts if what not in WORDS}),
        "flaky": sorted(" ".join(key) for key in flaky),
        "failing": failing,
        "statistics": dict(sorted(sums.items())),
        "good": bool(good),
    }
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    return 0 if good else 1


def write(page, folders):
    lines = ["| suite | version | passed | skipped | failed, with and without us | not steady | pinned | bypassed |",
             "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    failing, flaky = [], []
    for folder in folders:
        summary = json.loads((folder / "summary.json").read_text())
        if not summary["good"]:
            sys.exit(f"{folder}: not good: nothing is written")
        version = (folder / "version").read_text().strip()
        counts, sums = summary["counts"], summary["statistics"]
        bypassed = ", ".join(f"`{name.split('.')[1]}` {count}" for name, count in sums.items()
                             if name.startswith("bypass."))
        bad = len(summary["failing"])
        lines.append(f"| {summary['title']} | {version} | {counts['ok']} | {counts['skip']} | {bad} "
                     f"| {len(summary['flaky'])} | {sums['pinned']} | {bypassed} |")
        failing += [(summary["title"], name) for name in summary["failing"]]
        flaky += [(summary["title"], name) for name in summary["flaky"]]
    for heading, names in (("Failed alike with and without the library", failing),
                           ("Not steady in that run", flaky)):
        lines += ["", f"{heading}:", ""]
        lines += [f"- {title}: `{name}`" for title, name in names] or ["- none"]
    text = page.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(before + BEGIN + "\n".join(lines) + "\n" + END + after)
    return 0


def main(arguments):
    path = pathlib.Path
    match arguments:
        case ["junit", unit, status, file]:
            return unit_results(junit, unit, status, file)
        case ["tap", unit, status, file]:
            return unit_results(tap, unit, status, file)
        case ["unsteady", folder]:
            return unsteady(path(folder))
        case ["judge", folder, title, least]:
            return judge(path(folder), title, int(least))
        case ["write", page, first, *more]:
            return write(path(page), [path(folder) for folder in [first, *more]])
        case _:
            print(__doc__.strip(), file=sys.stderr)
            return 64


sys.exit(main(sys.argv[1:]))
