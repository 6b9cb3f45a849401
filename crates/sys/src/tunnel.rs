//! IPv6 in IPv6 (RFC 2473) by raw sockets of protocol 41, which every kernel has:
//! the kernel writes the outer header, fragments the outer packet where that is
//! asked for, puts together what arrives in fragments, and keeps the errors of the
//! path. While the socket is open it answers no packet of that protocol to the
//! local address with an error of its own. The exception is a kernel with a module
//! that has taken protocol 41 for itself (ip6_tunnel, sit and xfrm6_tunnel bring
//! `tunnel6` with them): it sends a Port Unreachable for what is not a tunnel of its
//! own, though the socket has got the packet.
//!
//! Three sockets: `IPV6_DONTFRAG` has no effect on protocol 41 (`__ip6_append_data`
//! of Linux heeds it for UDP, ICMPv6 and IPPROTO_RAW alone), so that packets which
//! may be fragmented and packets which may not leave by sockets of their own, with
//! `IPV6_MTU_DISCOVER` set to either. The one that receives sends nothing: errors of
//! the path, which the kernel reports by the next call too, never meet a packet that
//! has nothing to do with them.

use std::io;
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::batch::{ReceiveBatch, SendBatch};
use crate::control::{self, int};
use crate::descriptor::{
    bind, connect, get, open, receive_buffer, receive_nothing, send_buffer, set,
};
use crate::failed::Failed;

mod error;

pub use error::TunnelError;

const IPV6: libc::c_int = libc::IPPROTO_IPV6;
/// The largest inner packet: 65 535 octets are behind the outer header.
pub const INNER_MAX: usize = 65_535;
/// As much of the inner packet as an ICMPv6 error quotes (RFC 4443, section 2.4 (c)).
const QUOTE_MAX: usize = 1280;
/// More than the errors of a path should ever come at once; the rest waits.
const ERRORS: usize = 16;

/// What the outer header of a packet is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// The destination.
    pub destination: Ipv6Addr,
    /// The hop limit, from 1 (RFC 2473, section 6.3).
    pub hop_limit: u8,
    /// DSCP and ECN (RFC 2473, section 6.4; RFC 6040, section 4.1).
    pub traffic_class: u8,
    /// Refuse the packet rather than fragment the outer one. Fragments are as large as
    /// the path MTU known; until a Packet Too Big has come they too may be lost.
    pub dont_fragment: bool,
}

/// A packet that came through the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'b> {
    /// The outer source.
    pub source: Ipv6Addr,
    /// The outer destination, one of this host's addresses.
    pub destination: Ipv6Addr,
    /// The index of the interface that it came in by.
    pub interface: u32,
    /// The outer hop limit on arrival.
    pub hop_limit: u8,
    /// The outer traffic class, with ECN in the two lowest bits.
    pub traffic_class: u8,
    /// What was behind the outer header.
    pub inner: &'b [u8],
}

/// A packet that was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendFailed {
    /// It was not to be fragmented, and is larger than the path takes.
    #[error("send to {destination}: too big for the path MTU of {mtu}")]
    TooBig {
        /// The outer destination.
        destination: Ipv6Addr,
        /// The path MTU in octets, outer header included; never below 1280.
        mtu: u32,
    },
    /// Something else: no route, a firewall's rule, a full buffer (EAGAIN).
    #[error("send to {destination}: {source}")]
    Failed {
        /// The outer destination.
        destination: Ipv6Addr,
        /// What the kernel says.
        source: io::Error,
    },
}

/// One end of the tunnels of a local address.
#[derive(Debug)]
pub struct Tunnel {
    receiving: OwnedFd,
    whole: OwnedFd,
    fragmenting: OwnedFd,
    /// Asked for path MTUs, by being connected to one destination after the other.
    path: OwnedFd,
    local: Ipv6Addr,
}

fn receiving(local: Ipv6Addr) -> io::Result<OwnedFd> {
    let socket = open(libc::AF_INET6, libc::SOCK_RAW, IPV6)?;
    for option in [
        libc::IPV6_RECVERR,
        libc::IPV6_RECVPKTINFO,
        libc::IPV6_RECVHOPLIMIT,
        libc::IPV6_RECVTCLASS,
    ] {
        set(socket.as_fd(), IPV6, option, 1)?;
    }
    bind(socket.as_fd(), local)?;
    Ok(socket)
}

fn sending(local: Ipv6Addr, discover: libc::c_int) -> io::Result<OwnedFd> {
    let socket = open(libc::AF_INET6, libc::SOCK_RAW, IPV6)?;
    // Each raw socket of the protocol gets a copy of what arrives: this one wants
    // none, and with a peer (itself) the kernel need not even make it.
    receive_nothing(socket.as_fd())?;
    bind(socket.as_fd(), local)?;
    connect(socket.as_fd(), local)?;
    set(socket.as_fd(), IPV6, libc::IPV6_MTU_DISCOVER, discover)?;
    Ok(socket)
}

impl Tunnel {
    /// Opens the end of the tunnels at `local`, an address of the calling thread's
    /// network namespace. From now on it receives.
    ///
    /// # Errors
    /// EPERM without CAP_NET_RAW, EADDRNOTAVAIL when the host has no such address.
    pub fn open(local: Ipv6Addr) -> Result<Self, Failed> {
        let sockets = || -> io::Result<Self> {
            Ok(Self {
                receiving: receiving(local)?,
                whole: sending(local, libc::IPV6_PMTUDISC_DO)?,
                fragmenting: sending(local, libc::IPV6_PMTUDISC_WANT)?,
                path: sending(local, libc::IPV6_PMTUDISC_DO)?,
                local,
            })
        };
        sockets().map_err(|e| Failed::new(format!("open tunnel sockets at {local}"), e))
    }

    /// The local address, the outer source of all that is sent.
    #[must_use]
    pub fn local(&self) -> Ipv6Addr {
        self.local
    }

    /// Sets the room for what waits to be received, in octets; returns what was granted.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_receive_buffer(&self, octets: usize) -> Result<usize, Failed> {
        receive_buffer(self.receiving.as_fd(), octets)
            .map_err(Failed::to("set the receive buffer of a tunnel"))
    }

    /// Sets the room for what waits to be sent, in octets; returns what was granted.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_send_buffer(&self, octets: usize) -> Result<usize, Failed> {
        let set = |socket: &OwnedFd| {
            send_buffer(socket.as_fd(), octets)
                .map_err(Failed::to("set the send buffer of a tunnel"))
        };
        set(&self.whole)?;
        set(&self.fragmenting)
    }

    /// The path MTU to `destination` as the kernel knows it now, in octets with the
    /// outer header: that of the link until a Packet Too Big has come.
    ///
    /// # Errors
    /// What the kernel says, such as ENETUNREACH.
    pub fn path_mtu(&self, destination: Ipv6Addr) -> io::Result<u32> {
        connect(self.path.as_fd(), destination)?;
        Ok(get(self.path.as_fd(), IPV6, libc::IPV6_MTU)?.unsigned_abs())
    }

    /// Sends the packets of the batch and empties it. Those that the kernel does not
    /// take are told to `failed`, with their place in the batch and the inner packet;
    /// returns how many it took.
    pub fn send(
        &self,
        batch: &mut TunnelBatch,
        mut failed: impl FnMut(usize, &[u8], SendFailed),
    ) -> usize {
        let mut refused = Vec::new();
        let mut taken = 0;
        let mut next = 0;
        // Runs of packets that leave by the same socket, in their order.
        while let Some(first) = batch.outers.get(next) {
            let whole = first.dont_fragment;
            let run = batch.outers[next..].iter();
            let end = next + run.take_while(|o| o.dont_fragment == whole).count();
            let socket = if whole {
                &self.whole
            } else {
                &self.fragmenting
            };
            let fd = socket.as_fd();
            taken += batch
                .messages
                .send(fd, next, end, |index, error| refused.push((index, error)));
            next = end;
        }
        for (index, source) in refused {
            let Outer {
                destination,
                dont_fragment,
                ..
            } = batch.outers[index];
            let too_big = dont_fragment && source.raw_os_error() == Some(libc::EMSGSIZE);
            let mtu = too_big.then(|| self.path_mtu(destination));
            let why = match mtu {
                Some(Ok(mtu)) => SendFailed::TooBig { destination, mtu },
                Some(Err(source)) => SendFailed::Failed {
                    destination,
                    source,
                },
                None => SendFailed::Failed {
                    destination,
                    source,
                },
            };
            failed(index, batch.messages.octets(index), why);
        }
        batch.messages.clear();
        batch.outers.clear();
        taken
    }

    /// Hands the packets that are there to `take`, oldest first, without waiting;
    /// returns how many messages the kernel gave. When it is the whole batch there
    /// may be more. What is longer than the room for it is left out.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn receive(
        &self,
        batch: &mut ReceiveBatch,
        mut take: impl FnMut(Received<'_>),
    ) -> io::Result<usize> {
        // An error of the path makes one call fail with its number, and stays in the
        // queue of errors, where it is read.
        let mut count = batch.receive(self.receiving.as_fd(), 0);
        for _ in 0..ERRORS {
            match &count {
                Err(error) if error::is_of_path(error) => {
                    count = batch.receive(self.receiving.as_fd(), 0);
                }
                _ => break,
            }
        }
        let count = count?;
        for message in batch.received().filter(|message| !message.truncated) {
            let mut received = Received {
                source: message.name.sin6_addr.s6_addr.into(),
                destination: self.local,
                interface: 0,
                hop_limit: 0,
                traffic_class: 0,
                inner: message.octets,
            };
            for (level, kind, data) in control::read(message.control) {
                match (level, kind) {
                    (IPV6, libc::IPV6_PKTINFO) => {
                        // struct in6_pktinfo: the address, the index of the interface.
                        if let Some((address, index)) = data.split_first_chunk::<16>() {
                            received.destination = (*address).into();
                            received.interface = int(index).unwrap_or(0).unsigned_abs();
                        }
                    }
                    (IPV6, libc::IPV6_HOPLIMIT) => {
                        received.hop_limit = int(data).unwrap_or(0) as u8;
                    }
                    (IPV6, libc::IPV6_TCLASS) => {
                        received.traffic_class = int(data).unwrap_or(0) as u8;
                    }
                    _ => {}
                }
            }
            take(received);
        }
        Ok(count)
    }

    /// Room for errors of the path.
    #[must_use]
    pub fn error_batch() -> ReceiveBatch {
        ReceiveBatch::new(ERRORS, QUOTE_MAX)
    }

    /// Hands the errors that nodes on the path have sent about packets of the tunnel
    /// to `take`, without waiting; returns how many messages the kernel gave. The
    /// descriptor is ready with POLLERR when there are any.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn errors(
        &self,
        batch: &mut ReceiveBatch,
        mut take: impl FnMut(TunnelError<'_>),
    ) -> io::Result<usize> {
        let count = batch.receive(self.receiving.as_fd(), libc::MSG_ERRQUEUE)?;
        for message in batch.received() {
            let destination = message.name.sin6_addr.s6_addr.into();
            if let Some(error) = error::parse(message.control, destination, message.octets) {
                take(error);
            }
        }
        Ok(count)
    }
}

impl AsFd for Tunnel {
    /// To be waited on: readable for packets, POLLERR for errors of the path.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiving.as_fd()
    }
}

/// Packets that are sent through tunnels together.
pub struct TunnelBatch {
    messages: SendBatch,
    outers: Vec<Outer>,
}

impl TunnelBatch {
    /// Room for up to `packets` (1 to 1024) inner packets of up to `octets` each.
    #[must_use]
    pub fn new(packets: usize, octets: usize) -> Self {
        let messages = SendBatch::new(packets, octets.min(INNER_MAX));
        let outers = Vec::with_capacity(messages.capacity());
        Self { messages, outers }
    }

    /// Where the octets of the next inner packet go, so that they can be received
    /// there; `None` when the batch is full.
    pub fn room(&mut self) -> Option<&mut [u8]> {
        self.messages.room()
    }

    /// Adds the first `length` octets of [`room`](Self::room) as an inner packet.
    ///
    /// # Panics
    /// When the batch is full or `length` is more than the room.
    pub fn commit(&mut self, length: usize, outer: Outer) {
        let numbers = [
            (libc::IPV6_HOPLIMIT, outer.hop_limit.into()),
            (libc::IPV6_TCLASS, outer.traffic_class.into()),
        ];
        self.messages.commit(length, outer.destination, &numbers);
        self.outers.push(outer);
    }

    /// Adds an inner packet; false when the batch is full or the packet longer than
    /// the room.
    #[must_use]
    pub fn push(&mut self, inner: &[u8], outer: Outer) -> bool {
        let room = self.room().and_then(|room| room.get_mut(..inner.len()));
        let Some(room) = room else { return false };
        room.copy_from_slice(inner);
        self.commit(inner.len(), outer);
        true
    }

    /// How many packets wait in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.outers.len()
    }

    /// Whether none does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outers.is_empty()
    }
}
