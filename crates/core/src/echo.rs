//! The method `echo`: ICMPv6 echo, by a ping socket or a raw one.

use aarp_wire::icmpv6::{EchoKind, EchoRepr};
use aarp_wire::probe::{Method, Nonce, Payload};

use crate::probing::{Ignored, Incoming, MESSAGE_MAX, Meaning, ProbeMethod};

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

    fn examine(
        &self,
        nonce: &Nonce,
        sent: u32,
        incoming: &Incoming<'_>,
    ) -> Result<Meaning, Ignored> {
        match incoming {
            Incoming::Message(message) => self
                .attempt(EchoKind::Reply, nonce, sent, message)
                .map(Meaning::Answer),
            Incoming::Error(error) if error.is_undelivered() => self
                .attempt(EchoKind::Request, nonce, sent, error.quote)
                .map(Meaning::Undelivered),
            Incoming::Error(_) => Err(Ignored::Malformed),
        }
    }
}

impl Echo {
    /// The number of the attempt that is this request, or to which this is the
    /// reply.
    fn attempt(
        &self,
        kind: EchoKind,
        nonce: &Nonce,
        sent: u32,
        message: &[u8],
    ) -> Result<u32, Ignored> {
        let message = EchoRepr::parse(message).map_err(|_| Ignored::Malformed)?;
        if message.kind != kind {
            return Err(Ignored::Malformed);
        }
        if self.ident.is_some_and(|ident| ident != message.ident) {
            return Err(Ignored::Identifier);
        }
        let attempt = u32::from(message.sequence.wrapping_sub(self.first_sequence));
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
        if message.data != expected {
            return Err(Ignored::Payload);
        }
        Ok(attempt)
    }
}
