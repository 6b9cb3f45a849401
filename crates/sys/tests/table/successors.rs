//! Who comes after a writer: of another version, or while it still writes.
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use aarp_sys::table::{AttachError, Attachment, CreateError, OwnTable, Previous, Renewed};

use crate::{Folder, attach, make};

fn made(path: &Path) -> (OwnTable, Previous) {
    let created = make(path, 100).expect("a table");
    (created.table, created.previous)
}

/// Programs that read what another version has left go on with that for ever, unless they
/// are told: in the way that all versions have in common.
#[test]
fn what_another_version_has_left_is_retired() {
    let folder = Folder::new();
    let path = folder.table();
    let (table, _) = made(&path);
    drop(table);
    let whole = fs::read(&path).unwrap();
    let with = |at: usize, octet: u8| {
        let mut changed = whole.clone();
        changed[at] = octet;
        changed
    };
    let longer = [&whole[..], &[0; 64]].concat();
    for (name, octets) in [
        ("another version", with(8, 2)),
        ("another magic of the same kind", with(7, b'2')),
        ("slots of another size", with(12, 56)),
        ("another size than it says", longer),
        ("cut off", whole[..4096].to_vec()),
    ] {
        fs::write(&path, &octets).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        // As a program has it that began to read it before.
        let left = fs::File::open(&path).unwrap();
        let (table, previous) = made(&path);
        let is_refused = matches!(previous, Previous::Refused(AttachError::Invalid(_)));
        assert!(is_refused, "{name}: {previous:?}");
        let mut retired = octets.clone();
        retired[72] = 1;
        assert_eq!(contents(&left), retired, "{name}");
        assert_eq!(attach(&Attachment::none(), &path), Ok(()), "{name}");
        drop(table);
    }
    // What is no table is replaced, and not written to.
    let other = with(0, b'a');
    fs::write(&path, &other).unwrap();
    let left = fs::File::open(&path).unwrap();
    drop(made(&path));
    assert_eq!(contents(&left), other);
}

fn contents(file: &fs::File) -> Vec<u8> {
    let mut octets = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut octets, 0).unwrap();
    octets
}

/// Somebody tidies up while a daemon runs.
#[test]
fn a_lock_file_that_was_removed_lets_no_second_writer_in() {
    let folder = Folder::new();
    let path = folder.table();
    let lock = folder.path().join("table.lock");
    let (mut table, _) = made(&path);
    assert_eq!(table.parts().1.renew().unwrap(), Renewed::Unchanged);
    fs::remove_file(&lock).unwrap();
    let error = make(&path, 100).unwrap_err().to_string();
    let line = format!(
        "{}: another process writes this table: process {}",
        path.display(),
        std::process::id()
    );
    assert_eq!(error, line);
    // Of the attempt nothing is left.
    assert_eq!(folder.names(), ["table"]);
    assert_eq!(table.parts().1.renew().unwrap(), Renewed::Anew);
    let error = make(&path, 100).unwrap_err().to_string();
    assert!(error.starts_with(&lock.display().to_string()), "{error}");
    // With its table it is gone altogether: the next is at its place, and stays there.
    for name in folder.names() {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    let (next, _) = made(&path);
    let error = table.parts().1.renew().unwrap_err();
    assert!(matches!(error, CreateError::Held { .. }), "{error}");
    table.end().unwrap();
    assert_eq!(folder.names(), ["table", "table.lock"]);
    assert!(attach(&Attachment::none(), &path).is_ok());
    assert!(make(&path, 100).is_err());
    drop(next);
}

/// Everybody may read a table, and lock it for that.
#[test]
fn a_lock_of_a_reader_is_in_nobodys_way() {
    let folder = Folder::new();
    let path = folder.table();
    let (table, _) = made(&path);
    drop(table);
    let reader = fs::File::open(&path).unwrap();
    reader.lock().unwrap();
    // SAFETY: numbers.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_RDLCK as _;
    // SAFETY: the structure is read.
    let locked = unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    assert_eq!(locked, 0);
    assert!(make(&path, 100).is_ok());
}
