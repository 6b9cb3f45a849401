//! Ctrl-C, and the end that a service manager asks for.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::mapper::Connection;

/// Whether one is to end.
#[derive(Debug)]
pub(crate) struct Stop(UnixStream);

impl Stop {
    /// From now on SIGINT and SIGTERM end nothing by themselves.
    pub(crate) fn on_signals() -> anyhow::Result<Self> {
        let (told, tell) = UnixStream::pair().context("handling signals")?;
        for signal in [SIGINT, SIGTERM] {
            let tell = tell.try_clone().context("handling signals")?;
            signal_hook::low_level::pipe::register(signal, tell).context("handling signals")?;
        }
        Ok(Self(told))
    }

    /// Waits until it is over, or something has come, or that moment. Whether it is
    /// over.
    pub(crate) fn wait(
        &self,
        connection: Option<&Connection>,
        until: Option<Instant>,
    ) -> io::Result<bool> {
        let left = until.map(|until| {
            let left = until.saturating_duration_since(Instant::now());
            let left = left.min(Duration::from_secs(24 * 3600));
            Timespec {
                tv_sec: left.as_secs().cast_signed(),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        let mut fds = vec![PollFd::new(&self.0, PollFlags::IN)];
        fds.extend(connection.map(Connection::poll_fd));
        match poll(&mut fds, left.as_ref()) {
            Ok(_) => Ok(!fds[0].revents().is_empty()),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}
