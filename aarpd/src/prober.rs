//! The sockets that probe: one for each method, for all questions.

use std::net::Ipv6Addr;

use aarp_core::probing::{Incoming, MESSAGE_MAX};
use aarp_core::resolution::{METHODS, RANKING, Rank};
use aarp_core::settings::Methods;
use aarp_host::failure::{Failure, code};
use aarp_mapper::{Probe, Start};
use aarp_sys::probe::{Kind, ProbeSocket, Received, is_from_icmp};
use aarp_sys::process::random;
use aarp_sys::route::{Origin, RouteSocket};
use aarp_sys::syscall::Errno;
use aarp_wire::probe::Method;
use aarp_wire::route::RouteRepr;

/// How much of one socket is worked off before everything else has its turn.
const BATCH: usize = 64;
/// Where the identifier of an echo message is.
const IDENT: std::ops::Range<usize> = 4..6;

/// The sockets.
#[derive(Debug)]
pub(crate) struct Prober {
    sockets: [Option<ProbeSocket>; METHODS],
    routes: RouteSocket,
    /// The identifier of echo requests; on a ping socket the kernel sets it.
    ident: Option<u16>,
}

/// The octets of a random value.
fn bits<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bits = [0; N];
    random(&mut bits).map_err(|errno| Failure::system("getrandom", errno))?;
    Ok(bits)
}

impl Prober {
    /// Opens a socket for each method that the kernel permits.
    pub(crate) fn open() -> Result<Self, Failure> {
        let origin = Origin::default();
        let mut sockets = [const { None }; METHODS];
        for (socket, method) in sockets.iter_mut().zip(RANKING) {
            let opened = match method {
                // A ping socket is not woken by every reply to every ping of the host.
                Method::Echo => ProbeSocket::for_echo(&origin),
                Method::Unreach => ProbeSocket::open(Kind::Udp, &origin, 0),
            };
            match opened {
                Ok(opened) => *socket = Some(opened),
                Err(Errno(libc::EPERM | libc::EACCES)) => {}
                Err(errno) => return Err(Failure::system("open a probe socket", errno)),
            }
        }
        let routes =
            RouteSocket::open().map_err(|e| Failure::system("open a netlink socket", e))?;
        let is_raw =
            |socket: &Option<ProbeSocket>| socket.as_ref().is_some_and(|s| s.kind() == Kind::Raw);
        let ident = if is_raw(&sockets[0]) {
            Some(u16::from_ne_bytes(bits()?))
        } else {
            None
        };
        Ok(Self {
            sockets,
            routes,
            ident,
        })
    }

    /// Fails where nobody can be asked by what the configuration wants first.
    pub(crate) fn require(&self, wanted: Methods) -> Result<(), Failure> {
        let methods = self.methods();
        if !methods.and(wanted).is_empty() {
            return Ok(());
        }
        Err(Failure::new(
            code::NOT_PERMITTED,
            "neither a ping socket nor a raw socket is permitted: it needs CAP_NET_RAW, or its \
             group in net.ipv4.ping_group_range",
        ))
    }

    /// The methods that there are sockets for.
    fn methods(&self) -> Methods {
        let there = RANKING.iter().zip(&self.sockets);
        let there = there.filter(|(_, socket)| socket.is_some());
        there.fold(Methods::NONE, |methods, (method, _)| methods.with(*method))
    }

    /// The sockets that there are, each with its rank.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = (Rank, &ProbeSocket)> {
        let ranked = self.sockets.iter().enumerate();
        ranked.filter_map(|(rank, socket)| Some((rank, socket.as_ref()?)))
    }

    /// With what a question about `a` begins.
    pub(crate) fn start(&mut self, a: Ipv6Addr) -> Result<Start, Failure> {
        let route = self.routes.to(a, &Origin::default());
        Ok(Start {
            route: route.map_err(|errno| Failure::system("look for a route", errno))?,
            methods: self.methods(),
            ident: self.ident,
            random: bits()?,
        })
    }

    /// Sends a probe. Whether this host has it.
    pub(crate) fn send(&self, probe: &Probe) -> Result<(), Errno> {
        let Some(socket) = &self.sockets[probe.rank] else {
            return Err(Errno(libc::EPERM));
        };
        let to = (probe.to, probe.port, 0);
        // An error about an earlier probe is told in the place of sending, once for each;
        // what the kernel itself says about this one stays the same.
        let mut told = Errno(libc::EHOSTUNREACH);
        for _ in 0..4 {
            match socket.send(to, &Origin::default(), probe.message()) {
                // A later attempt may find room.
                Ok(()) | Err(Errno(libc::EAGAIN | libc::ENOBUFS | libc::EINTR)) => return Ok(()),
                Err(errno) if is_from_icmp(errno) => told = errno,
                Err(errno) => return Err(errno),
            }
        }
        Err(told)
    }

    /// Shows what has come in on a socket, some of it, and gives what looks for routes.
    pub(crate) fn receive(
        &mut self,
        rank: Rank,
        mut show: impl FnMut(&Incoming<'_>, Ipv6Addr, &mut RouteSocket),
    ) -> Result<(), Failure> {
        let Some(socket) = self.sockets.get(rank).and_then(Option::as_ref) else {
            return Ok(());
        };
        for _ in 0..BATCH {
            let mut buffer = [0; 2 * MESSAGE_MAX];
            let received = socket.receive(&mut buffer);
            match received.map_err(|errno| Failure::system("receive a probe's answer", errno))? {
                Received::Message(message, source) if self.is_own(rank, message) => {
                    show(&Incoming::Message(message), source, &mut self.routes);
                }
                Received::Error(error, offender) => {
                    show(&Incoming::Error(error), offender, &mut self.routes);
                }
                Received::Message(..) | Received::Other => {}
                Received::Nothing => break,
            }
        }
        Ok(())
    }

    /// A raw socket hears the answers to all pings of the host.
    fn is_own(&self, rank: Rank, message: &[u8]) -> bool {
        match self.ident {
            Some(ident) if RANKING[rank] == Method::Echo => {
                message.get(IDENT) == Some(&ident.to_be_bytes()[..])
            }
            _ => true,
        }
    }
}

/// The route to an address, where there is one and the kernel says so.
pub(crate) fn route(routes: &mut RouteSocket, to: Ipv6Addr) -> Option<RouteRepr> {
    routes.to(to, &Origin::default()).ok().flatten()
}
