//! What counts as the answer to a question.

use std::time::Duration;

use aarp_core::probing::{Echo, MESSAGE_MAX, Question};
use aarp_core::settings::{RETRANSMITS, Times};

use crate::input::Input;

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
        assert_eq!(
            question.examine(at(attempt + 3), &message),
            Ok(Duration::from_millis(21))
        );
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
    let now = at(100);
    assert_eq!(
        question.examine(now, &message).ok(),
        right.map(|attempt| now - at(attempt)),
        "sent {sent}, {message:02x?}"
    );
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
