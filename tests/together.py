#!/usr/bin/env python3
"""Runs the test programs of a workspace, one on each processor.

Usage: tests/together.py [CARGO-ARGUMENT...] [-- HARNESS-ARGUMENT...]

As `cargo test --no-fail-fast` with the same arguments, which runs one program after
the other: most tests wait most of the time, and the longest test of a program would
have the machine for itself. What a program prints is printed whole, when it has
ended, below a line `Running NAME`. Exit status: 0 if all passed, 101 if some test
failed, cargo's own if something could not be built.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time


def split(words):
    """What is for cargo, and what is for the test programs."""
    if "--" in words:
        at = words.index("--")
        return words[:at], words[at + 1 :]
    return words, []


class Programs:
    """Programs that are run, and ended when this one is."""

    def __init__(self):
        # The handler of a signal may interrupt who holds it.
        self.lock = threading.RLock()
        self.running = set()
        self.ending = False

    def run(self, command, **options):
        with self.lock:
            if self.ending:
                return None
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                **options,
            )
            self.running.add(child)
        output, _ = child.communicate()
        with self.lock:
            self.running.discard(child)
        return child.returncode, output

    def end(self):
        with self.lock:
            self.ending = True
            for child in self.running:
                child.terminate()


def built(arguments):
    """The test programs, each with the folder of its package, in cargo's order."""
    command = ["cargo", "test", "--no-run", "--message-format=json-render-diagnostics"]
    build = subprocess.run(command + arguments, stdout=subprocess.PIPE, text=True)
    if build.returncode != 0:
        sys.exit(build.returncode)
    found = []
    for line in build.stdout.splitlines():
        message = json.loads(line)
        if message["reason"] != "compiler-artifact" or not message["executable"]:
            continue
        if message["profile"]["test"]:
            folder = pathlib.Path(message["manifest_path"]).parent
            found.append((message["executable"], folder, message["target"]["src_path"]))
    # Of programs of the root package the tests in networks take longest.
    return sorted(found, key=lambda program: (len(program[1].parts), program[2]))


def main():
    for_cargo, for_harness = split(sys.argv[1:])
    queue = built(for_cargo)
    if not queue:
        sys.exit("no test programs")
    programs, lock, failed = Programs(), threading.Lock(), []

    def end(number, _frame):
        programs.end()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)

    def work():
        while True:
            with lock:
                if not queue:
                    return
                executable, folder, source = queue.pop(0)
            began = time.monotonic()
            environment = dict(os.environ, CARGO_MANIFEST_DIR=str(folder))
            ended = programs.run([executable, *for_harness], cwd=folder, env=environment)
            if ended is None:
                return
            status, output = ended
            with lock:
                name = os.path.relpath(source)
                print(f"     Running {name} ({os.path.relpath(executable)})")
                print(f"{output}     {name}: {time.monotonic() - began:.1f} s", flush=True)
                if status != 0:
                    failed.append(f"{name} (status {status})")

    workers = [threading.Thread(target=work) for _ in range(os.cpu_count() or 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    documentation = ["cargo", "test", "--doc", *for_cargo, "--", *for_harness]
    status, output = programs.run(documentation)
    print(output, end="")
    if status != 0:
        failed.append("documentation")
    if failed:
        print("failed: " + ", ".join(failed))
        sys.exit(101)


main()
