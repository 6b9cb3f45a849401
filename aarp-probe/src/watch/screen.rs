//! A few lines of a terminal that are painted again and again, below what has been
//! printed.

use std::io::{self, Write};

/// The lines that stand there now.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    shown: usize,
}

impl Screen {
    /// What paints `lines` in the place of those that stand there, with `above`
    /// printed before them for good. As one piece, so that nothing flickers.
    fn piece(&mut self, above: &[String], lines: &[String]) -> String {
        let mut piece = String::new();
        if self.shown > 0 {
            // To the beginning of the first line.
            piece.push_str(&format!("\r\x1b[{}A", self.shown));
        }
        for line in above.iter().chain(lines) {
            piece.push_str(line);
            // What is left of a longer line before.
            piece.push_str("\x1b[K\r\n");
        }
        // And of more lines.
        piece.push_str("\x1b[J");
        self.shown = lines.len();
        piece
    }

    /// Paints.
    pub(crate) fn paint(&mut self, above: &[String], lines: &[String]) -> io::Result<()> {
        let piece = self.piece(above, lines);
        let mut stdout = io::stdout().lock();
        stdout.write_all(piece.as_bytes())?;
        stdout.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn lines_are_painted_over() {
        let mut screen = Screen::default();
        assert_eq!(
            screen.piece(&[], &lines("a\nb")),
            "a\x1b[K\r\nb\x1b[K\r\n\x1b[J"
        );
        assert_eq!(
            screen.piece(&lines("event"), &lines("c")),
            "\r\x1b[2Aevent\x1b[K\r\nc\x1b[K\r\n\x1b[J"
        );
        assert_eq!(screen.piece(&[], &[]), "\r\x1b[1A\x1b[J");
    }
}
