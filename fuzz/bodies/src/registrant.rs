//! The responder's side of a registration: sequences of what an agent, and others, say.

use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_core::binding::lifetime::Lifetime;
use aarp_core::binding::message::Update;
use aarp_core::binding::sequence::Sequence;
use aarp_core::binding::timestamp::{Stamps, Timestamp};
use aarp_core::binding::update_list::{
    Action, Moment, Ownership, Peer, Registration, Settings, State,
};
use aarp_mobility::registrant::{Heard, Registrant, Unheard};
use aarp_mobility::sealed::{self, Seal};
use aarp_wire::ipv6::{Datagram, Extension, Ipv6Packet, walk};
use aarp_wire::mobility::{
    AcknowledgementFlags, BindingOptions, Message, MobilityOption, MobilityPacket, Status,
};

use crate::input::Input;
use crate::registrar::{AGENT, ANYCAST, association, mend_checksum};

/// The lifetime that is asked for, in seconds.
const LIFETIME: u64 = 60;
const KEY: u32 = 300;

struct Bench {
    registrant: Registrant,
    is_sealed: bool,
    now: Duration,
    wall: u64,
    random: u64,
    sent: Vec<(Duration, Update)>,
    /// Whether an acknowledgement that could grant something was heard.
    granted: bool,
}

/// Packets to a responder: `Registrant`, `Registration`.
pub fn registrant(data: &[u8]) {
    let mut input = Input(data);
    let how = input.octet();
    let settings = Settings {
        ownership: if how & 2 == 0 {
            Ownership::Standby
        } else {
            Ownership::Last
        },
        ..Settings::DEFAULT
    };
    let is_sealed = how & 1 == 0;
    let peer = match is_sealed {
        true => Peer::authenticated(Stamps::new(None), Duration::from_secs(7)),
        false => Peer::new(),
    };
    let registration = Registration::new(ANYCAST, settings, Sequence(input.u16()));
    let mut bench = Bench {
        registrant: Registrant::new(
            registration,
            AGENT,
            peer,
            is_sealed.then(|| association(KEY)),
        ),
        is_sealed,
        now: Duration::from_secs(1000),
        wall: 0xe000_0000 << 32,
        random: u64::from(input.octet()) << 56,
        sent: Vec::new(),
        granted: false,
    };
    for _ in 0..64 {
        if input.0.is_empty() {
            break;
        }
        bench.step(&mut input);
    }
}

fn unicast(which: u8) -> Ipv6Addr {
    Ipv6Addr::from_bits(0x2001_0db8_0000_0004_u128 << 64 | u128::from(which % 3))
}

impl Bench {
    fn at(&mut self) -> Moment {
        // xorshift64*, of which zero would stay zero.
        self.random ^= self.random << 13 | 1;
        self.random ^= self.random >> 7;
        Moment {
            now: self.now,
            wall: Timestamp(self.wall),
            random: self.random,
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.wall += (time.as_millis() as u64) << 32 >> 10;
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let (what, which) = (input.octet(), input.octet());
        let at = self.at();
        match what % 8 {
            0 => {
                let actions = self.registrant.register(at, unicast(which));
                self.act(&actions);
            }
            1 => {
                let actions = self.registrant.deregister(at);
                self.act(&actions);
            }
            2 => self.pass(Duration::from_millis(u64::from(which) * 40)),
            3 => {
                if let Some(due) = self.registrant.registration.deadline() {
                    self.pass(due.saturating_sub(self.now));
                }
                let at = self.at();
                let actions = self.registrant.wake(at);
                self.act(&actions);
                let state = self.registrant.registration.state();
                let due = self.registrant.registration.deadline();
                // It goes on by itself until nothing is wanted any more.
                assert!(
                    state == State::Idle || due.is_some_and(|due| due > self.now),
                    "{due:?}"
                );
            }
            4 => {
                let len = usize::from(which).min(input.0.len());
                let (octets, rest) = input.0.split_at(len);
                input.0 = rest;
                let mut octets = octets.to_vec();
                if octets.len() >= 40 {
                    octets[0] = 0x60 | octets[0] & 0xf;
                    octets[4..6].copy_from_slice(&((len - 40) as u16).to_be_bytes());
                }
                self.hear(&octets, !self.is_sealed);
            }
            _ => self.answer(input, which),
        }
        self.check();
    }

    /// An acknowledgement of the agent's, or of somebody who knows all but the key.
    fn answer(&mut self, input: &mut Input<'_>, which: u8) {
        let Some((_, update)) = self.sent.iter().rev().nth(usize::from(which & 3)) else {
            return;
        };
        let update = *update;
        let how = input.octet();
        let status = match how & 7 {
            0..=3 => 0,
            4 | 5 => [135, 144][usize::from(how & 1)],
            _ => input.octet(),
        };
        let offset = i16::from(input.octet() as i8);
        let sequence = match which & 0x30 {
            0 => update.sequence.0.wrapping_add_signed(offset),
            _ => update.sequence.0,
        };
        let timestamp = match which & 0x40 {
            0 => update.timestamp,
            _ => update
                .timestamp
                .map(|sent| Timestamp(sent.0.wrapping_add_signed(i64::from(offset) << 32))),
        };
        let lifetime = u16::from(input.octet() % 32);
        let advice = [MobilityOption::RefreshAdvice {
            interval: lifetime / 2,
        }];
        let by = association(if how & 0x40 == 0 { KEY } else { KEY + 1 });
        let source = if how & 0x20 == 0 { AGENT } else { unicast(3) };
        let datagram = Datagram {
            extension: Some(Extension::Routing(ANYCAST)),
            ..Datagram::new(source, update.care_of)
        };
        let message = Message::BindingAcknowledgement {
            status: Status(status),
            flags: AcknowledgementFlags(0),
            sequence,
            lifetime,
        };
        let seal = (how & 0x80 == 0).then_some(Seal {
            association: &by,
            identify: false,
            timestamp,
            care_of: update.care_of,
            home: ANYCAST,
        });
        let mut room = [0xa5; sealed::ROOM];
        let options = &advice[..usize::from(how >> 4 & 1)];
        let packet = sealed::emit(&datagram, message, options, seal.as_ref(), &mut room);
        let mut octets = packet.expect("there is room").to_vec();
        let is_genuine = match self.is_sealed {
            true => how & 0xe0 == 0,
            false => how & 0x20 == 0,
        };
        let (sent, bit) = (octets.clone(), input.octet());
        // Beyond what nothing protects: hop limit, flow label, the reserved part of the
        // routing header.
        if which & 0x80 != 0 {
            let at = 48 + usize::from(bit) % (octets.len() - 48);
            octets[at] ^= 1 << (bit % 8);
            // The authenticator has to notice.
            if self.is_sealed {
                mend_checksum(&mut octets);
            }
        }
        // A change of the checksum alone is mended.
        self.hear(&octets, is_genuine && octets == sent);
    }

    fn hear(&mut self, octets: &[u8], may_be_heard: bool) {
        let before = self.seen();
        let at = self.at();
        let heard = self.registrant.hear(octets, at);
        match heard {
            Ok((Heard::Acknowledgement, actions)) => {
                assert!(may_be_heard, "{octets:02x?}");
                let packet = Ipv6Packet::new(octets).expect("it was heard");
                let chain = walk(&packet).expect("it was heard");
                assert_eq!((packet.source(), chain.routing), (AGENT, Some(ANYCAST)));
                let body = chain.payload();
                assert_eq!(body[2], 6);
                self.granted |= body[6] < 128 && body[10..12] != [0, 0];
                self.act(&actions);
            }
            Ok((Heard::BindingError(_), actions)) => assert!(actions.is_empty()),
            Ok((Heard::Ignored, actions)) => {
                assert!(actions.is_empty());
                assert_eq!(before, self.seen());
            }
            Err(why) => {
                assert!(why != Unheard::Authentication || self.is_sealed);
                assert_eq!(before, self.seen());
            }
        }
    }

    fn seen(&self) -> (State, Sequence, Option<Duration>, Option<Duration>) {
        let registration = &self.registrant.registration;
        let (expiry, due) = (registration.expiry(), registration.deadline());
        (registration.state(), registration.upcoming(), expiry, due)
    }

    fn act(&mut self, actions: &[Action]) {
        for action in actions {
            let Action::Send(update) = action else {
                continue;
            };
            let wanted = self.registrant.registration.care_of();
            assert_eq!(update.flags.0, 0xc000);
            assert!(update.lifetime.is_zero() || wanted == Some(update.care_of));
            if let Some((_, last)) = self.sent.last() {
                assert!(self.is_sealed == update.timestamp.is_some());
                if let Some((stamp, last)) = update.timestamp.zip(last.timestamp) {
                    assert!(stamp.0 != last.0);
                }
                let again = last.care_of == update.care_of && last.lifetime == update.lifetime;
                // A trial begins where the one before did, while the owner's number is
                // the same.
                let tries = self.registrant.registration.state() == State::Standby;
                assert!(
                    !again || tries || last.sequence != update.sequence,
                    "the same number twice"
                );
            }
            // RFC 6275 §11.8: three a second.
            if let Some((at, _)) = self.sent.iter().rev().nth(2) {
                assert!(*at + Duration::from_secs(1) <= self.now, "too often");
            }
            self.sent.push((self.now, *update));
            self.read_back(update);
        }
    }

    /// What is sent is what was meant.
    fn read_back(&self, update: &Update) {
        let mut room = [0xa5; sealed::ROOM];
        let octets = self
            .registrant
            .packet(update, &mut room)
            .expect("there is room");
        let packet = Ipv6Packet::new(octets).expect("a packet");
        assert_eq!(
            (packet.source(), packet.destination()),
            (update.care_of, AGENT)
        );
        let chain = walk(&packet).expect("headers");
        assert_eq!(chain.source(), ANYCAST);
        let header = MobilityPacket::receive(&chain).expect("a message");
        let Ok(Message::BindingUpdate {
            sequence, lifetime, ..
        }) = header.message()
        else {
            panic!("{header:?}");
        };
        assert_eq!((sequence, lifetime), (update.sequence.0, update.lifetime.0));
        let options = BindingOptions::parse(&header).expect("options");
        assert_eq!(options.alternate_care_of, Some(update.care_of));
        assert_eq!(options.timestamp, update.timestamp.map(|stamp| stamp.0));
        assert_eq!(options.authenticator.is_some(), self.is_sealed);
    }

    fn check(&self) {
        let registration = &self.registrant.registration;
        if registration.state() == State::Registered {
            assert!(self.granted, "nobody has agreed");
        }
        if let Some(expiry) = registration.expiry() {
            assert!(self.granted && expiry <= self.now + Duration::from_secs(LIFETIME));
        }
        assert_eq!(Lifetime(15).duration(), Duration::from_secs(LIFETIME));
    }
}
