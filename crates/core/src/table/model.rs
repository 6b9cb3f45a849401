//! What no reader may ever see, looked for by a model checker in every order of the
//! steps that the memory model permits, up to so many changes of thread:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release -p aarp-core --lib table::model
//! ```
//!
//! The code is that of the table; only its words are the checker's. Words that are
//! weaker than ours show that the checker sees what each ordering is for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aarp_wire::probe::Method;
use loom::sync::atomic::{AtomicU64, fence};

use super::header::FIELDS;
use super::*;
use crate::mapping::{Mapping, State};
use crate::slot::{Slot, Word};

const NOW: Duration = Duration::from_secs(1000);
const KEY: [u64; 2] = [3, 5];
const SLOTS: usize = 4;
/// How often the checker may leave a thread that could go on.
const PREEMPTIONS: usize = 2;

/// Orderings as they are.
const SOUND: u8 = 0;
/// The end of writing a record does not release it.
const RELAXED_END: u8 = 1;
/// No fence after the sequence was made odd.
const NO_RELEASE_FENCE: u8 = 2;
/// The beginning of reading does not acquire.
const RELAXED_BEGINNING: u8 = 3;
/// No fence before the second look at the sequence.
const NO_ACQUIRE_FENCE: u8 = 4;

/// A word of the checker's, or one whose every change is seen at once: the more of the
/// former, the more orders.
struct Checked<const HOW: u8> {
    word: Option<AtomicU64>,
    plain: std::sync::atomic::AtomicU64,
}

impl<const HOW: u8> Checked<HOW> {
    fn new(is_checked: bool) -> Self {
        Self {
            word: is_checked.then(|| AtomicU64::new(0)),
            plain: 0.into(),
        }
    }
}

impl<const HOW: u8> Word for Checked<HOW> {
    fn load(&self, order: Ordering) -> u64 {
        let Some(word) = &self.word else {
            return self.plain.load(Ordering::SeqCst);
        };
        match (HOW, order) {
            (RELAXED_BEGINNING, Ordering::Acquire) => word.load(Ordering::Relaxed),
            _ => word.load(order),
        }
    }

    fn store(&self, value: u64, order: Ordering) {
        let Some(word) = &self.word else {
            return self.plain.store(value, Ordering::SeqCst);
        };
        match (HOW, order) {
            (RELAXED_END, Ordering::Release) => word.store(value, Ordering::Relaxed),
            _ => word.store(value, order),
        }
    }

    fn acquire(&self, current: u64, new: u64) -> bool {
        let (good, bad) = (Ordering::Acquire, Ordering::Relaxed);
        let word = self.word.as_ref().expect("a sequence");
        word.compare_exchange(current, new, good, bad).is_ok()
    }

    fn fence(order: Ordering) {
        match (HOW, order) {
            (NO_RELEASE_FENCE, Ordering::Release) | (NO_ACQUIRE_FENCE, Ordering::Acquire) => {}
            _ => fence(order),
        }
    }
}

/// Which words the checker knows.
#[derive(Clone, Copy)]
enum Scope {
    /// All of them.
    All,
    /// Of the header the epoch and whether it is retired; of each slot the sequence,
    /// half of A, half of U, and the expiry. What the others hold is left aside.
    Slots,
    /// The same, and the word with the epoch of a slot.
    Epochs,
}

/// A table of few slots.
struct Memory<const HOW: u8> {
    header: [Checked<HOW>; FIELDS],
    slots: [[Checked<HOW>; SLOT_WORDS]; SLOTS],
}

impl<const HOW: u8> Memory<HOW> {
    fn new(scope: Scope) -> Arc<Self> {
        let all = matches!(scope, Scope::All);
        let epochs = matches!(scope, Scope::Epochs);
        let slot = |_| {
            let is_checked = |word| all || [0, 2, 4, 5].contains(&word) || epochs && word == 6;
            std::array::from_fn(|word| Checked::new(is_checked(word)))
        };
        Arc::new(Self {
            header: std::array::from_fn(|word| Checked::new(all || [8, 9].contains(&word))),
            slots: std::array::from_fn(slot),
        })
    }

    fn view(&self) -> TableView<'_, Checked<HOW>> {
        TableView {
            header: Header::over(&self.header).expect("words enough"),
            slots: &self.slots,
        }
    }

    fn writer(&self) -> TableWriter<'_, Checked<HOW>> {
        TableWriter::begin(self.view(), &super::tests::identity(3, KEY), NOW)
    }
}

/// The addresses whose home is that slot.
fn at_home(slot: usize) -> impl Iterator<Item = Ipv6Addr> {
    (1u128..)
        .map(|n| Ipv6Addr::from(0x2001_0db8 << 96 | n))
        .filter(move |a| start(KEY, words_of(*a)) % SLOTS == slot)
}

/// A mapping of which every part tells whose it is.
fn mapping(a: Ipv6Addr, turn: u64) -> Mapping {
    let number = u128::from(a) as u64;
    let both = u128::from(number << 32 | turn);
    Mapping {
        state: State::Pinned,
        u: Ipv6Addr::from(both << 64 | both),
        method: Method::Echo,
        expiry: NOW + Duration::from_secs(number << 8 | turn),
        rtt: Duration::from_micros(turn),
        failures: turn as u8,
    }
}

fn store<const HOW: u8>(writer: &mut TableWriter<'_, Checked<HOW>>, a: Ipv6Addr, turn: u64) {
    let stored = writer.store(a, &mapping(a, turn), Duration::ZERO, NOW);
    assert_ne!(stored, Stored::Refused);
}

/// Nothing, or a mapping that was stored for `a` in one piece; from which store.
fn assert_whole<const HOW: u8>(memory: &Memory<HOW>, scope: Scope, a: Ipv6Addr) -> Option<u64> {
    let found = memory.view().lookup(a, NOW)?.mapping;
    let turn = (found.expiry - NOW).as_secs() & 0xff;
    let whole = mapping(a, turn);
    let part = |found: Mapping| (found.expiry, u128::from(found.u) as u64);
    match scope {
        Scope::All => assert_eq!(found, whole, "half a mapping"),
        _ => assert_eq!(part(found), part(whole), "half a mapping"),
    }
    Some(turn)
}

fn bounded() -> loom::model::Builder {
    let mut model = loom::model::Builder::new();
    // LOOM_MAX_PREEMPTIONS says otherwise.
    model.preemption_bound = model.preemption_bound.or(Some(PREEMPTIONS));
    model
}

/// Runs `write`, on a table that `prepare` has filled, beside `read` in a thread of its
/// own, in every order.
fn check<const HOW: u8>(
    scope: Scope,
    prepare: impl Fn(&mut TableWriter<'_, Checked<HOW>>) + Sync + Send + 'static,
    write: impl Fn(&mut TableWriter<'_, Checked<HOW>>) + Sync + Send + 'static,
    read: impl Fn(&Memory<HOW>) + Sync + Send + Copy + 'static,
) {
    bounded().check(move || {
        let memory = Memory::<HOW>::new(scope);
        let mut writer = memory.writer();
        prepare(&mut writer);
        let seen = Arc::clone(&memory);
        let reader = loom::thread::spawn(move || read(&seen));
        write(&mut writer);
        reader.join().expect("the reader");
    });
}

/// The same A again and again.
fn replaced<const HOW: u8>() {
    let a = || at_home(1).next().expect("there are many");
    check::<HOW>(
        Scope::All,
        move |writer| store(writer, a(), 1),
        move |writer| store(writer, a(), 2),
        move |memory| {
            let _ = assert_whole(memory, Scope::All, a());
        },
    );
}

#[test]
fn a_reader_never_sees_half_a_mapping() {
    replaced::<SOUND>();
}

#[test]
#[should_panic(expected = "half a mapping")]
fn not_with_a_relaxed_end() {
    replaced::<RELAXED_END>();
}

#[test]
#[should_panic(expected = "half a mapping")]
fn not_without_the_release_fence() {
    replaced::<NO_RELEASE_FENCE>();
}

#[test]
#[should_panic(expected = "half a mapping")]
fn not_with_a_relaxed_beginning() {
    replaced::<RELAXED_BEGINNING>();
}

#[test]
#[should_panic(expected = "half a mapping")]
fn not_without_the_acquire_fence() {
    replaced::<NO_ACQUIRE_FENCE>();
}

/// The slots of a process's own tables, which have several writers.
#[test]
fn writers_that_meet_leave_whole_records() {
    bounded().check(|| {
        let word = || Checked::<SOUND>::new(true);
        let slot = Arc::new(Slot::over(word(), [word(), word()]));
        let writers = [1, 2].map(|number| {
            let slot = Arc::clone(&slot);
            loom::thread::spawn(move || slot.update(|old| Some(old.map(|word| word + number))))
        });
        let assert_whole = |record: Option<[u64; 2]>| {
            assert!(
                record.is_none_or(|[first, second]| first == second),
                "half a record"
            );
        };
        assert_whole(slot.read());
        let written = writers.map(|writer| writer.join().expect("a writer"));
        // Who gives up has met another.
        let sum = written.iter().zip([1, 2]).filter(|(done, _)| **done);
        let sum: u64 = sum.map(|(_, number)| number).sum();
        assert!(sum > 0 && slot.read() == Some([sum; 2]));
    });
}

/// Three that stand one behind the other, and the first is removed: the others move.
#[test]
fn what_moves_back_is_whole_or_missed() {
    let few = || at_home(1).take(3).collect::<Vec<_>>();
    for which in 0..3 {
        check::<SOUND>(
            Scope::Slots,
            move |writer| few().iter().for_each(|a| store(writer, *a, 1)),
            move |writer| assert!(writer.remove(few()[0])),
            move |memory| {
                let _ = assert_whole(memory, Scope::Slots, few()[which]);
            },
        );
    }
}

/// A slot is emptied, and another A takes it.
#[test]
fn a_slot_that_changes_hands_is_nobodys_meanwhile() {
    let few = || at_home(3).take(2).collect::<Vec<_>>();
    for which in 0..2 {
        check::<SOUND>(
            Scope::Slots,
            move |writer| store(writer, few()[0], 1),
            move |writer| {
                assert!(writer.remove(few()[0]));
                store(writer, few()[1], 2);
            },
            move |memory| {
                let _ = assert_whole(memory, Scope::Slots, few()[which]);
            },
        );
    }
}

/// Every place is taken: what is stored comes in place of another.
#[test]
fn what_is_evicted_in_place_is_whole_or_missed() {
    let few = || at_home(0).take(4).collect::<Vec<_>>();
    for which in [0, 3] {
        check::<SOUND>(
            Scope::Slots,
            move |writer| few()[..3].iter().for_each(|a| store(writer, *a, 1)),
            move |writer| store(writer, few()[3], 2),
            move |memory| {
                let _ = assert_whole(memory, Scope::Slots, few()[which]);
            },
        );
    }
}

/// What a reader has found once it does not lose to an older mapping, and once it has
/// seen the table retired, or the epoch of what it has found gone, it finds nothing.
#[test]
fn nothing_comes_back() {
    let a = || at_home(1).next().expect("there are many");
    check::<SOUND>(
        Scope::Epochs,
        move |writer| store(writer, a(), 1),
        move |writer| {
            store(writer, a(), 2);
            writer.retire();
        },
        move |memory| {
            let first = assert_whole(memory, Scope::Epochs, a());
            let retired = memory.view().header().is_retired();
            let second = assert_whole(memory, Scope::Epochs, a());
            assert!(second.is_none_or(|second| !retired && second >= first.unwrap_or(0)));
        },
    );
    check::<SOUND>(
        Scope::Epochs,
        move |writer| store(writer, a(), 1),
        move |writer| {
            writer.bump_epoch();
            store(writer, a(), 2);
        },
        move |memory| {
            let epoch = memory.view().header().epoch();
            let found = assert_whole(memory, Scope::Epochs, a());
            assert!(found.is_none_or(|turn| turn >= epoch));
        },
    );
}
