//! Who comes after a writer of another version.
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use aarp_sys::table::{AttachError, Attachment, OwnTable, Previous};

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
