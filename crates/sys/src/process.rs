//! Who is calling.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::syscall::{Errno, syscall};

/// The process's id, asked of the kernel: right also after vfork.
#[must_use]
pub fn id() -> i32 {
    // SAFETY: no arguments; cannot fail.
    unsafe { syscall(libc::SYS_getpid, [0; 6]) }.map_or(0, |id| id as i32)
}

/// The effective user.
#[must_use]
pub fn user() -> u32 {
    // SAFETY: no arguments; cannot fail.
    unsafe { syscall(libc::SYS_geteuid, [0; 6]) }.map_or(u32::MAX, |user| user as u32)
}

/// The user whom this thread runs for, where the real, the effective and the saved user are
/// one: not while a program acts for somebody else, and may come back (seteuid(3)).
#[must_use]
pub fn sole_user() -> Option<u32> {
    let (mut real, mut effective, mut saved) = (u32::MAX, u32::MAX, u32::MAX);
    let places = [&raw mut real, &raw mut effective, &raw mut saved].map(|to| to as usize);
    let arguments = [places[0], places[1], places[2], 0, 0, 0];
    // SAFETY: there is room for three numbers.
    unsafe { syscall(libc::SYS_getresuid, arguments) }.ok()?;
    (real == effective && effective == saved).then_some(effective)
}

/// What the kernel calls users who have no number in this user namespace (`overflowuid`):
/// whoever they are, they are not one. Asked of the kernel once.
#[must_use]
pub fn overflow_user() -> u32 {
    const USUAL: u32 = 65534;
    /// With one added; 0 before it is known.
    static KNOWN: AtomicU64 = AtomicU64::new(0);
    if let Some(known) = KNOWN.load(Ordering::Relaxed).checked_sub(1) {
        return known as u32;
    }
    let mut room = [0; 16];
    let file = crate::file::open("/proc/sys/kernel/overflowuid");
    let read = file
        .ok()
        .flatten()
        .and_then(|file| file.read(&mut room).ok());
    let text = read.and_then(|octets| core::str::from_utf8(octets.trim_ascii_end()).ok());
    let user = text.and_then(|text| text.parse().ok()).unwrap_or(USUAL);
    KNOWN.store(u64::from(user) + 1, Ordering::Relaxed);
    user
}

/// A number that no other live thread of this process has.
#[must_use]
#[inline]
pub fn thread() -> u64 {
    // SAFETY: reads a register.
    (unsafe { libc::pthread_self() }) as u64
}

/// What a question to the network takes of the stack, with some for the call behind.
const FOR_A_QUESTION: usize = 8 * 1024;

/// Whether the program has alternate stacks that the kernel does not show while they are in
/// use.
static DISARMED: AtomicBool = AtomicBool::new(false);

/// The program has set an alternate stack with these flags.
pub fn alternate_stack_set(flags: i32) {
    const SS_AUTODISARM: i32 = 1 << 31;
    if flags & SS_AUTODISARM != 0 {
        DISARMED.store(true, Ordering::Relaxed);
    }
}

/// Whether there is stack enough to ask the network: not in a signal handler on an
/// alternate stack of the size that was usual (`SIGSTKSZ`, 8 KiB). In a program that has
/// used `SS_AUTODISARM` any thread without one may be on such a stack.
#[must_use]
pub fn has_stack_for_a_question() -> bool {
    let mut stack = libc::stack_t {
        ss_sp: core::ptr::null_mut(),
        ss_flags: 0,
        ss_size: 0,
    };
    let here = (&raw mut stack) as usize;
    // SAFETY: there is room for what the kernel tells.
    let told = unsafe { syscall(libc::SYS_sigaltstack, [0, here, 0, 0, 0, 0]) };
    let has = |flag: i32| told.is_ok() && stack.ss_flags & flag != 0;
    if has(libc::SS_DISABLE) && DISARMED.load(Ordering::Relaxed) {
        return false;
    }
    !has(libc::SS_ONSTACK) || here.saturating_sub(stack.ss_sp as usize) >= FOR_A_QUESTION
}

/// Of /proc/thread-self/status so much is read at a time, for as little stack as that, …
const STATUS_PIECE: usize = 512;
/// … and no more than so much in all: a user may be in 65536 groups, which stand before
/// what is looked for.
const STATUS: usize = 64 * 1024;

/// Whether a seccomp filter is in force for this thread, as far as that can be told. By
/// calls that a filter which was there before exec must have permitted: the dynamic linker
/// has opened and read files.
#[must_use]
pub fn is_filtered() -> bool {
    let file = crate::file::open("/proc/thread-self/status").ok().flatten();
    file.is_none_or(|file| tells_of_a_filter(|room| file.read_next(room).ok()))
}

/// A kernel without filters says nothing about them. Where the lines go on for too long,
/// or `read` finds none, one is taken to be there.
fn tells_of_a_filter(mut read: impl FnMut(&mut [u8]) -> Option<usize>) -> bool {
    let mut room = [0; STATUS_PIECE];
    let mut line = SeccompLine::Name(0);
    let mut left = STATUS;
    while left > 0 {
        let piece = match read(&mut room) {
            None => return true,
            Some(0) => return false,
            Some(count) => &room[..count],
        };
        for octet in piece {
            line = line.with(*octet);
            if let SeccompLine::Tells(is_filtered) = line {
                return is_filtered;
            }
        }
        left = left.saturating_sub(piece.len());
    }
    true
}

/// How far a line of /proc/thread-self/status is the one of the filters.
#[derive(Clone, Copy)]
enum SeccompLine {
    /// So many octets of its name stood there.
    Name(usize),
    /// It is another.
    Other,
    /// The mode follows.
    Mode,
    /// It has told whether one is in force.
    Tells(bool),
}

impl SeccompLine {
    fn with(self, octet: u8) -> Self {
        const NAME: &[u8] = b"Seccomp:";
        match (self, octet) {
            (Self::Mode, b'\t' | b' ') => self,
            (Self::Mode, mode) => Self::Tells(mode != b'0'),
            (_, b'\n') => Self::Name(0),
            (Self::Name(at), octet) if octet == NAME[at] => match at + 1 {
                at if at == NAME.len() => Self::Mode,
                at => Self::Name(at),
            },
            (Self::Name(_), _) => Self::Other,
            _ => self,
        }
    }
}

/// Lets a millisecond pass.
pub fn pause() {
    let time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 1_000_000,
    };
    let time = (&raw const time) as usize;
    // SAFETY: the pointer is that of a time, and there are no descriptors.
    let _ = unsafe { syscall(libc::SYS_ppoll, [0, 0, time, 0, 8, 0]) };
}

/// Fills `buffer` with random octets.
///
/// # Errors
/// `ENOSYS` before Linux 3.17, `EAGAIN` early at boot.
pub fn random(buffer: &mut [u8]) -> Result<(), Errno> {
    let mut filled = 0;
    while filled < buffer.len() {
        let rest = &mut buffer[filled..];
        let arguments = [
            rest.as_mut_ptr() as usize,
            rest.len(),
            libc::GRND_NONBLOCK as usize,
            0,
            0,
            0,
        ];
        // SAFETY: the pointer and the length are those of a slice.
        match unsafe { syscall(libc::SYS_getrandom, arguments) } {
            Ok(count) => filled += count,
            Err(Errno(libc::EINTR)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes a line to a descriptor of the program's, if it takes it at once, and
/// without the signal that a closed pipe would raise. A line that cannot be written
/// is lost: nobody could be told.
pub fn write(fd: i32, text: &[u8]) {
    let mut entry = libc::pollfd {
        fd,
        events: libc::POLLOUT,
        revents: 0,
    };
    let now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let (polled, time) = ((&raw mut entry) as usize, (&raw const now) as usize);
    // SAFETY: the pointers are those of an entry and of a time.
    let ready = unsafe { syscall(libc::SYS_ppoll, [polled, 1, time, 0, 8, 0]) };
    if ready != Ok(1) || entry.revents & libc::POLLOUT == 0 {
        return;
    }
    let pipe: u64 = 1 << (libc::SIGPIPE - 1);
    let (mut before, mut pending) = (0u64, 0u64);
    let (set, old) = ((&raw const pipe) as usize, (&raw mut before) as usize);
    // SAFETY: the pointers are those of signal sets, of a slice and of a time.
    unsafe {
        let mask = |how: i32, set: usize, old: usize| {
            syscall(libc::SYS_rt_sigprocmask, [how as usize, set, old, 8, 0, 0])
        };
        let waiting = (&raw mut pending) as usize;
        if syscall(libc::SYS_rt_sigpending, [waiting, 8, 0, 0, 0, 0]).is_err()
            || mask(libc::SIG_BLOCK, set, old).is_err()
        {
            return;
        }
        let arguments = [fd as usize, text.as_ptr() as usize, text.len(), 0, 0, 0];
        let written = syscall(libc::SYS_write, arguments);
        // The signal that this write has raised, and none that was there before.
        if written == Err(Errno(libc::EPIPE)) && pending & pipe == 0 {
            let _ = syscall(libc::SYS_rt_sigtimedwait, [set, 0, time, 8, 0, 0]);
        }
        let _ = mask(libc::SIG_SETMASK, old, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Real, effective and saved user of this thread alone, past the C library, which would
    /// change all threads. Whether it is permitted.
    fn become_users(users: [u32; 3]) -> bool {
        let [real, effective, saved] = users.map(|user| user as usize);
        let arguments = [real, effective, saved, 0, 0, 0];
        // SAFETY: no pointers.
        unsafe { syscall(libc::SYS_setresuid, arguments) }.is_ok()
    }

    #[test]
    fn who_acts_for_another_is_nobody_alone() {
        const KEEP: u32 = u32::MAX;
        let own = user();
        assert_eq!(sole_user(), Some(own));
        let other = overflow_user().wrapping_sub(1);
        let thread = std::thread::spawn(move || {
            // Where there are other users, and this one may be any.
            if own != 0 || !become_users([KEEP, other, KEEP]) {
                return;
            }
            assert_eq!((user(), sole_user()), (other, None));
            let settings = aarp_core::settings::Settings::DEFAULT;
            let trusted = crate::daemon::trusted(&settings);
            assert!(!trusted.contains(&other), "{trusted:?}");
            assert!(become_users([KEEP, own, KEEP]));
            assert_eq!(sole_user(), Some(own));
            // The real one alone, and then the saved one alone.
            assert!(become_users([other, own, own]));
            assert_eq!(sole_user(), None);
            assert!(become_users([own, own, other]));
            assert_eq!(sole_user(), None);
            // Whoever cannot come back.
            assert!(become_users([other, other, other]));
            assert_eq!(sole_user(), Some(other));
            assert!(crate::daemon::trusted(&settings).contains(&other));
        });
        thread.join().unwrap();
    }

    /// What a file says of which each read gives so many octets, and how many it gives.
    fn found(status: &str, piece: usize) -> (bool, usize) {
        let mut rest = status.as_bytes();
        let is_filtered = tells_of_a_filter(|room| {
            let (now, later) = rest.split_at(rest.len().min(piece).min(room.len()));
            room[..now.len()].copy_from_slice(now);
            rest = later;
            Some(now.len())
        });
        (is_filtered, status.len() - rest.len())
    }

    /// A status of somebody who is in so many groups.
    fn status(groups: usize, mode: &str) -> String {
        let groups: String = (0..groups)
            .map(|group| format!("{} ", 10_000 + group))
            .collect();
        format!(
            "Name:\tSeccomp:\nGroups:\t{groups}\nSpeculation:\tSeccomp: 2\n\
             Seccomp_other:\t2\nNoNewPrivs:\t1\n{mode}Cpus_allowed:\t3\n"
        )
    }

    #[test]
    fn filters_are_told_by_the_kernel() {
        for (mode, is_told) in [
            ("Seccomp:\t0\nSeccomp_filters:\t0\n", false),
            ("Seccomp:\t2\nSeccomp_filters:\t1\n", true),
            ("Seccomp:\t1\n", true),
            ("", false),
        ] {
            // However the lines are cut, and however long the groups are.
            for (groups, piece) in [(0, 1), (0, 7), (1, 4096), (400, 512), (9000, 500)] {
                let (found, _) = found(&status(groups, mode), piece);
                assert_eq!(found, is_told, "{mode} {groups} {piece}");
            }
        }
        let own = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        assert_eq!(is_filtered(), found(&own, 4096).0);
    }

    /// A filter is a thread's own: whether the first thread has one says nothing of another.
    #[test]
    fn a_thread_is_told_of_its_own_filter() {
        let before = is_filtered();
        let thread = std::thread::spawn(|| {
            let permit = [libc::sock_filter {
                code: (libc::BPF_RET | libc::BPF_K) as u16,
                jt: 0,
                jf: 0,
                k: libc::SECCOMP_RET_ALLOW,
            }];
            let program = libc::sock_fprog {
                len: 1,
                filter: permit.as_ptr().cast_mut(),
            };
            let mode = libc::SECCOMP_MODE_FILTER as usize;
            let filter = [
                libc::PR_SET_SECCOMP as usize,
                mode,
                (&raw const program) as usize,
                0,
                0,
                0,
            ];
            // SAFETY: for this thread alone; the program is that of an array.
            unsafe {
                let alone = [libc::PR_SET_NO_NEW_PRIVS as usize, 1, 0, 0, 0, 0];
                syscall(libc::SYS_prctl, alone).unwrap();
                syscall(libc::SYS_prctl, filter).unwrap();
            }
            is_filtered()
        });
        assert!(thread.join().unwrap());
        assert_eq!(is_filtered(), before);
    }

    #[test]
    fn what_does_not_end_or_cannot_be_read_is_not_known() {
        let (is_filtered, read) = found(&status(60_000, "Seccomp:\t0\n"), 4096);
        assert_eq!((is_filtered, read), (true, STATUS));
        assert!(tells_of_a_filter(|_| None));
    }
}
