//! The relay: a thread that moves packets between the TUN device, to which the kernel
//! routes the anycast addresses, and the tunnels to the responders.

use std::io;
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use aarp_core::relay::{self, Dropped, Forward, Limit};
use aarp_mobility::host::{decapsulate, report};
use aarp_sys::batch::ReceiveBatch;
use aarp_sys::clock;
use aarp_sys::tun::Tun;
use aarp_sys::tunnel::{Outer, Received, SendFailed, Tunnel, TunnelBatch, TunnelError};
use aarp_wire::icmpv6_error::{ADDRESS_UNREACHABLE, ErrorKind, may_answer};
use aarp_wire::ipv6::{Ipv6Packet, MTU_MIN};
use rustix::event::{PollFd, PollFlags, poll};

use crate::counters::{Counters, Way};

/// Packets that are moved together.
const BATCH: usize = 64;
/// Batches from one side before the other has its turn.
const TURNS: usize = 4;
/// The largest packet: the kernel's limit for what a device takes.
const PACKET_MAX: usize = 65_535;
/// Hop limit of the outer headers.
const HOP_LIMIT: u8 = 64;

/// The bindings, and what is counted of each.
pub(crate) trait Bindings: Send + Sync {
    /// Where a packet of so many octets to an anycast address goes: `None` when the
    /// agent does not serve it, `Some(None)` when it has no binding.
    fn forwarded(&self, anycast: Ipv6Addr, octets: usize) -> Option<Option<Ipv6Addr>>;
    /// Whether `outer` is what an anycast address is registered with, when a packet of
    /// so many octets comes from there.
    fn returned(&self, anycast: Ipv6Addr, outer: Ipv6Addr, octets: usize) -> bool;
    /// As the first, without counting.
    fn binding(&self, anycast: Ipv6Addr) -> Option<Option<Ipv6Addr>>;
}

/// What the relay moves packets between.
pub(crate) struct Relay<B> {
    pub(crate) tun: Tun,
    pub(crate) tunnel: Tunnel,
    pub(crate) bindings: Arc<B>,
    pub(crate) counters: Arc<Counters>,
    /// Readable when it is to end.
    pub(crate) stop: OwnedFd,
}

/// Answers to initiators, within their limits.
struct Answers {
    agent: Ipv6Addr,
    /// Packet Too Big has one of its own: without it a path is a black hole.
    too_big: Limit,
    others: Limit,
    buffer: Box<[u8; MTU_MIN]>,
}

impl Answers {
    fn new(agent: Ipv6Addr) -> Self {
        Self {
            agent,
            too_big: Limit::new(Duration::from_millis(1), 100),
            others: Limit::new(Duration::from_millis(10), 50),
            buffer: Box::new([0; MTU_MIN]),
        }
    }

    /// Tells the sender of `invoking` about it.
    fn send(&mut self, kind: ErrorKind, invoking: &[u8], tun: &Tun, counters: &Counters) {
        let limit = match kind {
            ErrorKind::PacketTooBig { .. } => &mut self.too_big,
            _ => &mut self.others,
        };
        if !limit.permits(clock::boottime()) {
            counters.errors_limited.add(1);
            return;
        }
        match report(tun, self.agent, kind, invoking, &mut self.buffer) {
            true => counters.errors_sent.add(1),
            false => counters.not_sent.add(1),
        }
    }
}

impl<B: Bindings> Relay<B> {
    /// Moves packets until it is told to stop.
    pub(crate) fn run(self) -> io::Result<()> {
        let mut answers = Answers::new(self.tunnel.local());
        let mut outgoing = TunnelBatch::new(BATCH, PACKET_MAX);
        let mut incoming = ReceiveBatch::new(BATCH, PACKET_MAX);
        let mut errors = Tunnel::error_batch();
        let mut room = vec![0; PACKET_MAX];
        loop {
            let mut fds = [
                PollFd::new(&self.tun, PollFlags::IN),
                PollFd::new(&self.tunnel, PollFlags::IN),
                PollFd::from_borrowed_fd(self.stop.as_fd(), PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let [tun, tunnel, stop] = fds.map(|fd| fd.revents());
            if !stop.is_empty() {
                return Ok(());
            }
            if !tun.is_empty() {
                self.forward(&mut outgoing, &mut answers)?;
            }
            if tunnel.contains(PollFlags::IN) {
                self.reverse(&mut incoming, &mut room)?;
            }
            if tunnel.contains(PollFlags::ERR) {
                self.translate(&mut errors, &mut answers)?;
            }
        }
    }

    /// From the device into the tunnels.
    fn forward(&self, batch: &mut TunnelBatch, answers: &mut Answers) -> io::Result<()> {
        for _ in 0..TURNS {
            let mut drained = false;
            while let Some(room) = batch.room() {
                let Some(octets) = self.tun.receive(room)? else {
                    drained = true;
                    break;
                };
                // What the kernel says on any device of itself, such as reports of
                // multicast listeners, is to nobody here.
                if octets.get(24) == Some(&0xff) {
                    continue;
                }
                let to = |anycast| self.bindings.forwarded(anycast, octets.len());
                match relay::forward(octets, to) {
                    Forward::Encapsulate {
                        care_of,
                        traffic_class,
                        dont_fragment,
                    } => {
                        let outer = Outer {
                            destination: care_of,
                            hop_limit: HOP_LIMIT,
                            traffic_class,
                            dont_fragment,
                        };
                        self.counters.encapsulated_octets.add(octets.len() as u64);
                        let len = octets.len();
                        batch.commit(len, outer);
                    }
                    Forward::Refuse(why, kind) => {
                        self.counters.drop_one(Way::Forward, why);
                        answers.send(kind, octets, &self.tun, &self.counters);
                    }
                    Forward::Drop(why) => self.counters.drop_one(Way::Forward, why),
                }
            }
            let taken = self.tunnel.send(batch, |_, inner, failed| match failed {
                SendFailed::TooBig { mtu, .. } => {
                    answers.send(relay::too_big(mtu), inner, &self.tun, &self.counters);
                }
                SendFailed::Failed { source, .. } => {
                    self.counters.not_sent.add(1);
                    // Of a route that is missing the initiator hears at once, as it
                    // would of one that a router on the way misses.
                    if is_unreachable(&source) {
                        let kind = ErrorKind::DestinationUnreachable {
                            code: ADDRESS_UNREACHABLE,
                        };
                        if Ipv6Packet::quoted(inner).is_ok_and(|p| may_answer(&p, kind)) {
                            answers.send(kind, inner, &self.tun, &self.counters);
                        }
                    }
                }
            });
            self.counters.encapsulated.add(taken as u64);
            if drained {
                break;
            }
        }
        Ok(())
    }

    /// From the tunnels to the device, and so on to the initiators.
    fn reverse(&self, batch: &mut ReceiveBatch, room: &mut [u8]) -> io::Result<()> {
        for _ in 0..TURNS {
            let count = self.tunnel.receive(batch, |received| {
                if let Err(why) = self.reverse_one(&received, room) {
                    self.counters.drop_one(Way::Reverse, why);
                }
            })?;
            if count < batch.capacity() {
                break;
            }
        }
        Ok(())
    }

    fn reverse_one(&self, received: &Received<'_>, room: &mut [u8]) -> Result<(), Dropped> {
        let inner = received.inner;
        relay::reverse(inner, self.tunnel.local(), |anycast| {
            self.bindings
                .returned(anycast, received.source, inner.len())
        })?;
        match decapsulate(&self.tun, received, room)? {
            Ok(()) => {
                self.counters.decapsulated.add(1);
                self.counters.decapsulated_octets.add(inner.len() as u64);
            }
            Err(_) => self.counters.not_sent.add(1),
        }
        Ok(())
    }

    /// What nodes on the tunnels' paths say, for the initiators.
    fn translate(&self, batch: &mut ReceiveBatch, answers: &mut Answers) -> io::Result<()> {
        self.tunnel.errors(batch, |error| {
            self.counters.path_errors.add(1);
            let Some(kind) = kind(&error) else { return };
            let binding = |anycast| self.bindings.binding(anycast);
            match relay::translate(kind, error.destination, error.inner, binding) {
                Ok(kind) => answers.send(kind, error.inner, &self.tun, &self.counters),
                Err(why) => self.counters.drop_one(Way::Reverse, why),
            }
        })?;
        Ok(())
    }
}

/// Whether there is no way to a responder.
fn is_unreachable(error: &io::Error) -> bool {
    use io::ErrorKind::{HostUnreachable, NetworkUnreachable, PermissionDenied};
    matches!(
        error.kind(),
        HostUnreachable | NetworkUnreachable | PermissionDenied
    )
}

/// An error of the path as an ICMPv6 error.
fn kind(error: &TunnelError<'_>) -> Option<ErrorKind> {
    Some(match error.icmp_type {
        1 => ErrorKind::DestinationUnreachable { code: error.code },
        2 => ErrorKind::PacketTooBig { mtu: error.info },
        3 => ErrorKind::TimeExceeded { code: error.code },
        4 => ErrorKind::ParameterProblem {
            code: error.code,
            pointer: error.info,
        },
        _ => return None,
    })
}
