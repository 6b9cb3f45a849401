//! ICMPv6 echo with everything of the sender's choice: source address, flow label,
//! identifier and payload.

use std::io::{self, ErrorKind};
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

use aarp_wire::icmpv6::{ECHO_HEADER, EchoKind, EchoRepr};
use socket2::{Domain, Protocol, Socket, Type};

/// Octets of the longest payload.
const DATA_MAX: usize = 64;

/// Which socket it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The identifier is the kernel's.
    Ping,
    /// The identifier is ours, and everybody's replies come in.
    Raw,
}

impl Kind {
    /// The name in diagnostics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Ping => "ping socket",
            Kind::Raw => "raw socket",
        }
    }
}

/// A socket for echoes, which does not block.
#[derive(Debug)]
pub(crate) struct EchoSocket {
    // Its send_to and recv_from are those of every socket of datagrams.
    socket: UdpSocket,
    kind: Kind,
    labels: bool,
}

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) source: Ipv6Addr,
    pub(crate) ident: u16,
    pub(crate) sequence: u16,
    pub(crate) data: Vec<u8>,
}

impl EchoSocket {
    /// Opens a socket that sends from `source`, or from what the kernel chooses.
    ///
    /// # Errors
    /// What the kernel says: `EACCES` or `EPERM` where it is not permitted, and
    /// `EADDRNOTAVAIL` where the source is no address of this host.
    pub(crate) fn open(kind: Kind, source: Option<Ipv6Addr>) -> io::Result<Self> {
        let socket_type = match kind {
            Kind::Ping => Type::DGRAM,
            Kind::Raw => Type::RAW,
        };
        let socket = Socket::new(Domain::IPV6, socket_type, Some(Protocol::ICMPV6))?;
        socket.set_nonblocking(true)?;
        if let Some(source) = source {
            socket.bind(&SocketAddrV6::new(source, 0, 0, 0).into())?;
        }
        // Without them the kernel derives them from the addresses.
        let labels = aarp_sys::flow::send_flow_labels(&socket).is_ok();
        Ok(Self {
            socket: socket.into(),
            kind,
            labels,
        })
    }

    /// Which socket it is.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it sends flow labels of ours.
    pub(crate) fn has_labels(&self) -> bool {
        self.labels
    }

    /// The identifier that the kernel has given to a ping socket that has a name.
    pub(crate) fn ident(&self) -> Option<u16> {
        match (self.kind, self.socket.local_addr()) {
            (Kind::Ping, Ok(name)) if name.port() != 0 => Some(name.port()),
            _ => None,
        }
    }

    /// The source address that packets to `to` leave from: that of a socket connected
    /// to it.
    pub(crate) fn source_to(to: Ipv6Addr) -> io::Result<Ipv6Addr> {
        // Connecting sends nothing; the port is of no meaning.
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
        socket.connect((to, 9))?;
        match socket.local_addr()? {
            SocketAddr::V6(name) => Ok(*name.ip()),
            SocketAddr::V4(_) => Err(ErrorKind::InvalidData.into()),
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// What sendto(2) says.
    pub(crate) fn send(
        &self,
        to: Ipv6Addr,
        label: Option<u32>,
        ident: u16,
        sequence: u16,
        data: &[u8],
    ) -> io::Result<()> {
        let mut buffer = [0; ECHO_HEADER + DATA_MAX];
        let request = EchoRepr {
            kind: EchoKind::Request,
            ident,
            sequence,
            data,
        };
        let message = request
            .emit(&mut buffer)
            .map_err(|error| io::Error::new(ErrorKind::InvalidInput, error.to_string()))?;
        // In network byte order, as in the header (RFC 3493 §3.3).
        let label = label.filter(|_| self.labels).unwrap_or(0).to_be();
        let to = SocketAddrV6::new(to, 0, label, 0);
        self.socket.send_to(message, to).map(drop)
    }

    /// Takes a reply that has come in; none where there is nothing more. What is no
    /// echo reply is passed over.
    ///
    /// # Errors
    /// What recvfrom(2) says.
    pub(crate) fn receive(&self) -> io::Result<Option<Reply>> {
        let mut buffer = [0; ECHO_HEADER + DATA_MAX];
        // A flood of foreign messages does not hold the caller for ever.
        for _ in 0..256 {
            let (count, source) = match self.socket.recv_from(&mut buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let SocketAddr::V6(source) = source else {
                continue;
            };
            match EchoRepr::parse(&buffer[..count]) {
                Ok(reply) if reply.kind == EchoKind::Reply => {
                    return Ok(Some(Reply {
                        source: *source.ip(),
                        ident: reply.ident,
                        sequence: reply.sequence,
                        data: reply.data.to_vec(),
                    }));
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

impl std::os::fd::AsFd for EchoSocket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
