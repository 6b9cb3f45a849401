//! The method `unreach`: a UDP datagram to a port that nobody listens on. Who says
//! that the port is unreachable answers for A.
//!
//! A router with a rule that rejects says so too, and quotes the same: which
//! offender counts is for [`crate::accept`] to judge, and whether this method is
//! used at all for [`crate::policy::permitted`].

use aarp_wire::icmpv6::{DESTINATION_UNREACHABLE, PORT_UNREACHABLE};
use aarp_wire::probe::{LEN, Method, Nonce, Payload};

use crate::probing::{Ignored, Incoming, MESSAGE_MAX, Meaning, ProbeMethod};

/// UDP to a closed port: the whole payload must be quoted.
#[derive(Debug, Clone, Copy)]
pub struct Unreach {
    /// The port.
    pub port: u16,
}

impl ProbeMethod for Unreach {
    fn method(&self) -> Method {
        Method::Unreach
    }

    fn emit<'b>(&self, nonce: &Nonce, attempt: u32, buffer: &'b mut [u8; MESSAGE_MAX]) -> &'b [u8] {
        let payload = Payload {
            method: Method::Unreach,
            nonce: *nonce,
            attempt,
        };
        buffer[..LEN].copy_from_slice(&payload.emit());
        &buffer[..LEN]
    }

    fn examine(
        &self,
        nonce: &Nonce,
        sent: u32,
        incoming: &Incoming<'_>,
    ) -> Result<Meaning, Ignored> {
        // A datagram says that the port is open, and nothing about who A is.
        let Incoming::Error(error) = incoming else {
            return Err(Ignored::Malformed);
        };
        if !error.is_undelivered() {
            return Err(Ignored::Malformed);
        }
        if error.port != self.port {
            return Err(Ignored::Destination);
        }
        //= https://www.rfc-editor.org/rfc/rfc4443#section-2.4
        //# Every ICMPv6 error message (type < 128) MUST include
        //# as much of the IPv6 offending (invoking) packet (the packet
        //# that caused the error) as possible without making the error
        //# message packet exceed the minimum IPv6 MTU
        let quoted = Payload::parse(error.quote).map_err(|_| Ignored::Payload)?;
        if quoted.method != Method::Unreach || quoted.nonce != *nonce || quoted.attempt >= sent {
            return Err(Ignored::Payload);
        }
        //= https://www.rfc-editor.org/rfc/rfc4443#section-3.1
        //# A destination node SHOULD originate a Destination Unreachable
        //# message with Code 4 in response to a packet for which the transport
        //# protocol (e.g., UDP) has no listener, if that transport protocol has
        //# no alternative means to inform the sender.
        if (error.message_type, error.code) == (DESTINATION_UNREACHABLE, PORT_UNREACHABLE) {
            Ok(Meaning::Answer(quoted.attempt))
        } else {
            Ok(Meaning::Undelivered(quoted.attempt))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probing::{IcmpError, Question};
    use crate::settings::Times;
    use core::net::Ipv6Addr;
    use core::time::Duration;
    use proptest::prelude::*;

    const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
    const PORT: u16 = 33999;

    fn question() -> Question<Unreach> {
        let second = Duration::from_secs(1);
        let retransmit = Times::DEFAULT.retransmit;
        let unreach = Unreach { port: PORT };
        Question::new(unreach, A, [0x5a; 16], retransmit, second, second)
    }

    fn sent(question: &mut Question<Unreach>) -> Vec<u8> {
        let mut buffer = [0xa5; MESSAGE_MAX];
        question.emit(Duration::from_secs(1), &mut buffer).to_vec()
    }

    fn port_unreachable(quote: &[u8]) -> IcmpError<'_> {
        IcmpError {
            message_type: 1,
            code: 4,
            destination: A,
            port: PORT,
            quote,
        }
    }

    #[test]
    fn a_port_unreachable_that_quotes_an_attempt_answers_it() {
        let mut question = question();
        let attempts = [sent(&mut question), sent(&mut question)];
        for (number, quote) in attempts.iter().enumerate() {
            let error = Incoming::Error(port_unreachable(quote));
            assert_eq!(question.examine(&error), Ok(Meaning::Answer(number as u32)));
        }
        let mut later = question.clone();
        let third = sent(&mut later);
        let error = Incoming::Error(port_unreachable(&third));
        assert_eq!(question.examine(&error), Err(Ignored::Payload));
    }

    #[test]
    fn a_datagram_is_no_answer() {
        let mut question = question();
        let quote = sent(&mut question);
        let datagram = Incoming::Message(&quote);
        assert_eq!(question.examine(&datagram), Err(Ignored::Malformed));
    }

    //= https://www.rfc-editor.org/rfc/rfc4443#section-2.4
    //= type=test
    //# Every ICMPv6 error message (type < 128) MUST include
    //# as much of the IPv6 offending (invoking) packet (the packet
    //# that caused the error) as possible without making the error
    //# message packet exceed the minimum IPv6 MTU
    #[test]
    fn less_than_the_whole_payload_is_no_answer() {
        let mut question = question();
        let quote = sent(&mut question);
        let longer = [quote.as_slice(), &[0]].concat();
        let cuts = (0..quote.len()).map(|len| &quote[..len]);
        for quote in cuts.chain([longer.as_slice()]) {
            let error = Incoming::Error(port_unreachable(quote));
            assert_eq!(question.examine(&error), Err(Ignored::Payload));
        }
    }

    #[test]
    fn other_errors_say_that_it_did_not_arrive() {
        let mut question = question();
        let quote = sent(&mut question);
        for message_type in 0..=255u8 {
            for code in 0..=255u8 {
                let error = IcmpError {
                    message_type,
                    code,
                    ..port_unreachable(&quote)
                };
                let expected = match (message_type, code) {
                    (1, 4) => Ok(Meaning::Answer(0)),
                    (1 | 3 | 4, _) => Ok(Meaning::Undelivered(0)),
                    _ => Err(Ignored::Malformed),
                };
                assert_eq!(question.examine(&Incoming::Error(error)), expected);
            }
        }
    }

    proptest! {
        #[test]
        fn one_octet_wrong_is_no_answer(at in 0..LEN, by in 1..=255u8) {
            let mut question = question();
            let mut quote = sent(&mut question);
            quote[at] ^= by;
            let error = Incoming::Error(port_unreachable(&quote));
            prop_assert_eq!(question.examine(&error), Err(Ignored::Payload));
        }

        #[test]
        fn another_destination_is_no_answer(by in 1..u128::MAX, other in any::<u16>()) {
            let mut question = question();
            let quote = sent(&mut question);
            let destination = Ipv6Addr::from(u128::from(A) ^ by);
            let error = IcmpError { destination, ..port_unreachable(&quote) };
            prop_assert_eq!(question.examine(&Incoming::Error(error)), Err(Ignored::Destination));
            prop_assume!(other != PORT);
            let error = IcmpError { port: other, ..port_unreachable(&quote) };
            prop_assert_eq!(question.examine(&Incoming::Error(error)), Err(Ignored::Destination));
        }
    }
}
