//! What bindings cost: the time of a MAC, of an authenticated update, of looking up
//! A among a million, and the memory of that many. Prints a table.
//!
//! `cargo run --release -p aarp-core --features bindings --example binding-cost`

use std::hint::black_box;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use aarp_core::binding::authentication::Association;
use aarp_core::binding::cache::{Cache, Sender, Settings};
use aarp_core::binding::keyring::{Credentials, Freshness, Keyring};
use aarp_core::binding::lifetime::Lifetime;
use aarp_core::binding::message::Update;
use aarp_core::binding::sequence::Sequence;
use aarp_core::binding::timestamp::Timestamp;
use aarp_wire::mobility::UpdateFlags;

const MILLION: u32 = 1_000_000;
/// Octets of a Binding Update with identity and timestamp up to the SPI.
const COVERED: [u8; 52] = [7; 52];

fn report(what: &str, count: u32, begin: Instant) {
    let each = begin.elapsed().as_nanos() as f64 / f64::from(count);
    println!("{what:<44} {each:8.0} ns");
}

/// Resident memory in octets, of `/proc/self/statm`.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("/proc is mounted");
    let pages: u64 = text
        .split_whitespace()
        .nth(1)
        .and_then(|field| field.parse().ok())
        .expect("the second field is a number");
    pages * 4096
}

/// Numbers from 0 to a million in an order that no cache of the processor foresees.
fn scattered() -> impl Iterator<Item = u32> {
    (0..MILLION).map(|n| ((u64::from(n) * 7_368_787) % u64::from(MILLION)) as u32)
}

fn anycast(n: u32) -> Ipv6Addr {
    Ipv6Addr::from(0x2001_0db8_000a_u128 << 80 | u128::from(n))
}

fn update(n: u32, sequence: u16) -> Update {
    Update {
        anycast: anycast(n),
        care_of: Ipv6Addr::from(0x2001_0db8_0001_u128 << 80 | u128::from(n)),
        sequence: Sequence(sequence),
        lifetime: Lifetime(15),
        flags: UpdateFlags::ACKNOWLEDGE.union(UpdateFlags::HOME_REGISTRATION),
        timestamp: None,
    }
}

fn authentication() {
    let association = Association::new(300, &[1; 20], b"responder1@example.org").expect("valid");
    let (home, care_of) = (anycast(1), update(1, 1).care_of);
    let begin = Instant::now();
    for _ in 0..MILLION {
        black_box(association.mac(care_of, home, black_box(&COVERED)));
    }
    report("MAC of 84 octets", MILLION, begin);

    let mut keyring = Keyring::new(Freshness::DEFAULT);
    let homes = ["2001:db8:a::/48".parse().expect("a prefix")];
    keyring
        .insert(association.clone(), homes)
        .expect("the first");
    let mac = association.mac(care_of, home, &COVERED);
    let wall = Timestamp::from_unix(Duration::from_secs(1_700_000_000));
    let begin = Instant::now();
    for n in 0..u64::from(MILLION) {
        let credentials = Credentials {
            spi: 300,
            identity: Some(b"responder1@example.org"),
            timestamp: Some(Timestamp(wall.0 + n)),
            mac,
            care_of,
            home,
            covered: &COVERED,
        };
        black_box(keyring.authenticate(wall, black_box(&credentials)));
    }
    report("judging the authentication of an update", MILLION, begin);
}

fn cache() {
    let before = resident();
    let mut cache = Cache::new(Settings {
        home: vec!["2001:db8:a::/48".parse().expect("a prefix")],
        own: vec![],
        max_lifetime: Lifetime::MAX,
        refresh_advice: None,
        capacity: MILLION as usize,
    });
    let now = Duration::from_secs(1000);
    for (number, what) in [
        (1, "a million first registrations"),
        (2, "a million refreshes"),
    ] {
        let begin = Instant::now();
        for (at, n) in scattered().enumerate() {
            let now = now + Duration::from_nanos(at as u64);
            black_box(cache.receive(now, &update(n, number), Sender::Unidentified));
        }
        report(what, MILLION, begin);
    }
    assert_eq!(cache.len(), MILLION as usize);
    let begin = Instant::now();
    let found = scattered().filter(|n| cache.forward(now, anycast(*n), 100).is_some());
    assert_eq!(black_box(found.count()), MILLION as usize);
    report("looking up and counting, scattered", MILLION, begin);
    let begin = Instant::now();
    for _ in 0..MILLION {
        black_box(cache.forward(now, black_box(anycast(77)), 100));
    }
    report("the same A again", MILLION, begin);
    let begin = Instant::now();
    let missed = scattered().filter(|n| cache.forward(now, anycast(n + MILLION), 100).is_none());
    assert_eq!(black_box(missed.count()), MILLION as usize);
    report("an A without a binding", MILLION, begin);
    let each = (resident() - before) / u64::from(MILLION);
    println!(
        "{:<44} {each:8} octets",
        "memory of a binding, of a million"
    );
    let begin = Instant::now();
    let later = now + Duration::from_secs(61);
    while cache.expire(later).is_some() {}
    assert!(cache.is_empty());
    report("ends", MILLION, begin);
}

fn main() {
    authentication();
    cache();
}
