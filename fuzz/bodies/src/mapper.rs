//! What aarpd and those who ask it say to each other.

use aarp_wire::Error;
use aarp_wire::mapper::{MESSAGE_MAX, Message, Type};

/// Messages of aarpd's socket: `Message`.
pub fn mapper(data: &[u8]) {
    let parsed = Message::parse(data);
    assert_eq!(parsed.err(), complaint(data), "{data:02x?}");
    if let Ok((id, message)) = parsed {
        let mut room = vec![0xa5; MESSAGE_MAX + 1];
        let emitted = message.emit(id, &mut room).map(<[u8]>::to_vec);
        assert_eq!(emitted.as_deref(), Some(data));
        assert_eq!(room[data.len()], 0xa5, "written beyond the message");
        assert_eq!(message.emit(id, &mut room[..data.len() - 1]), None);
    }
    // Most changes break the length: once more with one that fits.
    if let (Some(5), Ok(length)) = (data.get(4..9).map(<[u8]>::len), u16::try_from(data.len())) {
        let mut whole = data.to_vec();
        whole[..5].copy_from_slice(b"AARP\x01");
        whole[6..8].copy_from_slice(&length.to_le_bytes());
        assert_eq!(
            Message::parse(&whole).err(),
            complaint(&whole),
            "{whole:02x?}"
        );
    }
}

/// What is wrong with a packet, read with indices as in C: by the length of each type's
/// body, and where in it there are zeros.
fn complaint(data: &[u8]) -> Option<Error> {
    if data.len() < 12 {
        return Some(Error::Truncated);
    }
    if &data[..4] != b"AARP" {
        return Some(Error::Magic);
    }
    if data[4] != 1 {
        return Some(Error::Version);
    }
    if usize::from(data[6]) + 256 * usize::from(data[7]) != data.len() {
        return Some(Error::Length);
    }
    let body = &data[12..];
    let (length, zeros): (usize, &[usize]) = match data[5] {
        1 => (24, &[21, 22, 23]),
        2 => (44, &[35]),
        3 => (40, &[35]),
        4 | 6 => (16, &[]),
        7 => (20, &[17, 18, 19]),
        5 | 8 | 9 => (0, &[]),
        11 => (4, &[]),
        13 | 15 => (48, &[43, 44, 45, 46, 47]),
        14 => (8, &[]),
        number @ (10 | 12) => {
            let before = if number == 12 { 4 } else { 0 };
            if body.len() < before || body.len() - before > MESSAGE_MAX - 16 {
                return Some(Error::Length);
            }
            return std::str::from_utf8(&body[before..])
                .err()
                .map(|_| Error::Value);
        }
        number => {
            assert!(number == 0 || usize::from(number) > Type::ALL.len());
            return Some(Error::Type);
        }
    };
    // A value that is undefined is told before what is missing behind it, or too much.
    let undefined = |at: usize, octet: u8| match (data[5], at) {
        (_, at) if zeros.contains(&at) => octet != 0,
        (1, 20) => octet > 3,
        (2, 32) => !(1..=4).contains(&octet),
        (2, 33) => !(1..=2).contains(&octet),
        _ => false,
    };
    let wrong = body.iter().enumerate().take(length);
    let wrong = wrong
        .filter(|(at, octet)| undefined(*at, **octet))
        .map(|(at, _)| at)
        .min();
    // Flags are one number, read whole.
    let is_read = |at: usize| data[5] != 1 || body.len() >= 24 && at >= 20;
    if wrong.is_some_and(is_read) {
        return Some(Error::Value);
    }
    if body.len() < length {
        return Some(Error::Length);
    }
    if data[5] == 7 {
        let bits = usize::from(body[16]);
        let is_set = |bit: usize| body[bit / 8] & (0x80 >> (bit % 8)) != 0;
        if bits > 128 || (bits..128).any(is_set) {
            return Some(Error::Value);
        }
    }
    (body.len() != length).then_some(Error::Length)
}
