//! What a tool inherited from whoever started it, as it was before Rust's runtime
//! changed it, and how to hand it on.
//!
//! The runtime ignores SIGPIPE before main, and `Command` sets it to its default
//! in every child. A program started through one of ours would so lose what its
//! environment decided: systemd, for one, starts services with SIGPIPE ignored.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

static SIGPIPE_IGNORED: AtomicBool = AtomicBool::new(false);

/// Run by the dynamic linker before the runtime starts.
#[used]
// SAFETY: the section holds pointers to functions of this type.
#[unsafe(link_section = ".init_array")]
static RECORD: extern "C" fn() = record;

extern "C" fn record() {
    // SAFETY: all-zero is a valid sigaction, and a null action changes nothing.
    let ignored = unsafe {
        let mut present: libc::sigaction = core::mem::zeroed();
        libc::sigaction(libc::SIGPIPE, core::ptr::null(), &mut present) == 0
            && present.sa_sigaction == libc::SIG_IGN
    };
    SIGPIPE_IGNORED.store(ignored, Ordering::Relaxed);
}

/// Replaces this process by `command`, with SIGPIPE as this process inherited it.
/// Returns only when that fails.
pub fn exec(command: &mut Command) -> io::Error {
    if SIGPIPE_IGNORED.load(Ordering::Relaxed) {
        // SAFETY: signal() is async-signal-safe, and the closure does nothing else.
        unsafe {
            command.pre_exec(|| match libc::signal(libc::SIGPIPE, libc::SIG_IGN) {
                libc::SIG_ERR => Err(io::Error::last_os_error()),
                _ => Ok(()),
            });
        }
    }
    command.exec()
}
