//! Whose memory this is.

use core::sync::atomic::AtomicU32;

use crate::syscall::syscall;

/// Whether this memory is that of the process that calls: a vfork child uses its
/// parent's.
///
/// The C library keeps the id of a thread with the thread, where it serves for its clock.
/// In a child with memory of its own, as by fork(3), that is the child's; in a vfork
/// child it is still the id of its parent's thread, and what the kernel says is another.
#[must_use]
pub fn owns_memory() -> bool {
    let mut clock: libc::clockid_t = 0;
    // SAFETY: this thread is one, and there is room for its clock.
    let told = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock) };
    // SAFETY: no arguments; cannot fail.
    let thread = unsafe { syscall(libc::SYS_gettid, [0; 6]) };
    // The id inverted, above three bits that say which clock.
    told == 0 && thread == Ok(!(clock >> 3) as usize)
}

/// Has the kernel clear a word when the process that calls leaves this memory, by exec or
/// by its end, and somebody else has it still: what it does for a thread's id. Not for a
/// thread of the C library's, which relies on that, but a vfork child has no such word.
pub fn clear_when_left(word: Option<&'static AtomicU32>) {
    let word = word.map_or(0, |word| core::ptr::from_ref(word) as usize);
    // SAFETY: the word lives as long as the memory, and anybody may write to it.
    let _ = unsafe { syscall(libc::SYS_set_tid_address, [word, 0, 0, 0, 0, 0]) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a child finds that is made by this function.
    fn in_child(make: unsafe extern "C" fn() -> libc::pid_t) -> bool {
        // SAFETY: the child makes system calls only, and ends before it returns.
        let child = unsafe { make() };
        if child == 0 {
            let owns = owns_memory();
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(owns)) };
        }
        let mut status = -1;
        // SAFETY: waits for the child just made.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        libc::WEXITSTATUS(status) == 1
    }

    #[test]
    fn memory_belongs_to_every_process_but_a_vfork_child() {
        assert!(owns_memory());
        assert!(std::thread::spawn(owns_memory).join().unwrap());
        assert!(in_child(libc::fork));
        assert!(owns_memory());
    }
}
