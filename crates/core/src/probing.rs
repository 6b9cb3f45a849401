//! How one question goes: what is sent when, and what counts as its answer.
//!
//! A [`Question`] is driven by its caller: it says what to do next, is told the
//! time, and is shown the datagrams that come in. What a method puts on the wire
//! and how it knows its answers again is behind [`ProbeMethod`].

use core::time::Duration;

use aarp_wire::icmpv6::{ECHO_HEADER, EchoKind, EchoRepr};
use aarp_wire::probe::{self, Method, Nonce, Payload};

use crate::settings::{RETRANSMITS, Retransmits};

/// Octets of the largest message that a method sends.
pub const MESSAGE_MAX: usize = ECHO_HEADER + probe::LEN;

/// Why a datagram is no answer to the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Ignored {
    /// Not a message that this method expects, or broken.
    Malformed,
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
    pub const ALL: [Ignored; 5] = [
        Ignored::Malformed,
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
            Ignored::Identifier => "identifier",
            Ignored::Sequence => "sequence",
            Ignored::Payload => "payload",
            Ignored::Source => "source",
        }
    }
}

/// A way to ask an anycast address who answers for it.
pub trait ProbeMethod {
    /// Its name and number.
    fn method(&self) -> Method;

    /// Writes the message of one attempt into `buffer` and returns it.
    fn emit<'b>(&self, nonce: &Nonce, attempt: u32, buffer: &'b mut [u8; MESSAGE_MAX]) -> &'b [u8];

    /// The number of the attempt that `message` answers, where attempts below
    /// `sent` have been made. The source is not looked at: it is what is asked for.
    ///
    /// # Errors
    /// Why it is no answer.
    fn examine(&self, nonce: &Nonce, sent: u32, message: &[u8]) -> Result<u32, Ignored>;
}

/// ICMPv6 echo: identifier, sequence number and payload must come back.
#[derive(Debug, Clone, Copy)]
pub struct Echo {
    /// The identifier, where it is ours to choose; on a ping socket the kernel
    /// sets it, and delivers nothing with another.
    pub ident: Option<u16>,
    /// The sequence number of the first attempt.
    pub first_sequence: u16,
}

impl ProbeMethod for Echo {
    fn method(&self) -> Method {
        Method::Echo
    }

    fn emit<'b>(&self, nonce: &Nonce, attempt: u32, buffer: &'b mut [u8; MESSAGE_MAX]) -> &'b [u8] {
        let payload = Payload {
            method: Method::Echo,
            nonce: *nonce,
            attempt,
        }
        .emit();
        let message = EchoRepr {
            kind: EchoKind::Request,
            ident: self.ident.unwrap_or(0),
            sequence: self.first_sequence.wrapping_add(attempt as u16),
            data: &payload,
        };
        // The buffer is as large as every message of this method.
        message.emit(buffer).map_or(&[], |message| &*message)
    }

    fn examine(&self, nonce: &Nonce, sent: u32, message: &[u8]) -> Result<u32, Ignored> {
        let reply = EchoRepr::parse(message).map_err(|_| Ignored::Malformed)?;
        if reply.kind != EchoKind::Reply {
            return Err(Ignored::Malformed);
        }
        if self.ident.is_some_and(|ident| ident != reply.ident) {
            return Err(Ignored::Identifier);
        }
        let attempt = u32::from(reply.sequence.wrapping_sub(self.first_sequence));
        if attempt >= sent {
            return Err(Ignored::Sequence);
        }
        //= https://www.rfc-editor.org/rfc/rfc4443#section-4.2
        //# The data received in the ICMPv6 Echo Request message MUST be
        //# returned entirely and unmodified in the ICMPv6 Echo Reply message.
        let expected = Payload {
            method: Method::Echo,
            nonce: *nonce,
            attempt,
        }
        .emit();
        if reply.data != expected {
            return Err(Ignored::Payload);
        }
        Ok(attempt)
    }
}

/// What to do next for a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Send the next attempt.
    Send,
    /// Wait for datagrams until then.
    Wait(Duration),
    /// The budget is over.
    Over,
}

/// One question to one anycast address.
#[derive(Debug, Clone)]
pub struct Question<M> {
    method: M,
    nonce: Nonce,
    began: Duration,
    deadline: Duration,
    retransmit: Retransmits,
    sent: u32,
    sent_at: [Duration; RETRANSMITS + 1],
}

impl<M: ProbeMethod> Question<M> {
    /// A question that begins now and has `budget` time. The nonce must be fresh
    /// and random.
    #[must_use]
    pub fn new(
        method: M,
        nonce: Nonce,
        retransmit: Retransmits,
        now: Duration,
        budget: Duration,
    ) -> Self {
        Self {
            method,
            nonce,
            began: now,
            deadline: now.saturating_add(budget),
            retransmit,
            sent: 0,
            sent_at: [Duration::ZERO; RETRANSMITS + 1],
        }
    }

    /// What to do at the time `now`.
    #[must_use]
    pub fn step(&self, now: Duration) -> Step {
        if now >= self.deadline {
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

    /// The round trip of the answer that `message`, seen at `now`, is.
    ///
    /// # Errors
    /// Why it is none.
    pub fn examine(&self, now: Duration, message: &[u8]) -> Result<Duration, Ignored> {
        let attempt = self.method.examine(&self.nonce, self.sent, message)?;
        let sent_at = self
            .sent_at
            .get(attempt as usize)
            .copied()
            .unwrap_or(self.began);
        Ok(now.saturating_sub(sent_at))
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

    const NONCE: Nonce = [0x5a; 16];

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn question(ident: Option<u16>) -> Question<Echo> {
        let echo = Echo {
            ident,
            first_sequence: 0xffff,
        };
        Question::new(echo, NONCE, Times::DEFAULT.retransmit, ms(10_000), ms(1000))
    }

    fn reply_to(request: &[u8]) -> Vec<u8> {
        let mut reply = request.to_vec();
        reply[0] = 129;
        reply
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
        assert_eq!(question.examine(ms(10_030), &first), Ok(ms(30)));
        let second = reply_to(question.emit(ms(10_100), &mut buffer));
        assert_eq!(question.examine(ms(10_130), &first), Ok(ms(130)));
        assert_eq!(question.examine(ms(10_130), &second), Ok(ms(30)));
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
        assert_eq!(
            question.examine(ms(10_000), &second),
            Err(Ignored::Sequence)
        );
        let request = question.emit(ms(10_000), &mut buffer).to_vec();
        assert_eq!(
            question.examine(ms(10_000), &request),
            Err(Ignored::Malformed)
        );
        assert_eq!(
            question.examine(ms(10_000), &second),
            Err(Ignored::Sequence)
        );
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
            prop_assert!(question.examine(ms(10_001), &reply).is_ok());
            reply[at] ^= by;
            let changed = question.examine(ms(10_001), &reply);
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
            prop_assert!(question.examine(ms(10_001), &reply[..cut]).is_err());
            let longer = [reply, vec![0; more]].concat();
            prop_assert!(question.examine(ms(10_001), &longer).is_err());
        }

        #[test]
        fn foreign_bytes_are_never_an_answer(octets in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut question = question(None);
            question.emit(ms(10_000), &mut [0; MESSAGE_MAX]);
            prop_assert!(question.examine(ms(10_001), &octets).is_err());
        }
    }
}
