//! What stands on a terminal after a program has written to it: as much of a terminal
//! as our program uses.

/// The lines of a terminal that is high enough for all of them.
#[derive(Debug, Default)]
pub struct Terminal {
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
}

impl Terminal {
    /// After all of `text`.
    pub fn after(text: &str) -> Self {
        let mut terminal = Self::default();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match character {
                '\r' => terminal.column = 0,
                '\n' => terminal.row += 1,
                '\x1b' => {
                    assert_eq!(characters.next(), Some('['), "in {text:?}");
                    let mut number = String::new();
                    let end = characters.by_ref().find(|c| {
                        number.extend((!c.is_ascii_alphabetic()).then_some(*c));
                        c.is_ascii_alphabetic()
                    });
                    terminal.control(end, &number);
                }
                other => terminal.put(other),
            }
        }
        terminal
    }

    fn control(&mut self, end: Option<char>, number: &str) {
        match end {
            // Colours.
            Some('m') => {}
            Some('A') => {
                let up: usize = number.parse().unwrap();
                self.row = self.row.checked_sub(up).expect("not above the first line");
            }
            Some('K') => {
                let column = self.column;
                self.line().truncate(column);
            }
            Some('J') => {
                let column = self.column;
                self.line().truncate(column);
                let row = self.row;
                self.lines.truncate(row + 1);
            }
            other => panic!("an unknown control sequence: {other:?}"),
        }
    }

    fn line(&mut self) -> &mut Vec<char> {
        if self.lines.len() <= self.row {
            self.lines.resize(self.row + 1, Vec::new());
        }
        &mut self.lines[self.row]
    }

    fn put(&mut self, character: char) {
        let column = self.column;
        let line = self.line();
        if line.len() <= column {
            line.resize(column + 1, ' ');
        }
        line[column] = character;
        self.column += 1;
    }

    /// What is seen.
    pub fn text(&self) -> String {
        let lines: Vec<String> = self
            .lines
            .iter()
            .map(|line| line.iter().collect::<String>().trim_end().to_owned())
            .collect();
        lines.join("\n")
    }
}

#[test]
fn what_is_painted_over_is_not_seen() {
    let text = "one\r\n\x1b[31mtwo\x1b[0m\r\nthree\r\n\r\x1b[2A2\x1b[K\r\n3\x1b[K\r\n\x1b[J";
    assert_eq!(Terminal::after(text).text(), "one\n2\n3\n");
}
