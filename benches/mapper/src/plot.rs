//! A plot of times: a dot for each turn, and a line at the median.

use std::fmt::Write as _;

pub(crate) struct Row {
    pub(crate) label: String,
    pub(crate) values: Vec<f64>,
}

pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) about: String,
    pub(crate) rows: Vec<Row>,
}

const LEFT: f64 = 300.0;
const WIDTH: f64 = 460.0;
const TOP: f64 = 64.0;
const HEIGHT: f64 = 34.0;
/// Of ways that are compared: colours that colour-blind people tell apart, too.
const COLOURS: [&str; 5] = ["#0072b2", "#e69f00", "#009e73", "#56b4e9", "#cc79a7"];

impl Plot {
    /// As an SVG document.
    pub(crate) fn svg(&self) -> String {
        let values = self.rows.iter().flat_map(|row| &row.values);
        let most = values.copied().fold(0.0, f64::max);
        let step = grid(most);
        let top = (most / step).ceil().max(1.0) * step;
        let x = |value: f64| LEFT + value / top * WIDTH;
        let bottom = TOP + HEIGHT * self.rows.len() as f64;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 790 {:.0}\" \
             font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"12\" y=\"24\" font-size=\"16\">{}</text>\n\
             <text x=\"12\" y=\"44\" fill=\"#555\">{}</text>\n",
            bottom + 40.0,
            escape(&self.title),
            escape(&self.about),
        );
        let mut line = |text: std::fmt::Arguments<'_>| {
            // Writing to a string does not fail.
            let _ = writeln!(out, "{text}");
        };
        let mut at = 0.0;
        while at <= top + step / 2.0 {
            let x = x(at);
            line(format_args!(
                "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#ddd\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{at} s</text>",
                bottom + 18.0
            ));
            at += step;
        }
        for (number, row) in self.rows.iter().enumerate() {
            let y = TOP + HEIGHT * number as f64;
            let colour = COLOURS[number % COLOURS.len()];
            line(format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 10.0,
                y + HEIGHT / 2.0 + 4.0,
                escape(&row.label)
            ));
            let mut values = row.values.clone();
            values.sort_by(f64::total_cmp);
            for (turn, value) in values.iter().enumerate() {
                let down = 8.0 + (HEIGHT - 16.0) * turn as f64 / values.len().max(2) as f64;
                line(format_args!(
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\" fill-opacity=\"0.7\"/>",
                    x(*value),
                    y + down
                ));
            }
            if let Some(median) = values.get(values.len() / 2) {
                let x = x(*median);
                line(format_args!(
                    "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                    y + 3.0,
                    y + HEIGHT - 3.0
                ));
            }
        }
        out += "</svg>\n";
        out
    }
}

/// 1, 2 or 5 times a power of ten, so that there are at most six lines.
fn grid(most: f64) -> f64 {
    let mut power = 0.1;
    loop {
        for step in [power, 2.0 * power, 5.0 * power] {
            if most <= 6.0 * step {
                return step;
            }
        }
        power *= 10.0;
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
