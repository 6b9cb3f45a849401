//! Where Prometheus reads: as much of HTTP as it needs, on a loopback address.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use aarp_host::failure::{Failure, code};
use aarp_mapper::pace::{Pace, Rate};
use rustix::event::epoll::{self, EventData, EventFlags};

/// Readers at the same time; more wait until one of them has gone.
const READERS: usize = 8;
/// Octets of the longest request.
const REQUEST_MAX: usize = 8 * 1024;
/// How many are let in: whose they are the kernel does not tell, so that all have it
/// together. Who comes then waits, and is not sent away.
const RATE: Rate = Rate::new(20, 20);
/// How long a reader may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is wanted of an exporter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// The metrics.
    Metrics,
    /// Something that is not there.
    Other,
    /// Something that is not done.
    Method,
}

/// A reader.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
    sent: usize,
    until: Duration,
}

/// How far a reader is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Its request is not complete.
    Reading,
    /// It is to be answered.
    Asks(Request),
    /// It has not read all of the answer.
    Writing,
    /// It is done with, in whatever way.
    Over,
}

/// The listening socket, and who reads.
#[derive(Debug)]
pub(crate) struct Exporter {
    listener: TcpListener,
    readers: HashMap<u64, Reader>,
    next: u64,
    pace: Pace,
    /// Until when nobody is let in.
    paused: Option<Duration>,
    /// What is waited for at its socket.
    armed: EventFlags,
}

impl Exporter {
    /// Listens on a loopback address.
    pub(crate) fn open(address: SocketAddr, first: u64) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            let message = format!("daemon.metrics: listen on {address}: {error}");
            Failure::new(code::UNAVAILABLE, message)
        };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self {
            listener,
            readers: HashMap::new(),
            next: first,
            pace: Pace::default(),
            paused: None,
            armed: EventFlags::IN,
        })
    }

    /// Lets somebody in, if anybody waits and there is room.
    pub(crate) fn accept(&mut self, now: Duration) -> io::Result<Option<(u64, &Reader)>> {
        if self.is_full() {
            return Ok(None);
        }
        let next = self.pace.next(&RATE, now);
        if next > now {
            self.paused = Some(next);
            return Ok(None);
        }
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(None),
            Err(error) => return Err(error),
        };
        self.pace.take(&RATE, now);
        stream.set_nonblocking(true)?;
        let number = self.next;
        self.next += 1;
        let reader = Reader {
            stream,
            request: Vec::new(),
            answer: Vec::new(),
            sent: 0,
            until: now + PATIENCE,
        };
        Ok(Some((
            number,
            self.readers.entry(number).insert_entry(reader).into_mut(),
        )))
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut Reader> {
        self.readers.get_mut(&number)
    }

    pub(crate) fn remove(&mut self, number: u64) {
        self.readers.remove(&number);
    }

    /// When somebody has had enough time, or may be let in again.
    pub(crate) fn due(&self) -> Option<Duration> {
        let untils = self.readers.values().map(|reader| reader.until);
        untils.chain(self.paused).min()
    }

    /// Lets those go who have taken too long.
    pub(crate) fn expire(&mut self, now: Duration) {
        self.readers.retain(|_, reader| reader.until > now);
        self.paused = self.paused.filter(|until| now < *until);
    }

    fn is_full(&self) -> bool {
        self.readers.len() >= READERS
    }

    /// Has who comes be waited for, or not while nobody is let in.
    pub(crate) fn arm(&mut self, epoll: &OwnedFd, number: u64) -> rustix::io::Result<()> {
        let wanted = match self.paused.is_some() || self.is_full() {
            true => EventFlags::empty(),
            false => EventFlags::IN,
        };
        if wanted != self.armed {
            epoll::modify(epoll, &*self, EventData::new_u64(number), wanted)?;
            self.armed = wanted;
        }
        Ok(())
    }
}

impl AsFd for Exporter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl AsFd for Reader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Reader {
    /// Reads, or writes on.
    pub(crate) fn turn(&mut self) -> Turn {
        if !self.answer.is_empty() {
            return self.write();
        }
        let mut room = [0; 1024];
        loop {
            if let Some(request) = request(&self.request) {
                return Turn::Asks(request);
            }
            match self.stream.read(&mut room) {
                Ok(0) => return Turn::Over,
                Ok(_) if self.request.len() >= REQUEST_MAX => return Turn::Over,
                Ok(length) => self.request.extend_from_slice(&room[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Turn::Reading,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Turn::Over,
            }
        }
    }

    /// Answers.
    pub(crate) fn answer(&mut self, request: Request, text: impl FnOnce() -> String) -> Turn {
        let (status, text) = match request {
            Request::Metrics => ("200 OK", text()),
            Request::Other => ("404 Not Found", "metrics are at /metrics\n".to_owned()),
            Request::Method => ("405 Method Not Allowed", String::new()),
        };
        self.answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{text}",
            text.len()
        )
        .into_bytes();
        self.write()
    }

    fn write(&mut self) -> Turn {
        while self.sent < self.answer.len() {
            match self.stream.write(&self.answer[self.sent..]) {
                Ok(0) => return Turn::Over,
                Ok(length) => self.sent += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Turn::Writing,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Turn::Over,
            }
        }
        Turn::Over
    }
}

/// What a whole request wants; `None` while it is not whole.
pub(crate) fn request(octets: &[u8]) -> Option<Request> {
    let is_whole = octets.windows(4).any(|end| end == b"\r\n\r\n")
        || octets.windows(2).any(|end| end == b"\n\n");
    if !is_whole {
        return None;
    }
    let line = octets
        .split(|octet| *octet == b'\n')
        .next()
        .unwrap_or_default();
    let mut words = line.trim_ascii_end().split(|octet| *octet == b' ');
    let (method, target) = (words.next(), words.next());
    let path = target.and_then(|target| target.split(|octet| *octet == b'?').next());
    Some(match (method, path) {
        (Some(b"GET"), Some(b"/metrics" | b"/metrics/")) => Request::Metrics,
        (Some(b"GET"), _) => Request::Other,
        _ => Request::Method,
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn requests_are_whole_or_not_at_all() {
        let whole = "GET /metrics HTTP/1.1\r\nHost: [::1]:9847\r\n\r\n";
        for length in 0..whole.len() {
            assert_eq!(request(&whole.as_bytes()[..length]), None);
        }
        for (text, wanted) in [
            (whole, Request::Metrics),
            ("GET /metrics?x=1 HTTP/1.0\n\n", Request::Metrics),
            ("GET / HTTP/1.1\r\n\r\n", Request::Other),
            ("GET\r\n\r\n", Request::Other),
            ("POST /metrics HTTP/1.1\r\n\r\n", Request::Method),
            ("\r\n\r\n", Request::Method),
        ] {
            assert_eq!(request(text.as_bytes()), Some(wanted), "{text:?}");
        }
    }

    /// Whether somebody waits whom the loop is to let in.
    fn is_awaited(exporter: &mut Exporter, epoll: &OwnedFd, number: u64) -> bool {
        exporter.arm(epoll, number).unwrap();
        let mut events = Vec::with_capacity(1);
        let room = rustix::buffer::spare_capacity(&mut events);
        let at_once = rustix::event::Timespec::default();
        epoll::wait(epoll, room, Some(&at_once)).unwrap() == 1
    }

    #[test]
    fn who_finds_no_room_waits_for_it() {
        const ENTRANCE: u64 = 7;
        let mut exporter = Exporter::open((Ipv6Addr::LOCALHOST, 0).into(), 100).unwrap();
        let address = exporter.listener.local_addr().unwrap();
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let data = EventData::new_u64(ENTRANCE);
        epoll::add(&epoll, &exporter, data, EventFlags::IN).unwrap();
        let connect = |_| TcpStream::connect(address).unwrap();
        let clients: Vec<_> = (0..READERS + 2).map(connect).collect();
        let begin = Duration::from_secs(1000);
        let until = |n| begin + Duration::from_millis(n) + PATIENCE;
        let mut numbers = Vec::new();
        for n in 0..READERS as u64 {
            assert!(is_awaited(&mut exporter, &epoll, ENTRANCE));
            let now = begin + Duration::from_millis(n);
            let (number, _) = exporter.accept(now).unwrap().unwrap();
            numbers.push(number);
        }
        // It is full: nobody is let in, and nobody is sent away.
        let now = begin + Duration::from_millis(100);
        assert!(exporter.accept(now).unwrap().is_none());
        assert!(!is_awaited(&mut exporter, &epoll, ENTRANCE));
        for client in &clients {
            client.set_nonblocking(true).unwrap();
            let error = client.peek(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
        // Until one has gone, or has had its time.
        exporter.remove(numbers[5]);
        assert!(is_awaited(&mut exporter, &epoll, ENTRANCE));
        assert!(exporter.accept(now).unwrap().is_some());
        assert!(!is_awaited(&mut exporter, &epoll, ENTRANCE));
        assert_eq!(exporter.due(), Some(until(0)));
        exporter.expire(until(0));
        assert!(is_awaited(&mut exporter, &epoll, ENTRANCE));
        let (_, last) = exporter.accept(until(0)).unwrap().unwrap();
        let from = clients[READERS + 1].local_addr().unwrap();
        assert_eq!(last.stream.peer_addr().unwrap(), from);
    }
}
