//! Records for programs: one JSON object a line (docs/json.md, docs/json-schema/).

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use serde::Serialize;

/// What every record begins with.
#[derive(Debug, Serialize)]
struct Envelope<'r, R> {
    schema: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    time: String,
    #[serde(flatten)]
    record: &'r R,
}

/// Writes a record of that type as a line.
pub(crate) fn write(
    to: &mut impl Write,
    kind: &'static str,
    time: SystemTime,
    record: &impl Serialize,
) -> io::Result<()> {
    let envelope = Envelope {
        schema: 1,
        kind,
        time: rfc3339(time),
        record,
    };
    serde_json::to_writer(&mut *to, &envelope)?;
    writeln!(to)?;
    to.flush()
}

/// Says why there is nothing to show about a destination: as a record where those are
/// wanted, so that its reader need not guess, and to people on standard error.
pub(crate) fn nothing(json: bool, name: &str, reason: &str, code: u8) -> io::Result<u8> {
    if json {
        let record = serde_json::json!({"name": name, "reason": reason, "code": code});
        write(
            &mut io::stdout().lock(),
            "nothing",
            SystemTime::now(),
            &record,
        )?;
    } else {
        eprintln!("aarp-probe: {name}: {reason}");
    }
    Ok(code)
}

/// A moment, in UTC.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// A time in milliseconds, as a number.
pub(crate) fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_a_line() {
        #[derive(Serialize)]
        struct One {
            rtt_ms: f64,
        }
        let mut line = Vec::new();
        let rtt_ms = ms(Duration::from_nanos(81_400));
        write(&mut line, "one", SystemTime::UNIX_EPOCH, &One { rtt_ms }).unwrap();
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "{\"schema\":1,\"type\":\"one\",\"time\":\"1970-01-01T00:00:00.000Z\",\"rtt_ms\":0.081}\n"
        );
    }
}
