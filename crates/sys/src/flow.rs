//! Flow labels that the sender chooses (RFC 6437), for the tools.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// As in <linux/in6.h>; the libc crate has it for some targets only.
const IPV6_FLOWINFO_SEND: i32 = 33;

/// From now on the flow label of a packet is that of the address which is given to
/// sendto(2), `sin6_flowinfo`, in network byte order.
///
/// # Errors
/// What setsockopt(2) says.
pub fn send_flow_labels(socket: impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the pointer and the length are those of an int.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_IPV6,
            IPV6_FLOWINFO_SEND,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
