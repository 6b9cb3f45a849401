//! A file that is made, read, refused, replaced.
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use aarp_core::mapping::Mapping;
use aarp_core::table::{Invalid, Stored};
use aarp_sys::clock::boottime;
use aarp_sys::syscall::Errno;
use aarp_sys::table::{AttachError, Attachment, OwnTable, Previous};

use crate::{Folder, HOUR, a, attach, make, mapping, own};

const SECOND: Duration = Duration::from_secs(1);

fn known(n: u64, expiry: Duration) -> Mapping {
    Mapping {
        expiry,
        ..mapping(n, 1, expiry)
    }
}

fn made(path: &Path) -> (OwnTable, Previous) {
    let created = make(path, 100).expect("a table");
    (created.table, created.previous)
}

fn refused(path: &Path) -> AttachError {
    attach(&Attachment::none(), path).expect_err("it is refused")
}

fn lookup(reader: &Attachment, n: u64) -> Option<Mapping> {
    let hit = reader.table()?.lookup(a(n), boottime())?;
    Some(hit.mapping)
}

#[test]
fn what_is_written_is_read() {
    let folder = Folder::new();
    let path = folder.table();
    let reader = Attachment::none();
    assert!(reader.table().is_none());
    assert_eq!(attach(&reader, &path), Err(AttachError::Absent));
    let (mut table, previous) = made(&path);
    assert_eq!(previous, Previous::None);
    assert_eq!(folder.names(), ["table", "table.lock"]);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o644);
    assert_eq!(attach(&reader, &path), Ok(()));
    let mapping = known(1, boottime() + HOUR);
    assert_eq!(lookup(&reader, 1), None);
    assert_eq!(table.store(a(1), &mapping, SECOND, boottime()), Stored::New);
    assert_eq!(lookup(&reader, 1), Some(mapping));
    let identity = reader.table().unwrap().header().identity();
    assert_eq!(identity.pid, std::process::id());
    assert!(identity.started > 0 && identity.key != [0, 0]);
    table.end().unwrap();
    assert_eq!(lookup(&reader, 1), None);
    assert!(folder.names().is_empty());
    assert_eq!(refused(&path), AttachError::Absent);
    reader.detach();
    assert!(reader.table().is_none());
}

#[test]
fn a_new_table_takes_the_place_of_the_old() {
    let folder = Folder::new();
    let path = folder.table();
    let (mut old, _) = made(&path);
    let now = boottime();
    old.store(a(1), &known(1, now + HOUR), SECOND, now);
    old.bump_epoch();
    old.store(a(2), &known(2, now + HOUR), 2 * SECOND, now);
    // It is killed while it asks about that again.
    old.note_use(a(2), now);
    old.store(a(3), &known(3, now), SECOND, now);
    old.store(a(4), &known(4, now + 2 * HOUR), SECOND, now);
    let reader = Attachment::none();
    attach(&reader, &path).unwrap();
    let view = reader.table().unwrap();
    // As after a kill: the lock is gone, the file is not.
    drop(old);
    assert_eq!(
        view.lookup(a(2), now).unwrap().mapping,
        known(2, now + HOUR)
    );
    let (new, previous) = made(&path);
    // What is fresh in the last epoch, and does not hold for longer than it may.
    assert_eq!(previous, Previous::Taken(1));
    assert!(view.header().is_retired());
    assert_eq!(lookup(&reader, 2), None);
    attach(&reader, &path).unwrap();
    assert_eq!(lookup(&reader, 2), Some(known(2, now + HOUR)));
    let taken = reader.table().unwrap().get(a(2)).unwrap();
    assert_eq!((taken.due, taken.is_used), (2000, true));
    assert!(!taken.is_asked, "readers would never say that they use it");
    assert_eq!([1, 3, 4].map(|n| lookup(&reader, n)), [None; 3]);
    // Who looks at the old one still finds nothing.
    assert_eq!(view.entries(0..usize::MAX).count(), 0);
    assert_eq!(view.header().heartbeat(), Duration::ZERO);
    drop(new);
}

#[test]
fn one_table_has_one_writer() {
    let folder = Folder::new();
    let path = folder.table();
    let (table, _) = made(&path);
    let error = make(&path, 100).unwrap_err();
    let line = format!(
        "{}.lock: another process writes this table: process {}",
        path.display(),
        std::process::id()
    );
    assert_eq!(error.to_string(), line);
    assert!(attach(&Attachment::none(), &path).is_ok());
    drop(table);
    assert!(make(&path, 100).is_ok());
}

#[test]
fn files_that_are_no_tables() {
    let folder = Folder::new();
    let path = folder.table();
    let (table, _) = made(&path);
    drop(table);
    let whole = fs::read(&path).unwrap();
    let write = |octets: &[u8]| {
        fs::write(&path, octets).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        refused(&path)
    };
    let cut = |words: usize| AttachError::Invalid(Invalid::Length(words));
    for octets in [0, 1, 4095, 4096, 4104, whole.len() - 64, whole.len() - 1] {
        assert_eq!(write(&whole[..octets]), cut(octets / 8), "{octets}");
    }
    assert_eq!(write(&[&whole[..], &[0]].concat()), cut(whole.len() / 8));
    for (at, octet, expected) in [
        (0, b'a', AttachError::Invalid(Invalid::Magic)),
        (8, 2, AttachError::Invalid(Invalid::Version(2))),
        (12, 56, AttachError::Invalid(Invalid::EntrySize(56))),
        (16, 64, AttachError::Invalid(Invalid::Slots(64))),
        (48, whole[48] ^ 1, AttachError::Namespace),
        (56, whole[56] ^ 1, AttachError::Namespace),
        (72, 1, AttachError::Retired),
        (96, whole[96] ^ 1, AttachError::Boot),
        (112, 1, AttachError::Invalid(Invalid::Clock(1))),
        (128 + 7, 0x7f, AttachError::Clock),
    ] {
        let mut changed = whole.clone();
        changed[at] = octet;
        assert_eq!(write(&changed), expected, "octet {at}");
    }
    // A hole as long as a table.
    let file = fs::File::create(&path).unwrap();
    file.set_len(whole.len() as u64).unwrap();
    assert_eq!(refused(&path), AttachError::Sparse);
    assert_eq!(
        write(&vec![0; whole.len()]),
        AttachError::Invalid(Invalid::Magic)
    );
    // And the whole one is taken, by a writer too.
    fs::write(&path, &whole).unwrap();
    assert_eq!(attach(&Attachment::none(), &path), Ok(()));
    assert_eq!(made(&path).1, Previous::Taken(0));
}

#[test]
fn files_that_are_not_trusted() {
    let folder = Folder::new();
    let path = folder.table();
    let (table, _) = made(&path);
    let reader = Attachment::none();
    let name = path.to_str().unwrap();
    let own = own();
    assert_eq!(
        reader.attach(name, &[own + 1, own + 2]),
        Err(AttachError::Owner(own))
    );
    assert_eq!(reader.attach(name, &[own + 1, own]), Ok(()));
    for mode in [0o664, 0o646, 0o666, 0o622] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(refused(&path), AttachError::Writable(mode));
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(attach(&reader, &path), Ok(()));
    let link = folder.path().join("link");
    symlink(&path, &link).unwrap();
    assert_eq!(refused(&link), AttachError::Link);
    assert_eq!(refused(folder.path()), AttachError::Kind);
    assert_eq!(refused(Path::new("/dev/null")), AttachError::Kind);
    assert_eq!(
        refused(Path::new(&"x/".repeat(300))),
        AttachError::Open(Errno(libc::ENAMETOOLONG))
    );
    // What was read before is read on.
    assert!(reader.table().is_some());
    drop(table);
}

#[test]
fn what_cannot_be_taken_over_is_replaced() {
    let folder = Folder::new();
    let path = folder.table();
    fs::write(&path, "something else").unwrap();
    let (table, previous) = made(&path);
    let length = Invalid::Length("something else".len() / 8);
    assert_eq!(previous, Previous::Refused(AttachError::Invalid(length)));
    drop(table);
    fs::remove_file(&path).unwrap();
    symlink("/etc/passwd", &path).unwrap();
    // What a writer has left that was killed in the midst.
    fs::write(folder.path().join("table.new"), "half").unwrap();
    let (table, previous) = made(&path);
    assert_eq!(previous, Previous::Refused(AttachError::Link));
    assert!(attach(&Attachment::none(), &path).is_ok());
    assert_eq!(folder.names(), ["table", "table.lock"]);
    drop(table);
    // A folder in its place stays, and nothing is left behind.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let error = make(&path, 100).unwrap_err().to_string();
    assert!(error.starts_with("put in place /"), "{error}");
    assert_eq!(folder.names(), ["table"]);
}

/// A daemon that was killed has not retired its table: whoever looks for one that lives
/// finds the next.
#[test]
fn a_table_whose_writer_is_silent_gives_way_to_one_that_lives() {
    let folder = Folder::new();
    let path = folder.table();
    let name = path.to_str().unwrap();
    let (old, _) = made(&path);
    let reader = Attachment::none();
    let attach = |silence| reader.attach_living(name, &[own()], silence);
    assert_eq!(attach(12 * SECOND), Ok(()));
    drop(old);
    let long_ago = boottime() - 13 * SECOND;
    write_word(&path, 16, long_ago.as_nanos() as u64);
    let key = || reader.table().unwrap().header().identity().key;
    let first = key();
    match attach(12 * SECOND) {
        Err(AttachError::Silent(since)) => assert!(since >= 13 * SECOND),
        other => panic!("{other:?}"),
    }
    assert_eq!(attach(Duration::MAX), Ok(()));
    assert_eq!(key(), first);
    fs::remove_file(&path).unwrap();
    let (new, _) = made(&path);
    assert_eq!(attach(12 * SECOND), Ok(()));
    assert_ne!(key(), first);
    drop(new);
}

/// To read the same file once more takes no addresses.
#[test]
fn a_table_that_is_read_already_stays_where_it_is() {
    let folder = Folder::new();
    let path = folder.table();
    let (table, _) = made(&path);
    let reader = Attachment::none();
    let maps = || {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let name = path.display().to_string();
        let lines = maps.lines().filter(|line| line.ends_with(&name));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    // The writer's own is one.
    attach(&reader, &path).unwrap();
    let before = maps();
    assert_eq!(before.len(), 2);
    attach(&reader, &path).unwrap();
    assert_eq!(maps(), before);
    drop(table);
}

/// In a user namespace many owners have the same number.
#[test]
fn nobody_is_trusted_by_a_number_that_stands_for_many() {
    let folder = Folder::new();
    let path = folder.table();
    let (table, _) = made(&path);
    let many = aarp_sys::process::overflow_user();
    assert!(!aarp_sys::daemon::is_trusted(many, &[0, many]));
    assert!(aarp_sys::daemon::is_trusted(many - 1, &[0, many - 1]));
    if std::os::unix::fs::chown(&path, Some(many), None).is_ok() {
        let name = path.to_str().unwrap();
        let refused = Attachment::none().attach(name, &[own(), many]);
        assert_eq!(refused, Err(AttachError::Owner(many)));
    }
    drop(table);
}

fn write_word(path: &Path, word: u64, value: u64) {
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&value.to_le_bytes(), 8 * word).unwrap();
}

/// Of a file that large the kernel's huge pages are huge for its readers too, wherever
/// they are mapped: at multiples of their size.
#[test]
fn a_large_table_is_mapped_where_huge_pages_are() {
    const HUGE: usize = 2 << 20;
    let alone = Folder::new();
    // Other file systems than those in memory see to it themselves.
    let memory = tempfile::tempdir_in("/dev/shm").expect("a file system in memory");
    let path = memory.path().join("table");
    let created = make(&path, 420_000).expect("a table");
    let aligned = |_: &usize| {
        let before = starts(&path);
        let reader = Attachment::none();
        attach(&reader, &path).expect("it is read");
        let more = starts(&path);
        let mut new = more.iter().filter(|start| !before.contains(start));
        new.all(|start| start % HUGE == 0)
    };
    // Another thread may take the place between the look for it and its use.
    let count = (0..10).filter(aligned).count();
    assert!(count > 5, "{count}: {:x?}", starts(&path));
    created.table.end().unwrap();
    drop(alone);
}

/// Where a file is mapped.
fn starts(path: &Path) -> Vec<usize> {
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
    let of_file = maps
        .lines()
        .filter(|line| line.ends_with(path.to_str().expect("UTF-8")));
    let starts = of_file.map(|line| line.split('-').next().unwrap_or_default());
    let starts = starts.map(|start| usize::from_str_radix(start, 16).expect("hexadecimal"));
    starts.collect()
}
