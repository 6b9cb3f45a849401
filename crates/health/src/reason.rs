//! What went wrong, in words that stand in a log and in a status.

use std::io;
use std::time::Duration;

use rustix::io::Errno;

use crate::settings::StatusRange;

/// "1 s", "500 ms".
pub(crate) fn duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        _ if micros.is_multiple_of(1_000_000) => format!("{} s", micros / 1_000_000),
        _ if micros.is_multiple_of(1000) => format!("{} ms", micros / 1000),
        _ => format!("{micros} us"),
    }
}

/// What the kernel said.
pub(crate) fn error(error: Errno) -> String {
    match error {
        Errno::CONNREFUSED => "connection refused".into(),
        Errno::CONNRESET => "connection reset".into(),
        Errno::PIPE => "connection closed".into(),
        Errno::NETUNREACH => "network unreachable".into(),
        Errno::HOSTUNREACH => "host unreachable".into(),
        Errno::ADDRNOTAVAIL => "no address to ask from".into(),
        Errno::ACCESS | Errno::PERM => "not permitted".into(),
        other => io::Error::from(other).to_string(),
    }
}

/// A list as one says it: "200-399, 401".
pub(crate) fn statuses(statuses: &[StatusRange]) -> String {
    let words: Vec<String> = statuses.iter().map(ToString::to_string).collect();
    words.join(", ")
}

/// The first line of what somebody else said, short and without control characters.
pub(crate) fn first_line(octets: &[u8]) -> Option<String> {
    const LONGEST: usize = 100;
    let text = String::from_utf8_lossy(octets);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let mut said: String = line
        .chars()
        .take(LONGEST)
        .map(|character| {
            if character.is_control() {
                '?'
            } else {
                character
            }
        })
        .collect();
    if line.chars().nth(LONGEST).is_some() {
        said.push('…');
    }
    Some(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_their_largest_unit() {
        for (micros, expected) in [
            (1_000_000, "1 s"),
            (90_000_000, "90 s"),
            (1_500_000, "1500 ms"),
            (500_000, "500 ms"),
            (250, "250 us"),
        ] {
            assert_eq!(duration(Duration::from_micros(micros)), expected);
        }
    }

    #[test]
    fn a_line_of_a_program_is_made_fit_for_a_log() {
        assert_eq!(first_line(b" \n\n"), None);
        assert_eq!(first_line(b"\n a\x1b[0mb \nc").as_deref(), Some("a?[0mb"));
        assert_eq!(first_line(b"\xff").as_deref(), Some("\u{fffd}"));
        let long = first_line(&[b'x'; 101]).unwrap();
        assert_eq!(long, "x".repeat(100) + "…");
    }
}
