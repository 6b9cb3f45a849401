//! `aarp-probe events`: what happens in aarpd, as it happens.

use std::io::{Write, stdout};

use aarp_core::settings::Settings;
use aarp_wire::mapper::Message;
use serde_json::Value;

use crate::mapper::{Connection, MapperError, Told, Which, concluded, plain};
use crate::options::{count, switch};
use crate::paint::{Brush, Tone};
use crate::stop::Stop;

/// Options of `aarp-probe events`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// End after so many events; without it, Ctrl-C ends it
    #[arg(long, short, value_name = "N", env = "AARP_PROBE_COUNT", value_parser = count)]
    count: Option<u64>,
    #[command(flatten)]
    which: Which,
    /// One JSON record a line, for programs (docs/json.md)
    #[arg(long, env = "AARP_PROBE_JSON", value_parser = switch)]
    json: bool,
}

/// Follows, prints, and returns the exit code.
pub(crate) fn run(arguments: &Arguments, settings: &Settings, brush: Brush) -> anyhow::Result<u8> {
    concluded(arguments.json, follow(arguments, settings, brush))
}

fn follow(arguments: &Arguments, settings: &Settings, brush: Brush) -> anyhow::Result<u8> {
    let stop = Stop::on_signals()?;
    let connection = arguments.which.connect(settings)?;
    connection.ask(&Message::Events)?;
    let mut left = arguments.count;
    loop {
        if let Some(events) = heard(&connection)? {
            let mut stdout = stdout().lock();
            for event in events {
                if left == Some(0) {
                    break;
                }
                if arguments.json {
                    writeln!(stdout, "{}", event.line)?;
                } else {
                    writeln!(stdout, "{}", in_words(brush, &event.record))?;
                }
                left = left.map(|left| left - 1);
            }
            stdout.flush()?;
            if left == Some(0) {
                return Ok(0);
            }
        }
        if stop.wait(Some(&connection), None)? {
            return Ok(0);
        }
    }
}

/// One event: the line, and what it says.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) line: String,
    pub(crate) record: Value,
}

/// What has happened and was told; `None` where nothing more has come yet.
///
/// # Errors
/// As for [`Connection::hear`], and what is no record.
pub(crate) fn heard(connection: &Connection) -> Result<Option<Vec<Event>>, MapperError> {
    let nonsense = |why: String| MapperError::Nonsense(connection.path.clone(), why);
    match connection.hear()? {
        Told::Nothing => Ok(None),
        Told::Done(_) => Err(nonsense("an end of what has none".to_owned())),
        Told::Text(text) => {
            let read = |line: &str| {
                let record = serde_json::from_str(line).map_err(|e| nonsense(e.to_string()))?;
                let line = line.to_owned();
                Ok(Event { line, record })
            };
            text.lines().map(read).collect::<Result<_, _>>().map(Some)
        }
    }
}

/// A line for people.
pub(crate) fn in_words(brush: Brush, event: &Value) -> String {
    let field = |name: &str| match &event[name] {
        Value::String(text) => plain(text),
        Value::Null => "-".to_owned(),
        other => plain(&other.to_string()),
    };
    let kind = field("event");
    let (tone, said) = match kind.as_str() {
        "learned" => (
            Tone::Good,
            format!(
                "{} is {} ({} ms)",
                field("anycast"),
                field("to"),
                field("rtt_ms")
            ),
        ),
        "changed" => (
            Tone::Note,
            format!(
                "{}: {} -> {} ({} ms)",
                field("anycast"),
                field("from"),
                field("to"),
                field("rtt_ms")
            ),
        ),
        "gone" => (
            Tone::Bad,
            format!(
                "{}: {} answers no more; now {}",
                field("anycast"),
                field("from"),
                field("state")
            ),
        ),
        "untrusted" => (
            Tone::Bad,
            format!(
                "{}: {} answered and is not used: {}",
                field("anycast"),
                field("unicast"),
                field("reason")
            ),
        ),
        "failed" => {
            let why = match event["errno"].as_i64() {
                Some(0) | None => "silent".to_owned(),
                Some(errno) => i32::try_from(errno).map_or_else(
                    |_| format!("errno {errno}"),
                    |errno| std::io::Error::from_raw_os_error(errno).to_string(),
                ),
            };
            let what = format!(
                "{}: a program could not use {}",
                field("anycast"),
                field("unicast")
            );
            let (protocol, port) = (field("protocol"), field("port"));
            (
                Tone::Bad,
                format!("{what}, protocol {protocol}, port {port}: {why}"),
            )
        }
        "epoch" => (
            Tone::Note,
            format!(
                "all mappings are in doubt, by a change of {}: epoch {}",
                cause(&field("cause")),
                field("epoch")
            ),
        ),
        "flushed" => (
            Tone::Note,
            format!("{} mappings inside {}", field("count"), field("prefix")),
        ),
        "started" | "stopping" => (Tone::Plain, format!("aarpd, process {}", field("pid"))),
        "reloaded" => (
            Tone::Plain,
            format!(
                "the configuration was read again; {} mappings forgotten",
                field("forgotten")
            ),
        ),
        // Of a later version.
        _ => (Tone::Plain, plain(&event.to_string())),
    };
    let kind = format!("{kind:<9}");
    format!(
        "{}  {}  {said}",
        brush.paint(Tone::Faint, &field("time")),
        brush.paint(tone, &kind)
    )
}

fn cause(name: &str) -> String {
    match name {
        "resume" => "clocks (the host has resumed)".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const BRUSH: Brush = Brush {
        color: false,
        unicode: true,
        width: None,
    };

    proptest::proptest! {
        #[test]
        fn no_text_of_others_steers_a_terminal(
            kind in "learned|changed|gone|untrusted|failed|epoch|flushed|started|reloaded|.*",
            text in proptest::collection::vec(proptest::char::any(), 0..8),
            errno in proptest::num::i64::ANY,
        ) {
            let text: String = text.into_iter().collect();
            let mut event = json!({"event": kind, "errno": errno});
            for field in ["time", "anycast", "from", "to", "rtt_ms", "unicast", "reason", "cause",
                          "state", "epoch", "port", "protocol", "pid", "prefix", "count"] {
                event[field] = text.as_str().into();
            }
            let said = in_words(BRUSH, &event);
            proptest::prop_assert!(!said.chars().any(char::is_control), "{said:?}");
        }
    }

    #[test]
    fn each_kind_has_its_words() {
        let time = "2026-11-22T14:40:19.311Z";
        for (event, words) in [
            (
                json!({"event": "changed", "anycast": "2001:db8::a", "from": "2001:db8::1",
                       "to": "2001:db8::2", "rtt_ms": 0.2}),
                "changed    2001:db8::a: 2001:db8::1 -> 2001:db8::2 (0.2 ms)",
            ),
            (
                json!({"event": "failed", "anycast": "2001:db8::a", "unicast": "2001:db8::1",
                       "protocol": 6, "port": 443, "errno": 111}),
                "failed     2001:db8::a: a program could not use 2001:db8::1, protocol 6, port \
                 443: Connection refused (os error 111)",
            ),
            (
                json!({"event": "epoch", "epoch": 2, "cause": "routes"}),
                "epoch      all mappings are in doubt, by a change of routes: epoch 2",
            ),
            (
                json!({"event": "gone", "anycast": "2001:db8::a", "from": "\u{1b}[2J",
                       "state": "unanswered"}),
                "gone       2001:db8::a: ?[2J answers no more; now unanswered",
            ),
        ] {
            let mut event = event;
            event["time"] = time.into();
            assert_eq!(in_words(BRUSH, &event), format!("{time}  {words}"));
        }
        // What is not known yet is shown as it is.
        let later = json!({"time": time, "event": "eclipsed", "by": "\u{1b}"});
        let said = in_words(BRUSH, &later);
        assert!(
            said.contains("eclipsed") && !said.contains('\u{1b}'),
            "{said}"
        );
    }
}
