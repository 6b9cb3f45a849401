//! Many messages with one system call, in memory that is allocated once:
//! recvmmsg(2) and sendmmsg(2).

use std::io;
use std::net::Ipv6Addr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use crate::control::{self, CONTROL_MAX};
use crate::descriptor::socket_address;

/// Control messages of one packet, aligned as the kernel's structures are.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_MAX]);

/// The memory of both directions: for each message its octets, an address, its
/// control messages, and what points to them.
struct Messages {
    octets: Box<[u8]>,
    each: usize,
    names: Box<[libc::sockaddr_in6]>,
    control: Box<[Control]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

// SAFETY: the pointers inside are to the value's own boxes, are set anew before
// each system call, and are not followed by anybody else.
unsafe impl Send for Messages {}

impl Messages {
    fn new(messages: usize, octets: usize) -> Self {
        let messages = messages.clamp(1, crate::message::MESSAGES_MAX);
        let nothing = libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        // SAFETY: all zero is a valid mmsghdr.
        let header: libc::mmsghdr = unsafe { core::mem::zeroed() };
        Self {
            octets: vec![0; messages * octets].into_boxed_slice(),
            each: octets,
            names: vec![socket_address(Ipv6Addr::UNSPECIFIED); messages].into_boxed_slice(),
            control: vec![Control([0; CONTROL_MAX]); messages].into_boxed_slice(),
            vectors: vec![nothing; messages].into_boxed_slice(),
            headers: vec![header; messages].into_boxed_slice(),
        }
    }

    fn capacity(&self) -> usize {
        self.headers.len()
    }

    fn slot(&self, index: usize) -> &[u8] {
        &self.octets[index * self.each..][..self.each]
    }

    /// Points the header of message `index` at its own octets, address and control.
    fn point(&mut self, index: usize, octets: usize, name: usize, control: usize) {
        let slot = &mut self.octets[index * self.each..][..octets];
        self.vectors[index] = libc::iovec {
            iov_base: slot.as_mut_ptr().cast(),
            iov_len: octets,
        };
        let header = &mut self.headers[index].msg_hdr;
        header.msg_name = if name == 0 {
            ptr::null_mut()
        } else {
            (&raw mut self.names[index]).cast()
        };
        header.msg_namelen = name as libc::socklen_t;
        header.msg_iov = &raw mut self.vectors[index];
        header.msg_iovlen = 1;
        header.msg_control = self.control[index].0.as_mut_ptr().cast();
        header.msg_controllen = control;
        header.msg_flags = 0;
    }
}

/// Room for messages that are received together.
pub struct ReceiveBatch {
    messages: Messages,
    count: usize,
}

/// One message of a batch.
pub(crate) struct Message<'b> {
    pub(crate) octets: &'b [u8],
    pub(crate) name: &'b libc::sockaddr_in6,
    pub(crate) control: &'b [u8],
    /// The message was longer than the room for it.
    pub(crate) truncated: bool,
}

impl ReceiveBatch {
    /// Room for up to `messages` (1 to 1024) of up to `octets` each. What is never
    /// received takes no memory.
    #[must_use]
    pub fn new(messages: usize, octets: usize) -> Self {
        Self {
            messages: Messages::new(messages, octets),
            count: 0,
        }
    }

    /// How many messages there is room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.messages.capacity()
    }

    /// Receives what is there, without waiting; the number of messages, which is 0
    /// when nothing is.
    pub(crate) fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        flags: libc::c_int,
    ) -> io::Result<usize> {
        self.count = 0;
        for index in 0..self.capacity() {
            let each = self.messages.each;
            let name = size_of::<libc::sockaddr_in6>();
            self.messages.point(index, each, name, CONTROL_MAX);
        }
        loop {
            // SAFETY: each header points to octets, an address and control of this
            // value, with their sizes, as `point` has set them just now.
            let received = unsafe {
                libc::recvmmsg(
                    socket.as_raw_fd(),
                    self.messages.headers.as_mut_ptr(),
                    self.messages.headers.len() as libc::c_uint,
                    (flags | libc::MSG_DONTWAIT) as _,
                    ptr::null_mut(),
                )
            };
            if received >= 0 {
                self.count = received.unsigned_abs() as usize;
                return Ok(self.count);
            }
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => return Ok(0),
                _ => return Err(error),
            }
        }
    }

    /// What the last call of `receive` has left here.
    pub(crate) fn received(&self) -> impl ExactSizeIterator<Item = Message<'_>> {
        (0..self.count).map(|index| {
            let header = &self.messages.headers[index];
            let slot = self.messages.slot(index);
            let control = header.msg_hdr.msg_controllen;
            Message {
                octets: &slot[..(header.msg_len as usize).min(slot.len())],
                name: &self.messages.names[index],
                control: &self.messages.control[index].0[..control.min(CONTROL_MAX)],
                truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            }
        })
    }
}

/// Messages that are sent together.
pub(crate) struct SendBatch {
    messages: Messages,
    lengths: Box<[usize]>,
    control: Box<[usize]>,
    count: usize,
}

impl SendBatch {
    pub(crate) fn new(messages: usize, octets: usize) -> Self {
        let messages = Messages::new(messages, octets);
        let none = vec![0; messages.capacity()].into_boxed_slice();
        Self {
            messages,
            lengths: none.clone(),
            control: none,
            count: 0,
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.messages.capacity()
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn clear(&mut self) {
        self.count = 0;
    }

    /// Where the octets of the next message go; `None` when the batch is full.
    pub(crate) fn room(&mut self) -> Option<&mut [u8]> {
        let start = self.count * self.messages.each;
        self.messages
            .octets
            .get_mut(start..start + self.messages.each)
    }

    pub(crate) fn octets(&self, index: usize) -> &[u8] {
        &self.messages.slot(index)[..self.lengths[index]]
    }

    /// Adds the first `length` octets of `room` as a message to `destination`.
    pub(crate) fn commit(
        &mut self,
        length: usize,
        destination: Ipv6Addr,
        numbers: &[(libc::c_int, libc::c_int)],
    ) {
        let index = self.count;
        assert!(
            index < self.capacity(),
            "a batch takes no more than its room"
        );
        assert!(length <= self.messages.each, "a message fits its room");
        self.messages.names[index] = socket_address(destination);
        self.lengths[index] = length;
        self.control[index] = control::write(&mut self.messages.control[index].0, numbers);
        self.count += 1;
    }

    /// Sends the messages `from..to` out of `socket`, and tells `failed` which the
    /// kernel did not take; returns how many it took.
    pub(crate) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        from: usize,
        to: usize,
        mut failed: impl FnMut(usize, io::Error),
    ) -> usize {
        for index in from..to {
            let name = size_of::<libc::sockaddr_in6>();
            let (length, control) = (self.lengths[index], self.control[index]);
            self.messages.point(index, length, name, control);
        }
        let (mut next, mut taken) = (from, 0);
        while next < to {
            let rest = &mut self.messages.headers[next..to];
            // SAFETY: each header points to octets, an address and control of this
            // value, with their sizes, as `point` has set them just now.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    rest.as_mut_ptr(),
                    rest.len() as libc::c_uint,
                    libc::MSG_DONTWAIT as _,
                )
            };
            // It stops at the first message that fails, and says why only when it is
            // called again with that one in front.
            if let Ok(sent @ 1..) = usize::try_from(sent) {
                next += sent;
                taken += sent;
                continue;
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                failed(next, error);
                next += 1;
            }
        }
        taken
    }
}
