use super::*;
use proptest::prelude::*;

const A: &str = "2001:db8:a::53";
const U: &str = "2001:db8:1::1";

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn answer() -> Answer {
    Answer {
        a: ip(A),
        u: ip(U),
        state: State::Pinned,
        method: Method::Echo,
        failures: 0,
        ttl: 60_000,
        rtt: 1234,
    }
}

#[test]
fn the_octets_are_as_documented() {
    let asked = Message::Resolve(Asked {
        a: ip(A),
        budget: 1000,
        flags: Asked::NONBLOCKING,
    });
    let mut buffer = [0xa5; FIXED_MAX];
    let packet = asked.emit(0x0102_0304, &mut buffer).unwrap();
    let mut expected = b"AARP\x01\x01\x24\x00\x04\x03\x02\x01".to_vec();
    expected.extend(ip(A).octets());
    expected.extend([0xe8, 3, 0, 0, 1, 0, 0, 0]);
    assert_eq!(packet, expected);
    let packet = Message::Mapping(answer()).emit(7, &mut buffer).unwrap();
    let mut expected = b"AARP\x01\x02\x38\x00\x07\0\0\0".to_vec();
    expected.extend(ip(A).octets());
    expected.extend(ip(U).octets());
    expected.extend([1, 1, 0, 0, 0x60, 0xea, 0, 0, 0xd2, 4, 0, 0]);
    assert_eq!(packet, expected);
}

#[test]
fn numbers_of_types_and_states_are_their_places() {
    for (at, kind) in Type::ALL.into_iter().enumerate() {
        assert_eq!(kind as usize, at + 1);
        assert_eq!(Type::of(kind as u8), Some(kind));
    }
    for (at, state) in State::ALL.into_iter().enumerate() {
        assert_eq!(state as usize, at + 1);
        assert_eq!(State::of(state as u8), Some(state));
    }
    assert_eq!((Type::of(0), Type::of(16)), (None, None));
    assert_eq!((State::of(0), State::of(5)), (None, None));
}

#[test]
fn what_is_wrong_is_named() {
    let mut buffer = [0; FIXED_MAX];
    let packet = Message::Mapping(answer()).emit(7, &mut buffer).unwrap();
    let wrong = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut octets = packet.to_vec();
        change(&mut octets);
        Message::parse(&octets).unwrap_err()
    };
    let relength = |octets: &mut Vec<u8>| octets[6] = octets.len() as u8;
    assert_eq!(wrong(&|octets| octets.truncate(11)), Error::Truncated);
    assert_eq!(wrong(&|octets| octets[0] = b'B'), Error::Magic);
    assert_eq!(wrong(&|octets| octets[4] = 2), Error::Version);
    assert_eq!(wrong(&|octets| octets[5] = 99), Error::Type);
    assert_eq!(wrong(&|octets| octets.push(0)), Error::Length);
    for state in [0, 5] {
        assert_eq!(wrong(&|octets| octets[44] = state), Error::Value);
        assert_eq!(wrong(&|octets| octets[45] = state), Error::Value);
    }
    assert_eq!(wrong(&|octets| octets[47] = 1), Error::Value);
    let longer = wrong(&|octets| {
        octets.push(0);
        relength(octets);
    });
    let shorter = wrong(&|octets| {
        octets.pop();
        relength(octets);
    });
    assert_eq!((longer, shorter), (Error::Length, Error::Length));
    // The header of what is not known says whom to answer.
    let mut later = packet.to_vec();
    later[5] = 200;
    let header = Header { number: 200, id: 7 };
    assert_eq!(Header::parse(&later), Ok(header));
}

#[test]
fn a_prefix_has_no_bits_behind_it() {
    let flushed = |prefix: &str, length| {
        let mut buffer = [0; FIXED_MAX];
        let message = Message::Flush(ip(prefix), length);
        Message::parse(message.emit(1, &mut buffer).unwrap()).map(|(_, told)| told == message)
    };
    for (prefix, length) in [("::", 0), ("2001:db8::", 32), (A, 128)] {
        assert_eq!(flushed(prefix, length), Ok(true), "{prefix}/{length}");
    }
    for (prefix, length) in [(A, 0), (A, 64), (A, 127), ("::", 129)] {
        assert_eq!(
            flushed(prefix, length),
            Err(Error::Value),
            "{prefix}/{length}"
        );
    }
}

#[test]
fn there_is_room_or_nothing() {
    let message = Message::Mapping(answer());
    let mut room = [0; FIXED_MAX];
    let length = message.emit(1, &mut room).unwrap().len();
    for short in 0..length {
        assert_eq!(message.emit(1, &mut room[..short]), None);
    }
    let mut room = vec![0; 2 * MESSAGE_MAX];
    let text = "x".repeat(TEXT_MAX + 1);
    assert_eq!(Message::Text(&text).emit(1, &mut room), None);
    let longest = Message::Error(Code::SYSTEM, &text[1..]);
    assert_eq!(longest.emit(1, &mut room).unwrap().len(), MESSAGE_MAX);
}

fn addresses() -> impl Strategy<Value = Ipv6Addr> {
    any::<u128>().prop_map(Ipv6Addr::from)
}

fn peers() -> impl Strategy<Value = Peer> {
    (
        any::<u64>(),
        addresses(),
        addresses(),
        any::<u16>(),
        any::<u8>(),
    )
        .prop_map(|(cookie, a, u, port, protocol)| Peer {
            cookie,
            a,
            u,
            port,
            protocol,
        })
}

prop_compose! {
    fn answers()(
        a in addresses(), u in addresses(), state in 0..4usize, echo: bool, failures: u8,
        ttl: u32, rtt: u32,
    ) -> Answer {
        let method = if echo { Method::Echo } else { Method::Unreach };
        Answer { a, u, state: State::ALL[state], method, failures, ttl, rtt }
    }
}

fn failures() -> impl Strategy<Value = Failure> {
    (
        addresses(),
        addresses(),
        any::<u16>(),
        any::<u8>(),
        any::<u32>(),
    )
        .prop_map(|(a, u, port, protocol, errno)| Failure {
            a,
            u,
            port,
            protocol,
            errno,
        })
}

/// Messages, with `text` in those that have some.
fn messages(text: &'static str) -> impl Strategy<Value = Message<'static>> {
    let prefix = (any::<u128>(), 0..=128u32).prop_map(|(bits, length)| {
        let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
        Message::Flush(Ipv6Addr::from(bits & mask), length as u8)
    });
    prop_oneof![
        (addresses(), any::<u32>(), 0..4u32)
            .prop_map(|(a, budget, flags)| Message::Resolve(Asked { a, budget, flags })),
        answers().prop_map(Message::Mapping),
        failures().prop_map(Message::Failed),
        addresses().prop_map(Message::Used),
        addresses().prop_map(Message::List),
        prefix,
        Just(Message::Status),
        Just(Message::Events),
        Just(Message::Metrics),
        Just(Message::Text(text)),
        any::<u32>().prop_map(Message::Done),
        any::<u32>().prop_map(move |code| Message::Error(Code(code), text)),
        peers().prop_map(Message::Socket),
        any::<u64>().prop_map(Message::Whose),
        peers().prop_map(Message::Peer),
    ]
}

proptest! {
    #[test]
    fn what_is_emitted_is_parsed(id: u32, message in messages("{\"schema\":1}\n")) {
        let mut buffer = [0xa5; 128];
        let packet = message.emit(id, &mut buffer).unwrap();
        prop_assert!(packet.len() <= FIXED_MAX);
        prop_assert_eq!(Message::parse(packet), Ok((id, message)));
    }

    #[test]
    fn foreign_bytes_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = Message::parse(&octets);
    }

    #[test]
    fn what_is_parsed_is_emitted(
        number in 0..20u8, id: u32, body in proptest::collection::vec(0..3u8, 0..60),
    ) {
        let length = HEADER + body.len();
        let mut octets = b"AARP\x01".to_vec();
        octets.extend([number, length as u8, 0]);
        octets.extend(id.to_le_bytes());
        octets.extend(body);
        if let Ok((id, message)) = Message::parse(&octets) {
            let mut buffer = [0; 128];
            prop_assert_eq!(message.emit(id, &mut buffer), Some(&octets[..]));
        }
    }
}
