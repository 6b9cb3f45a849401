//! Every message and every option that is sent, with every flag.

use std::net::Ipv6Addr;
use std::num::NonZeroU16;

use aarp_wire::ipv6::{Datagram, Extension};
use aarp_wire::mobility::{
    AcknowledgementFlags, BindingIdentifier, CareOf, ErrorStatus, LEN_MAX, Message, MobilityOption,
    MobilityRepr, RevocationFlags, RevocationTrigger, Status, UpdateFlags,
};

pub(crate) const CARE_OF: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 4, 0, 0, 0, 2);
pub(crate) const AGENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 2);
pub(crate) const HOME: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 0xa);

/// A packet that is sent.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) datagram: Datagram,
    pub(crate) message: Message,
    pub(crate) options: Vec<MobilityOption<'static>>,
}

impl Sample {
    pub(crate) fn octets(&self) -> Vec<u8> {
        let repr = MobilityRepr {
            message: self.message,
            options: &self.options,
        };
        let mut buffer = vec![0xa5; LEN_MAX + 64];
        let written = repr.emit_packet(&self.datagram, &mut buffer);
        let len = written.expect("it can be sent").len();
        buffer.truncate(len);
        buffer
    }
}

fn update(flags: u16) -> Message {
    Message::BindingUpdate {
        sequence: 0x1234,
        flags: UpdateFlags(flags),
        lifetime: 105,
    }
}

fn acknowledgement(status: u8, flags: u8) -> Message {
    Message::BindingAcknowledgement {
        status: Status(status),
        flags: AcknowledgementFlags(flags),
        sequence: 0xfedc,
        lifetime: 0x0102,
    }
}

fn messages() -> Vec<Message> {
    let (cookie, token) = (*b"COOKIE_8", *b"TOKEN__8");
    let nonce_index = 0x1234;
    let mut messages = vec![
        Message::BindingRefreshRequest,
        Message::HomeTestInit { cookie },
        Message::CareOfTestInit { cookie },
        Message::HomeTest {
            nonce_index,
            cookie,
            token,
        },
        Message::CareOfTest {
            nonce_index,
            cookie,
            token,
        },
        update(0),
    ];
    messages.extend((6..16).map(|bit| update(1 << bit)));
    messages.extend((5..8).map(|bit| acknowledgement(0, 1 << bit)));
    for status in [
        0, 1, 4, 5, 128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 138, 139, 144, 145, 146, 164,
        165, 166, 167, 168, 169, 174,
    ] {
        messages.push(acknowledgement(status, 0));
    }
    messages.extend([1, 2].map(|status| Message::BindingError {
        status: ErrorStatus(status),
        home_address: HOME,
    }));
    for flags in [0, 0x8000, 0x4000, 0x2000] {
        messages.push(Message::RevocationIndication {
            trigger: RevocationTrigger(1),
            sequence: 7,
            flags: RevocationFlags(flags),
        });
        messages.push(Message::RevocationAcknowledgement {
            status: 128,
            sequence: 7,
            flags: RevocationFlags(flags),
        });
    }
    messages
}

fn identifier(care_of: Option<CareOf>, at_home: bool) -> MobilityOption<'static> {
    MobilityOption::BindingIdentifier(BindingIdentifier {
        bid: NonZeroU16::new(0x0301).expect("not zero"),
        status: Status::MCOA_PROHIBITED,
        at_home,
        priority: 0x15,
        care_of,
    })
}

fn option_lists() -> Vec<Vec<MobilityOption<'static>>> {
    let advice = MobilityOption::RefreshAdvice { interval: 50 };
    let care_of = MobilityOption::AlternateCareOf(CARE_OF);
    let nonces = MobilityOption::NonceIndices {
        home: 0x1234,
        care_of: 0x5678,
    };
    let authorization = MobilityOption::AuthorizationData([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    let name = |len| MobilityOption::NodeIdentifier {
        subtype: 1,
        identifier: &b"responder-1.anycast@example.net"[..len],
    };
    let authentication = MobilityOption::MessageAuthentication {
        subtype: 1,
        spi: 0x0001_0203,
        code: b"\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xab",
    };
    let timestamp = MobilityOption::MessageIdentification {
        timestamp: 0xe8a1_b2c3_4455_6677,
    };
    let v4 = CareOf::V4([192, 0, 2, 7].into());
    let mut lists = vec![
        vec![advice],
        vec![care_of],
        vec![nonces],
        vec![authorization],
        vec![authentication],
        vec![timestamp],
        vec![identifier(None, true)],
        vec![identifier(Some(v4), false)],
        vec![identifier(Some(CareOf::V6(CARE_OF)), true)],
        vec![nonces, authorization],
        vec![advice, authorization],
        vec![care_of, nonces, authorization],
        vec![advice, identifier(None, false), identifier(Some(v4), true)],
    ];
    // Identifiers of every length, so that every padding occurs.
    for len in 1..18 {
        lists.push(vec![name(len)]);
        lists.push(vec![care_of, name(len), timestamp, authentication]);
    }
    lists
}

/// Every message, then every list of options, in and without the headers of Mobile IPv6.
pub(crate) fn samples() -> Vec<Sample> {
    let plain = Datagram::new(CARE_OF, AGENT);
    let from_home = Datagram {
        extension: Some(Extension::HomeAddress(HOME)),
        traffic_class: 0xb8,
        flow_label: 0xa_bcde,
        hop_limit: 7,
        ..plain
    };
    let to_home = Datagram {
        extension: Some(Extension::Routing(HOME)),
        ..Datagram::new(AGENT, CARE_OF)
    };
    let mut samples = Vec::new();
    for message in messages() {
        let datagram = match message {
            Message::BindingUpdate { .. } => from_home,
            Message::BindingAcknowledgement { .. } => to_home,
            _ => plain,
        };
        samples.push(Sample {
            datagram,
            message,
            options: Vec::new(),
        });
    }
    for options in option_lists() {
        for (datagram, message) in [
            (from_home, update(0xc000)),
            (to_home, acknowledgement(0, 0x80)),
        ] {
            samples.push(Sample {
                datagram,
                message,
                options: options.clone(),
            });
        }
    }
    samples
}
