//! Requests to the kernel by netlink(7), each with its answer.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::descriptor::{open, set};

/// `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;
/// `struct nlattr`.
pub(crate) const ATTRIBUTE: usize = 4;
/// The flag bits of an attribute's type.
pub(crate) const TYPE_MASK: u16 = 0x3fff;

/// `NLMSG_ERROR`: a failure, or with the number 0 the confirmation that was asked for.
const ERROR: u16 = 2;
const REQUEST: u16 = 1;
const ACK: u16 = 4;

/// A socket for requests, and for what the kernel sends by itself.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

/// A message under construction.
pub(crate) struct Request(Vec<u8>);

impl Request {
    /// A message of this type with the fixed part that the type has.
    pub(crate) fn new(kind: u16, fixed: &[u8]) -> Self {
        let mut octets = vec![0; HEADER];
        octets[4..6].copy_from_slice(&kind.to_ne_bytes());
        octets[6..8].copy_from_slice(&(REQUEST | ACK).to_ne_bytes());
        octets.extend_from_slice(fixed);
        Self(octets)
    }

    /// Adds an attribute.
    pub(crate) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend_from_slice(&attribute(kind, value));
        self
    }
}

/// An attribute, padded to the alignment that the next one needs.
pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = ATTRIBUTE + value.len();
    let mut octets = Vec::with_capacity(length.next_multiple_of(4));
    octets.extend_from_slice(&(length as u16).to_ne_bytes());
    octets.extend_from_slice(&kind.to_ne_bytes());
    octets.extend_from_slice(value);
    octets.resize(length.next_multiple_of(4), 0);
    octets
}

impl Netlink {
    pub(crate) fn open(protocol: libc::c_int) -> io::Result<Self> {
        let socket = open(libc::AF_NETLINK, libc::SOCK_RAW, protocol)?;
        // The answer need not repeat the request.
        set(socket.as_fd(), libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, 1)?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Sends a request and reads the answer; `other` is called for each message
    /// that the kernel has sent before it.
    pub(crate) fn call(&mut self, request: Request, mut other: impl FnMut()) -> io::Result<()> {
        self.sequence += 1;
        let Request(mut octets) = request;
        let length = octets.len() as u32;
        octets[..4].copy_from_slice(&length.to_ne_bytes());
        octets[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        // SAFETY: all zero is a valid sockaddr_nl, and with its family that of the kernel.
        let mut kernel: libc::sockaddr_nl = unsafe { core::mem::zeroed() };
        kernel.nl_family = libc::AF_NETLINK as libc::sa_family_t;
        // SAFETY: octets and an address, both alive, with their sizes.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                octets.as_ptr().cast(),
                octets.len(),
                0,
                (&raw const kernel).cast(),
                size_of_val(&kernel) as libc::socklen_t,
            )
        };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        // The kernel works a request off inside sendto: its answer is in the queue
        // by now, behind what was there before.
        let mut answer = [0; 4096];
        loop {
            // SAFETY: octets of this array, with their number.
            let received = unsafe {
                let room = answer.as_mut_ptr().cast();
                libc::recv(self.socket.as_raw_fd(), room, answer.len(), 0)
            };
            if received < 0 {
                let error = io::Error::last_os_error();
                match error.raw_os_error() {
                    // What was lost are messages that nobody has asked for; an answer
                    // may have been too, and then the next call says EAGAIN.
                    Some(libc::EINTR | libc::ENOBUFS) => continue,
                    _ => return Err(error),
                }
            }
            match acknowledged(&answer[..received.unsigned_abs()], self.sequence) {
                Some(0) => return Ok(()),
                Some(number) => return Err(io::Error::from_raw_os_error(number)),
                None => other(),
            }
        }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The number of errno(3) in the answer to request `sequence`, 0 for success;
/// `None` when the octets are another message.
fn acknowledged(octets: &[u8], sequence: u32) -> Option<i32> {
    let kind = u16::from_ne_bytes(*octets.get(4..)?.first_chunk()?);
    let answers = u32::from_ne_bytes(*octets.get(8..)?.first_chunk()?);
    let number = i32::from_ne_bytes(*octets.get(HEADER..)?.first_chunk()?);
    (kind == ERROR && answers == sequence).then_some(number.saturating_neg())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_from_other_messages() {
        let mut octets = [0; HEADER + 4];
        octets[4..6].copy_from_slice(&ERROR.to_ne_bytes());
        octets[8..12].copy_from_slice(&7u32.to_ne_bytes());
        octets[16..].copy_from_slice(&(-libc::EBUSY).to_ne_bytes());
        assert_eq!(acknowledged(&octets, 7), Some(libc::EBUSY));
        assert_eq!(acknowledged(&octets, 8), None);
        for cut in 0..octets.len() {
            assert_eq!(acknowledged(&octets[..cut], 7), None);
        }
        octets[4] = 3;
        assert_eq!(acknowledged(&octets, 7), None);
    }

    #[test]
    fn a_refusal_is_the_kernel_s_own() {
        let mut netlink = Netlink::open(libc::NETLINK_ROUTE).unwrap();
        // No interface has this index, whoever asks.
        let mut fixed = [0; 16];
        fixed[4..8].copy_from_slice(&i32::MAX.to_ne_bytes());
        let request = Request::new(libc::RTM_SETLINK, &fixed);
        let error = netlink.call(request, || ()).unwrap_err();
        assert!(
            matches!(error.raw_os_error(), Some(libc::ENODEV | libc::EPERM)),
            "{error}"
        );
    }
}
