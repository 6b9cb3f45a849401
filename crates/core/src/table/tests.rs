use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aarp_wire::probe::Method;
use proptest::prelude::*;

use super::entry::DUE_MAX;
use super::*;
use crate::mapping::{Mapping, State};
use crate::slot::Word;
use core::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const NOW: Duration = Duration::from_secs(1000);
const KEY: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];

pub(super) fn identity(capacity: usize, key: [u64; 2]) -> Identity {
    Identity {
        capacity,
        key,
        namespace: Namespace {
            device: 4,
            inode: 4_026_531_840,
        },
        boot: [1, 2],
        pid: 77,
        started: 88,
    }
}

fn memory(capacity: usize) -> Vec<AtomicU64> {
    let words = size_of_slots(slots_for(capacity).unwrap()) / 8;
    (0..words).map(|_| AtomicU64::new(0)).collect()
}

fn address(n: u64) -> Ipv6Addr {
    Ipv6Addr::from(0x2001_0db8_000a << 80 | u128::from(n))
}

/// A mapping that tells from which store it is.
pub(super) fn mapping(n: u64, expiry: Duration) -> Mapping {
    Mapping {
        state: State::Pinned,
        u: address(n << 32),
        method: Method::Echo,
        expiry,
        rtt: Duration::from_micros(n),
        failures: 0,
    }
}

#[derive(Debug, Clone)]
enum Step {
    Store { which: usize, lasts: u64 },
    Remove(usize),
    Wait(u64),
    Bump,
    Retain(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..POOL, 0..100u64).prop_map(|(which, lasts)| Step::Store { which, lasts }),
        4 => (0..POOL).prop_map(Step::Remove),
        2 => (0..20u64).prop_map(Step::Wait),
        1 => Just(Step::Bump),
        1 => (2..5u64).prop_map(Step::Retain),
    ]
}

/// How many addresses are stored in turn.
const POOL: usize = 90;

/// Addresses of which many belong to the same few places, some around the end.
fn crowded(slots: usize, key: [u64; 2], few: usize) -> Vec<Ipv6Addr> {
    let home = |a: &Ipv6Addr| super::start(key, words_of(*a)) & (slots - 1);
    let near = |a: &Ipv6Addr| home(a) < few || home(a) >= slots - few;
    (1..).map(address).filter(near).take(POOL).collect()
}

/// Everything that a table tells agrees with the model of what was stored.
fn assert_equal(
    writer: &TableWriter<'_>,
    pool: &[Ipv6Addr],
    model: &HashMap<Ipv6Addr, (Mapping, u64)>,
    epoch: u64,
    now: Duration,
) {
    let view = writer.view();
    for a in pool {
        let known = model.get(a);
        assert_eq!(view.get(*a).map(|e| e.mapping), known.map(|known| known.0));
        let fresh = known.filter(|(mapping, stored)| *stored == epoch && mapping.is_fresh(now));
        assert_eq!(
            view.lookup(*a, now).map(|hit| hit.mapping),
            fresh.map(|known| known.0)
        );
    }
    assert_eq!(writer.len(), model.len());
    assert_eq!(view.header().mappings(), model.len() as u64);
    let listed: HashMap<_, _> = view
        .entries(0..usize::MAX)
        .map(|e| (e.a, e.mapping))
        .collect();
    let stored = model.iter().map(|(a, known)| (*a, known.0)).collect();
    assert_eq!(listed, stored);
}

proptest! {
    /// What is found is what was stored last, and it is found unless it was said to
    /// have gone.
    #[test]
    fn as_a_map(key: [u64; 2], few in 1..32usize, capacity in 3..52usize,
                steps in prop::collection::vec(step(), 1..250)) {
        let memory = memory(capacity);
        let mut writer = TableWriter::format(&memory, &identity(capacity, key), NOW).unwrap();
        let pool = crowded(writer.view().slots(), key, few);
        let mut model = HashMap::new();
        let (mut now, mut epoch) = (NOW, 1);
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Store { which, lasts } => {
                    let (a, number) = (pool[which], number as u64);
                    let mapping = mapping(number, now + Duration::from_secs(lasts));
                    let stored = writer.store(a, &mapping, Duration::ZERO, now);
                    let before = model.insert(a, (mapping, epoch));
                    match stored {
                        Stored::New => prop_assert!(before.is_none()),
                        Stored::Again => prop_assert!(before.is_some()),
                        Stored::Evicting(other) => {
                            prop_assert!(before.is_none() && other != a);
                            let (evicted, stored) = model.remove(&other).unwrap();
                            // Whatever is fresh goes for want of room alone.
                            let fresh = stored == epoch && evicted.is_fresh(now);
                            let reach = REACH.min(writer.view().slots());
                            prop_assert!(!fresh || model.len() == capacity || model.len() >= reach);
                        }
                        Stored::Refused => prop_assert!(false, "refused"),
                    }
                }
                Step::Remove(which) => {
                    let known = model.remove(&pool[which]).is_some();
                    prop_assert_eq!(writer.remove(pool[which]), known);
                }
                Step::Wait(seconds) => now += Duration::from_secs(seconds),
                Step::Bump => {
                    epoch += 1;
                    prop_assert_eq!(writer.bump_epoch(), epoch);
                }
                Step::Retain(part) => {
                    let keep = |a: &Ipv6Addr| u128::from(*a) % u128::from(part) != 0;
                    let before = model.len();
                    model.retain(|a, _| keep(a));
                    // In pieces, as a daemon does; what is moved around the end of the
                    // table comes to a piece that was seen before.
                    let slots = writer.view().slots();
                    let removed = writer.retain(0..slots / 2, |entry| keep(&entry.a))
                        + writer.retain(slots / 2..slots, |entry| keep(&entry.a));
                    prop_assert_eq!(removed, before - model.len());
                }
            }
            prop_assert!(model.len() <= capacity);
        }
        assert_equal(&writer, &pool, &model, epoch, now);
    }

    /// The key decides where mappings stand, and nothing else.
    #[test]
    fn answers_do_not_depend_on_the_key(keys: [[u64; 2]; 2], few in prop::collection::vec((0..40u64, any::<bool>()), 1..80)) {
        let memories = [memory(40), memory(40)];
        let mut writers: Vec<_> = (0..2)
            .map(|n| TableWriter::format(&memories[n], &identity(40, keys[n]), NOW).unwrap())
            .collect();
        for (number, (n, remove)) in few.iter().enumerate() {
            let said: Vec<_> = writers.iter_mut().map(|writer| if *remove {
                (Stored::Refused, writer.remove(address(*n)))
            } else {
                let mapping = mapping(number as u64, NOW + SECOND);
                (writer.store(address(*n), &mapping, SECOND, NOW), false)
            }).collect();
            prop_assert_eq!(said[0], said[1]);
        }
        for n in 0..40 {
            let found = [0, 1].map(|w| writers[w].view().lookup(address(n), NOW));
            prop_assert_eq!(found[0], found[1]);
        }
    }

    /// What an entry holds is what comes out, as far as it has a place.
    #[test]
    fn entries_and_words(a in 1u128.., u: u128, state in 1u8..=4, method in 1u8..=2, expiry: u64,
                         rtt: u32, failures in 0u8..64, epoch: u8, used: u32, due in 0..=DUE_MAX, is_used: bool,
                         is_others: bool, is_asked: bool) {
        let entry = Entry {
            a: a.into(),
            mapping: Mapping {
                state: crate::mapping::state_of(state).unwrap(),
                u: u.into(),
                method: crate::mapping::method_of(method).unwrap(),
                expiry: Duration::from_nanos(expiry),
                rtt: Duration::from_micros(rtt.into()),
                failures,
            },
            epoch, used, due, is_asked, is_used, is_others,
        };
        let words = entry.to_words();
        prop_assert_eq!(Entry::from_words(words), Some(entry));
        let octets: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        prop_assert_eq!(&octets[..16], &entry.a.octets()[..]);
        prop_assert_eq!(&octets[16..32], &entry.mapping.u.octets()[..]);
        prop_assert_eq!(&octets[32..40], &expiry.to_le_bytes()[..]);
        prop_assert_eq!(&octets[40..44], &[state, method, epoch, failures | u8::from(is_used) << 6 | u8::from(is_others) << 7][..]);
    }

    /// Whatever is in the memory: no panic, and no more work than in a table.
    #[test]
    fn hostile_memory(seed: u64, plain in 0..4u8, keep_header: bool) {
        let memory = hostile(64, seed, plain, keep_header);
        let view = TableView::over(&memory).unwrap();
        prop_assert_eq!(TableView::open(&memory).is_ok(), keep_header);
        for n in 0..64 {
            let (found, loads) = counted(|| view.lookup(address(n), NOW));
            prop_assert!(loads <= 5 + 3 * REACH + 8, "{loads}");
            prop_assert!(found.is_none_or(|hit| hit.mapping.is_fresh(NOW)));
        }
        prop_assert!(view.entries(0..usize::MAX).count() <= 64);
        let mut writer = TableWriter::format(&memory, &identity(50, [seed, seed]), NOW).unwrap();
        for n in 0..200 {
            let (_, loads) = counted(|| match n % 5 {
                0 | 1 => drop(writer.store(address(n), &mapping(n, NOW), SECOND, NOW)),
                2 => drop(writer.remove(address(n / 2))),
                3 => drop(writer.note_use(address(n), NOW)),
                _ => drop(writer.retain(0..64, |entry| entry.used % 2 == 0)),
            });
            prop_assert!(loads < 64 * 64 * 64, "{loads}");
        }
    }
}

/// A word that counts how often it is read.
#[derive(Debug, Default)]
struct Counted(AtomicU64);

thread_local! {
    static LOADS: Cell<usize> = const { Cell::new(0) };
}

impl Word for Counted {
    fn load(&self, order: Ordering) -> u64 {
        LOADS.set(LOADS.get() + 1);
        self.0.load(order)
    }
    fn store(&self, value: u64, order: Ordering) {
        self.0.store(value, order);
    }
    fn acquire(&self, current: u64, new: u64) -> bool {
        self.0.acquire(current, new)
    }
    fn fence(order: Ordering) {
        AtomicU64::fence(order);
    }
}

fn counted<R>(work: impl FnOnce() -> R) -> (R, usize) {
    let before = LOADS.get();
    let result = work();
    (result, LOADS.get() - before)
}

/// Memory of the size of a table, full of random octets; `plain` has them such that most
/// slots are occupied by what is read as a mapping.
fn hostile(slots: usize, seed: u64, plain: u8, keep_header: bool) -> Vec<Counted> {
    let mut state = seed | 1;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let memory: Vec<Counted> = (0..HEADER_WORDS + SLOT_WORDS * slots)
        .map(|_| Counted(AtomicU64::new(random())))
        .collect();
    for (slot, words) in memory[HEADER_WORDS..]
        .chunks_exact(SLOT_WORDS)
        .enumerate()
        .filter(|_| plain > 0)
    {
        let a = words_of(address(if plain > 1 { slot as u64 } else { 7 }));
        let fields = [
            (random() & !1) | u64::from(plain == 3),
            a[0],
            a[1],
            3,
            4,
            u64::MAX,
            0x0101,
        ];
        for (word, value) in words.iter().zip(fields) {
            word.0.store(value, Ordering::Relaxed);
        }
    }
    if keep_header {
        let view = TableView::over(&memory).unwrap();
        view.header.format(&identity(50, KEY), slots, NOW);
        for unused in [9, 8] {
            memory[unused].0.store(0, Ordering::Relaxed);
        }
    }
    memory
}

#[test]
fn a_full_table_forgets_what_has_expired_or_expires_first() {
    let memory = memory(1000);
    let mut writer = TableWriter::format(&memory, &identity(1000, KEY), NOW).unwrap();
    let until = |n: u64| NOW + Duration::from_secs(n);
    let mut evicted = 0;
    for n in 1..=20_000 {
        let mapping = mapping(n, until(n));
        let stored = writer.store(address(n), &mapping, Duration::ZERO, NOW);
        evicted += u32::from(matches!(stored, Stored::Evicting(_)));
        assert_eq!(
            writer.view().lookup(address(n), NOW).map(|h| h.mapping),
            Some(mapping)
        );
    }
    assert_eq!((writer.len(), evicted), (1000, 19_000));
    let newest = writer.view().entries(0..usize::MAX);
    assert!(
        newest
            .filter(|entry| entry.mapping.rtt.as_micros() > 15_000)
            .count()
            > 900
    );
    // Everything has expired: nothing fresh has to go before that.
    let now = until(20_000);
    for n in 30_001..=30_500 {
        let mapping = mapping(n, now + SECOND);
        assert!(matches!(
            writer.store(address(n), &mapping, Duration::ZERO, now),
            Stored::Evicting(_)
        ));
    }
    let fresh = (30_001..=30_500).filter(|n| writer.view().lookup(address(*n), now).is_some());
    assert_eq!(fresh.count(), 500);
}

#[test]
fn sequential_addresses_find_their_places() {
    // As many as it is made for, in the densest table there is.
    let capacity = 52_428;
    assert_eq!(slots_for(capacity), Some(65_536));
    for key in [KEY, [0, 0], [u64::MAX, 1], [1 << 63, 1 << 32]] {
        for shift in [0, 16, 32, 64, 72] {
            let memory = memory(capacity);
            let mut writer = TableWriter::format(&memory, &identity(capacity, key), NOW).unwrap();
            let mut evicted = 0;
            for n in 0..capacity as u128 {
                let a = Ipv6Addr::from((0x2001_0db8 << 96) + (n << shift));
                let stored = writer.store(a, &mapping(1, NOW + SECOND), Duration::ZERO, NOW);
                evicted += usize::from(stored != Stored::New);
            }
            // Chance would have it with one in a hundred and fifty.
            assert!(evicted * 100 < capacity, "{evicted} for {shift}, {key:x?}");
        }
    }
}

#[test]
fn epochs() {
    let memory = memory(100);
    let mut writer = TableWriter::format(&memory, &identity(100, KEY), NOW).unwrap();
    let lasting = mapping(1, NOW + 3600 * SECOND);
    writer.store(address(1), &lasting, Duration::ZERO, NOW);
    for turn in 2..=1000u64 {
        assert!(writer.view().lookup(address(turn - 1), NOW).is_some());
        assert_eq!(writer.bump_epoch(), turn);
        for old in 1..turn {
            assert_eq!(
                writer.view().lookup(address(old), NOW),
                None,
                "{old} at {turn}"
            );
        }
        writer.store(address(turn), &lasting, Duration::ZERO, NOW);
    }
}

#[test]
fn due_and_used() {
    let memory = memory(10);
    let mut writer = TableWriter::format(&memory, &identity(10, KEY), NOW).unwrap();
    let a = address(1);
    let store = |writer: &mut TableWriter<'_>, expiry| {
        writer.store(a, &mapping(1, expiry), 12 * SECOND, NOW)
    };
    store(&mut writer, NOW + 60 * SECOND);
    let is_due = |writer: &TableWriter<'_>, after: Duration| {
        writer.view().lookup(a, NOW + after).map(|hit| hit.is_due)
    };
    assert_eq!(is_due(&writer, 48 * SECOND), Some(false));
    assert_eq!(
        is_due(&writer, 48 * SECOND + Duration::from_nanos(1)),
        Some(true)
    );
    assert_eq!(
        is_due(&writer, 60 * SECOND - Duration::from_nanos(1)),
        Some(true)
    );
    assert_eq!(is_due(&writer, 60 * SECOND), None);
    // Once it was told it need not be told again, while it is asked because of that.
    assert_eq!(writer.view().get(a).unwrap().used, 1000);
    assert_eq!(writer.note_use(a, NOW + 50 * SECOND).unwrap().due, 12_000);
    let told = writer.view().lookup(a, NOW + 50 * SECOND).unwrap();
    // How old it is can still be told.
    assert_eq!((told.is_due, told.ttl()), (false, 60 * SECOND));
    writer.note_unasked(a);
    assert_eq!(is_due(&writer, 50 * SECOND), Some(true));
    assert_eq!(store(&mut writer, NOW + 100 * SECOND), Stored::Again);
    assert_eq!(is_due(&writer, 99 * SECOND), Some(true));
    assert_eq!(writer.view().get(a).unwrap().used, 1050);
    assert_eq!(writer.note_use(address(2), NOW), None);
}

#[test]
fn headers_that_are_none() {
    let memory = memory(10);
    let mut writer = TableWriter::format(&memory, &identity(10, KEY), NOW).unwrap();
    let a = address(1);
    writer.store(a, &mapping(1, NOW + SECOND), SECOND, NOW);
    let header = TableView::open(&memory).unwrap().header();
    assert_eq!(header.identity(), identity(10, KEY));
    assert_eq!((header.epoch(), header.heartbeat()), (1, NOW));
    writer.beat(NOW + SECOND);
    assert_eq!(header.heartbeat(), NOW + SECOND);
    for (word, value, expected) in [
        (0, 0, Invalid::Magic),
        (1, 64 << 32 | 2, Invalid::Version(2)),
        (1, 56 << 32 | 1, Invalid::EntrySize(56)),
        (2, 32, Invalid::Slots(32)),
        (14, 1, Invalid::Clock(1)),
    ] {
        let before = memory[word].swap(value, Ordering::Relaxed);
        assert_eq!(TableView::open(&memory).err(), Some(expected));
        memory[word].store(before, Ordering::Relaxed);
    }
    for words in [0, 511, 512, 513, 519, 536, memory.len() - 1] {
        assert_eq!(
            TableView::open(&memory[..words]).err(),
            Some(Invalid::Length(words))
        );
    }
    assert_eq!(
        TableView::open(&memory[..520]).err(),
        Some(Invalid::Slots(16))
    );
    assert!(TableWriter::format(&memory, &identity(16, KEY), NOW).is_err());
    assert!(writer.view().lookup(a, NOW).is_some());
    writer.retire();
    assert!(header.is_retired() && writer.view().lookup(a, NOW).is_none());
}

#[test]
fn sizes() {
    let slots = [1, 100_000, 1_000_000, 104_857, 104_858, CAPACITY_MAX].map(slots_for);
    let expected = [2, 131_072, 2_097_152, 131_072, 262_144, SLOTS_MAX];
    assert_eq!(slots, expected.map(Some));
    assert_eq!([0, CAPACITY_MAX + 1].map(slots_for), [None; 2]);
    assert_eq!(size_of_slots(131_072), 4096 + 64 * 131_072);
}

/// Ends another thread, also where this one's assertions fail: the scope would wait for it.
struct Ending<'o>(&'o AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Beside the model checker: real threads, and a table that is crowded.
#[test]
fn readers_look_on() {
    let memory = memory(50);
    let mut writer = TableWriter::format(&memory, &identity(50, KEY), NOW).unwrap();
    let pool = crowded(64, KEY, 2);
    let (view, over) = (writer.view(), AtomicBool::new(false));
    let number = |a: Ipv6Addr| u128::from(a) as u64;
    std::thread::scope(|scope| {
        let (pool, over) = (&pool, &over);
        let _ending = Ending(over);
        scope.spawn(move || {
            for turn in 0.. {
                let a = pool[turn % pool.len()];
                let lasting = Mapping {
                    u: address(number(a) + ((turn as u64) << 32)),
                    rtt: Duration::from_micros(turn as u64 & 0xffff_ffff),
                    ..mapping(0, NOW + SECOND * (1 + turn as u32 % 1000))
                };
                writer.store(a, &lasting, Duration::ZERO, NOW);
                writer.remove(pool[turn * 7 % pool.len()]);
                if over.load(Ordering::Relaxed) {
                    break;
                }
                if turn % 64 == 0 {
                    std::thread::yield_now();
                }
            }
        });
        let (mut seen, mut turn) = (0, 0);
        while seen < if cfg!(miri) { 200 } else { 20_000 } {
            let a = pool[turn * 5 % pool.len()];
            turn += 1;
            let Some(hit) = view.lookup(a, NOW) else {
                if turn % 64 == 0 {
                    std::thread::yield_now();
                }
                continue;
            };
            let stored = hit.mapping.rtt.as_micros() as u64;
            assert_eq!(hit.mapping.u, address(number(a) + (stored << 32)));
            let lasts = SECOND * (1 + stored as u32 % 1000);
            assert_eq!(hit.mapping.expiry, NOW + lasts);
            seen += 1;
        }
    });
}

/// Addresses that meet in one place, as whoever reads the key can find them.
fn meeting(writer: &TableWriter<'_>, count: usize) -> Vec<Ipv6Addr> {
    let mask = writer.view().slots() - 1;
    let home = |a: &Ipv6Addr| super::start(KEY, words_of(*a)) & mask;
    (1..)
        .map(address)
        .filter(|a| home(a) == 7)
        .take(count)
        .collect()
}

fn entry(a: Ipv6Addr, state: State, lasts: u64) -> Entry {
    let mapping = mapping(lasts, NOW + Duration::from_secs(lasts));
    Entry {
        a,
        mapping: Mapping { state, ..mapping },
        epoch: 1,
        used: 1000,
        due: 0,
        is_asked: false,
        is_used: false,
        is_others: false,
    }
}

#[test]
fn what_is_worth_less_goes_first_and_nothing_for_less() {
    let memory = memory(1000);
    let mut writer = TableWriter::format(&memory, &identity(1000, KEY), NOW).unwrap();
    let pool = meeting(&writer, 2 * REACH);
    let (first, more) = pool.split_at(REACH);
    for (n, a) in first.iter().enumerate() {
        let state = match n {
            3 | 4 => State::Unanswered,
            5 => State::Untrusted,
            6 => State::Direct,
            _ => State::Pinned,
        };
        // What is worth least is what would hold for longest.
        let used = Entry {
            is_used: n > 7,
            ..entry(*a, state, 100 - n as u64)
        };
        assert_eq!(writer.store_entry(&used, NOW), Stored::New);
    }
    // An address that nobody answers for, again and again.
    let unanswered = |n: usize| entry(more[n], State::Unanswered, 200);
    for (n, gone) in [(0, 5), (1, 4), (2, 3)] {
        assert_eq!(
            writer.store_entry(&unanswered(n), NOW),
            Stored::Evicting(first[gone])
        );
    }
    assert_eq!(
        writer.store_entry(&unanswered(3), NOW),
        Stored::Evicting(more[2])
    );
    let direct = entry(more[4], State::Direct, 10);
    assert!(matches!(
        writer.store_entry(&direct, NOW),
        Stored::Evicting(_)
    ));
    for _ in 0..2 {
        assert!(matches!(
            writer.store_entry(&entry(more[5], State::Pinned, 50), NOW),
            Stored::Evicting(_) | Stored::Again
        ));
    }
    let is_there = |writer: &TableWriter<'_>, a| writer.view().lookup(a, NOW).is_some();
    assert!(first[8..].iter().all(|a| is_there(&writer, *a)));
    // Used or not, it is a mapping that somebody waits for.
    for n in 6..6 + REACH {
        let a = more[n % REACH];
        assert_ne!(
            writer.store_entry(
                &Entry {
                    is_used: true,
                    ..entry(a, State::Pinned, 300 + n as u64)
                },
                NOW
            ),
            Stored::Refused
        );
    }
    for state in [State::Unanswered, State::Untrusted, State::Direct] {
        assert_eq!(
            writer.store_entry(&entry(first[0], state, 500), NOW),
            Stored::Refused
        );
    }
    let stays = Entry {
        is_used: true,
        ..entry(first[1], State::Pinned, 10)
    };
    assert!(matches!(
        writer.store_entry(&stays, NOW),
        Stored::Evicting(_)
    ));
}

#[test]
fn users_who_read_the_key_displace_nothing_of_roots() {
    let memory = memory(1000);
    let mut writer = TableWriter::format(&memory, &identity(1000, KEY), NOW).unwrap();
    let pool = meeting(&writer, 2000);
    let (own, others) = pool.split_at(20);
    for a in &own[..10] {
        assert_eq!(
            writer.store_entry(&entry(*a, State::Pinned, 5), NOW),
            Stored::New
        );
    }
    for a in others {
        let hostile = Entry {
            is_others: true,
            is_used: true,
            ..entry(*a, State::Pinned, 600)
        };
        assert_ne!(writer.store_entry(&hostile, NOW), Stored::Again);
    }
    let there = |writer: &TableWriter<'_>, pool: &[Ipv6Addr]| {
        pool.iter()
            .filter(|a| writer.view().lookup(**a, NOW).is_some())
            .count()
    };
    assert_eq!(
        (there(&writer, own), there(&writer, others)),
        (10, REACH / 2)
    );
    for a in &own[10..] {
        assert_ne!(
            writer.store_entry(&entry(*a, State::Pinned, 5), NOW),
            Stored::Refused
        );
    }
    assert_eq!(there(&writer, own), 20);
    // Nor in a table that is full.
    let memory = self::memory(100);
    let mut writer = TableWriter::format(&memory, &identity(100, KEY), NOW).unwrap();
    for n in 0..90 {
        writer.store_entry(&entry(address(n), State::Unanswered, 5), NOW);
    }
    for n in 1000..10_000 {
        let hostile = Entry {
            is_others: true,
            ..entry(address(n), State::Pinned, 600)
        };
        writer.store_entry(&hostile, NOW);
    }
    assert!((0..90).all(|n| writer.view().lookup(address(n), NOW).is_some()));
}

#[test]
fn mappings_are_revised_in_their_places() {
    let memory = memory(100);
    let mut writer = TableWriter::format(&memory, &identity(100, KEY), NOW).unwrap();
    for n in 1..=60 {
        writer.store_entry(&entry(address(n), State::Pinned, n), NOW);
    }
    let slots = writer.view().slots();
    let removed = writer.revise(0..slots, |entry| {
        let mut revised = *entry;
        revised.due = 77;
        (entry.mapping.expiry <= NOW + 40 * SECOND).then_some(revised)
    });
    assert_eq!((removed, writer.len()), (20, 40));
    for n in 1..=60 {
        let found = writer.view().get(address(n)).map(|entry| entry.due);
        assert_eq!(found, (n <= 40).then_some(77));
    }
}
