//! What getaddrinfo(3) has found: a list that the C library made, and frees.

use core::marker::PhantomData;
use core::net::Ipv6Addr;

/// The list, from its first entry on.
#[derive(Debug, Clone, Copy)]
pub struct AddrInfoList<'l> {
    first: *mut libc::addrinfo,
    list: PhantomData<&'l libc::addrinfo>,
}

/// An entry with an IPv6 address.
#[derive(Debug)]
pub struct Entry<'l> {
    name: *mut libc::sockaddr_in6,
    /// The address.
    pub address: Ipv6Addr,
    /// Its scope.
    pub scope: u32,
    /// The port, in host order; 0 where no service was asked for.
    pub port: u16,
    /// The transport protocol, by its IANA number; 0 where none was asked for.
    pub protocol: u8,
    list: PhantomData<&'l libc::addrinfo>,
}

/// More entries than any answer of the C library has: it ends a list that is broken.
const MOST: usize = 4096;

impl<'l> AddrInfoList<'l> {
    /// A list.
    ///
    /// # Safety
    /// It must be one that getaddrinfo(3) has returned, which nobody else uses or frees
    /// while this value lives; or null, for an empty one.
    #[must_use]
    pub unsafe fn new(first: *mut libc::addrinfo) -> Self {
        Self {
            first,
            list: PhantomData,
        }
    }

    /// The entries that have an IPv6 address, in their order.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'l>> + use<'l> {
        let mut next = self.first;
        let all = core::iter::from_fn(move || {
            // SAFETY: an entry of the list, by the promise at its making.
            let entry = unsafe { next.as_ref() }?;
            next = entry.ai_next;
            Some(entry)
        });
        all.take(MOST).filter_map(|entry| {
            let whole = entry.ai_addrlen as usize >= size_of::<libc::sockaddr_in6>();
            if entry.ai_family != libc::AF_INET6 || !whole || entry.ai_addr.is_null() {
                return None;
            }
            let name = entry.ai_addr.cast::<libc::sockaddr_in6>();
            // SAFETY: an address of this family and length, by the entry.
            let value = unsafe { name.read_unaligned() };
            Some(Entry {
                name,
                address: Ipv6Addr::from(value.sin6_addr.s6_addr),
                scope: value.sin6_scope_id,
                port: u16::from_be(value.sin6_port),
                protocol: u8::try_from(entry.ai_protocol).unwrap_or(0),
                list: PhantomData,
            })
        })
    }
}

impl Entry<'_> {
    /// Puts another address in the place of this one.
    pub fn set_address(&self, address: Ipv6Addr) {
        // SAFETY: the list was handed out by the C library in memory that the program
        // may write to, and nobody else has it yet.
        unsafe {
            let octets = (&raw mut (*self.name).sin6_addr.s6_addr).cast::<[u8; 16]>();
            octets.write_unaligned(address.octets());
        }
    }
}
