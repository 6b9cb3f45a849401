//! The kernel's routes: which entry of the table an address matches.

use core::mem::size_of;
use core::net::Ipv6Addr;

use aarp_wire::route::{REQUEST_MAX, RouteAnswer, RouteRepr, RouteRequest};

use crate::fd::Fd;
use crate::syscall::{Errno, syscall};

/// A socket to ask for routes.
#[derive(Debug)]
pub struct RouteSocket {
    fd: Fd,
    sequence: u32,
}

/// What the packet would be sent with, apart from its destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origin {
    /// The source address, where it is fixed.
    pub source: Option<Ipv6Addr>,
    /// The interface, where it is fixed; 0 is none.
    pub interface: u32,
    /// The mark; 0 is none.
    pub mark: u32,
    /// The flow label, 20 bits; 0 leaves it to the kernel. Routes are asked for
    /// without it.
    pub flow_label: u32,
}

impl RouteSocket {
    /// Opens a socket.
    ///
    /// # Errors
    /// What socket(2) says.
    pub fn open() -> Result<Self, Errno> {
        let kind = (libc::SOCK_RAW | libc::SOCK_CLOEXEC) as usize;
        let arguments = [
            libc::AF_NETLINK as usize,
            kind,
            libc::NETLINK_ROUTE as usize,
            0,
            0,
            0,
        ];
        // SAFETY: no pointers.
        let open = || unsafe { syscall(libc::SYS_socket, arguments) };
        Ok(Self {
            fd: Fd::open_high(open)?,
            sequence: 0,
        })
    }

    /// The entry that a packet to `destination` would match; `None` when there is
    /// no route.
    ///
    /// # Errors
    /// What the kernel says; `EBADMSG` when its answer cannot be read.
    pub fn to(
        &mut self,
        destination: Ipv6Addr,
        origin: &Origin,
    ) -> Result<Option<RouteRepr>, Errno> {
        self.sequence += 1;
        let mut buffer = [0; REQUEST_MAX];
        let request = RouteRequest {
            destination,
            source: origin.source,
            interface: origin.interface,
            mark: origin.mark,
            sequence: self.sequence,
        };
        let octets = request.emit(&mut buffer);
        // The kernel works the request off inside the call, so that the answer is
        // there when it returns.
        // SAFETY: a zeroed netlink address is the kernel's.
        let mut kernel: libc::sockaddr_nl = unsafe { core::mem::zeroed() };
        kernel.nl_family = libc::AF_NETLINK as u16;
        let address = (&raw const kernel) as usize;
        let len = size_of::<libc::sockaddr_nl>();
        let (from, count) = (octets.as_ptr() as usize, octets.len());
        self.fd.using(|fd| {
            let arguments = [fd as usize, from, count, 0, address, len];
            // SAFETY: the pointers and lengths are those of a slice and of an address.
            unsafe { syscall(libc::SYS_sendto, arguments) }
        })?;
        let mut answer = [0u8; 2048];
        for _ in 0..8 {
            let flags = libc::MSG_DONTWAIT as usize;
            let (to, len) = (answer.as_mut_ptr() as usize, answer.len());
            let received = self.fd.using(|fd| {
                let arguments = [fd as usize, to, len, flags, 0, 0];
                // SAFETY: the pointer and the length are those of an array.
                unsafe { syscall(libc::SYS_recvfrom, arguments) }
            });
            let count = match received {
                Err(Errno(libc::EINTR)) => continue,
                count => count?,
            };
            match RouteAnswer::parse(&answer[..count], self.sequence) {
                Ok(RouteAnswer::Route(route)) => return Ok(Some(route)),
                Ok(RouteAnswer::Error(error)) => return no_route(error),
                // The answer to an earlier question.
                Err(_) => {}
            }
        }
        Err(Errno(libc::EBADMSG))
    }
}

fn no_route(error: i32) -> Result<Option<RouteRepr>, Errno> {
    match error {
        libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL | libc::ENODEV => {
            Ok(None)
        }
        error => Err(Errno(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aarp_wire::route::RouteType;

    #[test]
    fn loopback_is_local() {
        let mut socket = RouteSocket::open().unwrap();
        for _ in 0..3 {
            let route = socket
                .to(Ipv6Addr::LOCALHOST, &Origin::default())
                .unwrap()
                .unwrap();
            assert_eq!(route.route_type, RouteType::Local);
        }
    }
}
