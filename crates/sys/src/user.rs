//! Memory that the program hands us, which may be anything.
//!
//! The kernel answers a bad pointer with `EFAULT`; a preload library that looks
//! into it first must not crash instead. Where the pointer is in the page of the caller's
//! own stack it is good; elsewhere the kernel is asked, by a system call that reads
//! and changes nothing, once for each page that is handed over again and again.

use core::arch::asm;
use core::mem::{MaybeUninit, offset_of, size_of};
use core::net::Ipv6Addr;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::syscall::{Errno, syscall};

/// The size of the kernel's signal set, which is what its readability test reads.
const SIGSET: usize = 8;

/// The stack pointer. Not the address of something that lies there: a caller with a
/// frame of its own could not end in a jump to the function behind it.
#[inline(always)]
fn stack_pointer() -> usize {
    let pointer: usize;
    // SAFETY: reads a register.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("mov {}, rsp", out(reg) pointer, options(nomem, nostack, preserves_flags));
        #[cfg(target_arch = "aarch64")]
        asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags));
    }
    pointer
}

/// In the page of the stack pointer, where the frames of the hook's callers begin. What
/// lies in the next one may be beyond the end of the stack.
#[inline]
fn is_on_stack(start: usize, len: usize) -> bool {
    start / PAGE == stack_pointer() / PAGE && is_in_one_page(start, len)
}

#[inline]
fn is_in_one_page(start: usize, len: usize) -> bool {
    len.wrapping_sub(1) < PAGE - start % PAGE
}

/// Whether the kernel can read eight octets there.
fn kernel_can_read(at: usize) -> bool {
    // rt_sigprocmask(2) copies the set in before it looks at how to apply it, and
    // refuses an unknown way: EFAULT or EINVAL, and nothing changed.
    let unknown = usize::MAX;
    // SAFETY: the kernel checks the pointer, which is the purpose.
    let result = unsafe { syscall(libc::SYS_rt_sigprocmask, [unknown, at, 0, SIGSET, 0, 0]) };
    result == Err(Errno(libc::EINVAL))
}

const PAGE: usize = 4096;

/// Pages that the kernel could read when it was asked, as number + 1; 0 is none.
/// Each has one place. Programs hand over the same few places of the heap again and
/// again, and each question is a system call. What is amortised with this is the
/// `EFAULT` of a program that hands over memory which was good once and which it
/// has unmapped since.
static READABLE: [AtomicUsize; PAGES] = [const { AtomicUsize::new(0) }; PAGES];
const PAGES: usize = 1024;

fn place_of(page: usize) -> &'static AtomicUsize {
    &READABLE[page % READABLE.len()]
}

/// The same of stacks, by [`remember_stack`]: they displace nothing of the above.
static STACKS: [AtomicUsize; PAGES] = [const { AtomicUsize::new(0) }; PAGES];

fn place_of_stack(page: usize) -> &'static AtomicUsize {
    &STACKS[page % STACKS.len()]
}

#[inline]
fn is_in_readable_page(start: usize, len: usize) -> bool {
    let page = start / PAGE;
    is_in_one_page(start, len) && place_of(page).load(Ordering::Relaxed) == page + 1
}

/// Whether it is known, without asking the kernel, that `len` octets at `start` can be
/// read.
#[inline]
#[must_use]
pub fn is_known_readable(start: *const u8, len: usize) -> bool {
    let start = start as usize;
    is_on_stack(start, len) || is_in_readable_page(start, len) || is_known_elsewhere(start, len)
}

/// The same, where what is at `beside` is known to be readable.
#[must_use]
pub fn is_known_readable_beside(start: *const u8, len: usize, beside: *const u8) -> bool {
    let (at, page) = (start as usize, beside as usize / PAGE);
    is_known_readable(start, len) || (at / PAGE == page && is_in_one_page(at, len))
}

#[cold]
fn is_known_elsewhere(start: usize, len: usize) -> bool {
    let Some(end) = start.checked_add(len).filter(|_| len > 0) else {
        return len == 0;
    };
    let known = |at: usize| {
        let page = at / PAGE;
        [place_of(page), place_of_stack(page)]
            .iter()
            .any(|place| place.load(Ordering::Relaxed) == page + 1)
    };
    is_on_main_stack(start, end) || (len <= PAGE && known(start) && known(end - 1))
}

/// As much of the main thread's stack as is looked at.
const MAIN_STACK: usize = 1 << 20;

/// Whether that is between the stack pointer and the end of the main thread's stack,
/// which is in one piece. The kernel has put random octets there, behind all frames
/// (getauxval(3)).
fn is_on_main_stack(start: usize, end: usize) -> bool {
    let here = stack_pointer();
    // SAFETY: reads what the kernel told this program at its start.
    let behind = unsafe { libc::getauxval(libc::AT_RANDOM) } as usize;
    let used = behind.wrapping_sub(here);
    used <= MAIN_STACK && start >= here && end <= behind
}

/// Remembers which pages of this thread's stack can be read, for a time when the kernel
/// may not be asked any more: some, from the one of the stack pointer upwards, and the
/// next ones below.
#[cold]
pub fn remember_stack() {
    const ABOVE: usize = 64;
    const BELOW: usize = 8;
    let here = stack_pointer() / PAGE;
    let readable = |page: &usize| kernel_can_read(page * PAGE);
    let above = (here..here + ABOVE).take_while(readable);
    let below = (1..=BELOW).map(|count| here - count).take_while(readable);
    for page in above.chain(below) {
        place_of_stack(page).store(page + 1, Ordering::Relaxed);
    }
}

/// Whether `len` octets at `start` can be read. Up to 256 are looked at.
#[inline]
#[must_use]
pub fn is_readable(start: *const u8, len: usize) -> bool {
    let start = start as usize;
    is_on_stack(start, len) || is_in_readable_page(start, len) || is_readable_elsewhere(start, len)
}

#[cold]
fn is_readable_elsewhere(start: usize, len: usize) -> bool {
    let Some(end) = start.checked_add(len).filter(|_| len > 0) else {
        return len == 0;
    };
    if is_on_main_stack(start, end) {
        return true;
    }
    let (first, last) = (start / PAGE, (end - 1) / PAGE);
    let known = |page: usize| place_of(page).load(Ordering::Relaxed) == page + 1;
    let read = |page: usize| {
        // Memory is readable by pages.
        let readable = known(page) || kernel_can_read(page * PAGE);
        if readable {
            place_of(page).store(page + 1, Ordering::Relaxed);
        }
        readable
    };
    read(first) && (first == last || read(last))
}

/// An IPv6 socket address as a program gave it.
#[derive(Clone, Copy)]
pub struct SocketAddress {
    /// The address; zero where the program's was shorter.
    pub raw: libc::sockaddr_in6,
    /// The length that the program gave.
    pub len: libc::socklen_t,
}

impl SocketAddress {
    /// A pointer to the copy, for a call that takes an address.
    #[must_use]
    pub fn as_ptr(&self) -> *const libc::sockaddr {
        (&raw const self.raw).cast()
    }

    /// The length that the program gave, as far as there is a copy.
    #[must_use]
    pub fn len_of_copy(&self) -> libc::socklen_t {
        self.len
            .min(size_of::<libc::sockaddr_in6>() as libc::socklen_t)
    }
}

/// The room that a program has for a socket address; `None` when that cannot be
/// read.
///
/// # Safety
/// As for [`family`].
#[inline]
#[must_use]
pub unsafe fn room(len: *const libc::socklen_t) -> Option<usize> {
    if !is_readable(len.cast(), size_of::<libc::socklen_t>()) {
        return None;
    }
    // SAFETY: readable, as was just seen.
    Some(unsafe { len.read_unaligned() } as usize)
}

/// The same, where no system call may be made but the program's own, `call`: which
/// writes the name of a socket, and fails where `len` is bad. How much of a name it
/// has room for shows in what is written; more than a whole name counts as one.
///
/// # Safety
/// `call` must do with its arguments what getpeername(2) does.
#[must_use]
pub unsafe fn room_by(
    len: *mut libc::socklen_t,
    call: impl Fn(*mut libc::sockaddr, *mut libc::socklen_t) -> i32,
) -> Option<usize> {
    const MOST: usize = size_of::<libc::sockaddr_storage>();
    let mut whole = [0u8; MOST];
    let mut whole_len = MOST as libc::socklen_t;
    if call(whole.as_mut_ptr().cast(), &raw mut whole_len) != 0 {
        return None;
    }
    // No octet is what the call would write, until it has.
    let mut part = whole.map(|octet| !octet);
    if call(part.as_mut_ptr().cast(), len) != 0 {
        return None;
    }
    let written = whole
        .iter()
        .zip(&part)
        .take_while(|(whole, part)| whole == part);
    let room = written.count();
    // SAFETY: the kernel has just written there.
    unsafe { len.write_unaligned(room as libc::socklen_t) };
    Some(room)
}

/// Writes an IPv6 address into a socket address of which there are `room` octets.
///
/// # Safety
/// An IPv6 socket address, or its first `room` octets, must just have been written
/// there.
#[inline]
pub unsafe fn show_address(name: *mut libc::sockaddr, room: usize, address: Ipv6Addr) {
    let start = offset_of!(libc::sockaddr_in6, sin6_addr);
    let count = room.min(start + 16).saturating_sub(start);
    let octets = address.octets();
    // SAFETY: inside what was written, by the promise.
    unsafe {
        let to = name.cast::<u8>().add(start);
        core::ptr::copy_nonoverlapping(octets.as_ptr(), to, count);
    }
}

/// Puts another address in the place of the one that the kernel has just written, as
/// far as there was room, if it is that one. Whether it was, as far as can be seen.
///
/// # Safety
/// The kernel must have written a socket address there, or its first `room` octets; or
/// there must be `room` octets to be read and, if they are those of this address, to be
/// written.
pub unsafe fn replace_address(
    name: *mut libc::sockaddr,
    room: usize,
    from: (Ipv6Addr, u16),
    to: Ipv6Addr,
) -> bool {
    let start = offset_of!(libc::sockaddr_in6, sin6_addr);
    let mut expected = [0; size_of::<libc::sockaddr_in6>()];
    expected[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
    expected[2..4].copy_from_slice(&from.1.to_be_bytes());
    expected[start..start + 16].copy_from_slice(&from.0.octets());
    let count = room.min(start + 16);
    // What lies between the port and the address is no part of either.
    let parts = [0..count.min(4), start.min(count)..count];
    for part in parts {
        for at in part {
            // SAFETY: inside what was written, by the promise.
            if unsafe { name.cast::<u8>().add(at).read() } != expected[at] {
                return false;
            }
        }
    }
    // SAFETY: by the promise.
    unsafe { show_address(name, room, to) };
    true
}

/// The shortest IPv6 socket address that the kernel takes: without a scope.
pub const SIN6_LEN_RFC2133: libc::socklen_t = 24;

/// The address family that a socket address begins with; `None` when it cannot be
/// read, or is too short to have one.
///
/// # Safety
/// None of the pointer: that is what is checked. But what is readable now must
/// not be unmapped by another thread before the call returns.
#[inline]
#[must_use]
pub unsafe fn family(address: *const libc::sockaddr, len: libc::socklen_t) -> Option<u16> {
    if (len as usize) < size_of::<u16>() || !is_readable(address.cast(), size_of::<u16>()) {
        return None;
    }
    // SAFETY: readable, as was just seen; alignment is not asked for.
    Some(unsafe { address.cast::<u16>().read_unaligned() })
}

/// Copies an IPv6 socket address; `None` when it cannot be read, or has a length
/// that the kernel refuses.
///
/// # Safety
/// As for [`family`].
#[inline]
#[must_use]
pub unsafe fn socket_address(
    address: *const libc::sockaddr,
    len: libc::socklen_t,
) -> Option<SocketAddress> {
    const WHOLE: usize = size_of::<libc::sockaddr_in6>();
    if !(SIN6_LEN_RFC2133..=size_of::<libc::sockaddr_storage>() as u32).contains(&len) {
        return None;
    }
    // The kernel reads all of it, whatever stands behind the address.
    if !is_readable(address.cast(), len as usize) {
        return None;
    }
    let count = WHOLE.min(len as usize);
    if count == WHOLE {
        // SAFETY: readable, as was just seen; every combination of octets is a
        // socket address.
        let raw = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
        return Some(SocketAddress { raw, len });
    }
    let mut raw = MaybeUninit::<libc::sockaddr_in6>::zeroed();
    // SAFETY: `count` octets are readable, and there is room for them; every
    // combination of octets is a socket address.
    let raw = unsafe {
        core::ptr::copy_nonoverlapping(address.cast::<u8>(), raw.as_mut_ptr().cast(), count);
        raw.assume_init()
    };
    Some(SocketAddress { raw, len })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// One test at a time: they make and unmake pages, and what is known about pages
    /// is known to all.
    static TURN: Mutex<()> = Mutex::new(());

    fn begin() -> MutexGuard<'static, ()> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        READABLE
            .iter()
            .chain(&STACKS)
            .for_each(|page| page.store(0, Ordering::Relaxed));
        turn
    }

    /// A readable page with an unreadable one behind it.
    fn edge() -> (*mut u8, usize) {
        // SAFETY: two new pages, the second made unreadable.
        unsafe {
            let start = libc::mmap(
                std::ptr::null_mut(),
                8192,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            assert_eq!(libc::mprotect(start.add(4096), 4096, libc::PROT_NONE), 0);
            (start.cast(), 4096)
        }
    }

    #[test]
    fn what_can_be_read_and_what_not() {
        let _turn = begin();
        let (start, page) = edge();
        let at = |offset: usize| start.wrapping_add(offset).cast_const();
        assert!(is_readable(at(0), 28));
        assert!(is_readable(at(page - 28), 28));
        assert!(is_readable(at(page - 1), 1));
        assert!(!is_readable(at(page - 27), 28));
        assert!(!is_readable(at(page), 1));
        for bad in [
            0,
            1,
            usize::MAX,
            usize::MAX - 27,
            1 << 47,
            0x8000_0000_0000_0000,
        ] {
            assert!(!is_readable(bad as *const u8, 28), "{bad:#x}");
        }
        let heap = Box::new([0u8; 64]);
        assert!(is_readable(heap.as_ptr(), 28));
        let stack = [0u8; 28];
        assert!(is_readable(stack.as_ptr(), 28));
        assert!(is_readable(std::ptr::null(), 0));
    }

    #[test]
    fn a_page_is_remembered_and_nothing_beside_it() {
        let _turn = begin();
        let (start, page) = edge();
        let at = |offset: usize| start.wrapping_add(offset).cast_const();
        for _ in 0..3 {
            assert!(!is_in_readable_page(at(page) as usize, 1));
            assert!(is_readable(at(page - 28), 28));
            assert!(is_in_readable_page(at(page - 28) as usize, 28));
            assert!(!is_in_readable_page(at(page - 27) as usize, 28));
            assert!(!is_in_readable_page(at(0) as usize, 0));
            assert!(!is_readable(at(page - 27), 28));
            assert!(!is_readable(at(page), 1));
            assert!(!is_readable(std::ptr::null(), 1));
            assert!(!is_in_readable_page(0, 1));
        }
        // Every other page that shares its place takes it over.
        let other = vec![0u8; 2 * READABLE.len() * PAGE];
        for offset in (0..other.len()).step_by(PAGE) {
            assert!(is_readable(&raw const other[offset], 1));
        }
        assert!(!is_in_readable_page(at(0) as usize, 1));
        assert!(is_readable(at(0), 1));
    }

    /// For where the kernel may not be asked any more.
    #[test]
    fn what_is_remembered_of_a_stack_displaces_nothing() {
        let _turn = begin();
        let heap = vec![0u8; READABLE.len() * PAGE];
        let first = heap.as_ptr().align_offset(PAGE);
        let pages: Vec<_> = (first..heap.len()).step_by(PAGE).collect();
        let is_known = |at: &usize| is_known_readable(&raw const heap[*at], 1);
        assert!(pages.iter().all(|at| is_readable(&raw const heap[*at], 1)));
        assert!(pages.iter().all(is_known));
        remember_stack();
        assert!(pages.iter().all(is_known));
        // And this thread's stack is known to another.
        let here = [0u8; 28];
        let here = here.as_ptr() as usize;
        let there = move || is_known_readable(here as *const u8, 28);
        assert!(std::thread::spawn(there).join().unwrap());
    }

    #[test]
    fn addresses_of_every_length() {
        let _turn = begin();
        let (start, page) = edge();
        for len in 0..=130u32 {
            let at = start.wrapping_add(page - len as usize).cast_const().cast();
            // SAFETY: that much is mapped.
            let read = unsafe { socket_address(at, len) };
            assert_eq!(read.is_some(), (24..=128).contains(&len), "{len}");
            let short = start
                .wrapping_add(page - len as usize + 1)
                .cast_const()
                .cast();
            // SAFETY: checked by the function.
            assert!(unsafe { socket_address(short, len) }.is_none());
        }
        // SAFETY: checked by the function.
        unsafe {
            assert_eq!(family(std::ptr::null(), 28), None);
            assert_eq!(family(start.cast(), 28), Some(0));
            assert_eq!(family(start.cast(), 1), None);
            assert_eq!(family(start.wrapping_add(page - 1).cast(), 28), None);
        }
    }
}
