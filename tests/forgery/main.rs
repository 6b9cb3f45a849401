//! Ten thousand replies of each kind that are right in all but one respect: none is
//! accepted; and then one that is right in all, which is.
#![allow(unreachable_pub)]

mod frame;
mod path;
mod ranking;
#[path = "../availability/stage.rs"]
mod stage;
mod unreach;

use std::net::Ipv6Addr;

use aarp_lab::{Process, rootless};
use frame::{ECHO_REPLY, Message};
use path::{A, CLIENT, LOCAL_A, LOCAL_U, PATIENCE, Path, Socket, U};
use serde_json::{Value, json};

/// How many of each kind.
const COUNT: u16 = 10_000;

/// How the client comes to ignore a kind.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// Its kernel delivers it to neither kind of socket.
    Kernel,
    /// Ping sockets do not get it; on a raw socket it is counted by this name.
    CountedOnRaw(&'static str),
    /// As often as it has type 161 a ping socket gets it, where the kernel knows
    /// extended echo (RFC 8335); a raw socket, with our filter, never does.
    ExtendedEcho,
    /// It is counted by this name.
    Counted(&'static str),
}

impl Fate {
    /// What aarp-probe may say that it has ignored, and how often.
    fn expected(self, socket: Socket) -> Vec<Value> {
        let nothing = json!({});
        match (self, socket) {
            (Fate::Kernel, _) => vec![nothing],
            (Fate::CountedOnRaw(_), Socket::Ping | Socket::Udp)
            | (Fate::ExtendedEcho, Socket::Raw | Socket::Udp) => vec![nothing],
            (Fate::Counted(name) | Fate::CountedOnRaw(name), _) => vec![json!({ name: COUNT })],
            (Fate::ExtendedEcho, Socket::Ping) => {
                vec![nothing, json!({ "malformed": COUNT / 256 })]
            }
        }
    }
}

/// A kind of forgery.
struct Kind {
    name: &'static str,
    /// In what it differs from the right reply.
    differs: &'static str,
    fate: Fate,
    /// Makes number `n` out of the right one.
    forge: fn(Message, u16) -> Message,
    a: Ipv6Addr,
    u: Ipv6Addr,
    trusted: &'static str,
}

/// Some number that follows from `n`, and is never 0.
fn other(n: u16) -> u16 {
    (n.wrapping_mul(40_503) ^ 0x5a5a).max(1)
}

fn from(message: Message, prefix: [u16; 7], n: u16) -> Message {
    let [a, b, c, d, e, f, g] = prefix;
    Message {
        source: Ipv6Addr::new(a, b, c, d, e, f, g, n.wrapping_add(2)),
        ..message
    }
}

fn payload(mut message: Message, n: u16) -> Message {
    let length = message.payload.len();
    match n % 8 {
        // Shorter, longer, and as long with any octet changed.
        0 => message.payload.truncate(usize::from(n / 8) % length),
        1 => message
            .payload
            .resize(length + 1 + usize::from(n) % 40, n as u8),
        _ => message.payload[usize::from(n) % length] ^= (other(n) as u8).max(1),
    }
    message
}

const fn kind(
    name: &'static str,
    differs: &'static str,
    fate: Fate,
    forge: fn(Message, u16) -> Message,
) -> Kind {
    Kind {
        name,
        differs,
        fate,
        forge,
        a: A,
        u: U,
        trusted: "::/0",
    }
}

const SOURCE: Fate = Fate::Counted("source");

/// The message itself.
const FIELDS: [Kind; 6] = [
    kind("type", "type", Fate::ExtendedEcho, |mut message, n| {
        message.kind = match n as u8 {
            ECHO_REPLY => 0,
            kind => kind,
        };
        message
    }),
    kind(
        "code",
        "code",
        Fate::Counted("malformed"),
        |mut message, n| {
            message.code = (n % 255) as u8 + 1;
            message
        },
    ),
    kind("checksum", "checksum", Fate::Kernel, |mut message, n| {
        // 0xffff is what the kernel holds to be the same as 0.
        message.checksum_off = other(n).min(0xfffe);
        message
    }),
    kind(
        "identifier",
        "identifier",
        Fate::CountedOnRaw("identifier"),
        |mut message, n| {
            message.ident ^= other(n);
            message
        },
    ),
    kind(
        "sequence",
        "sequence",
        Fate::Counted("sequence"),
        |mut message, n| {
            // The next ones first.
            message.sequence = message.sequence.wrapping_add(n + 1);
            message
        },
    ),
    kind("payload", "payload", Fate::Counted("payload"), payload),
];

/// Where it comes from.
const SOURCES: [Kind; 12] = [
    kind("multicast", "source", Fate::Kernel, |message, n| {
        from(message, [0xff0e, 0, 0, 0, 0, 0, 0], n)
    }),
    kind("loopback", "source", Fate::Kernel, |message, _| Message {
        source: Ipv6Addr::LOCALHOST,
        ..message
    }),
    kind("IPv4-mapped", "source", SOURCE, |message, n| {
        from(message, [0, 0, 0, 0, 0, 0xffff, 0xc000], n)
    }),
    kind("unspecified", "source", SOURCE, |message, _| Message {
        source: Ipv6Addr::UNSPECIFIED,
        ..message
    }),
    kind("link-local", "source", SOURCE, |message, n| {
        from(message, [0xfe80, 0, 0, 0, 0, 0, 0], n)
    }),
    kind("the client's own", "source", SOURCE, |message, _| Message {
        source: CLIENT,
        ..message
    }),
    kind("on-link when A is not", "source", SOURCE, |message, n| {
        from(message, [0x2001, 0xdb8, 0xc, 0, 0, 0, 7], n)
    }),
    kind(
        "on a more specific route",
        "source",
        SOURCE,
        |message, n| from(message, [0x2001, 0xdb8, 7, 0, 0, 0, 0], n),
    ),
    kind(
        "unique local for a global A",
        "source",
        SOURCE,
        |message, n| from(message, [0xfd00, 0x51, 0, 0, 0, 0, 0], n),
    ),
    Kind {
        a: LOCAL_A,
        u: LOCAL_U,
        ..kind(
            "global for a unique local A",
            "source",
            SOURCE,
            |message, n| from(message, [0x2001, 0xdb8, 0x51, 0, 0, 0, 0], n),
        )
    },
    Kind {
        trusted: "2001:db8:51::/48",
        ..kind("outside `trusted`", "source", SOURCE, |message, n| {
            from(message, [0x2001, 0xdb8, 0x66, 0, 0, 0, 0], n)
        })
    },
    Kind {
        trusted: "2001:db8:51::2/128",
        ..kind("beside the one trusted", "source", SOURCE, |message, n| {
            from(message, [0x2001, 0xdb8, 0x51, 0, 0, 0, 0], n + 1)
        })
    },
];

/// The record of a process that has ended.
fn record(process: &Process) -> Value {
    let text = process.stdout().unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

impl Kind {
    fn run(&self, path: &mut Path) {
        let context = format!("{} on a {}", self.name, path.socket().name());
        let (process, probe) = path.ask(self.a, &[("AARP_TRUSTED", self.trusted)]);
        let right = probe.reply(self.u);
        let forged = (0..COUNT).map(|n| {
            let forged = (self.forge)(right.clone(), n);
            let read = Message::parse(&forged.emit()).expect("an ICMPv6 message");
            assert_eq!(read.differences(&right), [self.differs], "{context}: {n}");
            forged
        });
        path.send(forged.collect::<Vec<_>>().into_iter());
        let ended = process.try_wait().unwrap();
        assert!(ended.is_none(), "{context}: {}", process.stdout().unwrap());

        path.send([right].into_iter());
        let status = process.wait(PATIENCE).unwrap();
        let log = process.stderr().unwrap();
        assert_eq!(status.code(), Some(0), "{context}: {log}");
        let record = record(&process);
        let context = format!("{context}: {record}");
        assert_eq!(record["state"], "pinned", "{context}");
        assert_eq!(record["unicast"], self.u.to_string(), "{context}");
        assert_eq!(record["socket"], path.socket().name(), "{context}");
        assert_eq!(record["probes"], 1, "{context}");
        // Nothing was lost on the way: what the kernel delivers has been looked at,
        // every single one.
        let expected = self.fate.expected(path.socket());
        assert!(expected.contains(&record["ignored"]), "{context}");
    }
}

fn all(kinds: &[Kind], socket: Socket) {
    if !stage::has(&["ip"]) {
        return;
    }
    rootless::test(|| {
        let Some(mut path) = Path::new(socket) else {
            return;
        };
        for kind in kinds {
            kind.run(&mut path);
        }
    });
}

/// Right replies that come twice, late, or to another question.
fn out_of_time(socket: Socket) {
    if !stage::has(&["ip"]) {
        return;
    }
    rootless::test(|| {
        let Some(mut path) = Path::new(socket) else {
            return;
        };
        let (first, probe) = path.ask(A, &[]);
        let right = probe.reply(U);
        // Twice, and often: the first one ends the question.
        path.send(vec![right.clone(); 100].into_iter());
        assert_eq!(first.wait(PATIENCE).unwrap().code(), Some(0));
        let told = record(&first);
        assert_eq!(told["unicast"], U.to_string(), "{told}");

        // The answers of the first question, and what becomes of them with the
        // numbers of the second: only the nonce tells them apart.
        let (second, probe) = path.ask(A, &[]);
        let adapted = Message {
            ident: probe.ident,
            sequence: probe.sequence,
            ..right.clone()
        };
        assert_eq!(adapted.differences(&probe.reply(U)), ["payload"]);
        path.send(vec![adapted; usize::from(COUNT)].into_iter());
        path.send(vec![right; usize::from(COUNT)].into_iter());
        assert!(second.try_wait().unwrap().is_none());
        let other = "2001:db8:51::3".parse().unwrap();
        path.send([probe.reply(other)].into_iter());
        assert_eq!(second.wait(PATIENCE).unwrap().code(), Some(0));
        let told = record(&second);
        assert_eq!(told["unicast"], "2001:db8:51::3", "{told}");
        assert!(
            told["ignored"]["payload"].as_u64() >= Some(u64::from(COUNT)),
            "{told}"
        );

        // Later than the question lasts: nobody is there any more.
        let retransmit = [("AARP_RETRANSMIT", "100ms")];
        let (third, probe) = path.ask_for("300ms", A, &retransmit);
        assert_eq!(third.wait(PATIENCE).unwrap().code(), Some(1));
        assert_eq!(record(&third)["state"], "unanswered");
        path.send([probe.reply(U)].into_iter());

        // Later than the second attempt was sent: it still answers the question.
        let (fourth, probe) = path.ask_for("300s", A, &retransmit);
        let again = path.probe(A);
        assert_eq!(again.sequence, probe.sequence.wrapping_add(1));
        assert_ne!(again.payload, probe.payload);
        // With the number of one attempt and the payload of the other it does not.
        let mixed = Message {
            sequence: again.sequence,
            ..probe.reply(U)
        };
        path.send(vec![mixed; usize::from(COUNT)].into_iter());
        assert!(fourth.try_wait().unwrap().is_none());
        path.send([probe.reply(U)].into_iter());
        assert_eq!(fourth.wait(PATIENCE).unwrap().code(), Some(0));
        let told = record(&fourth);
        assert_eq!(told["unicast"], U.to_string(), "{told}");
        assert_eq!(told["ignored"], json!({ "payload": COUNT }), "{told}");
    });
}

#[test]
fn duplicated_and_late_replies_on_a_ping_socket() {
    out_of_time(Socket::Ping);
}

#[test]
fn duplicated_and_late_replies_on_a_raw_socket() {
    out_of_time(Socket::Raw);
}

/// The same under the library: forged replies do not move a program, and the right
/// one does.
#[test]
fn a_program_is_moved_by_the_right_reply_alone() {
    if !stage::has(&["ip", "bash"]) {
        return;
    }
    rootless::test(|| {
        let mut path = Path::new(Socket::Ping).expect("an ordinary socket");
        let host = path.lab.host("client").unwrap();
        let connect = format!("exec 3<>/dev/tcp/{A}/80");
        let process = host
            .command(stage::tool("aarp-run"))
            .args(["bash", "-c", &connect])
            .env("AARP_CONFIG", "/dev/null")
            .env("AARP_PREFIXES", format!("{A}/128"))
            .env("AARP_BUDGET", "300s")
            .env("AARP_RETRANSMIT", "200s")
            .env("AARP_LOG", "debug")
            .spawn()
            .unwrap();
        let right = path.probe(A).reply(U);
        let forged: Vec<_> = (0..COUNT)
            .flat_map(|n| {
                let own = Message {
                    source: CLIENT,
                    ..right.clone()
                };
                [payload(right.clone(), n), own]
            })
            .collect();
        path.send(forged.into_iter());
        assert!(path.is_without_syn());
        path.send([right].into_iter());
        assert_eq!(path.syn(), U);
        process.kill();
        let log = process.stderr().unwrap();
        assert!(log.contains(&format!("pinned, {U} answered")), "{log}");
        assert!(log.contains("an address of this host"), "{log}");
    });
}

#[test]
fn forged_fields_on_a_ping_socket() {
    all(&FIELDS, Socket::Ping);
}

#[test]
fn forged_fields_on_a_raw_socket() {
    all(&FIELDS, Socket::Raw);
}

#[test]
fn forged_sources_on_a_ping_socket() {
    all(&SOURCES, Socket::Ping);
}

#[test]
fn forged_sources_on_a_raw_socket() {
    all(&SOURCES, Socket::Raw);
}
