//! The mapping table: any octets as its file, and any sequence of what its writer does.

use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aarp_core::mapping::{Mapping, State};
use aarp_core::table::{
    Entry, HEADER_WORDS, Identity, Invalid, Namespace, REACH, Stored, TableView, TableWriter,
    size_of_slots, slots_for,
};
use aarp_wire::probe::Method;

use crate::input::Input;

/// Octets of the header that mean anything.
const FIELDS: usize = 192;
/// No file of the fuzzer's has more slots.
const SLOTS: usize = 256;

/// Octets of a file -> `core::table::TableView`: lookups and scans; and a script for
/// `core::table::TableWriter`, on a new table and on those octets.
pub fn table(data: &[u8]) {
    let mut input = Input(data);
    let kind = input.octet() % 3;
    let now = Duration::from_nanos(input.u32().into()) * 256;
    match kind {
        0 => read(input.0, now),
        1 => read(&expanded(input.0), now),
        _ => {
            script(
                &mut input.clone(),
                now,
                &words(&[0; size_of_slots(64)]),
                true,
            );
            let mut octets = input.0.to_vec();
            octets.resize(size_of_slots(64), 0);
            script(&mut input, now, &words(&octets), false);
        }
    }
}

/// The fields of a header and slots, as the file that they are of.
fn expanded(octets: &[u8]) -> Vec<u8> {
    let (fields, slots) = octets.split_at(octets.len().min(FIELDS));
    let count = slots.len().div_ceil(64).next_power_of_two().min(SLOTS);
    let mut file = fields.to_vec();
    file.resize(size_of_slots(0), 0);
    file.extend(&slots[..slots.len().min(64 * SLOTS)]);
    file.resize(size_of_slots(count), 0);
    file
}

fn words(octets: &[u8]) -> Vec<AtomicU64> {
    let (words, _) = octets.as_chunks();
    words
        .iter()
        .map(|word| AtomicU64::new(u64::from_le_bytes(*word)))
        .collect()
}

fn u64_at(octets: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(octets[at..at + 8].try_into().expect("eight octets"))
}

fn u32_at(octets: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(octets[at..at + 4].try_into().expect("four octets"))
}

fn address_at(octets: &[u8], at: usize) -> Ipv6Addr {
    let octets: [u8; 16] = octets[at..at + 16].try_into().expect("sixteen octets");
    Ipv6Addr::from(octets)
}

/// A file as the table of its layout, and the same octets read by hand.
fn read(octets: &[u8], now: Duration) {
    let memory = words(octets);
    let octets = &octets[..8 * memory.len()];
    let opened = TableView::open(&memory);
    let slots = octets.len().saturating_sub(size_of_slots(0)) / 64;
    let is_of_size = slots.is_power_of_two() && octets.len() == size_of_slots(slots);
    if !is_of_size {
        assert!(TableView::over(&memory).is_none());
        assert_eq!(opened.err(), Some(Invalid::Length(memory.len())));
        return;
    }
    let is_table = octets.starts_with(b"AARPTAB1")
        && octets[8..16] == [1, 0, 0, 0, 64, 0, 0, 0]
        && u64_at(octets, 16) == slots as u64
        && u64_at(octets, 112) == 7;
    assert_eq!(opened.is_ok(), is_table, "{:?}", opened.err());
    // No more is promised of a table than of other memory of its size.
    let view = TableView::over(&memory).expect("it has the size");
    let by_hand: Vec<_> = octets[size_of_slots(0)..]
        .chunks_exact(64)
        .filter_map(slot)
        .collect();
    let scanned: Vec<_> = view.entries(0..usize::MAX).collect();
    assert_eq!(scanned, by_hand);
    let retired = octets[72..80] != [0; 8];
    let epoch = octets[64];
    for at in 0..slots {
        let a = address_at(octets, size_of_slots(at) + 8);
        if let Some(found) = view.get(a) {
            assert!(by_hand.contains(&found) && found.a == a);
        }
        let Some(hit) = view.lookup(a, now) else {
            continue;
        };
        assert!(!retired);
        // There may be several, where nobody knows who has written.
        assert!(by_hand.iter().any(|entry| {
            let left = entry.mapping.expiry.saturating_sub(now);
            entry.a == a
                && entry.epoch == epoch
                && entry.mapping == hit.mapping
                && left > Duration::ZERO
                && (!entry.is_asked && left < Duration::from_millis(entry.due.into())) == hit.is_due
        }));
    }
}

/// One slot, by the octets.
fn slot(octets: &[u8]) -> Option<Entry> {
    let a = address_at(octets, 8);
    let state = match octets[48] {
        1 => State::Pinned,
        2 => State::Direct,
        3 => State::Unanswered,
        4 => State::Untrusted,
        _ => return None,
    };
    let method = match octets[49] {
        1 => Method::Echo,
        2 => Method::Unreach,
        _ => return None,
    };
    (octets[0].is_multiple_of(2) && !a.is_unspecified()).then(|| Entry {
        a,
        mapping: Mapping {
            state,
            u: address_at(octets, 24),
            method,
            expiry: Duration::from_nanos(u64_at(octets, 40)),
            rtt: Duration::from_micros(u32_at(octets, 52).into()),
            failures: octets[51] & 63,
        },
        epoch: octets[50],
        used: u32_at(octets, 56),
        due: u32_at(octets, 60) & 0x7fff_ffff,
        is_asked: octets[63] & 128 != 0,
        is_used: octets[51] & 64 != 0,
        is_others: octets[51] & 128 != 0,
    })
}

/// What a writer does, octet by octet. On memory that was all zero the table agrees with
/// a map; on any other it ends.
fn script(input: &mut Input<'_>, mut now: Duration, memory: &[AtomicU64], is_new: bool) {
    let key = [input.u32().into(), u64::from(input.u32()) << 32];
    let identity = Identity {
        capacity: 50,
        key,
        namespace: Namespace {
            device: 1,
            inode: 2,
        },
        boot: [3, 4],
        pid: 5,
        started: 6,
    };
    assert_eq!(slots_for(identity.capacity), Some(64));
    let mut writer = TableWriter::format(memory, &identity, now).expect("it has the size");
    if !is_new {
        // As the fuzzer has it; the rest of the header is what was written just now.
        memory[8].store(input.u32().into(), Ordering::Relaxed);
    }
    let address = |n: u8| Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(n % 90 + 1));
    let mut model: HashMap<Ipv6Addr, (Mapping, u64)> = HashMap::new();
    for turn in 0..400 {
        if input.0.is_empty() {
            break;
        }
        let (what, a) = (input.octet(), address(input.octet()));
        match what % 8 {
            0..=3 => {
                let mapping = Mapping {
                    state: State::Pinned,
                    u: Ipv6Addr::from(turn),
                    method: Method::Echo,
                    expiry: now + Duration::from_millis(what.into()),
                    rtt: Duration::from_micros(turn as u64),
                    failures: what % 64,
                };
                let stored = writer.store(a, &mapping, Duration::ZERO, now);
                let epoch = writer.view().header().epoch();
                let before = model.insert(a, (mapping, epoch));
                match stored {
                    _ if !is_new => {}
                    Stored::New => assert!(before.is_none()),
                    Stored::Again => assert!(before.is_some()),
                    Stored::Evicting(other) => {
                        assert!(before.is_none() && other != a);
                        assert!(model.remove(&other).is_some());
                        assert!(model.len() == 50 || model.len() >= REACH);
                    }
                    Stored::Refused => panic!("refused"),
                }
            }
            4 => {
                let was_there = writer.remove(a);
                let known = model.remove(&a).is_some();
                assert!(!is_new || was_there == known);
            }
            5 => now += Duration::from_millis(what.into()),
            6 if what & 8 == 0 => {
                let epoch = writer.bump_epoch();
                // What 8 bits could take for new is removed in time.
                if epoch.is_multiple_of(128) {
                    model.retain(|_, (_, stored)| epoch.wrapping_sub(*stored) < 128);
                }
            }
            6 => assert!(!is_new || writer.note_use(a, now).is_some() == model.contains_key(&a)),
            _ => {
                let keep = |a: Ipv6Addr| !u128::from(a).is_multiple_of(u128::from(what) + 2);
                let removed = writer.retain(0..64, |entry| keep(entry.a));
                let before = model.len();
                model.retain(|a, _| keep(*a));
                assert!(!is_new || removed == before - model.len());
            }
        }
    }
    if !is_new {
        assert!(writer.view().entries(0..usize::MAX).count() <= 64);
        return;
    }
    let epoch = writer.view().header().epoch();
    assert_eq!(writer.len(), model.len());
    for a in (0..90).map(address) {
        let known = model.get(&a);
        let fresh = known.filter(|(mapping, stored)| *stored == epoch && mapping.is_fresh(now));
        let view = writer.view();
        let (found, hit) = (view.get(a), view.lookup(a, now));
        assert_eq!(found.map(|entry| entry.mapping), known.map(|known| known.0));
        assert_eq!(hit.map(|hit| hit.mapping), fresh.map(|known| known.0));
    }
    assert!(memory[HEADER_WORDS - 1].load(Ordering::Relaxed) == 0);
}
