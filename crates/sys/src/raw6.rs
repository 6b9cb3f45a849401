//! Packets with an IPv6 header of our own making.
//!
//! The kernel routes them by the destination in that header, which for a packet with
//! a routing header is the next node to visit (RFC 8200, section 4.4); it fills in
//! nothing and fragments nothing. Netfilter's output hook sees them as any other.

use std::io;
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::batch::SendBatch;
use crate::descriptor::{open, receive_nothing, send_buffer, set};
use crate::failed::Failed;

/// Octets of the IPv6 header (RFC 8200, section 3).
const HEADER: usize = 40;

/// A packet that was not sent.
#[derive(Debug, thiserror::Error)]
#[error("send to {destination}: {source}")]
pub struct SendFailed {
    /// The destination in the packet's header.
    pub destination: Ipv6Addr,
    /// Why: EMSGSIZE for a packet larger than the link's MTU, ENETUNREACH and
    /// EHOSTUNREACH without a route, EPERM for one that a firewall's rule refuses,
    /// EAGAIN when the buffer is full.
    pub source: io::Error,
}

/// A socket that sends whole IPv6 packets.
#[derive(Debug)]
pub struct RawSender {
    socket: OwnedFd,
}

impl RawSender {
    /// Opens a socket in the calling thread's network namespace. `next_header` is what
    /// IPsec policies see as the packets' protocol (RFC 4301, section 4.4.1.1), which
    /// for a header of our own is the socket's: 135 for the Mobility Header, or 255
    /// (IPPROTO_RAW), which no policy names.
    ///
    /// # Errors
    /// EPERM without CAP_NET_RAW.
    pub fn open(next_header: u8) -> Result<Self, Failed> {
        let opened = || -> io::Result<OwnedFd> {
            let socket = open(libc::AF_INET6, libc::SOCK_RAW, next_header.into())?;
            receive_nothing(socket.as_fd())?;
            set(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_HDRINCL, 1)?;
            Ok(socket)
        };
        opened()
            .map(|socket| Self { socket })
            .map_err(Failed::to("open a raw socket to send IPv6 packets with"))
    }

    /// Sets the room for what waits to be sent, in octets; returns what was granted.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_send_buffer(&self, octets: usize) -> Result<usize, Failed> {
        send_buffer(self.socket.as_fd(), octets)
            .map_err(Failed::to("set the send buffer of a raw socket"))
    }

    /// Sends the packets of the batch and empties it. Those that the kernel does not
    /// take are told to `failed`; returns how many it took.
    pub fn send(&self, batch: &mut PacketBatch, mut failed: impl FnMut(SendFailed)) -> usize {
        let count = batch.messages.len();
        let mut refused = Vec::new();
        let taken = batch
            .messages
            .send(self.socket.as_fd(), 0, count, |index, source| {
                refused.push((index, source));
            });
        for (index, source) in refused {
            // A packet of the batch has a whole header.
            let destination = destination(batch.messages.octets(index));
            failed(SendFailed {
                destination: destination.unwrap_or(Ipv6Addr::UNSPECIFIED),
                source,
            });
        }
        batch.messages.clear();
        taken
    }
}

impl AsFd for RawSender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Octets that are no IPv6 packet, or more than there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// The batch is full.
    #[error("the batch is full")]
    Full,
    /// Longer than the room for one packet.
    #[error("the packet is longer than the room for one")]
    TooLong,
    /// No IPv6 header, or one whose length is not that of the packet.
    #[error("not an IPv6 packet")]
    NotIpv6,
}

/// Packets that are sent together.
pub struct PacketBatch {
    messages: SendBatch,
}

impl PacketBatch {
    /// Room for up to `packets` (1 to 1024) of up to `octets` each.
    #[must_use]
    pub fn new(packets: usize, octets: usize) -> Self {
        Self {
            messages: SendBatch::new(packets, octets),
        }
    }

    /// Adds a packet.
    ///
    /// # Errors
    /// [`NotTaken`]; the batch is then as before.
    pub fn push(&mut self, packet: &[u8]) -> Result<(), NotTaken> {
        let destination = destination(packet).ok_or(NotTaken::NotIpv6)?;
        let room = self.messages.room().ok_or(NotTaken::Full)?;
        room.get_mut(..packet.len())
            .ok_or(NotTaken::TooLong)?
            .copy_from_slice(packet);
        self.messages.commit(packet.len(), destination, &[]);
        Ok(())
    }

    /// How many packets wait in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether none does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.len() == 0
    }

    /// Whether no more fits.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.messages.len() == self.messages.capacity()
    }
}

/// The destination of a packet whose header is whole and tells its length.
fn destination(packet: &[u8]) -> Option<Ipv6Addr> {
    let &[version, _, _, _, high, low, ..] = packet else {
        return None;
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let address: [u8; 16] = *packet.get(24..HEADER)?.first_chunk()?;
    (version >> 4 == 6 && packet.len() == HEADER + length).then(|| address.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_packets_are_taken() {
        let mut batch = PacketBatch::new(1, 48);
        let mut packet = vec![0u8; 48];
        packet[0] = 0x60;
        packet[5] = 8;
        for cut in 0..48 {
            assert_eq!(batch.push(&packet[..cut]), Err(NotTaken::NotIpv6), "{cut}");
        }
        packet[0] = 0x40;
        assert_eq!(batch.push(&packet), Err(NotTaken::NotIpv6));
        packet[0] = 0x60;
        packet[5] = 9;
        packet.push(0);
        assert_eq!(batch.push(&packet), Err(NotTaken::TooLong));
        packet[5] = 8;
        packet.pop();
        assert!(batch.is_empty());
        assert_eq!(batch.push(&packet), Ok(()));
        assert!(batch.is_full());
        assert_eq!(batch.push(&packet), Err(NotTaken::Full));
        assert_eq!(batch.len(), 1);
    }
}
