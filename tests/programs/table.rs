//! The table in docs/programs.md: what the other tests here assert of each program.
use std::fmt::Write as _;
use std::path::Path;

use crate::session::Program;
use crate::unconfigured::{budget, is_pinned};
use crate::{FAR, NEAR};

const BEGIN: &str = "<!-- begin: written by tests/programs -->\n";
const END: &str = "<!-- end -->\n";

fn table() -> String {
    let mut table = "| program | its socket | A in `prefixes`, 0 and 80 ms \
                     | nothing configured, 0 ms | nothing configured, 80 ms |\n\
                     |---|---|---|---|---|\n"
        .to_owned();
    for program in Program::ALL {
        let kind = match program.is_nonblocking() {
            true => "does not block",
            false => "blocks",
        };
        let [near, far] = [NEAR, FAR].map(|round_trip| match is_pinned(program, round_trip) {
            true => "pinned".to_owned(),
            false => format!(
                "**unpinned** (`budget`, {} ms)",
                budget(program).as_millis()
            ),
        });
        let name = program.name();
        let _ = writeln!(table, "| {name} | {kind} | pinned | {near} | {far} |");
    }
    table
}

/// With AARP_WRITE_DOCS=1 the table is written instead.
#[test]
fn the_document_says_what_these_tests_show() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/programs.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("where the table begins");
    let (written, after) = rest.split_once(END).expect("where the table ends");
    let table = table();
    if std::env::var_os("AARP_WRITE_DOCS").is_some_and(|value| value == "1") {
        std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(
        written, table,
        "docs/programs.md: run it with AARP_WRITE_DOCS=1"
    );
}
