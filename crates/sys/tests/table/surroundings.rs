//! Another network namespace, another user, a file system without room.
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::time::Duration;

use aarp_lab::rootless;
use aarp_sys::clock::boottime;
use aarp_sys::netns;
use aarp_sys::table::{AttachError, Attachment, CreateError, Previous, namespace};

use crate::{Folder, a, assert_whole, attach, make, mapping};

/// The body in a thread of its own, whose namespaces it may leave.
fn apart(body: impl FnOnce() + Send) {
    std::thread::scope(|scope| scope.spawn(body).join()).unwrap_or_else(|panic| {
        std::panic::resume_unwind(panic);
    });
}

#[test]
fn a_table_is_of_one_network_namespace() {
    rootless::test(|| {
        let folder = Folder::new();
        let path = folder.table();
        let (here, now) = (namespace().expect("/proc"), boottime());
        let mut table = make(&path, 100).expect("a table").table;
        table.store(a(1), &mapping(1, 1, now), Duration::ZERO, now);
        let reader = Attachment::none();
        apart(|| {
            netns::unshare_network().expect("a namespace");
            assert_ne!(namespace().expect("/proc"), here);
            assert_eq!(attach(&reader, &path), Err(AttachError::Namespace));
            assert!(reader.table().is_none());
        });
        assert_eq!(attach(&reader, &path), Ok(()));
        drop(table);
        // Nor is it taken over there; but it is in the way, and has to go.
        apart(|| {
            netns::unshare_network().expect("a namespace");
            let created = make(&path, 100).expect("a table");
            let refused = Previous::Refused(AttachError::Namespace);
            assert_eq!(created.previous, refused);
            assert_eq!(attach(&Attachment::none(), &path), Ok(()));
        });
        assert!(reader.table().expect("attached").header().is_retired());
        assert_eq!(attach(&reader, &path), Err(AttachError::Namespace));
    });
}

#[test]
fn another_users_table_is_none() {
    rootless::test(|| {
        let folder = Folder::new();
        let path = folder.table();
        drop(make(&path, 100).expect("a table"));
        // In a user namespace there is one user alone.
        if chown(&path, Some(65_534), None).is_ok() {
            let refused = AttachError::Owner(65_534);
            assert_eq!(attach(&Attachment::none(), &path), Err(refused));
            let previous = make(&path, 100).expect("a table").previous;
            assert_eq!(previous, Previous::Refused(refused));
            assert_eq!(attach(&Attachment::none(), &path), Ok(()));
        } else {
            assert!(rootless::is_inside());
        }
    });
}

/// Mounts a file system with room for so much.
fn mount_small(target: &Path, options: &str) {
    let target = CString::new(target.to_str().expect("UTF-8")).expect("no NUL");
    let options = CString::new(options).expect("no NUL");
    let kind = c"tmpfs".as_ptr();
    // SAFETY: NUL-terminated strings; the kernel copies them.
    let mounted = unsafe { libc::mount(kind, target.as_ptr(), kind, 0, options.as_ptr().cast()) };
    assert_eq!(mounted, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn without_room_nothing_is_left_behind() {
    rootless::test(|| {
        let folder = Folder::new();
        let path = folder.table();
        let folder = &folder;
        apart(|| {
            netns::unshare_host().expect("namespaces");
            mount_small(folder.path(), "size=64k");
            let error = make(&path, 10_000).expect_err("no room");
            let line = format!(
                "{}.new: no room for the table's 1052672 octets: No space left on device (os error 28)",
                path.display()
            );
            assert_eq!(error.to_string(), line);
            assert!(folder.names().is_empty());
            // A smaller one fits, and stays when its successor does not.
            let now = boottime();
            let mut table = make(&path, 100).expect("a table").table;
            table.store(a(1), &mapping(1, 1, now), Duration::ZERO, now);
            drop(table);
            let reader = Attachment::none();
            assert_eq!(attach(&reader, &path), Ok(()));
            assert!(matches!(make(&path, 10_000), Err(CreateError::Room { .. })));
            assert_eq!(folder.names(), ["table"]);
            let table = reader.table().expect("attached");
            assert_eq!(
                table.lookup(a(1), now).map(|hit| hit.mapping),
                Some(mapping(1, 1, now))
            );
            // Not even for the lock's process id.
            let filler = fs::write(folder.path().join("filler"), [1; 1 << 17]);
            assert!(filler.is_err());
            let error = make(&path, 1).expect_err("no room").to_string();
            assert!(
                error.starts_with("write /") && error.contains(".lock: No space"),
                "{error}"
            );
            assert_eq!(folder.names(), ["filler", "table"]);
            // Nor for the mapping of one that is there: nobody needs it to be read.
            let other = Attachment::none();
            assert_eq!(attach(&other, &path), Ok(()));
            assert_eq!(assert_whole(&other.table().expect("attached"), now), 1);
        });
    });
}
