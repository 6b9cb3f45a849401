//! Authentication between mobile node and home agent (RFC 4285).

use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_core::binding::authentication::{Association, MAC_LEN};
use aarp_core::binding::keyring::{Authentication, Credentials, Freshness, Keyring, Silence};
use aarp_core::binding::timestamp::{Stamps, Timestamp};
use aarp_core::prefix::Prefix;
use proptest::prelude::*;
use sha1::{Digest, Sha1};

const HOME: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
const CARE_OF: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
const COVERED: &[u8] = b"\x3b\x07\x05\x00\x00\x00all up to the SPI";
/// Milliseconds of a clock that begins at no special time.
const BEGIN: u64 = 1_700_000_000_123;

fn at(ms: u64) -> Timestamp {
    Timestamp::from_unix(Duration::from_millis(ms))
}

/// HMAC-SHA1 by its definition (RFC 2104 §2), of this key.
fn hmac_sha1(key: &[u8], message: &[u8]) -> [u8; 20] {
    let mut block = [0; 64];
    if key.len() > block.len() {
        block[..20].copy_from_slice(&Sha1::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha1::digest([&block.map(|octet| octet ^ 0x36), message].concat());
    let outer = [&block.map(|octet| octet ^ 0x5c)[..], &inner[..]].concat();
    Sha1::digest(outer).into()
}

/// Two keys of the first node and one of the second, known by SPI and identity.
const KEYS: [(u32, &str); 3] = [(300, "one"), (301, "one"), (302, "two")];

fn association(which: usize) -> Association {
    let (spi, identity) = KEYS[which];
    Association::new(spi, &[which as u8; 16], identity.as_bytes()).expect("an association")
}

fn keyring() -> Keyring {
    let mut keyring = Keyring::new(Freshness::DEFAULT);
    for which in 0..KEYS.len() {
        let inserted = keyring.insert(association(which), [Prefix::host(HOME)]);
        inserted.expect("SPIs differ");
    }
    keyring
}

/// What a message looks like to the agent.
#[derive(Clone, Debug)]
struct Sent {
    which: usize,
    /// Milliseconds since the message before, at the agent.
    wait: u64,
    /// Milliseconds that the sender's clock is ahead.
    ahead: i64,
    stamped: bool,
    /// A bit of the authenticator that is wrong.
    forged: Option<usize>,
    identified: bool,
    known: bool,
}

fn any_sent() -> impl Strategy<Value = Sent> {
    let ahead = prop_oneof![
        -20..20i64,
        -9000..9000i64,
        prop::sample::select(vec![-7001, -7000, -6999, 6999, 7000, 7001]),
        -100_000_000..100_000_000i64,
    ];
    (
        0..KEYS.len(),
        prop_oneof![0..3u64, 0..9000u64],
        ahead,
        prop::bool::weighted(0.9),
        prop::option::weighted(0.2, 0..8 * MAC_LEN),
        prop::bool::weighted(0.95),
        prop::bool::weighted(0.95),
    )
        .prop_map(
            |(which, wait, ahead, stamped, forged, identified, known)| Sent {
                which,
                wait,
                ahead,
                stamped,
                forged,
                identified,
                known,
            },
        )
}

proptest! {
    /// RFC 4285 §5.1: Authentication Data = First(96, HMAC_SHA1(key, care-of address |
    /// home address | Mobility Header up to and including the SPI)); the checksum MUST
    /// be 0 for it.
    #[test]
    fn the_code_is_what_the_rfc_defines(
        key in prop::collection::vec(any::<u8>(), 16..100),
        care_of: u128, home: u128,
        covered in prop::collection::vec(any::<u8>(), 12..200),
    ) {
        let association = Association::new(256, &key, b"one").expect("an association");
        let mut message = [care_of.to_be_bytes(), home.to_be_bytes()].concat();
        message.extend(&covered[..4]);
        message.extend([0, 0]);
        message.extend(&covered[6..]);
        let expected: [u8; MAC_LEN] = *hmac_sha1(&key, &message).first_chunk().expect("20 octets");
        prop_assert_eq!(association.mac(care_of.into(), home.into(), &covered), expected);
        prop_assert!(association.verify(care_of.into(), home.into(), &covered, &expected));
    }

    /// RFC 4285 §5.1: the values 0 to 255 of the SPI are reserved; a key has 16 octets,
    /// and here it may have more.
    #[test]
    fn reserved_names_and_short_keys_are_no_associations(
        spi in prop_oneof![250..260u32, 0..300u32, any::<u32>()],

        len in prop_oneof![14..18usize, 0..40usize],
        identity in prop::collection::vec(any::<u8>(), 0..3),
    ) {
        let made = Association::new(spi, &vec![7; len], &identity);
        let may = spi > 255 && len >= 16 && !identity.is_empty();
        prop_assert_eq!(made.is_ok(), may);
        prop_assert!(made.is_err() || made.is_ok_and(|made| made.spi() == spi));
    }

    /// RFC 4285 §5.1: without an association MUST be discarded; a wrong authenticator
    /// MUST be answered with 146. §6: without a timestamp 145; a timestamp MUST be
    /// close to the clock (7 s) and greater than all that were accepted from the node,
    /// else 144 with the low 32 bits of the message and the high ones of the clock.
    /// What is refused changes nothing for what comes after.
    #[test]
    fn a_message_is_fresh_once(messages in prop::collection::vec(any_sent(), 1..40)) {
        let mut keyring = keyring();
        let mut now = BEGIN;
        // Milliseconds of the last timestamp accepted of either node.
        let mut last = [0; 2];
        for sent in messages {
            now += sent.wait;
            let stamp = now.saturating_add_signed(sent.ahead);
            let timestamp = sent.stamped.then_some(at(stamp));
            let association = association(sent.which);
            let mut mac = association.mac(CARE_OF, HOME, COVERED);
            if let Some(bit) = sent.forged {
                mac[bit / 8] ^= 1 << (bit % 8);
            }
            let found = keyring.authenticate(at(now), &Credentials {
                spi: if sent.known { association.spi() } else { 4000 },
                identity: sent.identified.then_some(KEYS[sent.which].1.as_bytes()),
                timestamp,
                mac,
                care_of: CARE_OF,
                home: HOME,
                covered: COVERED,
            });
            let node = usize::from(sent.which == 2);
            let rejected = |status: u8, timestamp: Option<Timestamp>| (Some(status), timestamp);
            let (status, answered) = match found {
                Authentication::Fresh { node: found, may_register } => {
                    prop_assert_eq!((found.0 as usize, may_register), (node, true));
                    (Some(0), None)
                }
                Authentication::Rejected { status, timestamp } => rejected(status.0, timestamp),
                Authentication::Discarded(Silence::NoAssociation) => {
                    prop_assert!(!sent.known);
                    (None, None)
                }
                Authentication::Discarded(Silence::NoIdentity) => {
                    prop_assert!(!sent.identified);
                    (None, None)
                }
                Authentication::Discarded(Silence::OtherIdentity) => {
                    return Err(TestCaseError::fail("an identity that was right"));
                }
            };
            let expected = if !sent.known || !sent.identified {
                (None, None)
            } else if sent.forged.is_some() {
                (Some(146), timestamp)
            } else if !sent.stamped {
                (Some(145), None)
            } else if sent.ahead.unsigned_abs() > 7000 || stamp <= last[node] {
                let mixed = at(now).0 >> 32 << 32 | at(stamp).0 & 0xffff_ffff;
                (Some(144), Some(Timestamp(mixed)))
            } else {
                last[node] = stamp;
                (Some(0), None)
            };
            prop_assert_eq!((status, answered), expected, "{:?}", sent);
        }
    }

    /// RFC 4285 §5.1: a message in another's name is authenticated by nobody's key.
    #[test]
    fn a_key_is_one_identitys(which in 0..KEYS.len(), identity in prop::collection::vec(any::<u8>(), 0..5)) {
        let association = association(which);
        let own = KEYS[which].1.as_bytes();
        let found = keyring().authenticate(at(BEGIN), &Credentials {
            spi: association.spi(),
            identity: Some(&identity),
            timestamp: Some(at(BEGIN)),
            mac: association.mac(CARE_OF, HOME, COVERED),
            care_of: CARE_OF,
            home: HOME,
            covered: COVERED,
        });
        if identity != own {
            prop_assert_eq!(found, Authentication::Discarded(Silence::OtherIdentity));
        }
    }

    /// RFC 4285 §6: the mobile node's timestamps are greater than any before; after a
    /// 144 they are by the agent's clock, so that the agent takes them.
    #[test]
    fn one_refusal_is_enough_to_learn_the_clock(
        off in prop_oneof![-10_000..10_000i64, -1_000_000_000..1_000_000_000i64],
        pauses in prop::collection::vec(0..5000u64, 1..20),
        trip in 0..3000u64,
    ) {
        let mut keyring = keyring();
        let skew = Freshness::DEFAULT.skew;
        let mut stamps = Stamps::default();
        let mut now = BEGIN;
        let mut refused = 0;
        for pause in pauses {
            now += pause;
            let stamp = stamps.next(at(now.saturating_add_signed(off)));
            let association = association(0);
            let found = keyring.authenticate(at(now + trip), &Credentials {
                spi: association.spi(),
                identity: Some(b"one"),
                timestamp: Some(stamp),
                mac: association.mac(CARE_OF, HOME, COVERED),
                care_of: CARE_OF,
                home: HOME,
                covered: COVERED,
            });
            if let Authentication::Rejected { status, timestamp: Some(answered) } = found {
                prop_assert_eq!(status.0, 144);
                prop_assert!(answered.has_fraction_of(stamp));
                stamps.adjust(stamp, answered, skew);
                refused += 1;
            }
        }
        prop_assert!(refused <= 1, "{} refusals", refused);
    }
}
