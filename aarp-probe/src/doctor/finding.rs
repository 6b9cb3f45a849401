//! Findings, and how they are shown.

use serde::Serialize;

use crate::paint::{Brush, Tone};

/// What a finding means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// As it should be.
    Ok,
    /// To be known.
    Note,
    /// It keeps programs from being pinned.
    Hindrance,
}

/// One way to mend something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Remedy {
    pub(crate) what: String,
    pub(crate) commands: Vec<String>,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) check: &'static str,
    pub(crate) verdict: Verdict,
    pub(crate) detail: String,
    pub(crate) remedies: Vec<Remedy>,
    /// The exit code, where it hinders.
    #[serde(skip)]
    pub(crate) code: u8,
    /// Whether it is that A answered itself.
    #[serde(skip)]
    pub(crate) is_ordinary: bool,
}

impl Finding {
    fn new(check: &'static str, verdict: Verdict, detail: impl Into<String>, code: u8) -> Self {
        Self {
            check,
            verdict,
            detail: detail.into(),
            remedies: Vec::new(),
            code,
            is_ordinary: false,
        }
    }

    /// Something as it should be.
    pub(crate) fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, detail, 0)
    }

    /// Something to be known.
    pub(crate) fn note(check: &'static str, detail: impl Into<String>) -> Self {
        Self::new(check, Verdict::Note, detail, 0)
    }

    /// Something that hinders, with its exit code.
    pub(crate) fn hindrance(check: &'static str, code: u8, detail: impl Into<String>) -> Self {
        Self::new(check, Verdict::Hindrance, detail, code)
    }

    /// What hinders one way of asking is a note where another way works.
    pub(crate) fn unless(mut self, works: bool) -> Self {
        if works && self.verdict == Verdict::Hindrance {
            self.verdict = Verdict::Note;
            self.detail.push_str("; here another method has an answer");
        }
        self
    }

    /// That A answered itself, beside another address to which programs are moved.
    pub(crate) fn beside_another(mut self) -> Self {
        self.verdict = Verdict::Note;
        self.detail
            .push_str("; another address of the name is pinned");
        self.remedies.clear();
        self
    }

    /// With one more thing to be known.
    pub(crate) fn also(mut self, what: &str) -> Self {
        self.detail = format!("{}; {what}", self.detail);
        if self.verdict == Verdict::Ok {
            self.verdict = Verdict::Note;
        }
        self
    }

    /// Whether it keeps programs from being pinned.
    pub(crate) fn hinders(&self) -> bool {
        self.verdict == Verdict::Hindrance
    }

    /// With a way to mend it.
    pub(crate) fn remedy(
        mut self,
        what: impl Into<String>,
        commands: impl IntoIterator<Item = String>,
    ) -> Self {
        self.remedies.push(Remedy {
            what: what.into(),
            commands: commands.into_iter().collect(),
        });
        self
    }

    /// Lines for people.
    pub(crate) fn text(&self, brush: Brush) -> String {
        let (tone, sign) = match self.verdict {
            Verdict::Ok => (Tone::Good, "ok"),
            Verdict::Note => (Tone::Note, "note"),
            Verdict::Hindrance => (Tone::Bad, "HINDERS"),
        };
        let line = format!(
            "{}{}{:<15}{}",
            brush.paint(tone, sign),
            " ".repeat(9 - sign.len()),
            self.check,
            self.detail
        );
        // What is to be pasted stays one line.
        let mut text = format!("{}\n", brush.wrapped(&line, 24));
        for remedy in &self.remedies {
            let what = format!("{:24}{}", "", remedy.what);
            text.push_str(&format!("{}\n", brush.wrapped(&what, 24)));
            for command in &remedy.commands {
                let command = brush.paint(Tone::Bold, command);
                text.push_str(&format!("{:26}{command}\n", ""));
            }
        }
        text
    }
}

/// The exit code for all: what keeps everything from working comes first.
pub(crate) fn code(findings: &[Finding]) -> u8 {
    use crate::exit;
    let codes: Vec<u8> = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Hindrance)
        .map(|finding| finding.code)
        .collect();
    let first = [
        exit::CONFIGURATION,
        exit::NOT_PERMITTED,
        exit::SOFTWARE,
        exit::NO_ANSWER,
        exit::UNTRUSTED,
        exit::CANNOT_BE_PINNED,
    ];
    first
        .into_iter()
        .find(|code| codes.contains(code))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hinders_most_gives_the_code() {
        let found = |codes: &[u8]| {
            let findings: Vec<Finding> = codes
                .iter()
                .map(|code| Finding::hindrance("x", *code, ""))
                .collect();
            code(&findings)
        };
        assert_eq!(found(&[]), 0);
        assert_eq!(found(&[2, 77]), 77);
        assert_eq!(found(&[77, 78, 1]), 78);
        assert_eq!(found(&[2, 1]), 1);
        assert_eq!(code(&[Finding::note("x", ""), Finding::ok("x", "")]), 0);
    }

    #[test]
    fn commands_stand_below_what_they_mend() {
        let brush = Brush {
            color: false,
            unicode: true,
            width: None,
        };
        let finding = Finding::hindrance("probe sockets", 77, "not permitted").remedy(
            "let everybody open ping sockets:",
            ["sysctl -w x".to_owned()],
        );
        assert_eq!(
            finding.text(brush),
            "HINDERS  probe sockets  not permitted\n\
             \x20                       let everybody open ping sockets:\n\
             \x20                         sysctl -w x\n"
        );
        let narrow = Brush {
            width: Some(44),
            ..brush
        };
        assert_eq!(
            finding.text(narrow),
            "HINDERS  probe sockets  not permitted\n\
             \x20                       let everybody open\n\
             \x20                       ping sockets:\n\
             \x20                         sysctl -w x\n"
        );
    }
}
