//! What each call means to the resolving layer, but for connect.

use core::ffi::{c_int, c_long};
use core::net::Ipv6Addr;
use core::sync::atomic::{AtomicBool, Ordering};

use aarp_core::refutation::Cause;
use aarp_sys::socket::{Progress, local_address, progress};
use aarp_sys::{errno, process};

use crate::connect::{cause, failed, refuted, refutes};
pub(crate) use crate::filter::{barred_connect, install_filter, is_barred};
use crate::sockets::{self, Flag, Kind, Limit, Phase, Record, Used};
use crate::{datagram, filter, flight, limits, passed, settings, state};

/// The program is about to change what files there are: the configuration is read
/// while it is there, so that what it forbids stays forbidden.
#[cold]
pub(crate) fn changing_root() {
    let error = errno::get();
    // A bad one is remembered as such.
    let _ = settings::get();
    errno::set(error);
}

/// A socket has been opened.
#[inline]
pub(crate) fn opened(fd: c_int, domain: c_int, kind: c_int, protocol: c_int) {
    if fd < 0 || is_used_by_another(fd) {
        return;
    }
    if domain != libc::AF_INET6 {
        return other(fd);
    }
    let what = match (kind & 0xf, protocol) {
        (libc::SOCK_STREAM, 0 | libc::IPPROTO_TCP) => Kind::Stream,
        (libc::SOCK_DGRAM, 0 | libc::IPPROTO_UDP) => Kind::Datagram,
        _ => Kind::Other,
    };
    let mut record = Record::open(what, kind & libc::SOCK_NONBLOCK != 0, false);
    // What a vfork child does with its descriptors is not to lose the pins of its
    // parent's.
    if what == Kind::Datagram && !is_barred() {
        record.process = process::id();
    }
    sockets::begin(fd, &record);
}

/// A descriptor that the program has made itself, and of which nothing is to be known.
#[inline]
fn other(fd: c_int) {
    sockets::clear(fd);
    sockets::settle(fd);
}

/// Whether a record is that of another process with the same memory: a vfork child has
/// descriptors of its own. A child made by fork has its parent's records as its own.
fn is_of_another_process(record: &Record) -> bool {
    if record.process == 0 {
        return false;
    }
    if is_barred() {
        // Who calls may not even be asked; it may be the child.
        return filter::may_be_of_a_child();
    }
    let this = process::id();
    record.process != this && !state::is_owned_by(this)
}

/// Whether this is, or may be, a vfork child: its numbers are not those of this memory.
#[inline(never)]
fn may_be_child() -> bool {
    if is_barred() {
        return filter::may_be_of_a_child();
    }
    !state::is_owned_by(process::id())
}

/// Whether the record of a descriptor is that of another process with the same memory.
#[inline]
pub(crate) fn belongs_to_another(fd: c_int) -> bool {
    sockets::has_process(fd)
        && sockets::get(fd).is_some_and(|record| is_of_another_process(&record))
}

/// Whether a vfork child has been given a number that its parent has a pinned socket by.
static NUMBERS_SHARED: AtomicBool = AtomicBool::new(false);

/// The same of a number that has just been given to this process: it then has no record
/// of its own for it.
#[inline]
fn is_used_by_another(fd: c_int) -> bool {
    let another = belongs_to_another(fd);
    if another {
        NUMBERS_SHARED.store(true, Ordering::Relaxed);
    }
    another
}

/// Whether the record may be that of another socket than this process has by its number.
#[inline]
pub(crate) fn may_be_of_another_socket(record: &Record) -> bool {
    NUMBERS_SHARED.load(Ordering::Relaxed) && is_of_another_process(record)
}

/// A socket has been bound. To a port alone it is as any other; what else there is, the
/// kernel is asked at the next connect.
pub(crate) fn bound(fd: c_int) {
    if sockets::get(fd).is_none() {
        return;
    }
    let source = if is_barred() {
        None
    } else {
        local_address(fd).ok()
    };
    if source.is_none_or(|name| name.sin6_addr.s6_addr != [0; 16]) {
        sockets::mark(fd, Flag::FixedOrigin, true);
    }
}

/// A connection has been accepted: whatever is known of its number is old.
#[inline]
pub(crate) fn accepted(fd: c_int) {
    if !is_used_by_another(fd) {
        other(fd);
    }
}

/// connect() of something else than an IPv6 address has succeeded.
pub(crate) fn connected_elsewhere(fd: c_int) {
    limits::settle(fd);
    // A TCP socket is, where it is asked by connect() what became of another; whether
    // its peer is still U the kernel says.
    sockets::change(fd, |record| {
        if record.kind == Kind::Datagram {
            *record = record.reopened();
        }
    });
}

/// An option of a socket has been set.
#[inline]
pub(crate) fn option_set(fd: c_int, level: c_int, name: c_int) {
    const SO_BINDTOIFINDEX: c_int = 62;
    const IPV6_UNICAST_IF: c_int = 76;
    match (level, name) {
        (libc::SOL_SOCKET, libc::SO_BINDTODEVICE | libc::SO_MARK | SO_BINDTOIFINDEX) => {
            sockets::mark(fd, Flag::FixedOrigin, true)
        }
        // Datagrams then have a source, or a way, of their own.
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO | IPV6_UNICAST_IF | libc::IPV6_RTHDR) => {
            sockets::change(fd, |record| record.kind = Kind::Other);
        }
        (libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT) => {
            sockets::mark(fd, Flag::Deferred, true);
        }
        _ => {
            if let Some(limit) = limit(level, name) {
                limits::set_by_program(fd, limit);
            }
        }
    }
}

/// Which of the limits that a connect() of ours changes for a while an option is.
#[inline]
pub(crate) fn limit(level: c_int, name: c_int) -> Option<Limit> {
    const SO_SNDTIMEO_NEW: c_int = 67;
    match (level, name) {
        (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT) => Some(Limit::UserTimeout),
        (libc::SOL_SOCKET, libc::SO_SNDTIMEO | SO_SNDTIMEO_NEW) => Some(Limit::SendTimeout),
        _ => None,
    }
}

/// A TCP connection is about to be made with its first data (`MSG_FASTOPEN`): the call
/// may return before it is made.
pub(crate) fn opening_fast(fd: c_int) {
    sockets::mark(fd, Flag::Deferred, true);
}

/// A descriptor that is about to be closed, if the call is made and succeeds: only then
/// is it forgotten.
#[derive(Clone, Copy)]
pub(crate) struct Closing {
    record: Record,
    /// What giving up a connection in this way says about its U.
    cause: Option<Cause>,
    /// The pins of a datagram socket. By when it is closed the number may be another's.
    used: Option<Used>,
}

/// A descriptor is about to be closed; `None` where nothing follows from that.
#[inline]
pub(crate) fn closing(fd: c_int) -> Option<Closing> {
    flight::closing(fd as u32, fd as u32);
    closing_known(fd)
}

#[inline]
fn closing_known(fd: c_int) -> Option<Closing> {
    let Some(record) = sockets::get(fd) else {
        closing_unknown(fd);
        return None;
    };
    if record.is_pinned() || record.process != 0 || sockets::held(fd).is_some() {
        return closing_pinned(fd, &record);
    }
    let (cause, used) = (None, used(fd, &record));
    Some(Closing {
        record,
        cause,
        used,
    })
}

fn used(fd: c_int, record: &Record) -> Option<Used> {
    let datagrams = sockets::datagrams(fd)?;
    (datagrams.socket == record.socket).then(|| datagrams.used())
}

/// Away from what is known, which is closed more often.
#[inline(never)]
fn closing_unknown(fd: c_int) {
    sockets::unsettle(fd, || !may_be_child());
}

/// Closes a descriptor by `call`, out of which a thread that is cancelled unwinds: then
/// it is open still, and what is known of it stays.
#[inline]
pub(crate) fn close_by<T>(fd: c_int, call: impl FnOnce() -> T) -> T {
    let closing = closing(fd);
    let result = call();
    if let Some(closing) = closing {
        closed(fd, &closing);
    }
    result
}

/// It has been closed. Its number may be another's by now, who has opened it meanwhile.
pub(crate) fn closed(fd: c_int, closing: &Closing) {
    let Closing {
        record,
        cause,
        used,
    } = closing;
    let error = errno::get();
    if is_barred() {
        return sockets::clear_closed(fd, record);
    }
    if let Some(used) = used {
        datagram::receive::closed(fd, record, *used);
    } else if let Some(cause) = cause {
        refuted(record, *cause);
    }
    sockets::clear_closed(fd, record);
    errno::set(error);
}

/// Whether close_range() with these flags closes anything: with
/// `CLOSE_RANGE_CLOEXEC` it does not yet, and with flags that there are not it fails.
pub(crate) fn closes_range(flags: u32) -> bool {
    flags & !libc::CLOSE_RANGE_UNSHARE == 0
}

/// A range of descriptors is about to be closed.
pub(crate) fn closing_range(first: u32, last: u32) {
    flight::closing(first, last);
    if !may_be_child() {
        sockets::unsettle_range(first, last);
    }
    for fd in sockets::known(first, last) {
        close_by(fd, || ());
    }
}

#[cold]
fn closing_pinned(fd: c_int, record: &Record) -> Option<Closing> {
    if is_of_another_process(record) {
        return None;
    }
    limits::closing(fd);
    let given_up = record.kind == Kind::Stream && record.phase == Phase::Connecting;
    let cause = if given_up && !is_barred() && !sockets::has_duplicates(fd, record) {
        // Given up while the SYN is unanswered, as clients of several addresses
        // do; or failed, and nobody asked why.
        match progress(fd) {
            Ok(Progress::SynSent) => Some(Cause::Silent),
            Ok(Progress::Failed) => Some(Cause::Unknown),
            _ => None,
        }
    } else {
        None
    };
    let (record, used) = (*record, used(fd, record));
    Some(Closing {
        record,
        cause,
        used,
    })
}

/// Whether [`socket_error`] has to hear of an error of this descriptor.
#[inline]
pub(crate) fn may_have_failed(fd: c_int) -> bool {
    sockets::may_be_under_way(fd) || datagram::receive::is_watched(fd)
}

/// The program has read `SO_ERROR`.
#[inline]
pub(crate) fn socket_error(fd: c_int, error: c_int) {
    let Some(record) = sockets::get(fd).filter(|_| !is_barred()) else {
        return;
    };
    if record.phase == Phase::Connecting {
        outcome_read(fd, &record, error);
    } else if record.kind == Kind::Datagram && error != 0 {
        datagram::peer::error_read(fd, error);
    }
}

#[cold]
fn outcome_read(fd: c_int, record: &Record, error: c_int) {
    let errno = errno::get();
    match progress(fd) {
        // An error of a connection that was made, and served, is none of U's.
        Ok(Progress::Established) => sockets::change(fd, |record| record.phase = Phase::Connected),
        Ok(Progress::Failed) if refutes(error) => failed(fd, record, cause(error)),
        _ => {}
    }
    errno::set(errno);
}

/// A call that sends or receives on a TCP socket has returned `count`, before it was
/// known whether its connection was made: programs that never read `SO_ERROR` hear of
/// a failure in this way, and so do those that connect with the first data.
#[cold]
pub(crate) fn transferred(fd: c_int, count: isize, sent: bool) {
    limits::settle(fd);
    let Some(record) = sockets::get(fd).filter(|record| record.phase == Phase::Connecting) else {
        return;
    };
    let error = errno::get();
    if count > 0 && !(sent && record.deferred) {
        sockets::change(fd, |record| record.phase = Phase::Connected);
    } else if count < 0 && refutes(error) && !is_barred() {
        // A connection that was to be made with the first data is disconnected when
        // that fails, and nothing is left of it.
        match progress(fd) {
            Ok(Progress::Failed | Progress::NotBegun) => failed(fd, &record, cause(error)),
            _ => sockets::change(fd, |record| record.phase = Phase::Connected),
        }
    }
    errno::set(error);
}

/// `O_NONBLOCK` has been set or cleared.
#[inline]
pub(crate) fn nonblocking_set(fd: c_int, nonblocking: bool) {
    sockets::mark(fd, Flag::Nonblocking, nonblocking);
}

/// Whether [`controlled`] has to hear of a command.
#[inline]
pub(crate) fn is_command_of_interest(command: c_int) -> bool {
    matches!(
        command,
        libc::F_SETFL | libc::F_DUPFD | libc::F_DUPFD_CLOEXEC
    )
}

/// fcntl has been called.
#[inline]
pub(crate) fn controlled(fd: c_int, command: c_int, argument: c_long, result: c_int) {
    match command {
        libc::F_SETFL if result == 0 => {
            nonblocking_set(fd, argument as c_int & libc::O_NONBLOCK != 0);
        }
        libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => duplicated(fd, result),
        _ => {}
    }
}

/// A descriptor is about to be replaced by a duplicate of another, which closes it if the
/// call succeeds.
#[inline]
pub(crate) fn replacing(fd: c_int, to: c_int) -> Option<Closing> {
    if fd == to {
        return None;
    }
    flight::replacing(fd, to);
    closing_known(to)
}

/// The call has returned the number that is a duplicate now.
#[inline]
pub(crate) fn replaced(fd: c_int, copy: c_int, closing: Option<Closing>) {
    if copy >= 0
        && let Some(closing) = closing
    {
        closed(copy, &closing);
    }
    duplicated(fd, copy);
}

/// A descriptor has been duplicated to another number.
#[inline]
pub(crate) fn duplicated(fd: c_int, copy: c_int) {
    if copy < 0 || copy == fd || is_used_by_another(copy) {
        return;
    }
    if belongs_to_another(fd) {
        // A vfork child, for the program that it is going to be.
        return passed::copied_by_child();
    }
    let is_told = sockets::is_known(fd) || sockets::is_settled(fd);
    if is_told && !sockets::is_known(copy) && may_be_child() {
        // Its parent may have something else by that number, and ask about it yet, or have
        // no need to.
        return;
    }
    // What the number stood for has been closed by this.
    if let Some(old) = sockets::get(copy)
        && let Some(used) = used(copy, &old)
    {
        datagram::receive::closed(copy, &old, used);
    }
    match sockets::get(fd) {
        Some(record) => sockets::duplicate(fd, copy, &record),
        None => {
            sockets::clear(copy);
            if sockets::is_settled(fd) {
                sockets::settle(copy);
            }
        }
    }
}

/// The unicast address and port that getpeername must not show for this descriptor, and
/// the anycast address that it shows in their place: if the kernel has them, which has
/// the last word.
#[inline]
pub(crate) fn hidden_peer(fd: c_int) -> Option<((Ipv6Addr, u16), Ipv6Addr)> {
    let record = sockets::get(fd).filter(Record::is_pinned)?;
    Some(((record.u, record.port), record.a))
}

/// The same where the kernel has just told a peer of a descriptor that may have come from
/// another program.
#[cold]
pub(crate) fn hidden_peer_of_received(fd: c_int) -> Option<((Ipv6Addr, u16), Ipv6Addr)> {
    let record = passed::received(fd)?;
    Some(((record.u, record.port), record.a))
}
