//! The initiators that were offered route optimisation (seed 001 §5.2), once each, and
//! what they made of it.
//!
//! The offer is the first message of return routability, a Home Test Init through the
//! tunnel (RFC 6275 §5.2.5): an initiator with Mobile IPv6 answers with a Home Test,
//! one without it with an ICMPv6 Parameter Problem. Those are left alone from then on,
//! and their packets go on through the agent.

use std::net::Ipv6Addr;
use std::num::NonZeroUsize;
use std::time::Duration;

use aarp_core::relay::Limit;
use aarp_wire::Error;
use aarp_wire::icmpv6_error::{ErrorKind, ErrorRepr};
use aarp_wire::ipv6::{Datagram, Ipv6Packet, is_unicast_routable, protocol, walk};
use aarp_wire::mobility::{Message, MobilityPacket};
use lru::LruCache;

use crate::sealed;

/// Initiators that are remembered; of more, those that were silent longest are
/// forgotten, and may be asked again.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// What is known of an initiator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was asked, and has not answered.
    Asked,
    /// It answered with a Parameter Problem or a Binding Error: it is left alone.
    Refuses,
    /// It answered with a Home Test: it has Mobile IPv6.
    Answers,
}

/// How many initiators stand how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Asked so far.
    pub asked: u64,
    /// Of these, refused.
    pub refused: u64,
    /// Of these, answered.
    pub answered: u64,
}

/// The initiators of a responder.
#[derive(Debug)]
pub struct Initiators {
    known: LruCache<(Ipv6Addr, Ipv6Addr), (Standing, [u8; 8])>,
    limit: Limit,
    count: Count,
}

impl Default for Initiators {
    fn default() -> Self {
        Self::new()
    }
}

impl Initiators {
    /// None so far.
    #[must_use]
    pub fn new() -> Self {
        Self {
            known: LruCache::new(REMEMBERED),
            limit: Limit::new(Duration::from_millis(10), 100),
            count: Count::default(),
        }
    }

    /// A packet has come from `initiator` to `anycast`. If it is the first, the offer is
    /// written into `room` and returned, to go through the tunnel. `cookie` is a random
    /// number.
    ///
    /// # Errors
    /// When `room` is too small.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-11.6.1
    pub fn meet<'b>(
        &mut self,
        anycast: Ipv6Addr,
        initiator: Ipv6Addr,
        now: Duration,
        cookie: [u8; 8],
        room: &'b mut [u8],
    ) -> Result<Option<&'b [u8]>, Error> {
        if self.known.get(&(anycast, initiator)).is_some() || !is_unicast_routable(initiator) {
            return Ok(None);
        }
        // One that is not asked now is asked by its next packet.
        if !self.limit.permits(now) {
            return Ok(None);
        }
        let datagram = Datagram::new(anycast, initiator);
        let message = Message::HomeTestInit { cookie };
        let packet = sealed::emit(&datagram, message, &[], None, room)?;
        self.known
            .put((anycast, initiator), (Standing::Asked, cookie));
        self.count.asked += 1;
        Ok(Some(packet))
    }

    /// Whether a packet from the tunnel is an initiator's answer to an offer, which is
    /// then known and not for the host.
    pub fn hear(&mut self, octets: &[u8]) -> bool {
        let Ok(packet) = Ipv6Packet::new(octets) else {
            return false;
        };
        let heard = match packet.next_header() {
            protocol::MOBILITY => self.message(&packet),
            protocol::ICMPV6 => self.problem(&packet),
            _ => None,
        };
        let Some((pair, standing)) = heard else {
            return false;
        };
        let Some((known, _)) = self.known.peek_mut(&pair) else {
            return false;
        };
        if *known == Standing::Asked {
            *known = standing;
            match standing {
                Standing::Refuses => self.count.refused += 1,
                Standing::Answers => self.count.answered += 1,
                Standing::Asked => {}
            }
        }
        true
    }

    fn message(&self, packet: &Ipv6Packet<'_>) -> Option<((Ipv6Addr, Ipv6Addr), Standing)> {
        let chain = walk(packet).ok()?;
        let header = MobilityPacket::receive(&chain).ok()?;
        let pair = (packet.destination(), packet.source());
        let (_, asked) = self.known.peek(&pair)?;
        match header.message().ok()? {
            Message::HomeTest { cookie, .. } if cookie == *asked => Some((pair, Standing::Answers)),
            Message::BindingError { .. } => Some((pair, Standing::Refuses)),
            _ => None,
        }
    }

    /// A Parameter Problem about the offer: a host says so itself, a router on the way
    /// would have dropped it without.
    fn problem(&self, packet: &Ipv6Packet<'_>) -> Option<((Ipv6Addr, Ipv6Addr), Standing)> {
        let error = ErrorRepr::parse(packet.payload()).ok()?;
        if !matches!(error.kind, ErrorKind::ParameterProblem { .. }) {
            return None;
        }
        let quoted = error.quoted().ok()?;
        if quoted.next_header() != protocol::MOBILITY {
            return None;
        }
        let pair = (quoted.source(), quoted.destination());
        (packet.source() == pair.1 && packet.destination() == pair.0)
            .then_some((pair, Standing::Refuses))
    }

    /// How an initiator stands.
    #[must_use]
    pub fn standing(&self, anycast: Ipv6Addr, initiator: Ipv6Addr) -> Option<Standing> {
        let known = self.known.peek(&(anycast, initiator));
        known.map(|(standing, _)| *standing)
    }

    /// How many stand how.
    #[must_use]
    pub const fn count(&self) -> Count {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    const A: &str = "2001:db8:0:1::a";
    const I: &str = "2001:db8:0:2::2";
    const NOW: Duration = Duration::from_secs(9);

    fn asked() -> (Initiators, Vec<u8>) {
        let mut initiators = Initiators::new();
        let mut room = [0; sealed::ROOM];
        let offer = initiators.meet(ip(A), ip(I), NOW, [7; 8], &mut room);
        let offer = offer.unwrap().unwrap().to_vec();
        (initiators, offer)
    }

    fn answer(message: Message, from: &str) -> Vec<u8> {
        let mut room = [0; sealed::ROOM];
        let datagram = Datagram::new(ip(from), ip(A));
        sealed::emit(&datagram, message, &[], None, &mut room)
            .unwrap()
            .to_vec()
    }

    fn problem(from: &str, invoking: &[u8]) -> Vec<u8> {
        let kind = ErrorKind::ParameterProblem {
            code: 1,
            pointer: 6,
        };
        let mut room = [0; sealed::ROOM];
        let error = ErrorRepr { kind, invoking };
        error
            .emit_packet(&Datagram::new(ip(from), ip(A)), &mut room)
            .unwrap()
            .to_vec()
    }

    #[test]
    fn an_initiator_is_asked_once() {
        let (mut initiators, offer) = asked();
        let packet = Ipv6Packet::new(&offer).unwrap();
        assert_eq!((packet.source(), packet.destination()), (ip(A), ip(I)));
        let chain = walk(&packet).unwrap();
        let header = MobilityPacket::receive(&chain).unwrap();
        let init = Message::HomeTestInit { cookie: [7; 8] };
        assert_eq!(header.message(), Ok(init));
        let mut room = [0; sealed::ROOM];
        for _ in 0..3 {
            let again = initiators.meet(ip(A), ip(I), NOW, [8; 8], &mut room);
            assert_eq!(again, Ok(None));
        }
        assert_eq!(initiators.count().asked, 1);
    }

    #[test]
    fn what_they_make_of_it_is_known() {
        let error = Message::BindingError {
            status: aarp_wire::mobility::ErrorStatus::UNRECOGNISED_TYPE,
            home_address: ip(A),
        };
        let test = |cookie| Message::HomeTest {
            nonce_index: 1,
            cookie,
            token: [1; 8],
        };
        let (_, offer) = asked();
        for (packet, heard, standing) in [
            (problem(I, &offer), true, Standing::Refuses),
            (answer(error, I), true, Standing::Refuses),
            (answer(test([7; 8]), I), true, Standing::Answers),
            // Of another's: a cookie that was never sent, a router, a stranger.
            (answer(test([8; 8]), I), false, Standing::Asked),
            (problem("2001:db8:0:2::1", &offer), false, Standing::Asked),
            (answer(error, "2001:db8::9"), false, Standing::Asked),
            (problem(I, &offer[..39]), false, Standing::Asked),
        ] {
            let (mut initiators, _) = asked();
            assert_eq!(initiators.hear(&packet), heard);
            assert_eq!(initiators.standing(ip(A), ip(I)), Some(standing));
        }
    }

    #[test]
    fn a_flood_of_initiators_is_not_all_asked() {
        let mut initiators = Initiators::new();
        let mut room = [0; sealed::ROOM];
        for host in 1..1000_u128 {
            let initiator = Ipv6Addr::from(u128::from(ip("2001:db8::")) + host);
            let offer = initiators.meet(ip(A), initiator, NOW, [0; 8], &mut room);
            assert!(offer.is_ok());
        }
        assert_eq!(initiators.count().asked, 100);
    }
}
