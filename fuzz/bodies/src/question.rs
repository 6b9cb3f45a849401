//! What counts as the answer to a question.

use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_core::probing::{Echo, IcmpError, Incoming, MESSAGE_MAX, Meaning, Question, Unreach};
use aarp_core::settings::{RETRANSMITS, Times};

use crate::input::Input;

/// The address that is asked.
const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);

/// The one message that answers an attempt, written out.
fn reply(ident: u16, sequence: u16, nonce: &[u8; 16], attempt: u32) -> Vec<u8> {
    let mut message = vec![129, 0, 0x12, 0x34];
    message.extend(ident.to_be_bytes());
    message.extend(sequence.to_be_bytes());
    message.extend(b"AARP\x01\x01\0\0");
    message.extend(nonce);
    message.extend(attempt.to_be_bytes());
    message.extend([0; 4]);
    message
}

/// Replies: right ones, right ones with changes, and anything. Accepted is what
/// equals the right one in every octet but the checksum, which the kernel verifies,
/// and, on a ping socket, the identifier, by which the kernel delivers.
pub fn question(data: &[u8]) {
    let mut input = Input(data);
    let form = input.octet();
    let echo = Echo {
        ident: (form & 1 != 0).then(|| input.u16()),
        first_sequence: input.u16(),
    };
    let sent = u32::from(form >> 1 & 7).min(RETRANSMITS as u32 + 1);
    let nonce = input.array::<16>();
    let at = |attempt: u32| Duration::from_millis(10_000 + 7 * u64::from(attempt));
    let mut question = Question::new(
        echo,
        A,
        nonce,
        Times::DEFAULT.retransmit,
        at(0),
        Duration::from_secs(1),
    );
    for attempt in 0..sent {
        let mut buffer = [0xa5; MESSAGE_MAX];
        let mut message = question.emit(at(attempt), &mut buffer).to_vec();
        let ident = echo.ident.unwrap_or(0);
        let sequence = echo.first_sequence.wrapping_add(attempt as u16);
        let mut request = reply(ident, sequence, &nonce, attempt);
        request[..4].copy_from_slice(&[128, 0, 0, 0]);
        assert_eq!(message, request);
        message[0] = 129;
        let heard = question.examine(&Incoming::Message(&message));
        assert_eq!(heard, Ok(Meaning::Answer(attempt)));
        let trip = question.round_trip(attempt, at(attempt + 3));
        assert_eq!(trip, Duration::from_millis(21));
    }

    let message = if form & 0x80 != 0 {
        input.0.to_vec()
    } else {
        let attempt = u32::from(input.octet() % 8);
        let ident = echo.ident.unwrap_or_else(|| input.u16());
        let sequence = echo.first_sequence.wrapping_add(attempt as u16);
        let mut message = reply(ident, sequence, &nonce, attempt);
        change(&mut message, input);
        message
    };
    let right = (0..sent).find(|attempt| {
        let sequence = echo.first_sequence.wrapping_add(*attempt as u16);
        let ident = echo.ident.unwrap_or_else(|| match message.get(4..6) {
            Some(two) => u16::from_be_bytes([two[0], two[1]]),
            None => 0,
        });
        let right = reply(ident, sequence, &nonce, *attempt);
        message.len() == right.len() && message[..2] == right[..2] && message[4..] == right[4..]
    });
    let heard = question.examine(&Incoming::Message(&message));
    let expected = right.map(Meaning::Answer);
    assert_eq!(heard.ok(), expected, "sent {sent}, {message:02x?}");

    // The same octets as what an error quotes: right is a request that was sent.
    let error = IcmpError {
        message_type: 1,
        code: 0,
        destination: A,
        port: 0,
        quote: &message,
    };
    let heard = question.examine(&Incoming::Error(error));
    let reply = message.first().map(|_| [&[129], &message[1..]].concat());
    let quoted = reply.filter(|_| message[0] == 128).and_then(|reply| {
        let heard = question.examine(&Incoming::Message(&reply)).ok()?;
        match heard {
            Meaning::Answer(attempt) => Some(Meaning::Undelivered(attempt)),
            Meaning::Undelivered(_) => panic!("a message is no error"),
        }
    });
    assert_eq!(heard.ok(), quoted, "sent {sent}, {message:02x?}");
}

/// ICMPv6 errors about a question by `unreach`: right ones, right ones with changes,
/// and anything. Accepted is a port-unreachable that quotes exactly an attempt that
/// was sent, to A and its port; of other errors with that quote the attempt is told
/// that did not arrive.
pub fn unreachable(data: &[u8]) {
    let mut input = Input(data);
    let form = input.octet();
    let sent = u32::from(form >> 1 & 7).min(RETRANSMITS as u32 + 1);
    let port = input.u16();
    let nonce = input.array::<16>();
    let payload = |attempt: u32| {
        let mut payload = b"AARP\x01\x02\0\0".to_vec();
        payload.extend(nonce);
        payload.extend(attempt.to_be_bytes());
        payload.extend([0; 4]);
        payload
    };
    let second = Duration::from_secs(1);
    let retransmit = Times::DEFAULT.retransmit;
    let unreach = Unreach { port };
    let mut question = Question::new(unreach, A, nonce, retransmit, second, second);
    for attempt in 0..sent {
        let mut buffer = [0xa5; MESSAGE_MAX];
        assert_eq!(question.emit(second, &mut buffer), payload(attempt));
    }

    let [message_type, code] = match form >> 4 & 3 {
        0 => input.array(),
        _ => [1, 4],
    };
    let destination = match form >> 6 & 1 {
        0 => A,
        _ => input.array::<16>().into(),
    };
    let to_port = if form & 1 == 0 { port } else { input.u16() };
    let quote = if form & 0x80 != 0 {
        input.0.to_vec()
    } else {
        let mut quote = payload(u32::from(input.octet() % 8));
        change(&mut quote, input);
        quote
    };
    let right = (0..sent).find(|attempt| quote == payload(*attempt));
    let right = right.filter(|_| (destination, to_port) == (A, port));
    let expected = match (message_type, code, right) {
        (1, 4, Some(attempt)) => Some(Meaning::Answer(attempt)),
        (1 | 3 | 4, _, Some(attempt)) => Some(Meaning::Undelivered(attempt)),
        _ => None,
    };
    let error = IcmpError {
        message_type,
        code,
        destination,
        port: to_port,
        quote: &quote,
    };
    let heard = question.examine(&Incoming::Error(error));
    assert_eq!(heard.ok(), expected, "sent {sent}, {error:02x?}");
}

/// Applies what is left of the input to the message, three octets a change.
fn change(message: &mut Vec<u8>, mut input: Input<'_>) {
    while !input.0.is_empty() {
        let [what, at, value] = input.array();
        let at = usize::from(at) % (message.len() + 1);
        match what % 5 {
            0 if at < message.len() => message[at] ^= value,
            1 if at < message.len() => message[at] = value,
            2 if message.len() < 2000 => message.insert(at, value),
            3 if at < message.len() => drop(message.remove(at)),
            4 => message.truncate(at),
            _ => {}
        }
    }
}
