//! Who comes after a writer: of another version, or while it still writes.
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, PermissionsExt, chown};
use std::path::Path;

use aarp_lab::rootless;
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

/// Has the kernel treat this thread as `fs.protected_regular` does where a file is another
/// user's in a sticky folder: it may be opened, or made, but not either. The setting is
/// the whole host's.
fn protect_files() {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // The offsets are those of struct seccomp_data: the call, and the low half of its
    // third argument.
    let flags = 16 + 2 * 8;
    let mut steps = [
        step(LOAD, 0, 0, 0),
        step(EQUAL, 0, 4, libc::SYS_openat as u32),
        step(LOAD, 0, 0, flags),
        step(AND, 0, 0, (libc::O_CREAT | libc::O_EXCL) as u32),
        step(EQUAL, 0, 1, libc::O_CREAT as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EACCES as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: steps.len() as u16,
        filter: steps.as_mut_ptr(),
    };
    // SAFETY: numbers; and a filter that is copied, of this thread alone.
    let is_set = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                0,
                &raw const program,
            ) == 0
    };
    assert!(is_set, "{}", std::io::Error::last_os_error());
}

/// As root's daemon comes after one of its own user in a folder that both may write to.
#[test]
fn a_lock_file_that_is_there_is_not_made() {
    let folder = Folder::new();
    let path = folder.table();
    let lock = folder.path().join("table.lock");
    let within = path.clone();
    let thread = std::thread::spawn(move || {
        protect_files();
        let refused = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(within.with_extension("other"));
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
        // None is there, and one that was left.
        for expected in [Previous::None, Previous::Taken(0)] {
            let (table, previous) = made(&within);
            assert_eq!(previous, expected);
            drop(table);
        }
    });
    thread.join().unwrap();
    assert!(lock.exists());
    // A link is neither followed nor replaced.
    fs::remove_file(&lock).unwrap();
    std::os::unix::fs::symlink("elsewhere", &lock).unwrap();
    assert!(matches!(
        make(&path, 100),
        Err(CreateError::Call {
            operation: "lock",
            ..
        })
    ));
    assert_eq!(folder.names(), ["table", "table.lock"]);
}

/// Makes this thread another user's, and no other of the process.
fn become_user(uid: u32) {
    // SAFETY: numbers: the effective user changes, and the real and saved one stay.
    let changed = unsafe { libc::syscall(libc::SYS_setresuid, -1, uid, -1) };
    assert_eq!(changed, 0, "{}", std::io::Error::last_os_error());
}

/// Root's daemon is there after all has been removed of that of its own user, who may not
/// open root's lock file.
#[test]
fn a_lock_file_of_another_user_ends_the_tenure() {
    rootless::test(|| {
        const OTHER: u32 = 4711;
        let folder = Folder::new();
        let path = folder.table();
        if chown(folder.path(), Some(OTHER), None).is_err() {
            assert!(rootless::is_inside());
            let name = "a_lock_file_of_another_user_ends_the_tenure";
            return rootless::skipped(name, "there is no other user in a user namespace");
        }
        let as_another = || {
            let lock = folder.path().join("table.lock");
            become_user(OTHER);
            let (mut table, _) = made(&path);
            assert_eq!(table.parts().1.renew().unwrap(), Renewed::Unchanged);
            become_user(0);
            for name in folder.names() {
                fs::remove_file(folder.path().join(name)).unwrap();
            }
            let (next, _) = made(&path);
            become_user(OTHER);
            let error = table.parts().1.renew().unwrap_err();
            let line = format!("{}: another process writes this table", lock.display());
            assert_eq!(error.to_string(), line);
            assert!(matches!(error, CreateError::Held { pid: None, .. }));
            table.end().unwrap();
            assert_eq!(folder.names(), ["table", "table.lock"]);
            // Where there is none, and none may be made, it is not another's.
            become_user(0);
            next.end().unwrap();
            become_user(OTHER);
            let (mut table, _) = made(&path);
            fs::remove_file(&lock).unwrap();
            become_user(0);
            chown(folder.path(), Some(0), None).unwrap();
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
            become_user(OTHER);
            let error = table.parts().1.renew().unwrap_err();
            assert!(
                matches!(
                    error,
                    CreateError::Call {
                        operation: "lock",
                        ..
                    }
                ),
                "{error}"
            );
        };
        // Who fails there leaves this thread root's.
        let ended = std::thread::scope(|scope| scope.spawn(as_another).join());
        ended.unwrap();
    });
}
