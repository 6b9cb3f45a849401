//! The same for `unreach`: ICMPv6 errors that are right in all but one respect.
//!
//! The quote begins with an IPv6 header of forty octets and a UDP header of eight;
//! behind them is the payload of our probe: magic, version, method and padding in
//! eight octets, the nonce in sixteen, the number of the attempt in four.

use std::net::Ipv6Addr;

use aarp_lab::rootless;
use serde_json::json;

use crate::frame::Message;
use crate::path::{A, PATIENCE, Path, Socket, U};
use crate::{COUNT, SOURCES, other, record, stage};

/// Where the quoted destination, destination port, source port and payload begin.
const DESTINATION: usize = 24;
const SOURCE_PORT: usize = 40;
const PORT: usize = 42;
const PAYLOAD: usize = 48;

/// A kind of forgery.
struct Kind {
    name: &'static str,
    /// In what it differs from the right answer.
    differs: &'static str,
    /// By what name the client counts number `n`; by none where its kernel does not
    /// deliver it, or where it says that the probe has not arrived.
    counted: fn(&Message, u16) -> Option<&'static str>,
    /// Makes number `n` out of the right one.
    forge: fn(Message, u16) -> Message,
}

/// Changes one of `count` octets of the quote.
fn quote(mut message: Message, from: usize, count: usize, n: u16) -> Message {
    let at = from + usize::from(n) % count;
    message.payload[at] ^= (other(n / 16) as u8).max(1);
    message
}

const KINDS: [Kind; 11] = [
    Kind {
        name: "type",
        differs: "type",
        // Errors are told, be their type known or not; 3 and 4 say that it has not
        // arrived. The rest is no error.
        counted: |message, _| match message.kind {
            3 | 4 | 128.. => None,
            _ => Some("malformed"),
        },
        forge: |mut message, n| {
            message.kind = match n as u8 {
                1 => 2,
                kind => kind,
            };
            message
        },
    },
    Kind {
        name: "code",
        differs: "code",
        // Another reason why it has not arrived, which is no answer.
        counted: |_, _| None,
        forge: |mut message, n| {
            message.code = match n as u8 {
                4 => 0,
                code => code,
            };
            message
        },
    },
    Kind {
        name: "checksum",
        differs: "checksum",
        counted: |_, _| None,
        forge: |mut message, n| {
            // 0xffff is what the kernel holds to be the same as 0.
            message.checksum_off = other(n).min(0xfffe);
            message
        },
    },
    Kind {
        name: "quoted nonce",
        differs: "payload",
        counted: |_, _| Some("payload"),
        forge: |message, n| quote(message, PAYLOAD + 8, 16, n),
    },
    Kind {
        name: "quoted attempt",
        differs: "payload",
        counted: |_, _| Some("payload"),
        forge: |mut message, n| {
            // The next ones first.
            let attempt = (u32::from(n) + 1) * if n < 100 { 1 } else { 40_503 };
            message.payload[PAYLOAD + 24..PAYLOAD + 28].copy_from_slice(&attempt.to_be_bytes());
            message
        },
    },
    Kind {
        name: "quoted magic, version and method",
        differs: "payload",
        counted: |_, _| Some("payload"),
        forge: |message, n| quote(message, PAYLOAD, 8, n),
    },
    Kind {
        name: "quoted destination",
        differs: "payload",
        counted: |_, _| Some("destination"),
        forge: |message, n| quote(message, DESTINATION, 16, n),
    },
    Kind {
        name: "quoted port",
        differs: "payload",
        counted: |_, _| Some("destination"),
        forge: |mut message, n| {
            let port = u16::from_be_bytes([message.payload[PORT], message.payload[PORT + 1]]);
            let port = (port ^ other(n)).to_be_bytes();
            message.payload[PORT..PORT + 2].copy_from_slice(&port);
            message
        },
    },
    Kind {
        name: "quoted source port",
        differs: "payload",
        // That of another socket, or of none.
        counted: |_, _| None,
        forge: |mut message, n| {
            let octets = [
                message.payload[SOURCE_PORT],
                message.payload[SOURCE_PORT + 1],
            ];
            let port = (u16::from_be_bytes(octets) ^ other(n)).to_be_bytes();
            message.payload[SOURCE_PORT..SOURCE_PORT + 2].copy_from_slice(&port);
            message
        },
    },
    Kind {
        name: "truncated quote",
        differs: "payload",
        // The kernel itself needs the headers.
        counted: |message, _| (message.payload.len() >= PAYLOAD).then_some("payload"),
        forge: |mut message, n| {
            let length = message.payload.len();
            message.payload.truncate(usize::from(n) % length);
            message
        },
    },
    Kind {
        name: "longer quote",
        differs: "payload",
        counted: |_, _| Some("payload"),
        forge: |mut message, n| {
            let length = message.payload.len() + 1 + usize::from(n) % 300;
            message.payload.resize(length, n as u8);
            message
        },
    },
];

/// Sends what is forged, and then the right answer, which alone is taken.
fn try_on(
    path: &mut Path,
    name: &str,
    differs: &str,
    (a, u): (Ipv6Addr, Ipv6Addr),
    trusted: &str,
    forge: impl Fn(Message, u16) -> (Message, Option<&'static str>),
) {
    let (process, right) = path.ask_by_unreach("300s", (a, u), trusted);
    let mut ignored = serde_json::Map::new();
    let forged: Vec<_> = (0..COUNT)
        .map(|n| {
            let (forged, counted) = forge(right.clone(), n);
            let read = Message::parse(&forged.emit()).expect("an ICMPv6 message");
            assert_eq!(read.differences(&right), [differs], "{name}: {n}");
            if let Some(counted) = counted {
                let before = ignored
                    .get(counted)
                    .map_or(0, |count| count.as_u64().unwrap());
                ignored.insert(counted.to_owned(), json!(before + 1));
            }
            forged
        })
        .collect();
    path.send(forged.into_iter());
    let ended = process.try_wait().unwrap();
    assert!(ended.is_none(), "{name}: {}", process.stdout().unwrap());

    path.send([right].into_iter());
    let status = process.wait(PATIENCE).unwrap();
    let log = process.stderr().unwrap();
    assert_eq!(status.code(), Some(0), "{name}: {log}");
    let record = record(&process);
    let context = format!("{name}: {record}");
    assert_eq!(record["state"], "pinned", "{context}");
    assert_eq!(record["unicast"], u.to_string(), "{context}");
    assert_eq!(record["method"], "unreach", "{context}");
    assert_eq!(record["socket"], path.socket().name(), "{context}");
    assert_eq!(record["probes"], 1, "{context}");
    // Nothing was lost on the way: every single one has been looked at.
    assert_eq!(record["ignored"], json!(ignored), "{context}");
}

fn with_path(body: impl FnOnce(&mut Path)) {
    if stage::has(&["ip"]) {
        rootless::test(|| body(&mut Path::new(Socket::Udp).expect("an ordinary socket")));
    }
}

#[test]
fn forged_errors_on_a_udp_socket() {
    with_path(|path| {
        for kind in &KINDS {
            try_on(path, kind.name, kind.differs, (A, U), "::/0", |right, n| {
                let forged = (kind.forge)(right, n);
                let counted = (kind.counted)(&forged, n);
                (forged, counted)
            });
        }
    });
}

#[test]
fn forged_offenders_on_a_udp_socket() {
    with_path(|path| {
        for kind in &SOURCES {
            let counted = (kind.fate == crate::SOURCE).then_some("source");
            let (of, trusted) = ((kind.a, kind.u), kind.trusted);
            try_on(path, kind.name, kind.differs, of, trusted, |right, n| {
                ((kind.forge)(right, n), counted)
            });
        }
    });
}

/// A flood of forged answers, of every kind at once, holds nobody beyond the budget.
#[test]
fn a_flood_of_errors_ends_with_the_budget() {
    with_path(|path| {
        let (process, right) = path.ask_by_unreach("2s", (A, U), "::/0");
        let forged = |n| KINDS.iter().map(move |kind| (kind.forge, n));
        let forged = (0..20).flat_map(forged);
        let forged: Vec<_> = forged.map(|(forge, n)| forge(right.clone(), n)).collect();
        path.flood(&forged, &process);
        let record = record(&process);
        assert_eq!(record["state"], "unanswered", "{record}");
        for name in ["malformed", "payload", "destination"] {
            assert!(record["ignored"][name].as_u64() > Some(1000), "{record}");
        }
    });
}
