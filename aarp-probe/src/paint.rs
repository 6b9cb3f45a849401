//! Colours and signs, where the one who reads can see them.

use std::io::IsTerminal;

use clap::ValueEnum;

/// When there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Whether standard output is to be coloured.
    pub(crate) fn of_stdout(self) -> bool {
        match self {
            Color::Always => true,
            Color::Never => false,
            // https://no-color.org: present and not empty.
            Color::Auto => {
                std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                    && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
                    && std::io::stdout().is_terminal()
            }
        }
    }
}

/// How something is to be told from the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As everything.
    Plain,
    /// Less important.
    Faint,
    /// A heading.
    Bold,
    /// As it should be.
    Good,
    /// To be looked at.
    Note,
    /// Not as it should be.
    Bad,
    /// The responder of that number.
    Responder(usize),
}

/// The colours of responders, in their order: told apart by people who do not tell
/// red from green, on light and on dark.
const RESPONDERS: [u8; 6] = [33, 208, 162, 37, 178, 99];

/// Whether there are colours, and signs outside of ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Brush {
    /// Whether there are colours.
    pub(crate) color: bool,
    /// Whether block elements and the like can be shown.
    pub(crate) unicode: bool,
    /// Columns of the terminal, where lines are to be no wider.
    pub(crate) width: Option<usize>,
}

impl Brush {
    /// For standard output.
    pub(crate) fn of_stdout(color: Color) -> Self {
        Self {
            color: color.of_stdout(),
            unicode: is_utf8(["LC_ALL", "LC_CTYPE", "LANG"].map(|name| std::env::var(name).ok())),
            width: terminal_width(),
        }
    }

    /// The text in lines that the terminal has room for, all but the first indented.
    pub(crate) fn wrapped(self, text: &str, indent: usize) -> String {
        match self.width {
            // Narrower than that, a line would be a word.
            Some(width) if width >= indent + 20 => wrap(text, width, indent).join("\n"),
            _ => text.to_owned(),
        }
    }

    /// The text in that tone.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        if !self.color || text.is_empty() {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Faint => "2".to_owned(),
            Tone::Bold => "1".to_owned(),
            Tone::Good => "32".to_owned(),
            Tone::Note => "33".to_owned(),
            Tone::Bad => "31".to_owned(),
            Tone::Responder(n) => format!("38;5;{}", RESPONDERS[n % RESPONDERS.len()]),
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Whether the first of the variables of a locale that is set names UTF-8.
fn is_utf8(variables: [Option<String>; 3]) -> bool {
    let set = variables
        .into_iter()
        .flatten()
        .find(|value| !value.is_empty());
    set.is_some_and(|value| {
        let value = value.to_ascii_lowercase();
        value.contains("utf-8") || value.contains("utf8")
    })
}

/// Columns that the text takes, where each character takes one; what colours it
/// takes none.
pub(crate) fn columns(text: &str) -> usize {
    let mut count = 0;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '\x1b' {
            characters.by_ref().find(|c| c.is_ascii_alphabetic());
        } else {
            count += 1;
        }
    }
    count
}

/// Columns of the terminal that standard output is; none where it is none.
fn terminal_width() -> Option<usize> {
    let stdout = std::io::stdout();
    let size = stdout
        .is_terminal()
        .then(|| rustix::termios::tcgetwinsize(stdout).ok())??;
    (size.ws_col > 0).then_some(size.ws_col.into())
}

/// The text in lines of at most `width` columns, as far as its words are no longer;
/// from the second on they are indented.
pub(crate) fn wrap(text: &str, width: usize, indent: usize) -> Vec<String> {
    let rest = text.trim_start_matches(' ');
    let mut lines = Vec::new();
    let mut line = " ".repeat(text.len() - rest.len());
    let mut gap = None;
    for word in rest.split(' ') {
        match gap {
            // Of several spaces all stay.
            Some(spaces) if word.is_empty() => {
                gap = Some(spaces + 1);
                continue;
            }
            Some(spaces) if columns(&line) + spaces + columns(word) > width => {
                lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            }
            Some(spaces) => line.push_str(&" ".repeat(spaces)),
            None => {}
        }
        line.push_str(word);
        gap = Some(1);
    }
    lines.push(line);
    lines
}

/// The line, cut to so many columns.
pub(crate) fn cut(line: &str, width: usize) -> String {
    let mut cut = String::new();
    let mut count = 0;
    let mut colored = false;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\x1b' {
            let mut code = String::from(character);
            for c in characters.by_ref() {
                code.push(c);
                if c.is_ascii_alphabetic() {
                    break;
                }
            }
            colored = code != "\x1b[0m";
            cut.push_str(&code);
            continue;
        }
        if count == width {
            break;
        }
        cut.push(character);
        count += 1;
    }
    if colored {
        cut.push_str("\x1b[0m");
    }
    cut
}

/// A table whose columns are as wide as they need to be; each cell in its tone.
pub(crate) fn table(brush: Brush, rows: &[Vec<(String, Tone)>]) -> String {
    table_after(brush, rows, &mut Vec::new())
}

/// A table that goes on: its columns are as wide as those before it, or wider where
/// they need to be.
pub(crate) fn table_after(
    brush: Brush,
    rows: &[Vec<(String, Tone)>],
    widths: &mut Vec<usize>,
) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    widths.resize(count.max(widths.len()), 0);
    for (column, width) in widths.iter_mut().enumerate() {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let needed = cells.map(|(text, _)| columns(text)).max().unwrap_or(0);
        *width = needed.max(*width);
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for ((cell, tone), width) in row.iter().zip(widths.iter()) {
            line.push_str(&brush.paint(*tone, cell));
            line.push_str(&" ".repeat(width - columns(cell) + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A row of headings.
pub(crate) fn headings(words: &[&str]) -> Vec<(String, Tone)> {
    words
        .iter()
        .map(|word| ((*word).to_owned(), Tone::Bold))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Brush = Brush {
        color: false,
        unicode: true,
        width: None,
    };
    const COLOR: Brush = Brush {
        color: true,
        unicode: true,
        width: None,
    };

    #[test]
    fn what_colours_takes_no_column() {
        let red = COLOR.paint(Tone::Bad, "lost");
        assert_eq!(red, "\x1b[31mlost\x1b[0m");
        assert_eq!(columns(&red), 4);
        assert_eq!(cut(&red, 2), "\x1b[31mlo\x1b[0m");
        assert_eq!(cut(&format!("{red} and more"), 6), "\x1b[31mlost\x1b[0m a");
        assert_eq!(cut("▁▂▃", 2), "▁▂");
        assert_eq!(PLAIN.paint(Tone::Bad, "lost"), "lost");
    }

    #[test]
    fn long_lines_are_wrapped_between_words() {
        assert_eq!(wrap("one two three", 7, 2), ["one two", "  three"]);
        assert_eq!(wrap("one two three", 100, 2), ["one two three"]);
        assert_eq!(
            wrap("a-very-long-word b c", 6, 1),
            ["a-very-long-word", " b c"]
        );
        assert_eq!(wrap("", 10, 2), [""]);
        assert_eq!(wrap("  a   b c", 7, 2), ["  a   b", "  c"]);
        let red = COLOR.paint(Tone::Bad, "one two");
        assert_eq!(wrap(&red, 7, 0).len(), 1);
    }

    #[test]
    fn columns_are_as_wide_as_they_need() {
        let cell = |text: &str, tone| (text.to_owned(), tone);
        let rows = [
            headings(&["A", "RTT"]),
            vec![cell("2001:db8::1", Tone::Good), cell("1 ms", Tone::Plain)],
        ];
        assert_eq!(table(PLAIN, &rows), "A            RTT\n2001:db8::1  1 ms\n");
        let colored = table(COLOR, &rows);
        for (line, plain) in colored.lines().zip(table(PLAIN, &rows).lines()) {
            assert_eq!(columns(line), columns(plain));
        }
    }

    #[test]
    fn the_locale_that_counts_is_the_first_that_is_set() {
        let set = |text: &str| Some(text.to_owned());
        assert!(is_utf8([None, None, set("en_US.UTF-8")]));
        assert!(!is_utf8([set("C"), None, set("en_US.UTF-8")]));
        assert!(is_utf8([set(""), set("C.utf8"), None]));
        assert!(!is_utf8([None, None, None]));
    }
}
