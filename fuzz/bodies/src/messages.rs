//! Messages on the wire, and of netlink.

use std::net::Ipv6Addr;

use aarp_wire::Error;
use aarp_wire::errqueue::QueuedError;
use aarp_wire::icmpv6::{EchoKind, EchoPacket, EchoRepr, fill_checksum};
use aarp_wire::probe::{Method, Payload};
use aarp_wire::route::{REQUEST_MAX, RouteAnswer, RouteRepr, RouteRequest, RouteType};

use crate::input::Input;

/// ICMPv6 echo messages: `EchoRepr`.
pub fn echo(data: &[u8]) {
    let expected = match data {
        [129 | 128, 0, _, _, i0, i1, s0, s1, rest @ ..] => Ok(EchoRepr {
            kind: match data[0] {
                128 => EchoKind::Request,
                _ => EchoKind::Reply,
            },
            ident: u16::from(*i0) << 8 | u16::from(*i1),
            sequence: u16::from(*s0) << 8 | u16::from(*s1),
            data: rest,
        }),
        [_, _, _, _, _, _, _, _, ..] if data[0] >> 1 != 64 => Err(Error::Type),
        [_, _, _, _, _, _, _, _, ..] => Err(Error::Code),
        _ => Err(Error::Truncated),
    };
    assert_eq!(EchoRepr::parse(data), expected);
    let Ok(repr) = expected else { return };

    assert_eq!(repr.buffer_len(), data.len());
    let mut room = vec![0xa5; data.len() + 1];
    assert!(repr.emit(&mut room[..data.len() - 1]).is_err());
    let emitted = repr.emit(&mut room).expect("there is room");
    assert_eq!((&emitted[..2], &emitted[2..4]), (&data[..2], &[0, 0][..]));
    assert_eq!(emitted[4..], data[4..]);

    // A right checksum holds, and no change of one bit escapes it.
    let mut input = Input(data);
    let (src, dst): (Ipv6Addr, Ipv6Addr) = (
        input.array::<16>().into(),
        input.array::<16>().map(|o| !o).into(),
    );
    fill_checksum(src, dst, emitted).expect("long enough");
    let holds = |octets: &[u8]| {
        EchoPacket::new(octets)
            .expect("long enough")
            .checksum_holds(src, dst)
    };
    assert!(holds(emitted));
    let at = usize::from(repr.ident) % emitted.len();
    emitted[at] ^= 1 << (repr.sequence % 8);
    assert!(!holds(emitted));
    assert_eq!(room[data.len()], 0xa5, "written beyond the message");
}

/// The payload of a probe: `Payload`.
pub fn payload(data: &[u8]) {
    let expected = match data {
        [b'A', b'A', b'R', b'P', 1, method @ (1 | 2), 0, 0, rest @ ..] if data.len() == 32 => {
            match rest.split_at(16) {
                (nonce, [a, b, c, d, 0, 0, 0, 0]) => Some(Payload {
                    method: match method {
                        1 => Method::Echo,
                        _ => Method::Unreach,
                    },
                    nonce: nonce.try_into().expect("16 octets"),
                    attempt: u32::from_be_bytes([*a, *b, *c, *d]),
                }),
                _ => None,
            }
        }
        _ => None,
    };
    assert_eq!(Payload::parse(data).ok(), expected);
    if let Some(payload) = expected {
        assert_eq!(payload.emit(), data);
    }
}

/// Control messages with an error of a socket's queue: `QueuedError`.
pub fn errqueue(data: &[u8]) {
    let expected = read_error(data);
    assert_eq!(QueuedError::parse(data).ok(), expected);
    // Most changes break the length of the first one: once more with one that fits.
    if data.len() >= 16 {
        let mut whole = data.to_vec();
        whole[..8].copy_from_slice(&data.len().to_ne_bytes());
        let error = QueuedError::parse(&whole).ok();
        assert_eq!(error, read_error(&whole));
        if let Some(error) = error {
            assert_eq!(QueuedError::parse(&error.emit()), Ok(error));
        }
    }
}

/// The same, read with indices as in C on a machine of 64 bits.
fn read_error(octets: &[u8]) -> Option<QueuedError> {
    let mut at = 0;
    while at + 16 <= octets.len() {
        let len = u64::from_ne_bytes(octets[at..at + 8].try_into().ok()?);
        let len = usize::try_from(len).ok()?;
        if len < 16 || len > octets.len() - at {
            return None;
        }
        if (word(octets, at + 8)?, word(octets, at + 12)?) == (41, 25) {
            // The structure of 16 octets, and an address of 28.
            if len < 16 + 16 + 28 {
                return None;
            }
            let (error, name) = (at + 16, at + 32);
            let address: [u8; 16] = octets[name + 8..name + 24].try_into().ok()?;
            return Some(QueuedError {
                errno: word(octets, error)?,
                origin: octets[error + 4],
                message_type: octets[error + 5],
                code: octets[error + 6],
                offender: (half(octets, name)? == 10).then(|| address.into()),
            });
        }
        at += len.div_ceil(8) * 8;
    }
    None
}

/// Answers of the kernel about routes: `RouteAnswer`.
pub fn route(data: &[u8]) {
    let own = |octets: &[u8]| match octets.get(8..12) {
        Some(sequence) => u32::from_ne_bytes(sequence.try_into().expect("4 octets")),
        None => 0,
    };
    let check = |octets: &[u8], sequence: u32| {
        let expected = read_answer(octets, sequence);
        assert_eq!(RouteAnswer::parse(octets, sequence).ok(), expected);
        expected
    };
    check(data, own(data));
    assert_eq!(check(data, own(data).wrapping_add(1)), None);
    // Most changes break the length: once more with the right one.
    if let Some(len) = u32::try_from(data.len()).ok().filter(|len| *len >= 16) {
        let mut whole = data.to_vec();
        whole[..4].copy_from_slice(&len.to_ne_bytes());
        check(&whole, own(&whole));
    }
}

/// The same, read with indices as in C.
fn read_answer(octets: &[u8], sequence: u32) -> Option<RouteAnswer> {
    let end = word(octets, 0)? as usize;
    if octets.len() < 16 || !(16..=octets.len()).contains(&end) || word(octets, 8)? != sequence {
        return None;
    }
    let octets = &octets[..end];
    match half(octets, 4)? {
        2 => match word(octets, 16)?.cast_signed() {
            0 | i32::MIN => None,
            code => Some(RouteAnswer::Error(code.abs())),
        },
        24 if end >= 28 && octets[16] == 10 && octets[17] <= 128 => {
            let route_type = match octets[23] {
                1 => RouteType::Unicast,
                2 => RouteType::Local,
                4 => RouteType::Anycast,
                5 => RouteType::Multicast,
                _ => RouteType::Refusing,
            };
            let gateway = has_gateway(octets, 28, end, true)?;
            let prefix_len = octets[17];
            Some(RouteAnswer::Route(RouteRepr {
                route_type,
                prefix_len,
                gateway,
            }))
        }
        _ => None,
    }
}

/// Whether the attributes from `at` to `end` name a router; `None` if one of them is
/// longer than there is room.
fn has_gateway(octets: &[u8], mut at: usize, end: usize, nested: bool) -> Option<bool> {
    let mut gateway = false;
    while at + 4 <= end {
        let len = usize::from(half(octets, at)?);
        if len < 4 || at + len > end {
            return None;
        }
        match half(octets, at + 2)? & 0x3fff {
            5 | 18 => gateway = true,
            9 if nested => {
                let mut hop = at + 4;
                while hop + 8 <= at + len {
                    let size = usize::from(half(octets, hop)?);
                    if size < 8 || hop + size > at + len {
                        return None;
                    }
                    gateway |= has_gateway(octets, hop + 8, hop + size, false)?;
                    hop += size.next_multiple_of(4);
                }
            }
            _ => {}
        }
        at += len.next_multiple_of(4);
    }
    Some(gateway)
}

fn half(octets: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes([*octets.get(at)?, *octets.get(at + 1)?]))
}

fn word(octets: &[u8], at: usize) -> Option<u32> {
    let four = octets.get(at..at + 4)?;
    Some(u32::from_ne_bytes(four.try_into().expect("4 octets")))
}

/// Questions to the kernel about routes, written and read back: `RouteRequest`.
pub fn route_request(data: &[u8]) {
    let mut input = Input(data);
    let which = input.octet();
    let request = RouteRequest {
        destination: input.array::<16>().into(),
        source: (which & 1 != 0).then(|| input.array::<16>().into()),
        interface: input.u32(),
        mark: input.u32(),
        sequence: input.u32(),
    };
    let mut buffer = [0xa5; REQUEST_MAX];
    let octets = request.emit(&mut buffer);
    assert_eq!(word(octets, 0), Some(octets.len() as u32));
    assert_eq!(half(octets, 4), Some(26), "RTM_GETROUTE");
    assert_eq!(half(octets, 6), Some(1), "NLM_F_REQUEST");
    assert_eq!(word(octets, 24), Some(0x2000), "RTM_F_FIB_MATCH");
    assert_eq!((octets[16], octets[17]), (10, 128));
    let mut found = RouteRequest {
        destination: Ipv6Addr::UNSPECIFIED,
        source: None,
        interface: 0,
        mark: 0,
        sequence: word(octets, 8).expect("a header"),
    };
    let mut at = 28;
    while at < octets.len() {
        let len = usize::from(half(octets, at).expect("an attribute"));
        let value = &octets[at + 4..at + len];
        let address = || Ipv6Addr::from(<[u8; 16]>::try_from(value).expect("16 octets"));
        let number = || word(value, 0).expect("4 octets");
        match half(octets, at + 2) {
            Some(1) => found.destination = address(),
            Some(2) => found.source = Some(address()),
            Some(4) => found.interface = number(),
            Some(16) => found.mark = number(),
            other => panic!("attribute {other:?}"),
        }
        at += len;
    }
    assert_eq!(found, request);
    assert_eq!(octets[18] == 128, request.source.is_some());
}
