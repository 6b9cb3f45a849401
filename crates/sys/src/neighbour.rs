//! Neighbour Discovery on one link (RFC 4861), for who claims an address there without
//! having it: solicitations and advertisements of our own, and those of others.

use std::ffi::CString;
use std::io;
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::control::{self, CONTROL_MAX};
use crate::descriptor::{check, open, set, socket_address};
use crate::failed::Failed;
use crate::packet::interface_index;

/// Types of the messages (RFC 4861, sections 4.3 and 4.4).
const SOLICITATION: usize = 135;
const ADVERTISEMENT: usize = 136;
/// What neighbours send with: whatever has less has passed a router.
//= https://www.rfc-editor.org/rfc/rfc4861#section-7.1.1
const HOP_LIMIT: libc::c_int = 255;
/// `ICMPV6_FILTER` (linux/icmpv6.h).
const FILTER: libc::c_int = 1;
/// Octets of the IPv6 header (RFC 8200, section 3).
const HEADER: usize = 40;

/// A socket on one link.
#[derive(Debug)]
pub struct NeighbourSocket {
    socket: OwnedFd,
    interface: String,
    index: u32,
}

/// A message of a neighbour's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard<'a> {
    /// Its source.
    pub source: Ipv6Addr,
    /// The ICMPv6 message, whose checksum is right.
    pub message: &'a [u8],
}

impl NeighbourSocket {
    /// Opens a socket on `interface` of the calling thread's network namespace; it hears
    /// from now on what reaches the interface's groups.
    ///
    /// # Errors
    /// EPERM without CAP_NET_RAW; ENODEV when there is no such interface.
    pub fn open(interface: &str) -> Result<Self, Failed> {
        let opened = || -> io::Result<(OwnedFd, u32)> {
            let socket = open(libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6)?;
            let fd = socket.as_fd();
            // Only these two types; a bit that is set keeps a type away.
            let mut filter = [u32::MAX; 8];
            for kind in [SOLICITATION, ADVERTISEMENT] {
                filter[kind / 32] &= !(1 << (kind % 32));
            }
            set_value(fd, libc::IPPROTO_ICMPV6, FILTER, &filter)?;
            for (option, value) in [
                (libc::IPV6_HDRINCL, 1),
                (libc::IPV6_RECVHOPLIMIT, 1),
                (libc::IPV6_MULTICAST_LOOP, 0),
            ] {
                set(fd, libc::IPPROTO_IPV6, option, value)?;
            }
            let index = interface_index(interface)?;
            let name = CString::new(interface)?;
            let name = name.as_bytes_with_nul();
            // SAFETY: the kernel reads the octets of a live string.
            check(unsafe {
                libc::setsockopt(
                    fd.as_raw_fd(),
                    libc::SOL_SOCKET,
                    libc::SO_BINDTODEVICE,
                    name.as_ptr().cast(),
                    name.len() as libc::socklen_t,
                )
            })?;
            Ok((socket, index))
        };
        let operation = || format!("open a socket for Neighbour Discovery on {interface}");
        let (socket, index) = opened().map_err(|error| Failed::new(operation(), error))?;
        Ok(Self {
            socket,
            interface: interface.to_owned(),
            index,
        })
    }

    /// Hears also what is sent to `group`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn join(&self, group: Ipv6Addr) -> Result<(), Failed> {
        self.membership(libc::IPV6_ADD_MEMBERSHIP, group)
    }

    /// Hears that no more, unless the host itself does.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn leave(&self, group: Ipv6Addr) -> Result<(), Failed> {
        self.membership(libc::IPV6_DROP_MEMBERSHIP, group)
    }

    fn membership(&self, option: libc::c_int, group: Ipv6Addr) -> Result<(), Failed> {
        let request = libc::ipv6_mreq {
            ipv6mr_multiaddr: libc::in6_addr {
                s6_addr: group.octets(),
            },
            ipv6mr_interface: self.index,
        };
        set_value(self.socket.as_fd(), libc::IPPROTO_IPV6, option, &request).map_err(|error| {
            let interface = &self.interface;
            Failed::new(format!("membership of {group} on {interface}"), error)
        })
    }

    /// Sends a whole packet, its IPv6 header included, out of the interface.
    ///
    /// # Errors
    /// What the kernel says: ENETDOWN, or ENETUNREACH, while the interface is down.
    pub fn send(&self, packet: &[u8]) -> Result<(), Failed> {
        let destination = packet.get(24..HEADER).and_then(|d| d.first_chunk::<16>());
        let sent = match destination {
            None => Err(io::ErrorKind::InvalidInput.into()),
            Some(destination) => {
                let mut name = socket_address((*destination).into());
                name.sin6_scope_id = self.index;
                // SAFETY: octets and an address, both alive, with their sizes.
                let sent = unsafe {
                    libc::sendto(
                        self.socket.as_raw_fd(),
                        packet.as_ptr().cast(),
                        packet.len(),
                        0,
                        (&raw const name).cast(),
                        size_of_val(&name) as libc::socklen_t,
                    )
                };
                match sent < 0 {
                    true => Err(io::Error::last_os_error()),
                    false => Ok(()),
                }
            }
        };
        let interface = &self.interface;
        sent.map_err(|error| Failed::new(format!("Neighbour Discovery on {interface}"), error))
    }

    /// The next message of a neighbour's, into `buffer`; `None` when none waits. What
    /// can have come from beyond the link is passed over.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<Heard<'b>>> {
        loop {
            // SAFETY: all zero is a valid sockaddr_in6 and a valid msghdr.
            let mut name: libc::sockaddr_in6 = unsafe { core::mem::zeroed() };
            let mut control = [0_u8; CONTROL_MAX];
            let mut part = libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            };
            // SAFETY: as above.
            let mut header: libc::msghdr = unsafe { core::mem::zeroed() };
            header.msg_name = (&raw mut name).cast();
            header.msg_namelen = size_of_val(&name) as libc::socklen_t;
            header.msg_iov = &raw mut part;
            header.msg_iovlen = 1;
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = control.len() as _;
            // SAFETY: every pointer is to something alive, with its size.
            let received = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut header, 0) };
            if received < 0 {
                let error = io::Error::last_os_error();
                match error.raw_os_error() {
                    Some(libc::EINTR) => continue,
                    Some(libc::EAGAIN) => return Ok(None),
                    _ => return Err(error),
                }
            }
            let filled = control.get(..header.msg_controllen as usize);
            let hop_limit = control::read(filled.unwrap_or_default())
                .find(|(level, kind, _)| {
                    (*level, *kind) == (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT)
                })
                .and_then(|(_, _, data)| control::int(data));
            if hop_limit != Some(HOP_LIMIT) {
                continue;
            }
            let source = name.sin6_addr.s6_addr.into();
            let length = received.unsigned_abs().min(buffer.len());
            let message = &buffer[..length];
            return Ok(Some(Heard { source, message }));
        }
    }
}

impl AsFd for NeighbourSocket {
    /// Readable when something was heard.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn set_value<T>(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: the kernel reads size_of::<T>() octets of a live value.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const *value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    })
    .map(drop)
}
