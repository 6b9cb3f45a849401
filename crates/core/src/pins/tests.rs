use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

fn table() -> Box<PinTable> {
    // On the heap: it is too large for the stack of a test.
    let zeroed = std::iter::repeat_with(|| AtomicU64::new(0));
    let entries: Vec<Entry> = (0..ENTRIES)
        .map(|_| Entry {
            pin: Slot::new(),
            used: AtomicU64::new(0),
            silence: AtomicU64::new(0),
        })
        .collect();
    let hints: Vec<AtomicU64> = zeroed.take(HINTS).collect();
    Box::new(PinTable {
        entries: entries.try_into().unwrap(),
        hints: hints.try_into().unwrap(),
    })
}

fn address(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn remote(socket: u32, address: Ipv6Addr) -> Remote {
    Remote {
        socket,
        address,
        port: 53,
    }
}

const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
const U: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 2);

#[test]
fn a_pin_is_found_from_both_ends_and_on_its_own_socket_only() {
    let table = table();
    let pin = table.insert(&remote(1, A), U, 60, 1000).unwrap();
    assert_eq!((pin.a, pin.u, pin.port, pin.idle), (A, U, 53, 60));
    assert_eq!(table.to(&remote(1, A)), Some(pin));
    assert_eq!(table.from(&remote(1, U)), Some(pin));
    for other in [
        remote(2, A),
        remote(1, U),
        Remote {
            port: 54,
            ..remote(1, A)
        },
    ] {
        assert_eq!(table.to(&other), None, "{other:?}");
    }
    for other in [
        remote(2, U),
        remote(1, A),
        Remote {
            port: 54,
            ..remote(1, U)
        },
    ] {
        assert_eq!(table.from(&other), None, "{other:?}");
    }
    // By its place it is found as by itself.
    assert_eq!(table.to_in(pin.place, &remote(1, A)), Some(pin));
    assert_eq!(table.from_in(pin.place, &remote(1, U)), Some(pin));
    for other in [remote(2, A), remote(1, U)] {
        assert_eq!(table.to_in(pin.place, &other), None, "{other:?}");
    }
    for other in [remote(2, U), remote(1, A)] {
        assert_eq!(table.from_in(pin.place, &other), None, "{other:?}");
    }
    assert_eq!(table.to_in(Place(pin.place.0 ^ 1), &remote(1, A)), None);
    // What was decided stays.
    let other = address("2001:db8:52::2");
    assert_eq!(table.insert(&remote(1, A), other, 60, 2000), Some(pin));
    assert!(!table.clear(2, pin.place), "none of its own");
    assert_eq!(table.at(1, pin.place), Some(pin));
    assert_eq!(table.at(2, pin.place), None);
    assert_eq!(table.of(1).collect::<Vec<_>>(), [pin]);
    assert!(table.clear(1, pin.place), "for one");
    assert!(!table.clear(1, pin.place), "and no other");
    assert!(table.insert(&remote(1, A), U, 60, 2000).is_some());
    table.release(1);
    assert_eq!(table.of(1).count(), 0);
    assert_eq!(
        (table.to(&remote(1, A)), table.from(&remote(1, U))),
        (None, None)
    );
}

#[test]
fn what_comes_late_from_a_former_u_is_shown_as_a() {
    let table = table();
    let pin = table.insert(&remote(1, A), U, 60, 1000).unwrap();
    let other = address("2001:db8:52::2");
    let moved = table.replace(&remote(1, A), &pin, other, 2000).unwrap();
    assert_eq!(table.to(&remote(1, A)).unwrap().u, other);
    assert_eq!(table.from(&remote(1, U)).unwrap().a, A);
    assert_eq!(table.from(&remote(1, other)), Some(moved));
    // And back again.
    let back = table.replace(&remote(1, A), &moved, U, 3000).unwrap();
    assert_eq!(table.to(&remote(1, A)), Some(back));
    assert_eq!(table.from(&remote(1, other)).unwrap().a, A);
    assert_eq!(table.from(&remote(1, U)).unwrap().a, A);
    // To A itself, in the end.
    let own = table.replace(&remote(1, A), &back, A, 4000).unwrap();
    assert!(!own.is_moved());
    assert_eq!(table.from(&remote(1, A)), Some(own));
    assert_eq!(table.from(&remote(1, U)).unwrap().a, A);
}

/// A thread that receives and sends while another moves the pin: there is always
/// what says what U stands for, and where A is.
#[test]
fn a_pin_that_is_moved_is_always_there() {
    let table = table();
    let others = [address("2001:db8:52::2"), A, U];
    table.insert(&remote(1, A), U, 60, 1000).unwrap();
    let over = AtomicU64::new(0);
    let missed = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut missed = (0, 0);
            while over.load(Ordering::Relaxed) == 0 {
                missed.0 += u32::from(table.from(&remote(1, U)).is_none());
                missed.1 += u32::from(table.to(&remote(1, A)).is_none());
            }
            missed
        });
        for turn in 0..if cfg!(miri) { 20 } else { 20_000 } {
            let pin = table.to(&remote(1, A));
            let u = others[turn % others.len()];
            let moved = pin.and_then(|pin| table.replace(&remote(1, A), &pin, u, 2000));
            if moved.is_none() {
                println!("turn {turn}: {pin:?}");
                break;
            }
            if turn % 64 == 0 {
                std::thread::yield_now();
            }
        }
        over.store(1, Ordering::Relaxed);
        watch.join().unwrap()
    });
    assert_eq!(missed, (0, 0));
}

/// Threads that have nothing in common but the table: what one enters is there for
/// it, whatever the others do to the places beside and to the index.
#[test]
fn what_a_thread_enters_is_there_for_it() {
    const THREADS: u32 = 4;
    let turns = if cfg!(miri) { 20 } else { 100_000 };
    let table = table();
    let missed = |thread: u32| {
        // Of such numbers all begin at the same place, and in the index too.
        let socket = |turn: u32| 1 + (turn * THREADS + thread) * HINTS as u32;
        let mut missed = Vec::new();
        for turn in 0..turns {
            let (socket, now) = (socket(turn), 1000 + u64::from(turn));
            let pin = table.insert(&remote(socket, A), U, 60, now);
            let found = (table.to(&remote(socket, A)), table.from(&remote(socket, U)));
            if pin.is_none() || found != (pin, pin) {
                missed.push((socket, pin, found));
            }
            if let Some(pin) = pin {
                let _ = table.clear(socket, pin.place);
            }
        }
        missed
    };
    let missed: Vec<_> = std::thread::scope(|scope| {
        let missed = &missed;
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || missed(thread)))
            .collect();
        let results = threads.into_iter().map(|thread| thread.join().unwrap());
        results.flatten().collect()
    });
    assert_eq!(missed, []);
}

#[test]
fn idle_by_its_own_time_and_by_a_clock_that_was_set_back() {
    let table = table();
    let pin = table.insert(&remote(1, A), U, 60, 100_000).unwrap();
    assert!(!table.is_idle(&pin, 160_000));
    assert!(table.is_idle(&pin, 160_001));
    table.heard(pin.place, 150_000);
    assert!(!table.is_idle(&pin, 210_000));
    assert!(table.is_idle(&pin, 80_000));
    let for_ever = table.insert(&remote(2, A), U, 0, 100_000).unwrap();
    assert!(!table.is_idle(&for_ever, u64::MAX / 2));
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn a_full_table_takes_no_more_and_what_was_used_lately_stays() {
    let table = table();
    let sources = (0..20_000u32).map(|n| remote(n + 1, A));
    let taken: Vec<Remote> = sources
        .filter(|remote| table.insert(remote, U, 60, 1000).is_some())
        .collect();
    assert!(
        (ENTRIES * 9 / 10..=ENTRIES).contains(&taken.len()),
        "{}",
        taken.len()
    );
    for remote in &taken {
        assert_eq!(table.to(remote).unwrap().u, U);
    }
    // After their time they make place.
    let late = (0..1000).filter(|n| {
        table
            .insert(&remote(30_000 + n, A), U, 60, 100_000)
            .is_some()
    });
    assert_eq!(late.count(), 1000);
}

proptest! {
    /// Against a map: what was put in and not taken out is found from both ends.
    #[test]
    #[cfg_attr(miri, ignore = "takes minutes under Miri")]
    fn as_a_map_does(steps in proptest::collection::vec((0..5u8, 1..6u32, 0..6u8, 0..4u8), 1..300)) {
        let table = table();
        let mut model: HashMap<(u32, u8), u8> = HashMap::new();
        let a = |n: u8| Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, u16::from(n));
        // One U for one A on one socket, as those who insert see to.
        let u = |n: u8, which: u8| Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, u16::from(which), u16::from(n));
        for (now, (step, socket, n, which)) in steps.into_iter().enumerate() {
            let remote = remote(socket, a(n));
            match step {
                0 | 1 => {
                    let pin = table.insert(&remote, u(n, which), 60, now as u64).unwrap();
                    let expected = *model.entry((socket, n)).or_insert(which);
                    prop_assert_eq!(pin.u, u(n, expected));
                }
                2 => {
                    if let Some(pin) = table.to(&remote) {
                        table.replace(&remote, &pin, u(n, which), now as u64).unwrap();
                        model.insert((socket, n), which);
                    }
                }
                3 => {
                    table.release(socket);
                    model.retain(|(other, _), _| *other != socket);
                }
                _ => {
                    if let Some(pin) = table.to(&remote) {
                        let _ = table.clear(socket, pin.place);
                    }
                    model.remove(&(socket, n));
                }
            }
            for socket in 1..6 {
                for n in 0..6 {
                    let found = table.to(&super::tests::remote(socket, a(n))).map(|pin| pin.u);
                    let expected = model.get(&(socket, n)).map(|which| u(n, *which));
                    prop_assert_eq!(found, expected);
                    if let Some(u) = expected {
                        let back = table.from(&super::tests::remote(socket, u)).map(|pin| pin.a);
                        prop_assert_eq!(back, Some(a(n)));
                    }
                }
            }
        }
    }
}
