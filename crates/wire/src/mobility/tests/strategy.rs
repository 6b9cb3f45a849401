//! Messages and options of all kinds.

use std::num::NonZeroU16;

use proptest::prelude::*;

use crate::mobility::*;

pub(super) fn any_message() -> impl Strategy<Value = Message> {
    let cookie = any::<[u8; 8]>;
    let test = || any::<(u16, [u8; 8], [u8; 8])>();
    prop_oneof![
        Just(Message::BindingRefreshRequest),
        cookie().prop_map(|cookie| Message::HomeTestInit { cookie }),
        cookie().prop_map(|cookie| Message::CareOfTestInit { cookie }),
        test().prop_map(|(nonce_index, cookie, token)| Message::HomeTest {
            nonce_index,
            cookie,
            token
        }),
        test().prop_map(|(nonce_index, cookie, token)| Message::CareOfTest {
            nonce_index,
            cookie,
            token
        }),
        any::<(u16, u16, u16)>().prop_map(|(sequence, flags, lifetime)| Message::BindingUpdate {
            sequence,
            flags: UpdateFlags(flags),
            lifetime
        }),
        any::<(u8, u8, u16, u16)>().prop_map(|(status, flags, sequence, lifetime)| {
            Message::BindingAcknowledgement {
                status: Status(status),
                flags: AcknowledgementFlags(flags),
                sequence,
                lifetime,
            }
        }),
        any::<(u8, u128)>().prop_map(|(status, home)| Message::BindingError {
            status: ErrorStatus(status),
            home_address: home.into()
        }),
        any::<(u8, u16, u16)>().prop_map(|(trigger, sequence, flags)| {
            Message::RevocationIndication {
                trigger: RevocationTrigger(trigger),
                sequence,
                flags: RevocationFlags(flags),
            }
        }),
        any::<(u8, u16, u16)>().prop_map(|(status, sequence, flags)| {
            Message::RevocationAcknowledgement {
                status,
                sequence,
                flags: RevocationFlags(flags),
            }
        }),
    ]
}

/// An option, its octets in `data`; any but those that have to be the last.
fn any_option(data: &[u8; 254]) -> impl Strategy<Value = MobilityOption<'_>> {
    let identifier = any::<(u16, u8, bool, u8, Option<Result<u128, u32>>)>();
    prop_oneof![
        any::<u16>().prop_map(|interval| MobilityOption::RefreshAdvice { interval }),
        any::<u128>().prop_map(|address| MobilityOption::AlternateCareOf(address.into())),
        any::<(u16, u16)>()
            .prop_map(|(home, care_of)| MobilityOption::NonceIndices { home, care_of }),
        (any::<u8>(), 0..=254usize).prop_map(move |(subtype, len)| {
            MobilityOption::NodeIdentifier {
                subtype,
                identifier: &data[..len],
            }
        }),
        (2..=255u8, any::<u32>(), 0..=250usize).prop_map(move |(subtype, spi, len)| {
            MobilityOption::MessageAuthentication {
                subtype,
                spi,
                code: &data[..len],
            }
        }),
        any::<u64>().prop_map(|timestamp| MobilityOption::MessageIdentification { timestamp }),
        identifier.prop_map(|(bid, status, at_home, priority, care_of)| {
            MobilityOption::BindingIdentifier(BindingIdentifier {
                bid: NonZeroU16::new(bid).unwrap_or(NonZeroU16::MIN),
                status: Status(status),
                at_home,
                priority: priority & 0x7f,
                care_of: care_of.map(|address| match address {
                    Ok(v6) => CareOf::V6(v6.into()),
                    Err(v4) => CareOf::V4(v4.into()),
                }),
            })
        }),
    ]
}

static DATA: [u8; 254] = {
    let mut data = [0; 254];
    let mut at = 0;
    while at < data.len() {
        data[at] = at as u8;
        at += 1;
    }
    data
};

/// Options in an order in which they may be sent.
pub(super) fn any_options() -> impl Strategy<Value = Vec<MobilityOption<'static>>> {
    let last = prop_oneof![
        Just(None),
        any::<[u8; 12]>().prop_map(|code| Some(MobilityOption::AuthorizationData(code))),
        any::<u32>().prop_map(|spi| Some(MobilityOption::MessageAuthentication {
            subtype: 1,
            spi,
            code: &DATA[7..19],
        })),
    ];
    (proptest::collection::vec(any_option(&DATA), 0..6), last).prop_map(|(mut options, last)| {
        options.extend(last);
        options
    })
}
