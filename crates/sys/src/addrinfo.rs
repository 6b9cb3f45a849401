//! What getaddrinfo(3) has found: a list that the C library made, and frees.

use core::marker::PhantomData;
use core::net::Ipv6Addr;

/// The list, from its first entry on.
#[derive(Debug)]
pub struct AddrInfoList<'l> {
    first: *mut libc::addrinfo,
    list: PhantomData<&'l libc::addrinfo>,
}

/// An entry with an IPv6 address.
#[derive(Debug)]
pub struct Entry<'l> {
    node: *mut libc::addrinfo,
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
            let node = next;
            // SAFETY: an entry of the list, by the promise at its making.
            let entry = unsafe { node.as_ref() }?;
            next = entry.ai_next;
            Some((node, entry))
        });
        all.take(MOST).filter_map(|(node, entry)| {
            let whole = entry.ai_addrlen as usize >= size_of::<libc::sockaddr_in6>();
            if entry.ai_family != libc::AF_INET6 || !whole || entry.ai_addr.is_null() {
                return None;
            }
            let name = entry.ai_addr.cast::<libc::sockaddr_in6>();
            // SAFETY: an address of this family and length, by the entry.
            let value = unsafe { name.read_unaligned() };
            Some(Entry {
                node,
                address: Ipv6Addr::from(value.sin6_addr.s6_addr),
                scope: value.sin6_scope_id,
                port: u16::from_be(value.sin6_port),
                protocol: u8::try_from(entry.ai_protocol).unwrap_or(0),
                list: PhantomData,
            })
        })
    }

    /// The first entry, null for none: what is to be freed by freeaddrinfo(3).
    #[must_use]
    pub fn first(&self) -> *mut libc::addrinfo {
        self.first
    }

    /// Puts another list, which becomes a part of this one, before an entry of this
    /// one. Its entries get the flags and the scope of that entry, and the canonical
    /// name, which stands in the first entry of a list, its place.
    pub fn put_before(&mut self, entry: &Entry<'l>, others: AddrInfoList<'l>) {
        let Some(before) = self.link_to(entry.node) else {
            return;
        };
        // SAFETY: entries of lists that the C library handed out in memory that the
        // program may write to, and that nobody else has yet.
        unsafe {
            let mut last = others.first;
            if last.is_null() {
                return;
            }
            loop {
                (*last).ai_flags = (*entry.node).ai_flags;
                if (*last).ai_next.is_null() {
                    break;
                }
                last = (*last).ai_next;
            }
            for other in others.entries() {
                let name = (*other.node).ai_addr.cast::<libc::sockaddr_in6>();
                (&raw mut (*name).sin6_scope_id).write_unaligned(entry.scope);
            }
            let head = others.first;
            if self.first == entry.node {
                core::mem::swap(&mut (*head).ai_canonname, &mut (*entry.node).ai_canonname);
            }
            (*last).ai_next = entry.node;
            match before {
                Some(before) => (*before).ai_next = head,
                None => self.first = head,
            }
        }
    }

    /// The entry before this one, `Some(None)` where it is the first; `None` where it is
    /// none of this list.
    fn link_to(&self, node: *mut libc::addrinfo) -> Option<Option<*mut libc::addrinfo>> {
        let mut before = None;
        let mut next = self.first;
        for _ in 0..MOST {
            if next.is_null() {
                return None;
            }
            if next == node {
                return Some(before);
            }
            before = Some(next);
            // SAFETY: an entry of the list, by the promise at its making.
            next = unsafe { (*next).ai_next };
        }
        None
    }
}
