//! The calls that resolve names.

use core::ffi::{CStr, c_char, c_int};
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
        if result == 0 && !node.is_null() {
            let flags = if hints.is_null() {
                0
            } else {
                (*hints).ai_flags
            };
            // No name has a colon.
            let literal = CStr::from_ptr(node).to_bytes().contains(&b':');
            names::resolved(&AddrInfoList::new(*found), flags, literal);
        }
        result
    }
}
