//! libaarp.so: the Anycast Resolving Layer (seed 003, §3), as a library to preload.
//!
//! ```text
//! hooks/       one table of C functions, no logic: connections, descriptors, what
//!              sends, what receives, names, syscall(2)
//! ops.rs       what each call means, but for connect
//! connect/     the life of one connect()
//! datagram/    the life of datagrams: what is sent, connected sockets, what comes
//!              back, and what is known of most at once
//! flight.rs    what is open while the network is asked, and other threads
//! filter.rs    once the program has a seccomp filter, no system call of ours
//! names.rs     what getaddrinfo() has found
//! limits.rs    within the time that the kernel's would have taken
//! mapper.rs    aarpd: the mapping table of all processes, and asking the daemon
//! passed.rs    sockets that come from another program, or go to one
//! resolve.rs   from A to U: policy, what is remembered, asking
//! sockets/     what is known about each descriptor
//! settings.rs  the configuration, read at the first call that needs it
//! report.rs    counters, and lines for those who ask for them
//! namespace.rs whether a thread is in another network than before
//! symbols.rs   the functions behind the hooks
//! state.rs     what this process remembers, and what became of it at a fork
//! ```
//!
//! Nothing here allocates, starts a thread, keeps a descriptor or waits for a lock.
//! As it is shipped it is `no_std` (docs/adr/0001).
#![cfg_attr(panic = "abort", no_std)]

mod connect;
mod datagram;
mod filter;
mod flight;
mod hooks;
mod limits;
mod mapper;
mod names;
mod namespace;
mod ops;
mod passed;
mod report;
mod resolve;
mod settings;
mod sockets;
mod state;
mod symbols;

/// Without unwinding there is nobody to tell: the host program ends, as it would
/// after `abort()` in a library of C. Nothing here is meant to panic, and no
/// foreign byte leads to it (fuzz/).
#[cfg(panic = "abort")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    symbols::abort()
}
