//! What any octets are good for: each function takes some, and panics when a promise
//! of a parser is broken. They use the public parsers alone, so that fuzz targets can
//! call them.
#![allow(dead_code, missing_docs, unreachable_pub)]

use aarp_health::http::{BODY_MAX, Response};
use aarp_health::{Check, Checks, dns};

/// Whatever comes is taken in, within bounds, in one piece and in any pieces alike.
/// The first octet says how long the pieces are.
pub fn http(octets: &[u8]) {
    let Some((size, octets)) = octets.split_first() else {
        return;
    };
    let mut whole = Response::new();
    let at_once = whole.push(octets);
    let mut pieces = Response::new();
    let mut seen = None;
    let in_pieces = octets.chunks(1 + usize::from(*size)).try_for_each(|piece| {
        let result = pieces.push(piece);
        let status = pieces.status();
        // What is said once stays so.
        assert!(seen.is_none() || seen == status);
        seen = status;
        result
    });
    assert_eq!(at_once, in_pieces);
    if at_once.is_ok() {
        assert_eq!(whole, pieces);
    }
    assert!(whole.body().len() <= BODY_MAX);
    assert!(
        whole
            .status()
            .is_none_or(|status| (100..=999).contains(&status))
    );
    if let (Ok(()), Some(plain)) = (at_once, by_hand(octets)) {
        let shown = &plain.1[..plain.1.len().min(BODY_MAX)];
        assert_eq!((whole.status(), whole.body()), (Some(plain.0), shown));
    }
}

/// A second, plainer reading of the plainest responses: one head, with CRLF and a
/// length.
fn by_hand(octets: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = octets.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = str::from_utf8(&octets[..end]).ok()?;
    // Bare line feeds end lines as well, and a return alone does not.
    if head.matches('\n').count() != head.matches("\r\n").count() {
        return None;
    }
    let mut lines = head.split("\r\n");
    let status: u16 = lines.next()?.get(9..12)?.parse().ok()?;
    let fields: Vec<(String, &str)> = lines
        .map(|line| {
            line.split_once(':')
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
        })
        .collect::<Option<_>>()?;
    let [(name, value)] = &fields[..] else {
        return None;
    };
    let length: usize = value.parse().ok().filter(|_| name == "content-length")?;
    let bodiless = status < 200 || [204, 304].contains(&status);
    let body = &octets[end + 4..];
    (!bodiless).then(|| (status, body[..length.min(body.len())].to_vec()))
}

/// Octets that are taken for an answer begin as the query does, but for the bits and
/// counts that a response may have and the case of letters.
pub fn dns(octets: &[u8]) {
    let Some(([high, low, kind], octets)) = octets.split_first_chunk::<3>() else {
        return;
    };
    for text in [".", "example.test", "A.b"] {
        let name = dns::Name::parse(text).expect("a name");
        let query = dns::Query {
            id: u16::from_be_bytes([*high, *low]),
            name: &name,
            record_type: dns::RecordType(u16::from(*kind)),
        };
        let asked = query.emit();
        let answers = octets.len() >= asked.len()
            && octets[..2] == asked[..2]
            && octets[2] >> 3 == 0b1_0000
            && octets[4..6] == asked[4..6]
            && octets[12..asked.len()].eq_ignore_ascii_case(&asked[12..])
            && octets[asked.len() - 4..asked.len()] == asked[asked.len() - 4..];
        let answer = query.answer(octets);
        assert_eq!(answer.is_ok(), answers, "{text}: {answer:?}");
        if let Ok(rcode) = answer {
            assert_eq!(rcode.0, octets[3] & 15);
        }
    }
}

/// Names that are read are written within the limits of the format.
pub fn dns_name(octets: &[u8]) {
    let Some(name) = str::from_utf8(octets).ok().and_then(dns::Name::parse) else {
        return;
    };
    assert_eq!(dns::Name::parse(&name.to_string()).as_ref(), Some(&name));
    let record_type = dns::RecordType::AAAA;
    let query = dns::Query {
        id: 0,
        name: &name,
        record_type,
    };
    let message = query.emit();
    let mut rest = &message[12..];
    while let Some((length @ 1.., behind)) = rest.split_first() {
        assert!(*length <= 63);
        rest = &behind[usize::from(*length)..];
    }
    assert_eq!(rest, b"\0\0\x1c\0\x01");
    assert!(message.len() - 12 - 4 <= 255);
}

/// What is read of a file is a check that says so itself, or one line.
pub fn settings(octets: &[u8]) {
    let Ok(text) = str::from_utf8(octets) else {
        return;
    };
    match text.parse::<Check>() {
        Ok(check) => {
            // A line break between words of a command is a space.
            assert_eq!(check.to_string().parse(), Ok(check));
        }
        Err(bad) => assert!(!bad.to_string().contains('\n')),
    }
    let file = format!("checks = {text}");
    #[derive(Debug, serde::Deserialize)]
    struct File {
        checks: Checks,
    }
    match toml::from_str::<File>(&file) {
        Ok(file) => {
            for check in file.checks.0 {
                assert!(check.rise.get() <= 100 && check.fall.get() <= 100);
                assert!(check.interval >= std::time::Duration::from_millis(10));
                assert!(check.timeout <= std::time::Duration::from_secs(60));
            }
        }
        Err(error) => assert!(!error.message().is_empty()),
    }
}
