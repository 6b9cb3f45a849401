//! The status sockets of the daemons: whoever connects gets JSON records, one a line,
//! and the end of the stream.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::process::test_kill_process;
use thiserror::Error;

/// How long a reader may take to read.
const PATIENCE: Duration = Duration::from_secs(5);
/// Readers at the same time; more have to come again.
const READERS: usize = 4;

/// A status socket that cannot be made, or not be read.
#[derive(Debug, Error)]
pub enum StatusError {
    /// Another process serves it.
    #[error("{}: another process serves it", .path.display())]
    Busy {
        /// The socket.
        path: PathBuf,
    },
    /// Nobody serves it.
    #[error("{}: nobody serves it: {error}", .path.display())]
    Nobody {
        /// The socket.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is not ours to read.
    #[error("{}: not permitted: only root, or the user whose daemon it is, may read it", .path.display())]
    NotPermitted {
        /// The socket.
        path: PathBuf,
    },
    /// It has too many readers.
    #[error("{}: no answer, too many ask at the same time: try again", .path.display())]
    Busied {
        /// The socket.
        path: PathBuf,
    },
    /// Something else.
    #[error("{}: {operation}: {error}", .path.display())]
    Failed {
        /// The socket.
        path: PathBuf,
        /// What was done.
        operation: &'static str,
        /// Why it failed.
        error: io::Error,
    },
}

/// A status socket that is served. It goes away with this value.
#[derive(Debug)]
pub struct StatusSocket {
    listener: UnixListener,
    path: PathBuf,
    readers: Arc<AtomicUsize>,
}

impl StatusSocket {
    /// Serves `path`, in a folder that is made if need be. What a dead process left
    /// there is replaced.
    ///
    /// # Errors
    /// [`StatusError::Busy`] when another process serves it.
    pub fn bind(path: &Path) -> Result<Self, StatusError> {
        let failed = |operation| {
            move |error| StatusError::Failed {
                path: path.to_owned(),
                operation,
                error,
            }
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed("make its folder"))?;
        }
        match UnixStream::connect(path) {
            Ok(stream) if is_held(&stream) => {
                return Err(StatusError::Busy {
                    path: path.to_owned(),
                });
            }
            Ok(_) => std::fs::remove_file(path).map_err(failed("remove what was left there"))?,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(failed("remove what was left there"))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("look whether it is served")(error)),
        }
        let listener = UnixListener::bind(path).map_err(failed("bind"))?;
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(path, private).map_err(failed("set its mode"))?;
        listener
            .set_nonblocking(true)
            .map_err(failed("make it non-blocking"))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            readers: Arc::default(),
        })
    }

    /// Answers everybody who waits with what `records` returns. A reader that does not
    /// read holds nobody up.
    ///
    /// # Errors
    /// When somebody could not be answered, as for want of descriptors or threads: a
    /// thing to be told, and no reason to end.
    pub fn answer(
        &self,
        records: impl Fn() -> Box<dyn FnOnce() -> Vec<u8> + Send>,
    ) -> io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Who came is gone again.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            // Without a record: the reader sees that there was no answer.
            if self.readers.load(Ordering::Acquire) >= READERS {
                continue;
            }
            self.readers.fetch_add(1, Ordering::AcqRel);
            // What is copied here is made into records there: the daemon goes on.
            let (render, readers) = (records(), Arc::clone(&self.readers));
            let work = move || {
                // A reader that has gone, or does not read, gets nothing.
                let _ = write(stream, &render());
                readers.fetch_sub(1, Ordering::AcqRel);
            };
            let thread = std::thread::Builder::new()
                .name("status".to_owned())
                .stack_size(64 << 10)
                .spawn(work);
            if let Err(error) = thread {
                self.readers.fetch_sub(1, Ordering::AcqRel);
                return Err(error);
            }
        }
    }
}

/// Whether who listens at the other end is alive. A daemon that was killed may have left
/// its socket to a child, for as long as that takes to become the program that it is to be.
fn is_held(stream: &UnixStream) -> bool {
    // Of whoever began to listen. One that is not known is not known to be dead.
    match sockopt::socket_peercred(stream) {
        Ok(peer) => test_kill_process(peer.pid) != Err(Errno::SRCH),
        Err(_) => true,
    }
}

fn write(mut stream: UnixStream, records: &[u8]) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(records)
}

impl AsFd for StatusSocket {
    /// Readable when somebody waits.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for StatusSocket {
    fn drop(&mut self) {
        // Somebody else may have removed it.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The records of the daemon that serves `path`, one a line.
///
/// # Errors
/// [`StatusError::Nobody`] when none does.
pub fn read(path: &Path) -> Result<Vec<String>, StatusError> {
    let stream = UnixStream::connect(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => StatusError::Nobody {
            path: path.to_owned(),
            error,
        },
        io::ErrorKind::PermissionDenied => StatusError::NotPermitted {
            path: path.to_owned(),
        },
        _ => StatusError::Failed {
            path: path.to_owned(),
            operation: "connect",
            error,
        },
    })?;
    let failed = |error| StatusError::Failed {
        path: path.to_owned(),
        operation: "read",
        error,
    };
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let lines: Result<Vec<_>, _> = BufReader::new(stream).lines().collect();
    let lines = lines.map_err(failed)?;
    match lines.is_empty() {
        // Every status has at least one record.
        true => Err(StatusError::Busied {
            path: path.to_owned(),
        }),
        false => Ok(lines),
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn serve(socket: &StatusSocket, records: &[u8]) {
        let within = Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        };
        let ready = poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&within));
        assert_eq!(ready, Ok(1), "somebody has connected");
        let records = records.to_vec();
        let answered = socket.answer(|| {
            let records = records.clone();
            Box::new(move || records)
        });
        answered.unwrap();
    }

    #[test]
    fn whoever_connects_gets_the_records() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/agent.sock");
        assert!(matches!(read(&path), Err(StatusError::Nobody { .. })));
        let socket = StatusSocket::bind(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let busy = StatusSocket::bind(&path);
        assert!(matches!(busy, Err(StatusError::Busy { .. })));
        // The look whether it is served has connected, and gone.
        serve(&socket, b"");
        let large = b"{\"a\":1}\n".repeat(100_000);
        let reader = std::thread::spawn({
            let path = path.clone();
            move || read(&path)
        });
        serve(&socket, &large);
        assert_eq!(reader.join().unwrap().unwrap().len(), 100_000);
        drop(socket);
        assert!(matches!(read(&path), Err(StatusError::Nobody { .. })));
    }

    #[test]
    fn readers_that_do_not_read_hold_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.sock");
        let socket = StatusSocket::bind(&path).unwrap();
        let large = vec![b'x'; 8 << 20];
        let idle: Vec<_> = (0..READERS + 2)
            .map(|_| UnixStream::connect(&path).unwrap())
            .collect();
        serve(&socket, &large);
        assert!(socket.readers.load(Ordering::Acquire) <= READERS);
        // Who comes now has no answer, and is told so.
        let late = std::thread::spawn({
            let path = path.clone();
            move || read(&path)
        });
        serve(&socket, &large);
        assert!(matches!(
            late.join().unwrap(),
            Err(StatusError::Busied { .. })
        ));
        drop(idle);
    }

    /// A status of a large table takes its time to be written, and the daemon has other
    /// things to do.
    #[test]
    fn records_that_take_long_hold_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.sock");
        let socket = StatusSocket::bind(&path).unwrap();
        let reader = std::thread::spawn({
            let path = path.clone();
            move || read(&path)
        });
        let within = Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        };
        let ready = poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&within));
        assert_eq!(ready, Ok(1), "somebody has connected");
        let (go, wait) = std::sync::mpsc::channel();
        let wait = Arc::new(std::sync::Mutex::new(wait));
        let answered = socket.answer(|| {
            let wait = Arc::clone(&wait);
            // Written when the daemon has gone on, or never.
            Box::new(move || match wait.lock().unwrap().recv_timeout(PATIENCE) {
                Ok(()) => b"{}\n".to_vec(),
                Err(_) => Vec::new(),
            })
        });
        answered.unwrap();
        go.send(()).unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), ["{}"]);
    }

    /// Killed between fork and exec, a process leaves its sockets to the child for a moment.
    #[test]
    fn what_a_dead_process_left_to_its_child_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.sock");
        // The child holds the socket until its input ends.
        let script = "import os, socket, sys\ns = socket.socket(socket.AF_UNIX)\n\
             s.bind(sys.argv[1])\ns.listen()\nif os.fork() == 0: sys.stdin.read()\nos._exit(0)\n";
        let python = std::process::Command::new("python3")
            .args(["-c", script])
            .arg(&path)
            .stdin(std::process::Stdio::piped())
            .spawn();
        let Ok(mut parent) = python else {
            return eprintln!("SKIPPED: there is no python3");
        };
        let input = parent.stdin.take();
        assert!(parent.wait().unwrap().success());
        assert!(UnixStream::connect(&path).is_ok(), "it is there");
        assert!(StatusSocket::bind(&path).is_ok());
        drop(input);
    }

    #[test]
    fn what_a_dead_process_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.sock");
        // Closed, and its name is still there.
        drop(UnixListener::bind(&path).unwrap());
        // A child that another test has begun may hold what was dropped, until it is a
        // program.
        let begun = std::time::Instant::now();
        loop {
            match StatusSocket::bind(&path) {
                Err(StatusError::Busy { .. }) if begun.elapsed() < Duration::from_secs(60) => {
                    std::thread::yield_now();
                }
                socket => break drop(socket.unwrap()),
            }
        }
    }
}
