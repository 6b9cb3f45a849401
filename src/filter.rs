//! Seccomp filters of the program's own.

use core::sync::atomic::{AtomicU32, Ordering};

use aarp_core::bypass::Bypass;
use aarp_sys::owner::clear_when_left;
use aarp_sys::process;
use aarp_sys::user::remember_stack;

use crate::{flight, report, state};

/// Whether the program has installed a seccomp filter: then no system call of ours
/// may be made. As the number of calls that have installed one, or are about to.
static BARRED: AtomicU32 = AtomicU32::new(0);

/// Beside their number: a vfork child of this process has installed one of its own.
const IN_A_CHILD: u32 = 1 << 31;

/// Such children, each for as long as it has this memory: the kernel clears a word then.
static CHILDREN: [AtomicU32; 8] = [const { AtomicU32::new(0) }; 8];

/// Whether no system call of ours may be made.
#[inline]
pub(crate) fn is_barred() -> bool {
    let barred = BARRED.load(Ordering::Relaxed);
    barred != 0 && is_barred_now(barred)
}

/// The same where there is such a child, or was: it may be the one that calls. Other
/// threads of its parent's are not told from it, for so long.
#[cold]
#[inline(never)]
fn is_barred_now(barred: u32) -> bool {
    barred != IN_A_CHILD
        || CHILDREN
            .iter()
            .any(|child| child.load(Ordering::Relaxed) != 0)
}

/// A vfork child is about to install a filter for itself; `None` where it is this
/// process that is, or there is no place.
fn enter_as_child() -> Option<&'static AtomicU32> {
    if is_barred() || state::is_owned_by(process::id()) {
        return None;
    }
    let order = Ordering::Relaxed;
    let free = |child: &&AtomicU32| child.compare_exchange(0, 1, order, order).is_ok();
    let child = CHILDREN.iter().find(free)?;
    BARRED.fetch_or(IN_A_CHILD, Ordering::Relaxed);
    clear_when_left(Some(child));
    Some(child)
}

/// connect() where no system call of ours may be made: not even to see whether the
/// address can be read. By its length it is one of IPv6.
#[cold]
pub(crate) fn barred_connect(len: libc::socklen_t) {
    if len as usize == size_of::<libc::sockaddr_in6>() {
        report::count_bypass(Bypass::Seccomp);
    }
}

/// Runs a call by which the program installs a seccomp filter, if it does: from
/// before it until the program's end no system call of ours is made, in any thread,
/// since it may be for all of them. A call that fails has installed none; programs make
/// such calls to see what the kernel has. The filter of a vfork child is none of its
/// parent's.
#[cold]
pub(crate) fn install_filter<T: PartialOrd + Default>(call: impl FnOnce() -> T) -> T {
    let child = enter_as_child();
    if child.is_none() && !is_barred() {
        remember_stack();
    }
    if child.is_none() && BARRED.fetch_add(1, Ordering::SeqCst) & !IN_A_CHILD == 0 {
        flight::halt();
    }
    let result = call();
    if result < T::default() {
        match child {
            Some(child) => {
                clear_when_left(None);
                child.store(0, Ordering::Relaxed);
            }
            None => {
                if BARRED.fetch_sub(1, Ordering::SeqCst) & !IN_A_CHILD == 1 {
                    flight::resume();
                }
            }
        }
    }
    result
}

/// Whether it is only for the sake of such a child that no system call may be made.
pub(crate) fn may_be_of_a_child() -> bool {
    BARRED.load(Ordering::Relaxed) == IN_A_CHILD
}
