//! A preload library as one writes it with the crate redhook: it counts the calls
//! and hands them on. In `benches/` it is the peer for the cost of a hook; in
//! `tests/chain.rs` the neighbour in `LD_PRELOAD`.
//!
//! With `REDHOOK_PEER_STATS` in the environment a line on standard error says at
//! exit what was counted, and the last IPv6 address that connect() was given:
//!
//! ```text
//! redhook-peer: connect=1 close=12 getpeername=1 sendto=0 recvfrom=0 last=2001:db8:a::53
//! ```
use std::net::Ipv6Addr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use libc::{c_int, c_void, size_t, sockaddr, sockaddr_in6, socklen_t, ssize_t};
use redhook::{hook, real};

static CONNECT: AtomicU64 = AtomicU64::new(0);
static CLOSE: AtomicU64 = AtomicU64::new(0);
static SENDTO: AtomicU64 = AtomicU64::new(0);
static RECVFROM: AtomicU64 = AtomicU64::new(0);
static GETPEERNAME: AtomicU64 = AtomicU64::new(0);
/// The last IPv6 address that connect() was given.
static LAST: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

hook! {
    unsafe fn connect(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int => counted_connect {
        CONNECT.fetch_add(1, Relaxed);
        if len as usize >= size_of::<sockaddr_in6>()
            && !address.is_null()
            && i32::from((*address).sa_family) == libc::AF_INET6
        {
            let octets = (*address.cast::<sockaddr_in6>()).sin6_addr.s6_addr;
            let bits = u128::from_be_bytes(octets);
            LAST[0].store((bits >> 64) as u64, Relaxed);
            LAST[1].store(bits as u64, Relaxed);
        }
        real!(connect)(fd, address, len)
    }
}

hook! {
    unsafe fn close(fd: c_int) -> c_int => counted_close {
        CLOSE.fetch_add(1, Relaxed);
        real!(close)(fd)
    }
}

hook! {
    unsafe fn getpeername(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int => counted_getpeername {
        GETPEERNAME.fetch_add(1, Relaxed);
        real!(getpeername)(fd, address, len)
    }
}

hook! {
    unsafe fn sendto(fd: c_int, data: *const c_void, count: size_t, flags: c_int, address: *const sockaddr, len: socklen_t) -> ssize_t => counted_sendto {
        SENDTO.fetch_add(1, Relaxed);
        real!(sendto)(fd, data, count, flags, address, len)
    }
}

hook! {
    unsafe fn recvfrom(fd: c_int, data: *mut c_void, count: size_t, flags: c_int, address: *mut sockaddr, len: *mut socklen_t) -> ssize_t => counted_recvfrom {
        RECVFROM.fetch_add(1, Relaxed);
        real!(recvfrom)(fd, data, count, flags, address, len)
    }
}

extern "C" fn at_exit() {
    if std::env::var_os("REDHOOK_PEER_STATS").is_none() {
        return;
    }
    let [connects, closes, getpeernames, sends, receptions] =
        [&CONNECT, &CLOSE, &GETPEERNAME, &SENDTO, &RECVFROM].map(|counter| counter.load(Relaxed));
    let [high, low] = [&LAST[0], &LAST[1]].map(|half| half.load(Relaxed));
    let last = Ipv6Addr::from(u128::from(high) << 64 | u128::from(low));
    eprintln!(
        "redhook-peer: connect={connects} close={closes} getpeername={getpeernames} sendto={sends} recvfrom={receptions} last={last}"
    );
}

#[used]
#[unsafe(link_section = ".fini_array")]
static AT_EXIT: extern "C" fn() = at_exit;
