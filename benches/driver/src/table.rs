//! The results as tables in Markdown.
use std::fmt::Write as _;

use crate::measure::{Results, RowResult};
use crate::rows::Group;

/// Names of the sections of the document, with what stands there.
pub(crate) fn sections(results: &Results) -> Vec<(&'static str, String)> {
    let mut sections = vec![("machine", machine(results))];
    for group in Group::ALL {
        let name = group.section();
        let rows: Vec<_> = results
            .rows
            .iter()
            .filter(|row| row.group == group)
            .collect();
        match (group, rows.as_slice()) {
            (_, []) => {}
            (Group::Start, rows) => sections.push((name, start(rows[0]))),
            (_, rows) => sections.push((name, calls(&results.variants, rows))),
        }
    }
    sections
}

/// All of it, for a terminal.
pub(crate) fn text(results: &Results) -> String {
    sections(results)
        .into_iter()
        .map(|(_, text)| text + "\n")
        .collect()
}

fn machine(results: &Results) -> String {
    let m = &results.machine;
    let kind = if m.virtual_machine { ", virtual" } else { "" };
    format!(
        "- {}: {} CPUs{kind}; pinned to CPU {}; load average at the start {}\n\
         - Linux {}, {}, {}, {}\n\
         - {}, commit {}\n",
        m.cpu,
        m.cpus,
        m.pinned_to,
        m.load.split(' ').take(3).collect::<Vec<_>>().join(" "),
        m.kernel,
        m.libc,
        m.rustc,
        m.cc,
        m.date,
        m.commit,
    )
}

/// Nanoseconds by themselves in the first column, what is added in the others.
fn calls(variants: &[String], rows: &[&RowResult]) -> String {
    // Not every row has every library.
    let names: Vec<_> = variants
        .iter()
        .filter(|name| rows.iter().any(|row| row.cell(name).is_some()))
        .collect();
    let mut text = String::from("| ns per call |");
    for name in &names {
        let _ = write!(text, " {name} |");
    }
    text += "\n|---|";
    text += &"--:|".repeat(names.len());
    text.push('\n');
    for row in rows {
        let _ = write!(text, "| {} |", row.title);
        for name in &names {
            let _ = match row.cell(name) {
                None => write!(text, " – |"),
                Some(cell) if *name == "none" => write!(text, " {} |", rounded(cell.quiet)),
                Some(cell) => {
                    let sign = if cell.added < 0.0 { "−" } else { "+" };
                    write!(text, " {sign}{} |", rounded(cell.added.abs()))
                }
            };
        }
        text.push('\n');
    }
    text
}

fn rounded(nanos: f64) -> String {
    if nanos < 99.95 {
        format!("{nanos:.1}")
    } else {
        format!("{nanos:.0}")
    }
}

fn start(row: &RowResult) -> String {
    let mut text = String::from(
        "| preloaded | µs | added | times the empty object | µs, median | added, median |\n\
         |---|--:|--:|--:|--:|--:|\n",
    );
    let empty = row.cell("empty").map(|cell| cell.added);
    for cell in &row.cells {
        let ratio = empty
            .filter(|_| cell.variant != "none")
            .map_or("–".into(), |empty| format!("{:.2}", cell.added / empty));
        let _ = writeln!(
            text,
            "| {} | {:.0} | {:.1} | {ratio} | {:.0} | {:.1} |",
            cell.variant,
            cell.quiet / 1e3,
            cell.added / 1e3,
            cell.median / 1e3,
            cell.added_median / 1e3,
        );
    }
    text
}
