//! aarpd, as one looks into it: where it is, what it says, and the table that it keeps.

mod connection;
pub(crate) mod mapping;
pub(crate) mod table;

use std::path::PathBuf;

use aarp_core::settings::{DaemonUse, Settings};
use aarp_sys::daemon::{self, is_trusted, trusted};
use aarp_wire::mapper::Code;

use crate::{exit, record};
pub(crate) use connection::{Connection, Told};

/// Which daemon.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Which {
    /// The socket of aarpd, whoever it belongs to
    ///
    /// Without it, that of the configuration (daemon.socket); or /run/aarp/aarpd.sock, and
    /// then aarpd.sock in $XDG_RUNTIME_DIR/aarp.
    #[arg(long, value_name = "FILE", env = "AARP_PROBE_SOCKET")]
    pub(crate) socket: Option<PathBuf>,
}

impl Which {
    /// The socket that was named; an empty variable names none.
    fn named(&self) -> Option<&PathBuf> {
        self.socket
            .as_ref()
            .filter(|path| !path.as_os_str().is_empty())
    }

    /// Where the socket may be.
    fn sockets(&self, settings: &Settings) -> Vec<PathBuf> {
        match self.named() {
            Some(path) => vec![path.clone()],
            None => places(settings, settings.daemon.socket.as_str(), daemon::SOCKET),
        }
    }

    /// Where the table may be: beside a socket that was named.
    fn tables(&self, settings: &Settings) -> Vec<PathBuf> {
        match self.named() {
            Some(path) => vec![path.with_file_name("table")],
            None => places(settings, settings.daemon.table.as_str(), daemon::TABLE),
        }
    }

    /// A connection to the daemon.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn connect(&self, settings: &Settings) -> Result<Connection, MapperError> {
        let mut missing = Vec::new();
        for path in self.sockets(settings) {
            match Connection::open(&path) {
                Ok(connection) if self.named().is_some() => return Ok(connection),
                Ok(connection) if is_trusted(connection.uid, &trusted(settings)) => {
                    return Ok(connection);
                }
                Ok(connection) => {
                    return Err(MapperError::NotTrusted(path, connection.uid));
                }
                Err(errno) => missing.push((path, errno)),
            }
        }
        Err(MapperError::Absent(missing))
    }
}

/// Whether the configuration wants a daemon that is not there: then no program asks.
pub(crate) fn is_wanting(settings: &Settings) -> bool {
    settings.daemon.usage == DaemonUse::Require && Which::default().connect(settings).is_err()
}

/// What is configured; or the system's, and then the user's own: where programs look.
fn places(settings: &Settings, configured: &str, name: &str) -> Vec<PathBuf> {
    let mut places = Vec::new();
    daemon::at(settings, configured, name, |path| {
        places.push(PathBuf::from(path));
        None::<()>
    });
    places
}

/// Why aarpd does not say what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MapperError {
    /// Nobody listens at any of these places.
    #[error("not there: {}", why(.0))]
    Absent(Vec<(PathBuf, rustix::io::Errno)>),
    /// It is another user's.
    #[error("{}: belongs to user {}, whom programs of this user do not trust; --socket asks it all the same", .0.display(), .1)]
    NotTrusted(PathBuf, u32),
    /// It does not answer.
    #[error("{}: does not answer", .0.display())]
    Silent(PathBuf),
    /// It has closed the connection.
    #[error("{}: has closed the connection", .0.display())]
    Ended(PathBuf),
    /// It is no aarpd, or one of another version.
    #[error("{}: what listens there says what means nothing: {}", .0.display(), .1)]
    Nonsense(PathBuf, String),
    /// It refuses.
    #[error("{}: {}", .0.display(), .2)]
    Refused(PathBuf, Code, String),
    /// A call has failed.
    #[error("{}: {}: {}", .0.display(), .1, .2)]
    System(PathBuf, &'static str, std::io::Error),
}

impl MapperError {
    /// Whether nothing says that there ever was one.
    pub(crate) fn is_absent(&self) -> bool {
        let absent = |(_, errno): &(PathBuf, rustix::io::Errno)| *errno == rustix::io::Errno::NOENT;
        matches!(self, Self::Absent(missing) if missing.iter().all(absent))
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Absent(missing) => match missing.last() {
                Some((_, rustix::io::Errno::ACCESS)) => exit::NOT_PERMITTED,
                _ => exit::UNAVAILABLE,
            },
            Self::NotTrusted(..) | Self::Refused(_, Code::NOT_PERMITTED, _) => exit::NOT_PERMITTED,
            Self::Silent(_) | Self::Ended(_) | Self::Nonsense(..) | Self::Refused(..) => {
                exit::UNAVAILABLE
            }
            Self::System(..) => exit::SOFTWARE,
        }
    }
}

fn why(missing: &[(PathBuf, rustix::io::Errno)]) -> String {
    use rustix::io::Errno;
    let said = missing.iter().map(|(path, errno)| {
        let why = match *errno {
            Errno::NOENT | Errno::NOTDIR => "no such socket".to_owned(),
            Errno::CONNREFUSED => "nobody listens any more".to_owned(),
            Errno::AGAIN => "too many wait already".to_owned(),
            Errno::ACCESS => "this user may not connect".to_owned(),
            Errno::PROTOTYPE => "a socket of another kind".to_owned(),
            errno => std::io::Error::from(errno).to_string(),
        };
        format!("{} ({why})", path.display())
    });
    said.collect::<Vec<_>>().join(", ")
}

/// The exit code of a command about aarpd; where aarpd does not say what was asked, that
/// is said.
pub(crate) fn concluded(json: bool, ended: anyhow::Result<u8>) -> anyhow::Result<u8> {
    let error = match ended {
        Ok(code) => return Ok(code),
        Err(error) => error,
    };
    match error.downcast_ref::<MapperError>() {
        Some(why) => Ok(record::nothing(
            json,
            "aarpd",
            &why.to_string(),
            why.code(),
        )?),
        None => Err(error),
    }
}

/// Text of somebody else's, without what a terminal would obey.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_was_named_is_the_only_one() {
        let mut settings = Settings::DEFAULT;
        let which = |socket: Option<&str>| Which {
            socket: socket.map(PathBuf::from),
        };
        let named = which(Some("/x/aarpd.sock"));
        assert_eq!(named.sockets(&settings), [PathBuf::from("/x/aarpd.sock")]);
        assert_eq!(named.tables(&settings), [PathBuf::from("/x/table")]);
        for none in [None, Some("")] {
            let first = which(none).sockets(&settings).remove(0);
            assert_eq!(first, PathBuf::from("/run/aarp/aarpd.sock"));
        }
        settings.daemon.socket.push("/c/s");
        assert_eq!(which(None).sockets(&settings), [PathBuf::from("/c/s")]);
        assert_eq!(named.sockets(&settings), [PathBuf::from("/x/aarpd.sock")]);
    }

    #[test]
    fn what_was_said_by_others_does_not_steer_a_terminal() {
        assert_eq!(plain("a\u{1b}[2J\u{9b}m\nü"), "a?[2J?m?ü");
    }
}
