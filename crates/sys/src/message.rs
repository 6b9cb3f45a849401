//! Message headers that the program hands us, as for sendmsg(2) and recvmsg(2).

use core::mem::{MaybeUninit, size_of};
use core::net::Ipv6Addr;

use crate::user::is_readable;

/// Octets of an IPv6 socket address.
pub const SIN6: libc::socklen_t = size_of::<libc::sockaddr_in6>() as libc::socklen_t;

/// The most messages that sendmmsg(2) and recvmmsg(2) take at a time (`UIO_MAXIOV`).
pub const MESSAGES_MAX: usize = 1024;

/// A copy of a message header; `None` when it cannot be read.
///
/// # Safety
/// None of the pointer: that is what is checked. But what is readable now must not be
/// unmapped by another thread before the call returns.
#[inline]
#[must_use]
pub unsafe fn header(message: *const libc::msghdr) -> Option<libc::msghdr> {
    if !is_readable(message.cast(), size_of::<libc::msghdr>()) {
        return None;
    }
    // SAFETY: readable, as was just seen; alignment is not asked for.
    Some(unsafe { message.read_unaligned() })
}

/// The IPv6 address and port that the kernel has just written as a whole.
///
/// # Safety
/// The kernel must have written a socket address of `len` octets there, or as many of
/// them as there was room for; or there must be [`SIN6`] octets to be read.
#[inline]
#[must_use]
pub unsafe fn written_source(
    name: *const libc::sockaddr,
    len: libc::socklen_t,
) -> Option<(Ipv6Addr, u16)> {
    if len != SIN6 || name.is_null() {
        return None;
    }
    // SAFETY: by the promise.
    let name = unsafe { name.cast::<libc::sockaddr_in6>().read_unaligned() };
    (i32::from(name.sin6_family) == libc::AF_INET6).then(|| {
        let address = Ipv6Addr::from(name.sin6_addr.s6_addr);
        (address, u16::from_be(name.sin6_port))
    })
}

/// Room for a whole socket address, for a program that has none.
pub struct OwnName {
    storage: MaybeUninit<libc::sockaddr_storage>,
    /// Its length.
    pub len: libc::socklen_t,
}

impl OwnName {
    /// Empty room.
    #[must_use]
    pub fn new() -> Self {
        Self {
            storage: MaybeUninit::zeroed(),
            len: size_of::<libc::sockaddr_storage>() as libc::socklen_t,
        }
    }

    /// For the kernel to write to.
    pub fn as_mut_ptr(&mut self) -> *mut libc::sockaddr {
        self.storage.as_mut_ptr().cast()
    }

    /// Copies as much of it as there is room for.
    ///
    /// # Safety
    /// There must be `room` octets to be written at `to`.
    pub unsafe fn copy_to(&self, to: *mut libc::sockaddr, room: usize) {
        let count = room
            .min(self.len as usize)
            .min(size_of::<libc::sockaddr_storage>());
        // SAFETY: by the promise; the storage was zeroed, and is as large.
        unsafe {
            core::ptr::copy_nonoverlapping(self.storage.as_ptr().cast::<u8>(), to.cast(), count)
        };
    }
}

impl Default for OwnName {
    fn default() -> Self {
        Self::new()
    }
}
