//! The calls that resolve names.

use core::ffi::{CStr, c_char, c_int};
use core::mem::transmute;

use aarp_sys::addrinfo::AddrInfoList;
use libc::addrinfo;

use super::behind;
use crate::names;
use crate::symbols::Symbol;

const AI_CANONIDN: c_int = 0x80;

/// What no hints are, but for flags that say nothing about an address in figures.
const NO_HINTS: addrinfo = addrinfo {
    ai_flags: 0,
    ai_family: libc::AF_UNSPEC,
    ai_socktype: 0,
    ai_protocol: 0,
    ai_addrlen: 0,
    ai_addr: core::ptr::null_mut(),
    ai_canonname: core::ptr::null_mut(),
    ai_next: core::ptr::null_mut(),
};

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
    // SAFETY: the program's own arguments. The function behind has read the hints and
    // the service, and has written a list of its own that the program has not seen yet;
    // what it is asked for U, and what it says, are its own as well.
    unsafe {
        let result = real(node, service, hints, found);
        if result == 0 && !node.is_null() {
            let asked = hints.as_ref().copied().unwrap_or(NO_HINTS);
            // No name has a colon.
            let literal = CStr::from_ptr(node).to_bytes().contains(&b':');
            let same_for = |address: &CStr| {
                let hints = addrinfo {
                    // Its canonical name would be its text.
                    ai_flags: asked.ai_flags & !(libc::AI_CANONNAME | AI_CANONIDN)
                        | libc::AI_NUMERICHOST,
                    ..asked
                };
                let mut list = core::ptr::null_mut();
                let result = real(address.as_ptr(), service, &raw const hints, &raw mut list);
                (result == 0).then(|| AddrInfoList::new(list))
            };
            let mut list = AddrInfoList::new(*found);
            names::resolved(&mut list, asked.ai_flags, literal, same_for);
            *found = list.first();
        }
        result
    }
}
