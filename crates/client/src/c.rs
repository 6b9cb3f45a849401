//! The same in C: packaging/include/aarp.h. A pointer of C's is a reference here, or none
//! where it is null; to cells, since what is read and what is written may overlap.
// For the names of the symbols.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_uint};
use std::mem::{MaybeUninit, size_of};
use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_sys::errno;

use crate::resolver::{failed, resolve};

/// `struct in6_addr`.
type Address = [u8; 16];

/// `struct aarp_mapping`.
#[repr(C)]
pub(crate) struct AarpMapping {
    unicast: Address,
    ttl_ms: u32,
    rtt_us: u32,
    source: u32,
    reserved: u32,
}

const _: () = assert!(size_of::<AarpMapping>() == 32);

/// Calls `f`, which leaves `errno` as it was.
fn without_errno<T>(f: impl FnOnce() -> T) -> T {
    let before = errno::get();
    let result = f();
    errno::set(before);
    result
}

/// See aarp.h.
#[unsafe(no_mangle)]
extern "C" fn aarp_resolve(
    a: Option<&Cell<Address>>,
    budget_ms: c_uint,
    out: Option<&Cell<MaybeUninit<AarpMapping>>>,
) -> c_int {
    let (Some(a), Some(out)) = (a, out) else {
        return libc::EFAULT;
    };
    let address = a.get();
    let a = Ipv6Addr::from(address);
    let budget = Duration::from_millis(budget_ms.into());
    let found = without_errno(|| resolve(a, budget));
    let (mapping, result) = match found {
        Ok(mapping) => {
            let ttl = u32::try_from(mapping.ttl.as_millis()).unwrap_or(u32::MAX);
            let rtt = u32::try_from(mapping.rtt.as_micros()).unwrap_or(u32::MAX);
            let source = mapping.source as u32;
            let mapping = AarpMapping {
                unicast: mapping.unicast.octets(),
                ttl_ms: ttl,
                rtt_us: rtt,
                source,
                reserved: 0,
            };
            (mapping, 0)
        }
        // Who does not look at the result goes to A.
        Err(error) => {
            let mapping = AarpMapping {
                unicast: address,
                ttl_ms: 0,
                rtt_us: 0,
                source: 0,
                reserved: 0,
            };
            (mapping, error.errno())
        }
    };
    out.set(MaybeUninit::new(mapping));
    result
}

/// See aarp.h.
#[unsafe(no_mangle)]
extern "C" fn aarp_failed(
    a: Option<&Cell<Address>>,
    u: Option<&Cell<Address>>,
    protocol: c_int,
    port: u16,
    error: c_int,
) -> c_int {
    let (Some(a), Some(u)) = (a, u) else {
        return libc::EFAULT;
    };
    let Ok(protocol) = u8::try_from(protocol) else {
        return libc::EINVAL;
    };
    let (a, u) = (Ipv6Addr::from(a.get()), Ipv6Addr::from(u.get()));
    match without_errno(|| failed(a, u, (protocol, port), error)) {
        Ok(()) => 0,
        Err(error) => error.errno(),
    }
}

/// See aarp.h.
#[unsafe(no_mangle)]
extern "C" fn aarp_strerror(result: c_int) -> *const c_char {
    words(result).as_ptr()
}

fn words(result: c_int) -> &'static CStr {
    match result {
        0 => c"resolved",
        libc::EINVAL => c"no address that can be anycast elsewhere",
        libc::EPERM => c"not asked about, by the configuration",
        libc::EBADMSG => c"answered from an address that must not be used",
        libc::EHOSTUNREACH => c"nobody answers",
        libc::ETIMEDOUT => c"no answer within the time that was given",
        libc::EINTR => c"interrupted by a signal",
        libc::EACCES => c"neither a ping socket nor a raw socket is permitted",
        libc::ECONNREFUSED => c"aarpd cannot be asked, and daemon.use is \"require\"",
        libc::ENOTRECOVERABLE => c"the configuration is wrong",
        libc::EFAULT => c"a null pointer",
        libc::ENOMEM | libc::ENOBUFS => c"not enough memory",
        libc::EMFILE | libc::ENFILE => c"too many open files",
        _ => c"a system call failed",
    }
}
