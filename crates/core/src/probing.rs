//! How one question goes: what is sent when, and what counts as its answer.
//!
//! A [`Question`] is driven by its caller: it says what to do next, is told the
//! time, and is shown what comes in. What a method puts on the wire and how it knows
//! its answers again is behind [`ProbeMethod`].

use core::net::Ipv6Addr;
use core::time::Duration;

use aarp_wire::icmpv6::{DESTINATION_UNREACHABLE, ECHO_HEADER, PARAMETER_PROBLEM, TIME_EXCEEDED};
use aarp_wire::probe::{self, Method, Nonce};

use crate::settings::{RETRANSMITS, Retransmits};

pub use crate::echo::Echo;
pub use crate::unreach::Unreach;

/// Octets of the largest message that a method sends.
pub const MESSAGE_MAX: usize = ECHO_HEADER + probe::LEN;

/// Why something that came in is no answer to the question, in the order in which
/// that is looked at: the later, the nearer it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Ignored {
    /// Not a message that this method expects, or broken.
    Malformed,
    /// It quotes a probe to another address or port.
    Destination,
    /// Another identifier.
    Identifier,
    /// A sequence number that was not sent.
    Sequence,
    /// Another payload than was sent.
    Payload,
    /// It answers the question, and comes from an address that must not be used.
    Source,
}

impl Ignored {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Ignored; 6] = [
        Ignored::Malformed,
        Ignored::Destination,
        Ignored::Identifier,
        Ignored::Sequence,
        Ignored::Payload,
        Ignored::Source,
    ];

    /// The name in logs and counters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Ignored::Malformed => "malformed",
            Ignored::Destination => "destination",
            Ignored::Identifier => "identifier",
            Ignored::Sequence => "sequence",
            Ignored::Payload => "payload",
            Ignored::Source => "source",
        }
    }
}

/// An ICMPv6 error, and what it quotes of the packet that caused it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpError<'p> {
    /// The type of the ICMPv6 message.
    pub message_type: u8,
    /// Its code.
    pub code: u8,
    /// To whom the quoted packet was sent.
    pub destination: Ipv6Addr,
    /// To which port; 0 for a protocol without ports.
    pub port: u16,
    /// What the quoted packet carried: for echo the ICMPv6 message, for unreach the
    /// payload of the datagram.
    pub quote: &'p [u8],
}

impl IcmpError<'_> {
    /// Whether it says that the packet did not arrive.
    #[must_use]
    pub fn is_undelivered(&self) -> bool {
        matches!(
            self.message_type,
            DESTINATION_UNREACHABLE | TIME_EXCEEDED | PARAMETER_PROBLEM
        )
    }
}

/// What came in on the socket of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming<'p> {
    /// A message of the protocol that the method sends.
    Message(&'p [u8]),
    /// An ICMPv6 error about something that was sent.
    Error(IcmpError<'p>),
}

/// What something that came in means for the attempt with this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// It is the answer; who sent it is what was asked for.
    Answer(u32),
    /// It did not arrive, and will have no answer.
    Undelivered(u32),
}

/// A way to ask an anycast address who answers for it.
pub trait ProbeMethod {
    /// Its name and number.
    fn method(&self) -> Method;

    /// Writes the message of one attempt into `buffer` and returns it.
    fn emit<'b>(&self, nonce: &Nonce, attempt: u32, buffer: &'b mut [u8; MESSAGE_MAX]) -> &'b [u8];

    /// What `incoming` means, where attempts below `sent` have been made. An error
    /// is one about a packet to A. The source is not looked at: it is what is asked
    /// for.
    ///
    /// # Errors
    /// Why it has nothing to do with the question.
    fn examine(
        &self,
        nonce: &Nonce,
        sent: u32,
        incoming: &Incoming<'_>,
    ) -> Result<Meaning, Ignored>;
}

/// What to do next for a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Send the next attempt.
    Send,
    /// Wait for datagrams until then.
    Wait(Duration),
    /// The budget is over, or no attempt can be answered any more.
    Over,
}

/// One question to one anycast address.
#[derive(Debug, Clone)]
pub struct Question<M> {
    method: M,
    a: Ipv6Addr,
    nonce: Nonce,
    began: Duration,
    deadline: Duration,
    retransmit: Retransmits,
    sent: u32,
    sent_at: [Duration; RETRANSMITS + 1],
    /// A bit for each attempt that the network says has not arrived.
    undelivered: u8,
}

impl<M: ProbeMethod> Question<M> {
    /// A question about `a` that begins now and has `budget` time. The nonce must be
    /// fresh and random.
    #[must_use]
    pub fn new(
        method: M,
        a: Ipv6Addr,
        nonce: Nonce,
        retransmit: Retransmits,
        now: Duration,
        budget: Duration,
    ) -> Self {
        Self {
            method,
            a,
            nonce,
            began: now,
            deadline: now.saturating_add(budget),
            retransmit,
            sent: 0,
            sent_at: [Duration::ZERO; RETRANSMITS + 1],
            undelivered: 0,
        }
    }

    /// What to do at the time `now`.
    #[must_use]
    pub fn step(&self, now: Duration) -> Step {
        if now >= self.deadline || self.is_exhausted() {
            return Step::Over;
        }
        if self.sent == 0 {
            return Step::Send;
        }
        match self.retransmit.as_slice().get(self.sent as usize - 1) {
            Some(after) if now >= self.began + *after => Step::Send,
            Some(after) => Step::Wait(self.deadline.min(self.began + *after)),
            None => Step::Wait(self.deadline),
        }
    }

    /// The message of the next attempt, which is then taken for sent at `now`.
    pub fn emit<'b>(&mut self, now: Duration, buffer: &'b mut [u8; MESSAGE_MAX]) -> &'b [u8] {
        let attempt = self.sent;
        if let Some(at) = self.sent_at.get_mut(attempt as usize) {
            *at = now;
        }
        self.sent += 1;
        self.method.emit(&self.nonce, attempt, buffer)
    }

    /// What `incoming` means for this question.
    ///
    /// # Errors
    /// Why it has nothing to do with it.
    pub fn examine(&self, incoming: &Incoming<'_>) -> Result<Meaning, Ignored> {
        if let Incoming::Error(error) = incoming
            && error.destination != self.a
        {
            return Err(Ignored::Destination);
        }
        self.method.examine(&self.nonce, self.sent, incoming)
    }

    /// The round trip of an attempt that was answered at `now`.
    #[must_use]
    pub fn round_trip(&self, attempt: u32, now: Duration) -> Duration {
        let sent_at = self.sent_at.get(attempt as usize).copied();
        now.saturating_sub(sent_at.unwrap_or(self.began))
    }

    /// Notes that an attempt has not arrived. Others may: the network changes, and
    /// what says so may be wrong.
    pub fn note_undelivered(&mut self, attempt: u32) {
        self.undelivered |= 1u8.checked_shl(attempt).unwrap_or(0);
    }

    /// Whether attempts were made, and none of them has arrived.
    #[must_use]
    pub fn is_undelivered(&self) -> bool {
        self.sent > 0 && self.undelivered.count_ones() == self.sent
    }

    /// Whether that is so and there will be no other attempt: waiting longer is of
    /// no use.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.is_undelivered() && self.sent as usize > self.retransmit.as_slice().len()
    }

    /// How many attempts were made.
    #[must_use]
    pub fn sent(&self) -> u32 {
        self.sent
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method.method()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Times;
    use proptest::prelude::*;

    const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
    const NONCE: Nonce = [0x5a; 16];

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn question(ident: Option<u16>) -> Question<Echo> {
        let echo = Echo {
            ident,
            first_sequence: 0xffff,
        };
        let retransmit = Times::DEFAULT.retransmit;
        Question::new(echo, A, NONCE, retransmit, ms(10_000), ms(1000))
    }

    fn reply_to(request: &[u8]) -> Vec<u8> {
        let mut reply = request.to_vec();
        reply[0] = 129;
        reply
    }

    fn meaning(question: &Question<Echo>, message: &[u8]) -> Result<Meaning, Ignored> {
        question.examine(&Incoming::Message(message))
    }

    fn no_route(quote: &[u8]) -> IcmpError<'_> {
        IcmpError {
            message_type: 1,
            code: 0,
            destination: A,
            port: 0,
            quote,
        }
    }

    #[test]
    fn sent_at_once_and_again_at_100_and_300_ms() {
        let mut question = question(None);
        let mut buffer = [0xa5; MESSAGE_MAX];
        let mut now = ms(10_000);
        let mut sent = Vec::new();
        loop {
            match question.step(now) {
                Step::Send => {
                    sent.push((now - ms(10_000)).as_millis());
                    question.emit(now, &mut buffer);
                }
                Step::Wait(until) => {
                    assert!(until > now);
                    now = until;
                }
                Step::Over => break,
            }
        }
        assert_eq!(sent, [0, 100, 300]);
        assert_eq!(now, ms(11_000));
    }

    #[test]
    fn a_reply_to_any_attempt_counts_with_its_own_round_trip() {
        let mut question = question(Some(7));
        let mut buffer = [0xa5; MESSAGE_MAX];
        let first = reply_to(question.emit(ms(10_000), &mut buffer));
        assert_eq!(meaning(&question, &first), Ok(Meaning::Answer(0)));
        let second = reply_to(question.emit(ms(10_100), &mut buffer));
        assert_eq!(meaning(&question, &first), Ok(Meaning::Answer(0)));
        assert_eq!(meaning(&question, &second), Ok(Meaning::Answer(1)));
        let trips = [0, 1].map(|attempt| question.round_trip(attempt, ms(10_130)));
        assert_eq!(trips, [ms(130), ms(30)]);
        // The sequence number went from 0xffff to 0.
        assert_eq!(
            (&first[6..8], &second[6..8]),
            (&[0xff, 0xff][..], &[0, 0][..])
        );
    }

    #[test]
    fn what_was_not_sent_is_not_answered() {
        let mut question = question(Some(7));
        let mut buffer = [0xa5; MESSAGE_MAX];
        let mut later = question.clone();
        later.emit(ms(10_000), &mut buffer);
        let second = reply_to(later.emit(ms(10_000), &mut buffer));
        assert_eq!(meaning(&question, &second), Err(Ignored::Sequence));
        let request = question.emit(ms(10_000), &mut buffer).to_vec();
        assert_eq!(meaning(&question, &request), Err(Ignored::Malformed));
        assert_eq!(meaning(&question, &second), Err(Ignored::Sequence));
    }

    #[test]
    fn over_early_once_every_attempt_came_back() {
        let mut question = question(Some(7));
        let mut buffer = [0xa5; MESSAGE_MAX];
        for (number, at) in [10_000, 10_100, 10_300].map(ms).into_iter().enumerate() {
            assert_eq!(question.step(at), Step::Send);
            let request = question.emit(at, &mut buffer).to_vec();
            let error = Incoming::Error(no_route(&request));
            let attempt = number as u32;
            assert_eq!(question.examine(&error), Ok(Meaning::Undelivered(attempt)));
            assert!(!question.is_undelivered());
            // Saying so twice does not make two of one.
            question.note_undelivered(attempt);
            question.note_undelivered(attempt);
            assert!(question.is_undelivered());
            assert_eq!(question.is_exhausted(), number == 2);
        }
        assert_eq!(question.step(ms(10_301)), Step::Over);
    }

    #[test]
    fn errors_about_other_packets_are_none_of_ours() {
        let mut question = question(Some(7));
        let mut buffer = [0xa5; MESSAGE_MAX];
        let request = question.emit(ms(10_000), &mut buffer).to_vec();
        let reply = reply_to(&request);
        let right = no_route(&request);
        for (error, expected) in [
            (
                IcmpError {
                    destination: Ipv6Addr::LOCALHOST,
                    ..right
                },
                Ignored::Destination,
            ),
            (
                // Packet too big, which it is not.
                IcmpError {
                    message_type: 2,
                    ..right
                },
                Ignored::Malformed,
            ),
            (no_route(&reply), Ignored::Malformed),
            (no_route(&request[..39]), Ignored::Payload),
            (no_route(&[]), Ignored::Malformed),
        ] {
            assert_eq!(question.examine(&Incoming::Error(error)), Err(expected));
        }
    }

    proptest! {
        //= https://www.rfc-editor.org/rfc/rfc4443#section-4.2
        //= type=test
        //# The data received in the ICMPv6 Echo Request message MUST be
        //# returned entirely and unmodified in the ICMPv6 Echo Reply message.
        /// Every single change of a right reply, in any octet but the checksum
        /// (which the kernel verifies), makes it none.
        #[test]
        fn one_octet_wrong_is_no_answer(at in 0..MESSAGE_MAX, by in 1..=255u8) {
            let mut question = question(Some(0x1234));
            let mut buffer = [0xa5; MESSAGE_MAX];
            let mut reply = reply_to(question.emit(ms(10_000), &mut buffer));
            prop_assert!(meaning(&question, &reply).is_ok());
            reply[at] ^= by;
            let changed = meaning(&question, &reply);
            if (2..4).contains(&at) {
                prop_assert!(changed.is_ok());
            } else {
                prop_assert!(changed.is_err());
            }
        }

        #[test]
        fn another_length_is_no_answer(cut in 0..MESSAGE_MAX, more in 1..20usize) {
            let mut question = question(None);
            let mut buffer = [0xa5; MESSAGE_MAX];
            let reply = reply_to(question.emit(ms(10_000), &mut buffer));
            prop_assert!(meaning(&question, &reply[..cut]).is_err());
            let longer = [reply, vec![0; more]].concat();
            prop_assert!(meaning(&question, &longer).is_err());
        }

        #[test]
        fn foreign_bytes_are_never_an_answer(octets in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut question = question(None);
            question.emit(ms(10_000), &mut [0; MESSAGE_MAX]);
            prop_assert!(meaning(&question, &octets).is_err());
        }
    }
}
