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

/// Whether a seccomp filter is in force for this process, as far as that can be told. By
/// calls that a filter which was there before exec must have permitted: the dynamic linker
/// has opened and read files.
#[must_use]
pub fn is_filtered() -> bool {
    let mut room = [0; 2048];
    let file = crate::file::open("/proc/self/status").ok().flatten();
    let text = file.and_then(|file| file.read(&mut room).ok());
    text.is_none_or(tells_of_a_filter)
}

/// A kernel without filters says nothing about them.
fn tells_of_a_filter(status: &[u8]) -> bool {
    let mut lines = status.split(|octet| *octet == b'\n');
    let mode = lines.find_map(|line| line.strip_prefix(b"Seccomp:"));
    mode.is_some_and(|mode| mode.trim_ascii() != b"0")
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

    #[test]
    fn filters_are_told_by_the_kernel() {
        let status = |mode: &str| format!("Name:\tx\nNoNewPrivs:\t1\n{mode}Cpus_allowed:\t3\n");
        for (mode, is_told) in [
            ("Seccomp:\t0\nSeccomp_filters:\t0\n", false),
            ("Seccomp:\t2\nSeccomp_filters:\t1\n", true),
            ("Seccomp:\t1\n", true),
            ("", false),
        ] {
            assert_eq!(
                tells_of_a_filter(status(mode).as_bytes()),
                is_told,
                "{mode}"
            );
        }
        let own = std::fs::read("/proc/self/status").unwrap();
        assert_eq!(is_filtered(), tells_of_a_filter(&own));
    }
}
