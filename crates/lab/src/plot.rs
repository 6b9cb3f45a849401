//! Plots: counts of packets as bars, on the terminal and as an SVG file.
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;

use serde::Deserialize;

use crate::Result;
use crate::error::Context;
use crate::run::Runner;
use crate::scenario::Step;

/// A bar chart of the packets of a capture. Where its step makes a promise, it is
/// that each bar is lower than the one before.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlotSpec {
    /// Its heading.
    pub title: String,
    /// The name of its SVG file, without the ending.
    pub name: String,
    /// Of which capture.
    pub capture: String,
    /// What differs between the bars, for people.
    pub x: String,
    /// What is counted, for people.
    pub y: String,
    /// What a bar is made of.
    pub series: Vec<Series>,
    /// The bars, from left to right.
    pub bars: Vec<Bar>,
}

/// A part of every bar of a [`PlotSpec`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// Its name.
    pub label: String,
    /// Its packets, as a display filter of tshark's.
    pub decoded: String,
}

/// A bar of a [`PlotSpec`]: the packets between two marks.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bar {
    /// What is written below it.
    pub label: String,
    /// Not before this mark.
    pub since: String,
    /// Before this mark.
    pub until: String,
}

/// A plot with its numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plot {
    title: String,
    x: String,
    y: String,
    series: Vec<String>,
    /// A label, and a number for each series.
    bars: Vec<(String, Vec<usize>)>,
}

impl Runner {
    /// Counts, draws, and judges what the step promises.
    pub(crate) fn plot(&mut self, spec: &PlotSpec, step: &Step) -> Result<()> {
        let mut bars: Vec<_> = spec
            .bars
            .iter()
            .map(|bar| (bar.label.clone(), Vec::new()))
            .collect();
        for series in &spec.series {
            let none = BTreeMap::new();
            let packets = self.decoded(&spec.capture, &series.decoded, &none, &None, &None)?;
            for (bar, (_, numbers)) in spec.bars.iter().zip(&mut bars) {
                let (since, until) = (Some(bar.since.clone()), Some(bar.until.clone()));
                let between = self.between(&since, &until)?;
                numbers.push(packets.iter().filter(|p| between(p.time)).count());
            }
        }
        let plot = Plot {
            title: spec.title.clone(),
            x: spec.x.clone(),
            y: spec.y.clone(),
            series: spec.series.iter().map(|s| s.label.clone()).collect(),
            bars,
        };
        let file = self.lab().work().join(format!("{}.svg", spec.name));
        fs::write(&file, plot.svg()).context(|| format!("write {}", file.display()))?;
        self.keep(file);
        if step.promise.is_some() {
            let heights = plot.heights();
            let seen: Vec<_> = heights.iter().map(ToString::to_string).collect();
            let falls = heights.windows(2).all(|pair| pair[1] < pair[0]);
            self.conclude(step, falls, seen.join(", "));
        }
        self.draw_plot(plot);
        Ok(())
    }
}

impl Plot {
    fn heights(&self) -> Vec<usize> {
        let bars = self.bars.iter();
        bars.map(|(_, numbers)| numbers.iter().sum()).collect()
    }
}

/// Characters of the longest bar on the terminal.
const LONGEST: usize = 60;
/// How the series differ on the terminal.
const FILLS: [char; 4] = ['█', '▒', '░', '▓'];
/// And in the file: colours that colour-blind people tell apart, too.
const COLOURS: [&str; 4] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7"];

impl fmt::Display for Plot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        let heights = self.heights();
        let most = heights.iter().copied().max().unwrap_or(0).max(1);
        let widths = self.bars.iter().map(|(label, _)| label.chars().count());
        let label_width = widths.max().unwrap_or(0);
        writeln!(f, "{}, by {}", self.y, self.x)?;
        for ((label, numbers), height) in self.bars.iter().zip(&heights) {
            write!(f, "  {label:>label_width$} ")?;
            // Ends of the parts, not their lengths: rounding adds nothing up.
            let (mut sum, mut drawn) = (0, 0);
            for (number, fill) in numbers.iter().zip(FILLS.iter().cycle()) {
                sum += number;
                let end = (sum * LONGEST + most / 2) / most;
                write!(f, "{}", fill.to_string().repeat(end - drawn))?;
                drawn = end;
            }
            let parts: Vec<_> = numbers.iter().map(ToString::to_string).collect();
            match parts.len() {
                0 | 1 => writeln!(f, " {height}")?,
                _ => writeln!(f, " {height} ({})", parts.join(" + "))?,
            }
        }
        let legend = self.series.iter().zip(FILLS.iter().cycle());
        let legend: Vec<_> = legend
            .map(|(label, fill)| format!("{fill} {label}"))
            .collect();
        writeln!(f, "  {}", legend.join("  "))
    }
}

/// Drawing area of the file, in its units.
const WIDTH: usize = 640;
const HEIGHT: usize = 400;
const LEFT: usize = 80;
const TOP: usize = 70;
const RIGHT: usize = 620;
const BOTTOM: usize = 340;

impl Plot {
    /// The plot as an SVG document.
    fn svg(&self) -> String {
        let heights = self.heights();
        let step = grid(heights.iter().copied().max().unwrap_or(0));
        let top = heights
            .iter()
            .copied()
            .max()
            .unwrap_or(0)
            .div_ceil(step)
            .max(1)
            * step;
        let y = |number: usize| BOTTOM - number * (BOTTOM - TOP) / top;
        let mut out = String::new();
        // Writing to a string does not fail.
        let mut line = |text: fmt::Arguments<'_>| {
            let _ = out.write_fmt(text);
            out.push('\n');
        };
        line(format_args!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">"#
        ));
        line(format_args!(
            r##"<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>"##
        ));
        let title = escape(&self.title);
        line(format_args!(
            r#"<text x="{LEFT}" y="24" font-size="16">{title}</text>"#
        ));
        for (index, series) in self.series.iter().enumerate() {
            let (x, colour) = (LEFT + index * 220, COLOURS[index % COLOURS.len()]);
            line(format_args!(
                r#"<rect x="{x}" y="38" width="12" height="12" fill="{colour}"/><text x="{}" y="49">{}</text>"#,
                x + 18,
                escape(series)
            ));
        }
        for number in (0..=top).step_by(step) {
            let y = y(number);
            line(format_args!(
                r##"<path d="M{LEFT} {y}H{RIGHT}" stroke="#cccccc"/><text x="{}" y="{}" text-anchor="end">{number}</text>"##,
                LEFT - 8,
                y + 4
            ));
        }
        let slot = (RIGHT - LEFT) / self.bars.len().max(1);
        for (index, (label, numbers)) in self.bars.iter().enumerate() {
            let (left, width) = (LEFT + index * slot + slot / 5, slot * 3 / 5);
            let middle = left + width / 2;
            let mut sum = 0;
            for (number, colour) in numbers.iter().zip(COLOURS.iter().cycle()) {
                let base = y(sum);
                sum += number;
                let upper = y(sum);
                line(format_args!(
                    r#"<rect x="{left}" y="{upper}" width="{width}" height="{}" fill="{colour}"/>"#,
                    base - upper
                ));
            }
            line(format_args!(
                r#"<text x="{middle}" y="{}" text-anchor="middle">{sum}</text>"#,
                y(sum) - 5
            ));
            line(format_args!(
                r#"<text x="{middle}" y="{}" text-anchor="middle">{}</text>"#,
                BOTTOM + 18,
                escape(label)
            ));
        }
        line(format_args!(
            r#"<text x="{}" y="{}" text-anchor="middle">{}</text>"#,
            (LEFT + RIGHT) / 2,
            BOTTOM + 42,
            escape(&self.x)
        ));
        let middle = (TOP + BOTTOM) / 2;
        line(format_args!(
            r#"<text x="18" y="{middle}" text-anchor="middle" transform="rotate(-90 18 {middle})">{}</text>"#,
            escape(&self.y)
        ));
        line(format_args!("</svg>"));
        out
    }
}

/// The distance of the lines of a grid: 1, 2 or 5 times a power of ten, so that there
/// are at most five.
fn grid(most: usize) -> usize {
    let mut power = 1;
    loop {
        for step in [power, 2 * power, 5 * power] {
            if most <= 5 * step {
                return step;
            }
        }
        power *= 10;
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot() -> Plot {
        Plot {
            title: "Load & share".to_owned(),
            x: "share".to_owned(),
            y: "packets".to_owned(),
            series: vec!["to".to_owned(), "from".to_owned()],
            bars: vec![
                ("0 %".to_owned(), vec![40, 80]),
                ("100 %".to_owned(), vec![2, 0]),
            ],
        }
    }

    #[test]
    fn bars_are_as_long_as_their_numbers() {
        let shown = plot().to_string();
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines[0], "Load & share");
        assert_eq!(lines[1], "packets, by share");
        let (to, from) = ("█".repeat(20), "▒".repeat(40));
        assert_eq!(lines[2], format!("    0 % {to}{from} 120 (40 + 80)"));
        assert_eq!(lines[3], "  100 % █ 2 (2 + 0)");
        assert_eq!(lines[4], "  █ to  ▒ from");
    }

    #[test]
    fn the_file_has_a_rectangle_for_each_number() {
        let svg = plot().svg();
        assert!(svg.starts_with("<svg xmlns="));
        assert!(svg.ends_with("</svg>\n"));
        assert!(svg.contains("Load &amp; share"));
        // 120 of 150, which the grid ends at, of 270 units: 72 + 144.
        assert!(svg.contains(r#"y="268" width="162" height="72""#), "{svg}");
        assert!(svg.contains(r#"y="124" width="162" height="144""#), "{svg}");
        assert!(svg.contains(">150</text>"));
        assert!(!svg.contains(">200</text>"));
    }

    #[test]
    fn an_empty_plot_is_drawn() {
        let empty = Plot {
            bars: vec![("0 %".to_owned(), vec![0, 0])],
            ..plot()
        };
        assert!(empty.to_string().contains("0 %  0 (0 + 0)"));
        assert!(empty.svg().contains(r#"height="0""#));
    }

    #[test]
    fn the_grid_has_few_lines_at_round_numbers() {
        for (most, step) in [
            (0, 1),
            (5, 1),
            (6, 2),
            (11, 5),
            (26, 10),
            (120, 50),
            (7001, 2000),
        ] {
            assert_eq!(grid(most), step, "{most}");
        }
    }
}
