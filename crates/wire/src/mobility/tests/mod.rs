mod header;
mod options;
mod requirements;
mod strategy;

use std::net::Ipv6Addr;

use super::*;

fn address(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// A Mobility Header as it is emitted.
fn emitted(message: Message, options: &[MobilityOption<'_>]) -> Vec<u8> {
    let repr = MobilityRepr { message, options };
    let len = repr.buffer_len().unwrap();
    let mut buffer = vec![0xa5; len + 3];
    assert_eq!(repr.emit(&mut buffer).unwrap().len(), len);
    assert_eq!(buffer.split_off(len), [0xa5; 3]);
    buffer
}

/// The options that are found, up to an error.
fn found(octets: &[u8]) -> (Vec<PlacedOption<'_>>, Option<OptionError>) {
    let mut placed = Vec::new();
    for option in MobilityPacket::new(octets).unwrap().options() {
        match option {
            Ok(option) => placed.push(option),
            Err(error) => return (placed, Some(error)),
        }
    }
    (placed, None)
}

const UPDATE: Message = Message::BindingUpdate {
    sequence: 200,
    flags: UpdateFlags(0xc000),
    lifetime: 105,
};
