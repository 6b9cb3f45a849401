//! What a run of a scenario comes to, for people.
use std::fmt;

use comfy_table::{ContentArrangement, Table, presets};

use crate::chart::Chart;
use crate::plot::Plot;

/// A line of a report: something promised, and what was seen.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) done: String,
    pub(crate) promised: String,
    pub(crate) seen: String,
    pub(crate) held: bool,
}

/// A part of a report.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    pub(crate) heading: String,
    pub(crate) lines: Vec<Line>,
    pub(crate) charts: Vec<Chart>,
}

/// Counts of packets: a column for each capture.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    pub(crate) title: String,
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<(String, Vec<usize>)>,
}

/// The outcome of a scenario.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub(crate) parts: Vec<Part>,
    pub(crate) counts: Vec<Counts>,
    pub(crate) plots: Vec<Plot>,
    pub(crate) seconds: f64,
}

impl Report {
    /// Whether every promise was kept, and there was at least one.
    pub fn held(&self) -> bool {
        let (kept, all) = self.score();
        all > 0 && kept == all
    }

    /// How many promises were kept, and how many there were.
    pub fn score(&self) -> (usize, usize) {
        let lines = || self.parts.iter().flat_map(|part| &part.lines);
        (lines().filter(|line| line.held).count(), lines().count())
    }

    pub(crate) fn begin(&mut self, heading: &str) {
        self.parts.push(Part {
            heading: heading.to_owned(),
            ..Part::default()
        });
    }

    pub(crate) fn push(&mut self, line: Line) {
        self.part().lines.push(line);
    }

    pub(crate) fn draw(&mut self, chart: Chart) {
        self.part().charts.push(chart);
    }

    /// The part that goes on.
    fn part(&mut self) -> &mut Part {
        if self.parts.is_empty() {
            self.begin("");
        }
        let last = self.parts.len() - 1;
        &mut self.parts[last]
    }
}

/// Wide enough for four columns, narrow enough for a terminal.
const WIDTH: u16 = 110;

fn table() -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH);
    table
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            if part.lines.is_empty() && part.charts.is_empty() {
                continue;
            }
            if !part.heading.is_empty() {
                writeln!(f, "\n{}", part.heading)?;
            }
            for chart in &part.charts {
                writeln!(f, "\n{chart}")?;
            }
            if part.lines.is_empty() {
                continue;
            }
            let mut table = table();
            table.set_header(["What was done", "What was promised", "What was seen", ""]);
            for line in &part.lines {
                let verdict = if line.held { "ok" } else { "FAILED" };
                table.add_row([&line.done, &line.promised, &line.seen, verdict]);
            }
            writeln!(f, "{table}")?;
        }
        for counts in &self.counts {
            writeln!(f, "\n{}", counts.title)?;
            let mut table = table();
            let header = std::iter::once(String::new()).chain(counts.columns.iter().cloned());
            table.set_header(header.collect::<Vec<_>>());
            for (label, numbers) in &counts.rows {
                let numbers = numbers.iter().map(ToString::to_string);
                let row = std::iter::once(label.clone()).chain(numbers);
                table.add_row(row.collect::<Vec<_>>());
            }
            writeln!(f, "{table}")?;
        }
        for plot in &self.plots {
            writeln!(f, "\n{plot}")?;
        }
        let (kept, all) = self.score();
        write!(f, "\n{kept} of {all} promises kept, {:.0} s", self.seconds)
    }
}
