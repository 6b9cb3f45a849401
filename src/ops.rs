//! What each call means to the resolving layer, but for connect.

use core::ffi::{c_int, c_long};
use core::net::Ipv6Addr;
use core::sync::atomic::{AtomicBool, Ordering};

use aarp_core::bypass::Bypass;
use aarp_sys::socket::{Progress, progress};
use aarp_sys::{errno, process};

use crate::connect::{failed, is_peer, refutes};
use crate::report;
use crate::sockets::{self, Phase, Record};

/// Whether the program has installed a seccomp filter: then no system call of ours
/// may be made.
static BARRED: AtomicBool = AtomicBool::new(false);

/// Whether no system call of ours may be made.
#[inline]
pub(crate) fn is_barred() -> bool {
    BARRED.load(Ordering::Relaxed)
}

/// connect() where no system call of ours may be made: not even to see whether the
/// address can be read. By its length it is one of IPv6.
#[cold]
pub(crate) fn barred_connect(len: libc::socklen_t) {
    if len as usize == size_of::<libc::sockaddr_in6>() {
        report::count_bypass(Bypass::Seccomp);
    }
}

/// Runs a call by which the program installs a seccomp filter, if it does: from
/// before it until the program's end no system call of ours is made. A call that
/// fails has installed none; programs make such calls to see what the kernel has.
#[cold]
pub(crate) fn install_filter<T: PartialOrd + Default>(call: impl FnOnce() -> T) -> T {
    let barred = BARRED.swap(true, Ordering::Relaxed);
    let result = call();
    if result < T::default() {
        BARRED.store(barred, Ordering::Relaxed);
    }
    result
}

/// Whether a system call that the program makes by syscall(2) installs a filter.
#[inline]
pub(crate) fn installs_filter(number: c_long, first: c_long) -> bool {
    let prctl = number == libc::SYS_prctl && first == c_long::from(libc::PR_SET_SECCOMP);
    // The operations that only ask have higher numbers.
    prctl || (number == libc::SYS_seccomp && (0..=1).contains(&first))
}

/// A socket has been opened.
#[inline]
pub(crate) fn opened(fd: c_int, domain: c_int, kind: c_int, protocol: c_int) {
    if fd < 0 {
        return;
    }
    let stream = kind & 0xf == libc::SOCK_STREAM;
    let tcp = stream && (protocol == 0 || protocol == libc::IPPROTO_TCP);
    if domain == libc::AF_INET6 && tcp && !is_barred() {
        sockets::set(fd, &Record::open(kind & libc::SOCK_NONBLOCK != 0, false));
    } else {
        sockets::clear(fd);
    }
}

/// A socket has been bound. The kernel is asked what to, at the next connect.
#[inline]
pub(crate) fn bound(fd: c_int) {
    sockets::change(fd, |record| record.fixed_origin = true);
}

/// An option of a socket has been set.
#[inline]
pub(crate) fn option_set(fd: c_int, level: c_int, name: c_int) {
    const SO_BINDTOIFINDEX: c_int = 62;
    let fixes_origin = level == libc::SOL_SOCKET
        && matches!(
            name,
            libc::SO_BINDTODEVICE | libc::SO_MARK | SO_BINDTOIFINDEX
        );
    if fixes_origin {
        sockets::change(fd, |record| record.fixed_origin = true);
    }
}

/// A descriptor is about to be closed.
#[inline]
pub(crate) fn closing(fd: c_int) {
    let Some(record) = sockets::get(fd) else {
        return;
    };
    if record.is_pinned() {
        closing_pinned(fd, &record);
    } else {
        sockets::clear(fd);
    }
}

#[cold]
fn closing_pinned(fd: c_int, record: &Record) {
    if is_barred() {
        return sockets::clear(fd);
    }
    // A vfork child has this memory, and descriptors of its own.
    if record.process != process::id() {
        return;
    }
    if record.phase == Phase::Connecting {
        let error = errno::get();
        // Given up while the SYN is unanswered, as clients of several addresses
        // do; or failed, and nobody asked why.
        if matches!(progress(fd), Ok(Progress::SynSent | Progress::Failed)) {
            failed(fd, record);
        }
        errno::set(error);
    }
    sockets::clear(fd);
}

/// The program has read `SO_ERROR`.
#[inline]
pub(crate) fn socket_error(fd: c_int, error: c_int) {
    if error != 0
        && refutes(error)
        && let Some(record) = sockets::get(fd)
        && record.phase == Phase::Connecting
    {
        let errno = errno::get();
        failed(fd, &record);
        errno::set(errno);
    }
}

/// `O_NONBLOCK` has been set or cleared.
#[inline]
pub(crate) fn nonblocking_set(fd: c_int, nonblocking: bool) {
    sockets::change(fd, |record| record.nonblocking = nonblocking);
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

/// A descriptor has been duplicated to another number.
#[inline]
pub(crate) fn duplicated(fd: c_int, copy: c_int) {
    if copy < 0 || copy == fd {
        return;
    }
    match sockets::get(fd) {
        Some(record) => {
            sockets::set(copy, &record);
        }
        None => sockets::clear(copy),
    }
}

/// The anycast address that getpeername must show for this descriptor, where the
/// kernel says that its peer is the unicast address.
#[inline]
pub(crate) fn hidden_peer(fd: c_int) -> Option<Ipv6Addr> {
    let record = sockets::get(fd).filter(Record::is_pinned)?;
    // With a filter in place the kernel cannot be asked: the record is believed.
    (is_barred() || is_peer(fd, &record)).then_some(record.a)
}
