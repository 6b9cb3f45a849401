//! Asking the network who answers for an anycast address.

use core::fmt;
use core::net::Ipv6Addr;
use core::time::Duration;

use aarp_core::accept::{Refusal, Verdict, judge_address, judge_routes};
use aarp_core::mapping::Answer;
use aarp_core::policy::Plan;
use aarp_core::probing::{Echo, Ignored, MESSAGE_MAX, Question, Step};
use aarp_core::settings::Settings;
use aarp_wire::probe::Method;
use aarp_wire::route::{RouteRepr, RouteType};

use crate::clock::boottime;
use crate::echo::{EchoSocket, Incoming, Kind, Waited};
use crate::interrupt::{HeldSignals, Interruptible};
use crate::process::random;
use crate::route::{Origin, RouteSocket};
use crate::syscall::Errno;

/// A question to the network.
#[derive(Debug, Clone, Copy)]
pub struct Inquiry<'s> {
    /// What answers count, by configuration.
    pub settings: &'s Settings,
    /// The address that is asked.
    pub a: Ipv6Addr,
    /// Its scope, as the program gave it.
    pub scope: u32,
    /// Methods and times.
    pub plan: Plan,
    /// The longest that it may take.
    pub budget: Duration,
    /// What packets are sent with.
    pub origin: Origin,
    /// Which signals end it.
    pub interruptible: Interruptible,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The answer.
    pub answer: Answer,
    /// By which method.
    pub method: Method,
    /// By which socket.
    pub socket: Kind,
    /// How many probes were sent.
    pub sent: u32,
    /// How many datagrams were no answers, by [`Ignored`].
    pub ignored: [u32; Ignored::ALL.len()],
    /// The last source that was refused, and why.
    pub refused: Option<(Ipv6Addr, Refusal)>,
    /// Whether the network said that A is unreachable.
    pub unreachable: bool,
}

/// Why nobody could be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskError {
    /// A is an address of this host, and such are not asked about.
    Local,
    /// There is no route to A.
    NoRoute,
    /// None of the methods wanted is one that this version has.
    NoMethod,
    /// The kernel permits neither a ping socket nor a raw one.
    NotPermitted,
    /// A signal came that interrupts the program's call.
    Interrupted,
    /// The named system call failed.
    System(&'static str, Errno),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::Local => f.write_str("it is an address of this host"),
            AskError::NoRoute => f.write_str("there is no route to it"),
            AskError::NoMethod => f.write_str("no probe method is configured that is available"),
            AskError::NotPermitted => {
                f.write_str("neither a ping socket nor a raw socket is permitted")
            }
            AskError::Interrupted => f.write_str("interrupted by a signal"),
            AskError::System(call, errno) => write!(f, "{call}: {errno}"),
        }
    }
}

impl core::error::Error for AskError {}

fn failed(call: &'static str) -> impl FnOnce(Errno) -> AskError {
    move |errno| AskError::System(call, errno)
}

/// Asks, and waits for the answer as long as the budget lasts.
///
/// # Errors
/// Why nobody could be asked. No answer is not an error, but [`Answer::None`].
pub fn ask(inquiry: &Inquiry<'_>) -> Result<Report, AskError> {
    if !inquiry.plan.methods.contains(Method::Echo) {
        return Err(AskError::NoMethod);
    }
    let began = boottime();
    let mut open = None;
    loop {
        // Dropped after everything that is open: see the module `interrupt`.
        let signals = HeldSignals::hold(inquiry.interruptible).map_err(failed("signal mask"))?;
        let routes = RouteSocket::open().map_err(failed("netlink socket"))?;
        let (kind, ident) = open.as_ref().map_or((None, 0), |open: &Open| {
            (Some(open.report.socket), open.ident)
        });
        let socket = match kind {
            None => EchoSocket::open(&inquiry.origin),
            Some(kind) => EchoSocket::open_kind(kind, &inquiry.origin, ident),
        };
        let mut exchange = match (open.take(), socket) {
            (Some(open), Ok(socket)) => Exchange {
                inquiry,
                routes,
                socket,
                open,
            },
            (None, Ok(socket)) => Exchange::begin(inquiry, routes, socket, began)?,
            (_, Err(Errno(libc::EPERM | libc::EACCES))) => {
                // A destination that cannot be asked about is no matter of permission.
                route_to(inquiry, routes)?;
                return Err(AskError::NotPermitted);
            }
            (_, Err(errno)) => return Err(AskError::System("probe socket", errno)),
        };
        if exchange.run(&signals)? == Ran::ToTheEnd {
            return Ok(exchange.finished());
        }
        if signals.interrupts() {
            return Err(AskError::Interrupted);
        }
        exchange.open.ident = exchange.socket.ident();
        open = Some(exchange.open);
        // Here everything is closed, and then the handlers run.
    }
}

/// The route to A, if A is one to ask about.
fn route_to(
    inquiry: &Inquiry<'_>,
    mut routes: RouteSocket,
) -> Result<(RouteSocket, RouteRepr), AskError> {
    let to_a = routes
        .to(inquiry.a, &inquiry.origin)
        .map_err(failed("route lookup"))?;
    let to_a = to_a.ok_or(AskError::NoRoute)?;
    match to_a.route_type {
        RouteType::Unicast => Ok((routes, to_a)),
        RouteType::Local | RouteType::Anycast if inquiry.settings.include_local => {
            Ok((routes, to_a))
        }
        RouteType::Refusing => Err(AskError::NoRoute),
        _ => Err(AskError::Local),
    }
}

fn question(inquiry: &Inquiry<'_>, kind: Kind, began: Duration) -> Result<Question<Echo>, Errno> {
    let mut bits = [0u8; 20];
    random(&mut bits)?;
    let mut nonce = [0; 16];
    nonce.copy_from_slice(&bits[..16]);
    let ident = (kind == Kind::Raw).then(|| u16::from_ne_bytes([bits[16], bits[17]]));
    let first_sequence = u16::from_ne_bytes([bits[18], bits[19]]);
    let echo = Echo {
        ident,
        first_sequence,
    };
    Ok(Question::new(
        echo,
        nonce,
        inquiry.plan.times.retransmit,
        began,
        inquiry.budget,
    ))
}

/// A question that is open: what outlives the sockets.
struct Open {
    question: Question<Echo>,
    to_a: RouteRepr,
    /// The identifier of the ping socket that was closed.
    ident: u16,
    report: Report,
}

/// How far a question was driven.
#[derive(Debug, PartialEq, Eq)]
enum Ran {
    /// It is over.
    ToTheEnd,
    /// A signal is being held back.
    IntoASignal,
}

struct Exchange<'i, 's> {
    inquiry: &'i Inquiry<'s>,
    routes: RouteSocket,
    socket: EchoSocket,
    open: Open,
}

impl<'i, 's> Exchange<'i, 's> {
    fn begin(
        inquiry: &'i Inquiry<'s>,
        routes: RouteSocket,
        socket: EchoSocket,
        began: Duration,
    ) -> Result<Self, AskError> {
        let (routes, to_a) = route_to(inquiry, routes)?;
        let question = question(inquiry, socket.kind(), began).map_err(failed("getrandom"))?;
        let report = Report {
            answer: Answer::None {
                waited: inquiry.budget,
            },
            method: question.method(),
            socket: socket.kind(),
            sent: 0,
            ignored: [0; Ignored::ALL.len()],
            refused: None,
            unreachable: false,
        };
        Ok(Self {
            inquiry,
            routes,
            socket,
            open: Open {
                question,
                to_a,
                ident: 0,
                report,
            },
        })
    }

    fn run(&mut self, signals: &HeldSignals) -> Result<Ran, AskError> {
        loop {
            match self.open.question.step(boottime()) {
                Step::Send => {
                    let mut buffer = [0; MESSAGE_MAX];
                    let message = self.open.question.emit(boottime(), &mut buffer);
                    let sent = self
                        .socket
                        .send(self.inquiry.a, self.inquiry.scope, message);
                    match sent {
                        Ok(()) => {}
                        // A later attempt may find room.
                        Err(Errno(libc::EAGAIN | libc::ENOBUFS | libc::EINTR)) => {}
                        // The kernel or a filter of this host will not have it.
                        Err(Errno(
                            libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EPERM,
                        )) => {
                            self.open.report.unreachable = true;
                            return Ok(Ran::ToTheEnd);
                        }
                        Err(errno) => return Err(AskError::System("sendto", errno)),
                    }
                }
                Step::Wait(until) => {
                    match self.socket.wait(until, signals).map_err(failed("ppoll"))? {
                        Waited::Ready => {
                            if self.take_what_came()? {
                                return Ok(Ran::ToTheEnd);
                            }
                        }
                        Waited::TimedOut => {}
                        Waited::Signal => return Ok(Ran::IntoASignal),
                    }
                }
                Step::Over => return Ok(Ran::ToTheEnd),
            }
        }
    }

    fn finished(self) -> Report {
        let mut report = self.open.report;
        report.sent = self.open.question.sent();
        if report.unreachable && matches!(report.answer, Answer::None { .. }) {
            // Waiting longer would not have helped.
            let waited = self.inquiry.budget.max(self.inquiry.plan.times.budget);
            report.answer = Answer::None { waited };
        }
        report
    }

    /// Whether the question is over. Looks at a bounded number of datagrams, so
    /// that a flood of forged ones does not hold the caller beyond its budget.
    fn take_what_came(&mut self) -> Result<bool, AskError> {
        for _ in 0..64 {
            let mut buffer = [0; 2 * MESSAGE_MAX];
            match self
                .socket
                .receive(&mut buffer)
                .map_err(failed("recvfrom"))?
            {
                Incoming::Nothing => return Ok(false),
                Incoming::Unreachable => {
                    self.open.report.unreachable = true;
                    return Ok(true);
                }
                Incoming::Message(count, source) => {
                    if self.examine(&buffer[..count], source)? {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    fn examine(&mut self, message: &[u8], source: Ipv6Addr) -> Result<bool, AskError> {
        let rtt = match self.open.question.examine(boottime(), message) {
            Ok(rtt) => rtt,
            Err(ignored) => {
                self.open.report.ignored[ignored as usize] += 1;
                return Ok(false);
            }
        };
        let Inquiry {
            settings,
            a,
            origin,
            ..
        } = self.inquiry;
        let verdict = match judge_address(settings, *a, source) {
            Some(verdict) => verdict,
            None => {
                let to_u = self
                    .routes
                    .to(source, origin)
                    .map_err(failed("route lookup"))?;
                judge_routes(settings, Some(self.open.to_a), to_u)
            }
        };
        match verdict {
            Verdict::Pinned => self.open.report.answer = Answer::Pinned { u: source, rtt },
            Verdict::Direct => self.open.report.answer = Answer::Direct { rtt },
            Verdict::Refused(refusal) => {
                self.open.report.ignored[Ignored::Source as usize] += 1;
                self.open.report.refused = Some((source, refusal));
                self.open.report.answer = Answer::Untrusted { u: source };
                // Another answer, from an address that may be used, still counts.
                return Ok(false);
            }
        }
        Ok(true)
    }
}
