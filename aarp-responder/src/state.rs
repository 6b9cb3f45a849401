//! What a running responder writes down about itself: for `status`, for a second
//! start, and for the start after a crash.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use crate::config::Recipe;
use crate::ruleset::Answer;

/// The schema of the file and of the JSON records.
pub(crate) const SCHEMA: u32 = 1;

/// The process a record belongs to. The start time keeps a process that got
/// the same pid later from being taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// In clock ticks since boot, as in /proc/PID/stat.
    pub(crate) started: u64,
}

/// One responder of this network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) schema: u32,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) anycast: Ipv6Addr,
    /// None while there is no unicast address to answer from.
    pub(crate) unicast: Option<Ipv6Addr>,
    pub(crate) interface: Option<String>,
    pub(crate) recipe: Recipe,
    pub(crate) answer: Answer,
    pub(crate) process: Process,
    /// RFC 3339, UTC.
    pub(crate) since: String,
    /// The anycast address was not there before.
    pub(crate) address_added: bool,
}

/// Field 22 of /proc/PID/stat. The command name in field 2 may hold anything,
/// so that counting starts behind its closing parenthesis.
pub(crate) fn start_time(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// A time in seconds since 1970 as RFC 3339 in UTC.
pub(crate) fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days to a proleptic Gregorian date, with years beginning in March so that
    // the leap day comes last; the count starts at 0000-03-01.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 {
        month_index + 3
    } else {
        month_index - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(4_107_542_400), "2100-03-01T00:00:00Z");
        assert_eq!(rfc3339(1_763_763_661), "2025-11-21T22:21:01Z");
    }

    #[test]
    fn start_time_behind_any_name() {
        let stat = "17 (a) b (c)) S 1 17 17 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 2";
        assert_eq!(start_time(stat), Some(4242));
        for bad in ["", "17 (x", "17 (x) S 1"] {
            assert_eq!(start_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn record_round_trip() {
        let record = Record {
            schema: SCHEMA,
            kind: "responder".into(),
            anycast: "2001:db8:f::1".parse().expect("an address"),
            unicast: None,
            interface: Some("eth0".into()),
            recipe: Recipe::Nft,
            answer: Answer::Probes,
            process: Process { pid: 7, started: 9 },
            since: rfc3339(0),
            address_added: true,
        };
        let text = serde_json::to_string(&record).expect("serialises");
        assert!(
            text.contains(
                r#""schema":1,"type":"responder","anycast":"2001:db8:f::1","unicast":null"#
            )
        );
        assert_eq!(
            serde_json::from_str::<Record>(&text).expect("parses"),
            record
        );
    }
}
