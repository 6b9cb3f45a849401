//! Writers that come and go.
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use aarp_sys::clock::boottime;
use aarp_sys::table::{Attachment, CreateError, Created, OwnTable, Previous};

use crate::{Folder, a, assert_whole, attach, make, mapping};

/// No test takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that writes, until it is killed, a table that is mapped in it.
fn writing(table: &mut OwnTable, now: Duration) -> i32 {
    // SAFETY: the child makes system calls and writes to memory of its own; it does not
    // allocate, and ends with its parent, or after a minute.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: no pointers.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            libc::alarm(60);
        }
        for turn in 0..u64::from(u32::MAX) {
            let n = turn * 31 % 150;
            table.store(a(n), &mapping(n, turn, now), Duration::ZERO, now);
            table.remove(a(turn * 17 % 150));
        }
        // SAFETY: ends the child.
        unsafe { libc::_exit(1) };
    }
    assert!(child > 0, "{}", std::io::Error::last_os_error());
    child
}

/// However the writer ends, readers read on: what it has left, and then what is new.
#[test]
fn readers_outlive_a_writer_that_is_killed() {
    let folder = Folder::new();
    let path = folder.table();
    let now = boottime();
    let reader = Attachment::none();
    let began = Instant::now();
    for turn in 0..20u32 {
        let Created {
            mut table,
            previous,
        } = make(&path, 100).expect("the lock is free");
        match (turn, previous) {
            (0, Previous::None) => {}
            // It was killed amid a store or a removal, perhaps.
            (_, Previous::Taken(taken)) => {
                let left = reader.table().expect("attached");
                assert!(left.header().is_retired());
                assert_eq!(left.lookup(a(1), now), None);
                let whole = assert_whole(&left, now);
                assert!(taken > 30 && whole - taken < 2, "{taken} of {whole}");
                assert_eq!(assert_whole(&table.view(), now), taken);
            }
            other => panic!("{other:?}"),
        }
        let child = writing(&mut table, now);
        // The child's alone from here on.
        drop(table);
        assert_eq!(attach(&reader, &path), Ok(()));
        let table = reader.table().expect("attached");
        let mut hits = 0;
        while hits < 5000 + 100 * turn {
            for n in 0..150 {
                let Some(hit) = table.lookup(a(n), now) else {
                    continue;
                };
                let stored = hit.mapping.rtt.as_micros() as u64;
                assert_eq!(hit.mapping, mapping(n, stored, now));
                hits += 1;
            }
            assert!(began.elapsed() < PATIENCE, "{hits} hits in turn {turn}");
        }
        match make(&path, 100) {
            Err(CreateError::Held { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        // SAFETY: no pointers; waits for the child just made.
        unsafe {
            assert_eq!(libc::kill(child, libc::SIGKILL), 0);
            assert_eq!(libc::waitpid(child, std::ptr::null_mut(), 0), child);
        }
        assert!(!table.header().is_retired());
        let fresh = (0..150)
            .filter(|n| table.lookup(a(*n), now).is_some())
            .count();
        assert!(fresh > 30, "{fresh}");
    }
}

/// Of a table that another has replaced, a process that goes on to the new one keeps
/// addresses alone.
#[test]
fn what_is_replaced_takes_no_memory() {
    let folder = Folder::new();
    let path = folder.table();
    let reader = Attachment::none();
    let mapped = |path: &Path| {
        let maps = fs::read_to_string("/proc/self/maps").expect("/proc");
        let name = path.to_str().expect("UTF-8");
        maps.lines().filter(|line| line.contains(name)).count()
    };
    for _ in 0..30 {
        let created = make(&path, 1000).expect("a table");
        assert_eq!(attach(&reader, &path), Ok(()));
        assert_eq!(reader.table().expect("attached").slots(), 2048);
        drop(created);
        assert_eq!(mapped(&path), 1, "the reader's");
    }
    reader.detach();
    assert_eq!(mapped(&path), 0);
}
