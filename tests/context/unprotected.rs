//! What the storms are for: the library with one protection taken out does not weather
//! them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::storms::Storm;
use crate::{Place, stage, with_place};

/// What is taken out, as a patch that is called so, in which storm that shows, how long
/// that is, and what is seen of it.
const TAKEN_OUT: [(&str, Storm, u32, &str); 7] = [
    // A child has its parent's memory, and is none of the processes that it knows.
    ("wiping", Storm::Forks, 20_000, "WRONG: "),
    // A lock that a thread held at the fork is held for ever: a child is stuck by it, and
    // who waits for the child.
    ("try-lock", Storm::Forks, 20_000, "STUCK: "),
    // And so is one that the interrupted thread holds itself.
    (
        "try-lock",
        Storm::Signals,
        120,
        "STUCK: thread 0 in in the handler",
    ),
    // A handler that does not come back leaves what was open.
    ("held-signals", Storm::Signals, 20, " descriptors are left"),
    // Cancellation ends a thread in the midst of a question.
    (
        "system-calls-of-its-own",
        Storm::Cancellations,
        2000,
        "unknown destination",
    ),
    // What is held around the call behind is held for ever.
    ("empty-hands", Storm::Cancellations, 2000, "STUCK: "),
    // Half a record is none, and the program is shown U.
    ("second-record", Storm::Steps, 1, " shows 2001:db8:51::2"),
];

/// Nobody may do one thing for longer.
const STUCK: u32 = 10;

/// A copy of the sources, in which something may be changed, and what is built of it.
struct Copy {
    source: PathBuf,
    build: PathBuf,
}

impl Copy {
    /// The one that a run before this has left is used again: what has not changed is
    /// not built anew.
    fn new() -> Self {
        let folder = stage::stage().with_file_name("unprotected");
        let copy = Self {
            source: folder.join("source"),
            build: folder.join("build"),
        };
        if copy.source.exists() {
            fs::remove_dir_all(&copy.source).expect("a folder of ours");
        }
        fs::create_dir_all(&copy.source).expect("a writable folder");
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for entry in fs::read_dir(root).expect("the sources") {
            let name = entry.expect("an entry").file_name();
            if name == "target" || name.to_string_lossy().starts_with('.') {
                continue;
            }
            // With its times, by which cargo knows what is new.
            run(Command::new("cp")
                .arg("-a")
                .arg(root.join(&name))
                .arg(&copy.source));
        }
        copy
    }

    /// Applies a patch, or takes it back.
    fn patch(&self, name: &str, more: &[&str]) {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/context");
        let patch = tests.join(format!("without-{name}.patch"));
        // In a folder inside a work tree, git would look for the files there.
        run(Command::new("git")
            .args(["apply", "--whitespace=nowarn"])
            .args(more)
            .arg(patch)
            .env(
                "GIT_CEILING_DIRECTORIES",
                self.source.parent().expect("a folder"),
            )
            .current_dir(&self.source));
    }

    fn library(&self) -> PathBuf {
        run(Command::new(env!("CARGO"))
            .args(["build", "--locked", "--profile", "preload", "-p", "aarp"])
            .arg("--target-dir")
            .arg(&self.build)
            .current_dir(&self.source));
        self.build.join("preload/libaarp.so")
    }
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}: {said}",
        output.status
    );
}

#[test]
#[ignore = "long: in tests/run.sh --full"]
fn without_any_of_the_protections_a_storm_is_not_weathered() {
    if !stage::has(&["git", "cp"]) {
        return;
    }
    with_place(|_| {
        let copy = Copy::new();
        let mut weathered = Vec::new();
        for (name, storm, size, sign) in TAKEN_OUT {
            copy.patch(name, &[]);
            let library = copy.library();
            copy.patch(name, &["--reverse"]);
            // One of its own: who is stuck in another still holds its ports.
            let place = Place::new();
            let mut command = storm.command(&place, &library, size, STUCK);
            if storm == Storm::Steps {
                // In a handler; and the last number says how many steps are all taken.
                command = storm.command(&place, &library, size, 300).arg("signal");
            }
            let output = command.limit(Duration::from_secs(600)).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            let shown = said.lines().find(|line| line.contains(sign));
            println!("without {name}, {storm:?}: {}: {shown:?}", output.status);
            if output.status.success() || shown.is_none() {
                weathered.push(format!(
                    "without {name}, {storm:?}: {}: {said}",
                    output.status
                ));
            }
        }
        assert!(weathered.is_empty(), "{}", weathered.join("\n"));
    });
}
