//! What the thread does with packets.

use std::io;
use std::net::Ipv6Addr;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aarp_core::relay::{self, Dropped, Limit, Outgoing};
use aarp_mobility::host::{decapsulate, report};
use aarp_mobility::initiators::Initiators;
use aarp_sys::batch::ReceiveBatch;
use aarp_sys::clock;
use aarp_sys::raw6::{PacketBatch, RawSender};
use aarp_sys::tun::Tun;
use aarp_sys::tunnel::{Outer, Received, SendFailed, Tunnel, TunnelBatch};
use aarp_wire::ipv6::{Ipv6Packet, MTU_MIN};
use lru::LruCache;
use rustix::event::{PollFd, PollFlags, poll};

use super::{End, Shared, count};

/// Packets that are moved together.
const BATCH: usize = 32;
/// Batches from one side before the other has its turn.
const TURNS: usize = 4;
/// The largest packet.
const PACKET_MAX: usize = 65_535;
/// Hop limit of the outer headers.
const HOP_LIMIT: u8 = 64;
/// Initiators of which it is remembered which agent they came by.
const INITIATORS: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// The thread's own.
pub(super) struct Mover {
    tun: Arc<Tun>,
    sender: RawSender,
    shared: Arc<Shared>,
    /// By which agent an initiator's packets to an anycast address came last.
    paths: LruCache<(Ipv6Addr, Ipv6Addr), Ipv6Addr>,
    initiators: Initiators,
    errors: Limit,
}

/// Its buffers.
struct Buffers {
    incoming: ReceiveBatch,
    outgoing: Vec<TunnelBatch>,
    straight: PacketBatch,
    errors: ReceiveBatch,
    packet: Vec<u8>,
}

impl Mover {
    pub(super) fn new(tun: Arc<Tun>, sender: RawSender, shared: Arc<Shared>) -> Self {
        Self {
            tun,
            sender,
            shared,
            paths: LruCache::new(INITIATORS),
            initiators: Initiators::new(),
            errors: Limit::new(Duration::from_millis(1), 100),
        }
    }

    /// Moves packets until it is told to stop.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut buffers = Buffers {
            incoming: ReceiveBatch::new(BATCH, PACKET_MAX),
            outgoing: Vec::new(),
            straight: PacketBatch::new(BATCH, PACKET_MAX),
            errors: Tunnel::error_batch(),
            packet: vec![0; PACKET_MAX],
        };
        loop {
            let ends = Arc::clone(&self.shared.ends.lock());
            buffers
                .outgoing
                .resize_with(ends.len(), || TunnelBatch::new(BATCH, PACKET_MAX));
            let mut fds = vec![
                PollFd::from_borrowed_fd(self.shared.wake.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.tun.as_fd(), PollFlags::IN),
            ];
            fds.extend(
                ends.iter()
                    .map(|end| PollFd::new(&end.tunnel, PollFlags::IN)),
            );
            match poll(&mut fds, None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let events: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
            drop(fds);
            if !events[0].is_empty() {
                // Nothing more to know than that it was rung.
                let _ = rustix::io::read(&self.shared.wake, &mut [0; 8]);
                if self.shared.stop.load(Ordering::SeqCst) {
                    return Ok(());
                }
            }
            if !events[1].is_empty() {
                self.outgoing(&ends, &mut buffers)?;
            }
            for (index, (end, event)) in ends.iter().zip(&events[2..]).enumerate() {
                if event.contains(PollFlags::IN) {
                    let Buffers {
                        incoming,
                        outgoing,
                        packet,
                        ..
                    } = &mut buffers;
                    self.incoming(end, &mut outgoing[index], incoming, packet)?;
                }
                if event.contains(PollFlags::ERR) {
                    let counters = &self.shared.counters;
                    end.tunnel.errors(&mut buffers.errors, |_| {
                        count(&counters.path_errors, 1);
                    })?;
                }
            }
        }
    }

    /// From the agents to the service.
    fn incoming(
        &mut self,
        end: &End,
        batch: &mut TunnelBatch,
        incoming: &mut ReceiveBatch,
        packet: &mut [u8],
    ) -> io::Result<()> {
        for _ in 0..TURNS {
            let (tun, paths) = (&self.tun, &mut self.paths);
            let (counters, initiators) = (&self.shared.counters, &mut self.initiators);
            let received = end.tunnel.receive(incoming, |received| {
                if !end.optimized.is_empty()
                    && end.has_agent(received.source)
                    && initiators.hear(received.inner)
                {
                    return;
                }
                match deliver(end, &received, packet, tun) {
                    Ok(Some((anycast, initiator))) => {
                        count(&counters.delivered, 1);
                        if end.agents(anycast).len() > 1 {
                            paths.put((anycast, initiator), received.source);
                        }
                        if end.optimized.contains(&anycast) {
                            offer(initiators, (anycast, initiator), received.source, batch);
                        }
                    }
                    Ok(None) => count(&counters.not_sent, 1),
                    Err(why) => count(&counters.refused[why as usize], 1),
                }
            })?;
            end.tunnel
                .send(batch, |_, _, _| count(&counters.not_sent, 1));
            let known = initiators.count();
            counters.asked.store(known.asked, Ordering::Relaxed);
            counters.refusing.store(known.refused, Ordering::Relaxed);
            if received < incoming.capacity() {
                break;
            }
        }
        Ok(())
    }

    /// From the service to the agents, and answers to probes to the initiators.
    fn outgoing(&mut self, ends: &[End], buffers: &mut Buffers) -> io::Result<()> {
        let counters = Arc::clone(&self.shared.counters);
        for _ in 0..TURNS {
            let mut drained = false;
            for _ in 0..BATCH {
                let Some(octets) = self.tun.receive(&mut buffers.packet)? else {
                    drained = true;
                    break;
                };
                let len = octets.len();
                self.sort(ends, len, buffers);
            }
            for (end, batch) in ends.iter().zip(&mut buffers.outgoing) {
                let (tun, errors) = (&self.tun, &mut self.errors);
                let unicast = end.tunnel.local();
                let taken = end.tunnel.send(batch, |_, inner, failed| match failed {
                    SendFailed::TooBig { mtu, .. } => {
                        too_big(mtu, inner, unicast, tun, errors);
                    }
                    SendFailed::Failed { .. } => count(&counters.not_sent, 1),
                });
                count(&counters.returned, taken as u64);
            }
            self.sender
                .send(&mut buffers.straight, |_| count(&counters.not_sent, 1));
            if drained {
                break;
            }
        }
        Ok(())
    }

    /// Puts the packet in the buffer to those that leave the same way.
    fn sort(&mut self, ends: &[End], len: usize, buffers: &mut Buffers) {
        let counters = &self.shared.counters;
        let Buffers {
            outgoing,
            straight,
            packet,
            ..
        } = buffers;
        let octets = &mut packet[..len];
        let Ok(view) = Ipv6Packet::new(octets) else {
            return count(&counters.dropped[Dropped::Malformed as usize], 1);
        };
        let (source, destination) = (view.source(), view.destination());
        let place = ends
            .iter()
            .position(|end| end.tunnel.local() == source || !end.agents(source).is_empty());
        let Some(place) = place else {
            // Noise of the host's own, such as it sends by every device.
            return count(&counters.dropped[Dropped::NotServed as usize], 1);
        };
        let end = &ends[place];
        let unicast = end.tunnel.local();
        let is_anycast = |address| !end.agents(address).is_empty();
        match relay::outgoing(octets, is_anycast, unicast) {
            // Led here for the answers to probes that are among it.
            Outgoing::Encapsulate { .. } if end.direct.contains(&source) => {
                count(&counters.straight, 1);
                if straight.push(octets).is_err() {
                    count(&counters.not_sent, 1);
                }
            }
            Outgoing::Encapsulate {
                traffic_class,
                dont_fragment,
            } => {
                let agents = end.agents(source);
                let came_by = self.paths.get(&(source, destination)).copied();
                let agent = came_by.filter(|agent| agents.contains(agent));
                let outer = Outer {
                    destination: agent.unwrap_or(agents[0]),
                    hop_limit: HOP_LIMIT,
                    traffic_class,
                    dont_fragment,
                };
                if !outgoing[place].push(octets, outer) {
                    count(&counters.not_sent, 1);
                }
            }
            Outgoing::ProbeAnswer => {
                count(&counters.probe_answers, 1);
                if !relay::with_source(octets, unicast) || straight.push(octets).is_err() {
                    count(&counters.not_sent, 1);
                }
            }
            Outgoing::Straight => {
                count(&counters.straight, 1);
                if straight.push(octets).is_err() {
                    count(&counters.not_sent, 1);
                }
            }
            Outgoing::Drop(why) => count(&counters.dropped[why as usize], 1),
        }
    }
}

/// Gives the host what came through the tunnel; the anycast address and the initiator,
/// or none if the host did not take it.
fn deliver(
    end: &End,
    received: &Received<'_>,
    room: &mut [u8],
    tun: &Tun,
) -> Result<Option<(Ipv6Addr, Ipv6Addr)>, Dropped> {
    let inner = received.inner;
    let is_agent = end.has_agent(received.source);
    let served = |anycast| end.agents(anycast).contains(&received.source);
    relay::deliver(inner, is_agent, served, |source| end.own.contains(&source))?;
    let sent = decapsulate(tun, received, room)?;
    let packet = Ipv6Packet::new(inner).map_err(|_| Dropped::Malformed)?;
    Ok(sent
        .is_ok()
        .then(|| (packet.destination(), packet.source())))
}

/// Offers route optimisation to an initiator that was not offered it before.
fn offer(
    initiators: &mut Initiators,
    (anycast, initiator): (Ipv6Addr, Ipv6Addr),
    agent: Ipv6Addr,
    batch: &mut TunnelBatch,
) {
    let mut room = [0; aarp_mobility::sealed::ROOM];
    let cookie = fastrand::u64(..).to_ne_bytes();
    let now = clock::boottime();
    if let Ok(Some(packet)) = initiators.meet(anycast, initiator, now, cookie, &mut room) {
        let outer = Outer {
            destination: agent,
            hop_limit: HOP_LIMIT,
            traffic_class: 0,
            dont_fragment: false,
        };
        // An offer that finds no room is lost like any packet.
        let _ = batch.push(packet, outer);
    }
}

/// Tells the host that a packet of the service's does not fit the tunnel.
fn too_big(mtu: u32, inner: &[u8], unicast: Ipv6Addr, tun: &Tun, limit: &mut Limit) {
    if limit.permits(clock::boottime()) {
        report(tun, unicast, relay::too_big(mtu), inner, &mut [0; MTU_MIN]);
    }
}
