//! The calls that resolve names.

use core::ffi::{c_char, c_int};
use core::mem::transmute;

use aarp_sys::addrinfo::AddrInfoList;
use libc::addrinfo;

use super::behind;
use crate::names;
use crate::symbols::Symbol;

/// getaddrinfo(3)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    found: *mut *mut addrinfo,
) -> c_int {
    let real = behind!(
        c"getaddrinfo",
        fn(*const c_char, *const c_char, *const addrinfo, *mut *mut addrinfo) -> c_int
    );
    // SAFETY: the program's own arguments. The function behind has read the hints, and
    // has written a list of its own that the program has not seen yet.
    unsafe {
        let result = real(node, service, hints, found);
        // Without a node it is about this host, and with this flag about listening.
        let listens = !hints.is_null() && (*hints).ai_flags & libc::AI_PASSIVE != 0;
        if result == 0 && !node.is_null() && !listens {
            names::resolved(&AddrInfoList::new(*found));
        }
        result
    }
}
