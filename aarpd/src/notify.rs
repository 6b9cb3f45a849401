//! What systemd is told: sd_notify(3), and the watchdog.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Who started this process and wants to hear from it; nobody, most often.
#[derive(Debug)]
pub(crate) struct Notify {
    to: Option<(UnixDatagram, SocketAddr)>,
    /// How often it wants a sign of life, half of it.
    pub(crate) watchdog: Option<Duration>,
}

impl Notify {
    /// As the environment says.
    pub(crate) fn of_environment() -> io::Result<Self> {
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let is_own = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|us| is_own && *us > 0);
        let name = std::env::var("NOTIFY_SOCKET").unwrap_or_default();
        let address = match name.as_bytes() {
            [b'@', rest @ ..] => Some(SocketAddr::from_abstract_name(rest)?),
            [b'/', ..] => Some(SocketAddr::from_pathname(&name)?),
            _ => None,
        };
        let to = address.map(|address| Ok::<_, io::Error>((UnixDatagram::unbound()?, address)));
        let to = to.transpose()?;
        if let Some((socket, _)) = &to {
            socket.set_nonblocking(true)?;
        }
        Ok(Self {
            watchdog: watchdog
                .filter(|_| to.is_some())
                .map(|us| Duration::from_micros(us) / 2),
            to,
        })
    }

    fn send(&self, state: &str) {
        if let Some((socket, address)) = &self.to {
            // Who does not listen misses it; systemd then says so itself.
            let _ = socket.send_to_addr(state.as_bytes(), address);
        }
    }

    /// It serves.
    pub(crate) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// It reads its configuration again, until it is ready again.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let us = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={us}"));
    }

    /// It ends.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// It is alive.
    pub(crate) fn alive(&self) {
        self.send("WATCHDOG=1");
    }
}
