//! What the types of messages have of their own.

use core::net::Ipv6Addr;

use super::{State, TEXT_MAX, method_of};
use crate::Error;
use crate::probe::Method;

/// A question: who answers for A?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The anycast address.
    pub a: Ipv6Addr,
    /// For how long the asker waits, in milliseconds. The question goes on beyond.
    pub budget: u32,
    /// See the constants.
    pub flags: u32,
}

impl Asked {
    /// The asker has a non-blocking socket.
    pub const NONBLOCKING: u32 = 1;
    /// The mapping that was told, or is in the table, does not serve the asker: A is
    /// asked again, however fresh it is.
    pub const ANEW: u32 = 2;
    const ALL: u32 = Self::NONBLOCKING | Self::ANEW;

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, Error> {
        let asked = Self {
            a: from.address()?,
            budget: from.u32()?,
            flags: from.u32()?,
        };
        if asked.flags & !Self::ALL != 0 {
            return Err(Error::Value);
        }
        Ok(asked)
    }

    pub(super) fn write(&self, to: &mut Writer<'_>) -> Option<()> {
        to.octets(&self.a.octets())?;
        to.octets(&self.budget.to_le_bytes())?;
        to.octets(&self.flags.to_le_bytes())
    }
}

/// What is known about A.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The anycast address.
    pub a: Ipv6Addr,
    /// U when pinned, the address that was refused when untrusted, otherwise A.
    pub u: Ipv6Addr,
    /// What is known.
    pub state: State,
    /// How it was asked.
    pub method: Method,
    /// How many times in a row nobody answered.
    pub failures: u8,
    /// For how long it holds, in milliseconds.
    pub ttl: u32,
    /// The round trip of the answer, or for how long it was awaited, in microseconds.
    pub rtt: u32,
}

impl Answer {
    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, Error> {
        let (a, u) = (from.address()?, from.address()?);
        let state = State::of(from.u8()?).ok_or(Error::Value)?;
        let method = method_of(from.u8()?).ok_or(Error::Value)?;
        let failures = from.u8()?;
        from.zeros(1)?;
        Ok(Self {
            a,
            u,
            state,
            method,
            failures,
            ttl: from.u32()?,
            rtt: from.u32()?,
        })
    }

    pub(super) fn write(&self, to: &mut Writer<'_>) -> Option<()> {
        to.octets(&self.a.octets())?;
        to.octets(&self.u.octets())?;
        to.octets(&[self.state as u8, self.method as u8, self.failures, 0])?;
        to.octets(&self.ttl.to_le_bytes())?;
        to.octets(&self.rtt.to_le_bytes())
    }
}

/// A U has failed for a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The anycast address.
    pub a: Ipv6Addr,
    /// The unicast address that has failed.
    pub u: Ipv6Addr,
    /// The port, in host order.
    pub port: u16,
    /// The transport protocol, by its IANA number.
    pub protocol: u8,
    /// What the kernel said; 0 where it was silent.
    pub errno: u32,
}

impl Failure {
    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, Error> {
        let (a, u) = (from.address()?, from.address()?);
        let (port, protocol) = (from.u16()?, from.u8()?);
        from.zeros(1)?;
        Ok(Self {
            a,
            u,
            port,
            protocol,
            errno: from.u32()?,
        })
    }

    pub(super) fn write(&self, to: &mut Writer<'_>) -> Option<()> {
        to.octets(&self.a.octets())?;
        to.octets(&self.u.octets())?;
        to.octets(&self.port.to_le_bytes())?;
        to.octets(&[self.protocol, 0])?;
        to.octets(&self.errno.to_le_bytes())
    }
}

/// With whom the program of a socket speaks: it believes A, and it is U.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The socket, as `SO_COOKIE` names it.
    pub cookie: u64,
    /// The anycast address.
    pub a: Ipv6Addr,
    /// The unicast address.
    pub u: Ipv6Addr,
    /// The port, in host order.
    pub port: u16,
    /// The transport protocol, by its IANA number.
    pub protocol: u8,
}

impl Peer {
    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, Error> {
        let peer = Self {
            cookie: from.u64()?,
            a: from.address()?,
            u: from.address()?,
            port: from.u16()?,
            protocol: from.u8()?,
        };
        from.zeros(5)?;
        Ok(peer)
    }

    pub(super) fn write(&self, to: &mut Writer<'_>) -> Option<()> {
        to.octets(&self.cookie.to_le_bytes())?;
        to.octets(&self.a.octets())?;
        to.octets(&self.u.octets())?;
        to.octets(&self.port.to_le_bytes())?;
        to.octets(&[self.protocol, 0, 0, 0, 0, 0])
    }
}

/// Why there is no answer, by number; those that are not named here are of a later
/// version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(pub u32);

impl Code {
    /// No message, or none of a type that is known.
    pub const MALFORMED: Code = Code(1);
    /// Who asks may not.
    pub const NOT_PERMITTED: Code = Code(2);
    /// Who asks has asked too much, or the daemon has too much to do.
    pub const BUSY: Code = Code(3);
    /// It is none of the addresses that are asked about.
    pub const POLICY: Code = Code(4);
    /// It is an address of this host.
    pub const LOCAL: Code = Code(5);
    /// There is no route to it.
    pub const NO_ROUTE: Code = Code(6);
    /// The daemon has no socket to ask with.
    pub const NO_PERMISSION: Code = Code(7);
    /// Nothing is known.
    pub const UNKNOWN: Code = Code(8);
    /// Something failed in the daemon.
    pub const SYSTEM: Code = Code(9);
}

/// What is left of a message to read.
pub(super) struct Reader<'m>(&'m [u8]);

impl<'m> Reader<'m> {
    pub(super) fn new(octets: &'m [u8]) -> Self {
        Self(octets)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (first, rest) = self.0.split_first_chunk().ok_or(Error::Length)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Error> {
        self.array::<1>().map(|[octet]| octet)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn address(&mut self) -> Result<Ipv6Addr, Error> {
        self.array::<16>().map(Ipv6Addr::from)
    }

    pub(super) fn zeros(&mut self, count: usize) -> Result<(), Error> {
        for _ in 0..count {
            if self.u8()? != 0 {
                return Err(Error::Value);
            }
        }
        Ok(())
    }

    /// All that is left.
    pub(super) fn text(&mut self) -> Result<&'m str, Error> {
        let text = core::mem::take(&mut self.0);
        if text.len() > TEXT_MAX {
            return Err(Error::Length);
        }
        core::str::from_utf8(text).map_err(|_| Error::Value)
    }

    pub(super) fn end(&self) -> Result<(), Error> {
        match self.0 {
            [] => Ok(()),
            _ => Err(Error::Length),
        }
    }
}

/// What has been written of a message.
pub(super) struct Writer<'b> {
    buffer: &'b mut [u8],
    length: usize,
}

impl<'b> Writer<'b> {
    pub(super) fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, length: 0 }
    }

    pub(super) fn octets(&mut self, octets: &[u8]) -> Option<()> {
        let end = self.length.checked_add(octets.len())?;
        self.buffer
            .get_mut(self.length..end)?
            .copy_from_slice(octets);
        self.length = end;
        Some(())
    }

    pub(super) fn text(&mut self, text: &str) -> Option<()> {
        (text.len() <= TEXT_MAX).then_some(())?;
        self.octets(text.as_bytes())
    }

    pub(super) fn written(self) -> &'b mut [u8] {
        &mut self.buffer[..self.length]
    }
}
