//! Whether the kernel would start a file in secure mode (AT_SECURE), in which the
//! dynamic linker drops LD_PRELOAD.
//!
//! The rule is that of `cap_bprm_creds_from_file` in the kernel, not "has the
//! setuid bit": root that starts a program setuid to root gains nothing, and that
//! program is preloaded like any other. What a security module decides on its own
//! (a domain change of SELinux or AppArmor) cannot be foreseen from here.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::StatVfsMountFlags;
use rustix::io::Errno;

const S_ISUID: u32 = 0o4000;
const S_ISGID: u32 = 0o2000;
const S_IXGRP: u32 = 0o0010;

/// Whose authority a program would start with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    uid: u32,
    euid: u32,
    gid: u32,
    egid: u32,
    inheritable: u64,
    no_new_privs: bool,
}

impl Caller {
    /// This process.
    pub(crate) fn current() -> io::Result<Self> {
        Ok(Self {
            uid: rustix::process::getuid().as_raw(),
            euid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            egid: rustix::process::getegid().as_raw(),
            inheritable: rustix::thread::capabilities(None)?.inheritable.bits(),
            no_new_privs: rustix::thread::no_new_privs()?,
        })
    }
}

/// What a file adds to the authority of whoever starts it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Grants {
    mode: u32,
    uid: u32,
    gid: u32,
    capabilities: Option<FileCapabilities>,
    /// On a file system mounted nosuid, or owned by somebody whom this user
    /// namespace does not know: all of the above is ignored.
    ignored: bool,
}

impl Grants {
    /// Of the file at `path`.
    pub(crate) fn of(path: &Path, metadata: &Metadata) -> io::Result<Self> {
        let nosuid = rustix::fs::statvfs(path)?
            .f_flag
            .contains(StatVfsMountFlags::NOSUID);
        let unknown_owner = !mapped("/proc/self/uid_map", metadata.uid())
            || !mapped("/proc/self/gid_map", metadata.gid());
        Ok(Self {
            mode: metadata.mode(),
            uid: metadata.uid(),
            gid: metadata.gid(),
            capabilities: FileCapabilities::of(path)?,
            ignored: nosuid || unknown_owner,
        })
    }
}

/// Whether the user namespace has a name for `id`, by its map in /proc. A map that
/// cannot be read means a kernel without user namespaces.
fn mapped(map: &str, id: u32) -> bool {
    let Ok(text) = std::fs::read_to_string(map) else {
        return true;
    };
    text.lines().any(|line| {
        let mut fields = line.split_ascii_whitespace().map(str::parse::<u64>);
        match (fields.next(), fields.next(), fields.next()) {
            (Some(Ok(inside)), Some(Ok(_)), Some(Ok(count))) => {
                (inside..inside.saturating_add(count)).contains(&u64::from(id))
            }
            _ => false,
        }
    })
}

/// The `security.capability` attribute, versions 1 to 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileCapabilities {
    /// A program that does not know of capabilities gets them too.
    pub(crate) effective: bool,
    /// What everybody gets who starts it.
    pub(crate) permitted: u64,
    inheritable: u64,
}

impl FileCapabilities {
    fn of(path: &Path) -> io::Result<Option<Self>> {
        let mut value = [0u8; 64];
        match rustix::fs::getxattr(path, "security.capability", &mut value) {
            Ok(length) => Ok(Self::parse(&value[..length])),
            // No attribute, no attributes here at all, or one that belongs to a
            // user namespace which is not ours (EOVERFLOW).
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::OVERFLOW | Errno::NOSYS) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Of the attribute's value.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let word = |index: usize| -> Option<u64> {
            let octets = value.get(index * 4..index * 4 + 4)?;
            Some(u64::from(u32::from_le_bytes(octets.try_into().ok()?)))
        };
        let magic = word(0)?;
        let (permitted, inheritable) = match magic >> 24 {
            1 => (word(1)?, word(2)?),
            // Version 3 names the root user of the user namespace it is for; seen
            // from inside that one, the kernel shows it as version 2.
            3 if word(5)? != 0 => return None,
            2 | 3 => (word(1)? | word(3)? << 32, word(2)? | word(4)? << 32),
            _ => return None,
        };
        Some(Self {
            effective: magic & 1 != 0,
            permitted,
            inheritable,
        })
    }
}

/// Why a program would start in secure mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Elevation {
    /// It is setuid to this user.
    User(u32),
    /// It is setgid to this group.
    Group(u32),
    /// It has file capabilities.
    Capabilities,
    /// The caller's own real and effective ids differ already.
    Caller,
}

/// The kernel's decision for a `caller` that starts a file with these `grants`.
pub(crate) fn elevation(caller: &Caller, grants: &Grants) -> Option<Elevation> {
    let setid = !grants.ignored && !caller.no_new_privs;
    let euid = if setid && grants.mode & S_ISUID != 0 {
        grants.uid
    } else {
        caller.euid
    };
    // Without the group's x bit the setgid bit once meant mandatory locking.
    let group_bits = S_ISGID | S_IXGRP;
    let egid = if setid && grants.mode & group_bits == group_bits {
        grants.gid
    } else {
        caller.egid
    };
    if euid != caller.uid {
        return Some(if euid == caller.euid {
            Elevation::Caller
        } else {
            Elevation::User(euid)
        });
    }
    if egid != caller.gid {
        return Some(if egid == caller.egid {
            Elevation::Caller
        } else {
            Elevation::Group(egid)
        });
    }
    let capabilities = grants.capabilities.filter(|_| !grants.ignored)?;
    let gains = capabilities.effective
        || (capabilities.permitted != 0 && !caller.no_new_privs)
        || capabilities.inheritable & caller.inheritable != 0;
    (gains && caller.uid != 0).then_some(Elevation::Capabilities)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: Caller = Caller {
        uid: 1000,
        euid: 1000,
        gid: 1000,
        egid: 1000,
        inheritable: 0,
        no_new_privs: false,
    };
    const ROOT: Caller = Caller {
        uid: 0,
        euid: 0,
        gid: 0,
        egid: 0,
        ..USER
    };

    fn file(mode: u32, uid: u32, gid: u32) -> Grants {
        Grants {
            mode,
            uid,
            gid,
            ..Grants::default()
        }
    }

    fn with(effective: bool, permitted: u64, inheritable: u64) -> Grants {
        Grants {
            capabilities: Some(FileCapabilities {
                effective,
                permitted,
                inheritable,
            }),
            ..file(0o755, 0, 0)
        }
    }

    #[test]
    fn ids() {
        assert_eq!(elevation(&USER, &file(0o755, 0, 0)), None);
        assert_eq!(
            elevation(&USER, &file(0o4755, 0, 0)),
            Some(Elevation::User(0))
        );
        assert_eq!(elevation(&ROOT, &file(0o4755, 0, 0)), None);
        assert_eq!(
            elevation(&ROOT, &file(0o4755, 65534, 0)),
            Some(Elevation::User(65534))
        );
        assert_eq!(elevation(&USER, &file(0o4755, 1000, 0)), None);
        assert_eq!(
            elevation(&USER, &file(0o2755, 0, 42)),
            Some(Elevation::Group(42))
        );
        assert_eq!(elevation(&USER, &file(0o2745, 0, 42)), None);
        assert_eq!(elevation(&USER, &file(0o2755, 0, 1000)), None);
    }

    #[test]
    fn what_the_kernel_ignores() {
        let quiet = Caller {
            no_new_privs: true,
            ..USER
        };
        assert_eq!(elevation(&quiet, &file(0o6755, 0, 0)), None);
        let nosuid = Grants {
            ignored: true,
            ..file(0o6755, 0, 0)
        };
        assert_eq!(elevation(&USER, &nosuid), None);
    }

    #[test]
    fn a_caller_in_secure_mode_hands_it_on() {
        let caller = Caller { euid: 0, ..USER };
        assert_eq!(
            elevation(&caller, &file(0o755, 0, 0)),
            Some(Elevation::Caller)
        );
        // Setuid back to the real user ends it.
        assert_eq!(elevation(&caller, &file(0o4755, 1000, 0)), None);
    }

    #[test]
    fn capabilities() {
        let found = Some(Elevation::Capabilities);
        assert_eq!(elevation(&USER, &with(true, 1 << 13, 0)), found);
        assert_eq!(elevation(&USER, &with(false, 1 << 13, 0)), found);
        assert_eq!(elevation(&ROOT, &with(true, 1 << 13, 0)), None);
        assert_eq!(elevation(&USER, &with(false, 0, 1 << 13)), None);
        let heir = Caller {
            inheritable: 1 << 13,
            ..USER
        };
        assert_eq!(elevation(&heir, &with(false, 0, 1 << 13)), found);
    }

    #[test]
    fn capability_attribute() {
        let words = |words: &[u32]| -> Vec<u8> {
            words.iter().flat_map(|word| word.to_le_bytes()).collect()
        };
        let net_raw = Some(FileCapabilities {
            effective: true,
            permitted: 1 << 13,
            inheritable: 0,
        });
        let parse = |value: &[u32]| FileCapabilities::parse(&words(value));
        assert_eq!(parse(&[0x0200_0001, 1 << 13, 0, 0, 0]), net_raw);
        assert_eq!(parse(&[0x0300_0001, 1 << 13, 0, 0, 0, 0]), net_raw);
        assert_eq!(parse(&[0x0300_0001, 1 << 13, 0, 0, 0, 1000]), None);
        assert_eq!(
            parse(&[0x0200_0000, 0, 0, 1, 0]).map(|found| found.permitted),
            Some(1 << 32)
        );
        let whole = words(&[0x0300_0001, 1 << 13, 0, 0, 0, 0]);
        for length in 0..whole.len() {
            assert_eq!(FileCapabilities::parse(&whole[..length]), None);
        }
    }
}
