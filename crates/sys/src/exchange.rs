//! Questions on their way: driving what [`aarp_core::resolution`] decides with
//! sockets, a clock and signals.

use core::mem::size_of;
use core::net::Ipv6Addr;
use core::time::Duration;

use aarp_core::accept::{Refusal, Verdict, judge_address, judge_routes};
use aarp_core::echo::Echo;
use aarp_core::mapping::Answer;
use aarp_core::policy::permitted;
use aarp_core::probing::{Ignored, Incoming, MESSAGE_MAX, Meaning};
use aarp_core::resolution::{
    AnyMethod, METHODS, RANKING, Rank, Resolution, Schedule, Step, patience_with_others,
};
use aarp_core::settings::Methods;
use aarp_core::unreach::Unreach;
use aarp_wire::probe::Method;
use aarp_wire::route::{RouteRepr, RouteType};

use crate::ask::{ADDRESSES, AskError, Inquiry, Report, is_halted};
use crate::clock::boottime;
use crate::interrupt::HeldSignals;
use crate::probe::{Kind, ProbeSocket, Received, Waited, is_from_icmp, wait};
use crate::process::random;
use crate::route::RouteSocket;
use crate::syscall::Errno;

/// How many datagrams of one socket are looked at before the time is: a flood of
/// forged ones does not hold the caller beyond its budget.
const BATCH: usize = 64;

/// How often it is looked whether the question may go on.
const GLANCE: Duration = Duration::from_millis(20);

fn failed(call: &'static str) -> impl FnOnce(Errno) -> AskError {
    move |errno| AskError::System(call, errno)
}

/// How far the question about one address is.
#[expect(clippy::large_enum_variant, reason = "nothing here may allocate")]
pub(crate) enum State {
    /// Nobody was asked yet.
    Waiting,
    /// It is open: this is what outlives the sockets.
    Open(Open),
    /// Its report is written.
    Reported,
}

// A thread of the program may have 64 KiB of stack, and has used some of it.
const _: () = assert!(size_of::<State>() * ADDRESSES <= 11 * 1024);

/// A question that is open.
pub(crate) struct Open {
    resolution: Resolution,
    to_a: RouteRepr,
    ignored: [u32; Ignored::ALL.len()],
    refused: Option<(Ipv6Addr, Refusal)>,
}

/// What is open while signals are held back.
struct Sockets {
    routes: RouteSocket,
    probes: [Option<ProbeSocket>; METHODS],
}

impl Sockets {
    /// Whether the program has taken the number of none.
    fn are_ours(&self) -> bool {
        self.probes.iter().flatten().all(ProbeSocket::is_ours)
    }
}

/// How far the questions were driven.
#[derive(Debug, PartialEq, Eq)]
enum Ran {
    /// They are over.
    ToTheEnd,
    /// A signal is being held back.
    IntoASignal,
}

/// For how long the others are waited for, once one is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Others {
    /// As long as each of their budgets lasts.
    Whole,
    /// Not much longer.
    Briefly,
}

/// Questions about up to [`ADDRESSES`].
pub(crate) struct Exchange<'i, 's, 'r> {
    inquiries: &'i [Inquiry<'s>],
    reports: &'r mut [Result<Report, AskError>],
    /// The largest thing on the stack: room for as many as there are.
    states: &'r mut [State],
    /// By which socket each method asks, and the port it had before it was closed.
    sockets: [Option<(Kind, u16)>; METHODS],
    began: Duration,
    others: Others,
}

impl<'i, 's, 'r> Exchange<'i, 's, 'r> {
    /// There are as many reports, and states, which are [`State::Waiting`], as
    /// inquiries, and no more than [`ADDRESSES`].
    pub(crate) fn new(
        inquiries: &'i [Inquiry<'s>],
        reports: &'r mut [Result<Report, AskError>],
        states: &'r mut [State],
        others: Others,
    ) -> Self {
        Self {
            inquiries,
            reports,
            states,
            sockets: [None; METHODS],
            began: boottime(),
            others,
        }
    }

    /// Asks, and writes every report.
    pub(crate) fn run(&mut self) {
        if let Err(error) = self.ask() {
            for at in 0..self.inquiries.len() {
                if !matches!(self.states[at], State::Reported) {
                    self.report(at, Err(error));
                }
            }
        }
    }

    fn report(&mut self, at: usize, report: Result<Report, AskError>) {
        self.reports[at] = report;
        self.states[at] = State::Reported;
    }

    /// The methods by which an address may be asked.
    fn methods(&self, at: usize) -> Methods {
        let Inquiry {
            settings, a, plan, ..
        } = &self.inquiries[at];
        permitted(settings, *a, plan.methods)
    }

    fn ask(&mut self) -> Result<(), AskError> {
        for at in 0..self.inquiries.len() {
            if self.methods(at).is_empty() {
                self.report(at, Err(AskError::NoMethod));
            }
        }
        // The first stands for all, where they must be the same.
        let Some(first) = self.inquiries.first().copied() else {
            return Ok(());
        };
        let mut is_begun = false;
        while !self.is_reported() {
            // Dropped after everything that is open: see the module `interrupt`.
            let signals = HeldSignals::hold(first.interruptible).map_err(failed("signal mask"))?;
            let mut sockets = Sockets {
                routes: RouteSocket::open().map_err(failed("netlink socket"))?,
                probes: [const { None }; METHODS],
            };
            if is_begun {
                self.reopen(&mut sockets)?;
            } else {
                self.begin(&mut sockets)?;
                is_begun = true;
            }
            if self.drive(&mut sockets, &signals)? == Ran::ToTheEnd {
                return Ok(());
            }
            if signals.interrupts() {
                return Err(AskError::Interrupted);
            }
            for (socket, port) in sockets.probes.iter().zip(&mut self.sockets) {
                if let (Some(socket), Some((_, port))) = (socket, port) {
                    *port = socket.port();
                }
            }
            // Here everything is closed, and then the handlers run.
        }
        Ok(())
    }

    fn is_reported(&self) -> bool {
        let mut states = self.states.iter();
        states.all(|state| matches!(state, State::Reported))
    }

    /// Opens the sockets that are needed, and the questions.
    fn begin(&mut self, sockets: &mut Sockets) -> Result<(), AskError> {
        let mut routes = [None; ADDRESSES];
        let mut wanted = Methods::NONE;
        for (at, route) in routes.iter_mut().enumerate().take(self.inquiries.len()) {
            if matches!(self.states[at], State::Reported) {
                continue;
            }
            match route_to(&self.inquiries[at], &mut sockets.routes) {
                Ok(to_a) => {
                    *route = Some(to_a);
                    wanted = wanted.or(self.methods(at));
                }
                // A destination that cannot be asked about is no matter of permission.
                Err(error) => self.report(at, Err(error)),
            }
        }
        let origin = &self.inquiries[0].origin;
        for (rank, method) in RANKING.into_iter().enumerate() {
            if !wanted.contains(method) {
                continue;
            }
            let socket = match method {
                Method::Echo => ProbeSocket::for_echo(origin),
                Method::Unreach => ProbeSocket::open(Kind::Udp, origin, 0),
            };
            match socket {
                Ok(socket) => {
                    self.sockets[rank] = Some((socket.kind(), 0));
                    sockets.probes[rank] = Some(socket);
                }
                // The other method may be permitted.
                Err(Errno(libc::EPERM | libc::EACCES)) => {}
                Err(errno) => return Err(AskError::System("probe socket", errno)),
            }
        }
        for (at, to_a) in routes.into_iter().enumerate() {
            let Some(to_a) = to_a else { continue };
            match self.resolution(at)? {
                None => self.report(at, Err(AskError::NotPermitted)),
                Some(resolution) => {
                    self.states[at] = State::Open(Open {
                        resolution,
                        to_a,
                        ignored: [0; Ignored::ALL.len()],
                        refused: None,
                    });
                }
            }
        }
        Ok(())
    }

    /// The question about one address by every method that is permitted and has a
    /// socket; `None` where there is none.
    fn resolution(&self, at: usize) -> Result<Option<Resolution>, AskError> {
        let inquiry = &self.inquiries[at];
        let wanted = self.methods(at);
        let mut methods = [None; METHODS];
        for (rank, method) in RANKING.into_iter().enumerate() {
            let Some((kind, _)) = self.sockets[rank].filter(|_| wanted.contains(method)) else {
                continue;
            };
            let mut bits = [0u8; 20];
            random(&mut bits).map_err(failed("getrandom"))?;
            let mut nonce = [0; 16];
            nonce.copy_from_slice(&bits[..16]);
            let method = match method {
                Method::Echo => AnyMethod::Echo(Echo {
                    ident: (kind == Kind::Raw).then(|| u16::from_ne_bytes([bits[16], bits[17]])),
                    first_sequence: u16::from_ne_bytes([bits[18], bits[19]]),
                }),
                Method::Unreach => AnyMethod::Unreach(Unreach {
                    port: inquiry.settings.unreach_port,
                }),
            };
            methods[rank] = Some((method, nonce));
        }
        if methods.iter().all(Option::is_none) {
            return Ok(None);
        }
        let schedule = Schedule {
            began: self.began,
            budget: inquiry.budget,
            retransmit: inquiry.plan.times.retransmit,
        };
        Ok(Some(Resolution::new(inquiry.a, &schedule, methods)))
    }

    /// Opens the sockets again that a signal has closed.
    fn reopen(&self, sockets: &mut Sockets) -> Result<(), AskError> {
        let origin = &self.inquiries[0].origin;
        for (socket, known) in sockets.probes.iter_mut().zip(self.sockets) {
            let Some((kind, port)) = known else { continue };
            let opened = ProbeSocket::open(kind, origin, port).map_err(|errno| match errno {
                Errno(libc::EPERM | libc::EACCES) => AskError::NotPermitted,
                errno => AskError::System("probe socket", errno),
            });
            *socket = Some(opened?);
        }
        Ok(())
    }

    fn drive(&mut self, sockets: &mut Sockets, signals: &HeldSignals) -> Result<Ran, AskError> {
        loop {
            if is_halted() {
                return Err(AskError::Halted);
            }
            // What is known without them decides nothing.
            if !sockets.are_ours() {
                return Err(AskError::System("probe socket", Errno(libc::EBADF)));
            }
            let now = boottime();
            let mut next: Option<Duration> = None;
            for at in 0..self.inquiries.len() {
                while let State::Open(open) = &self.states[at] {
                    match open.resolution.step(now) {
                        Step::Send(rank) => self.send(at, rank, sockets),
                        Step::Wait(until) => {
                            next = Some(next.map_or(until, |next| next.min(until)));
                            break;
                        }
                        Step::Over => self.conclude(at, now),
                    }
                }
            }
            let Some(next) = next else {
                return Ok(Ran::ToTheEnd);
            };
            if self.others == Others::Briefly && self.is_any_answered() {
                self.hurry(now);
                continue;
            }
            // Nothing wakes who waits when another thread takes its descriptors.
            let next = next.min(now + GLANCE);
            match wait(&sockets.probes, next, signals).map_err(failed("ppoll"))? {
                Waited::Ready => self.take_what_came(sockets)?,
                Waited::TimedOut => {}
                Waited::Signal => return Ok(Ran::IntoASignal),
            }
        }
    }

    fn is_any_answered(&self) -> bool {
        let answered = |report: &Report| {
            matches!(report.answer, Answer::Pinned { .. } | Answer::Direct { .. })
        };
        let reported = |state: &State| matches!(state, State::Reported);
        let mut ended = self.states.iter().zip(self.reports.iter());
        ended.any(|(state, report)| reported(state) && report.as_ref().is_ok_and(answered))
    }

    /// The first answer has come: the rest is not waited for much longer.
    fn hurry(&mut self, now: Duration) {
        let patience = patience_with_others(now.saturating_sub(self.began));
        for state in &mut *self.states {
            if let State::Open(open) = state {
                open.resolution.give_up_at(now + patience);
            }
        }
        self.others = Others::Whole;
    }

    /// Sends the next attempt of a method.
    fn send(&mut self, at: usize, rank: Rank, sockets: &Sockets) {
        let State::Open(open) = &mut self.states[at] else {
            return;
        };
        let Some(socket) = &sockets.probes[rank] else {
            return open.resolution.abandon(rank);
        };
        let inquiry = &self.inquiries[at];
        let port = match RANKING[rank] {
            Method::Echo => 0,
            Method::Unreach => inquiry.settings.unreach_port,
        };
        let mut buffer = [0; MESSAGE_MAX];
        let message = open.resolution.emit(rank, boottime(), &mut buffer);
        // An error about an earlier probe is told in the place of sending, once for
        // each; what the kernel itself says about this one stays the same.
        for _ in 0..4 {
            match socket.send((inquiry.a, port, inquiry.scope), &inquiry.origin, message) {
                // A later attempt may find room.
                Ok(()) | Err(Errno(libc::EAGAIN | libc::ENOBUFS | libc::EINTR)) => return,
                Err(errno) if is_from_icmp(errno) => {}
                Err(Errno(libc::EPERM)) => break,
                Err(errno) => {
                    return self.report(at, Err(AskError::System("sendto", errno)));
                }
            }
        }
        // There is no route from here, or a filter of this host will not have it.
        open.resolution.abandon(rank);
    }

    fn conclude(&mut self, at: usize, now: Duration) {
        let State::Open(open) = &self.states[at] else {
            return;
        };
        let most = self.inquiries[at].plan.times.budget;
        let (answer, rank) = open.resolution.answer(now, most);
        let report = Report {
            answer,
            method: RANKING[rank],
            // A method in flight has a socket.
            socket: self.sockets[rank].map_or(Kind::Ping, |(kind, _)| kind),
            sent: open.resolution.sent(),
            ignored: open.ignored,
            refused: open.refused,
            unreachable: matches!(answer, Answer::None { .. }) && open.resolution.is_undelivered(),
            given_up: open.resolution.is_given_up(now),
        };
        self.report(at, Ok(report));
    }

    fn take_what_came(&mut self, sockets: &mut Sockets) -> Result<(), AskError> {
        let Sockets { routes, probes } = sockets;
        for (rank, socket) in probes.iter().enumerate() {
            let Some(socket) = socket else { continue };
            for _ in 0..BATCH {
                let mut buffer = [0; 2 * MESSAGE_MAX];
                let received = socket.receive(&mut buffer).map_err(failed("recvmsg"))?;
                let (incoming, source) = match received {
                    Received::Message(message, source) => (Incoming::Message(message), source),
                    Received::Error(error, offender) => (Incoming::Error(error), offender),
                    Received::Other => continue,
                    Received::Nothing => break,
                };
                self.examine(rank, &incoming, source, routes)?;
            }
        }
        Ok(())
    }

    /// Finds the question that something has to do with. Where there is none, the
    /// one that it came nearest to counts it.
    fn examine(
        &mut self,
        rank: Rank,
        incoming: &Incoming<'_>,
        source: Ipv6Addr,
        routes: &mut RouteSocket,
    ) -> Result<(), AskError> {
        let mut nearest: Option<(Ignored, usize)> = None;
        for (at, state) in self.states.iter_mut().enumerate() {
            let State::Open(open) = state else { continue };
            match open.resolution.examine(rank, incoming) {
                Ok(Meaning::Undelivered(_)) => return Ok(()),
                Ok(Meaning::Answer(attempt)) => {
                    let now = boottime();
                    let verdict = judge(&self.inquiries[at], open.to_a, source, routes)?;
                    open.resolution.hear(rank, attempt, source, verdict, now);
                    if let Verdict::Refused(refusal) = verdict {
                        open.ignored[Ignored::Source as usize] += 1;
                        open.refused = Some((source, refusal));
                    }
                    return Ok(());
                }
                Err(ignored) => {
                    if nearest.is_none_or(|(other, _)| ignored > other) {
                        nearest = Some((ignored, at));
                    }
                }
            }
        }
        if let Some((ignored, at)) = nearest
            && let State::Open(open) = &mut self.states[at]
        {
            open.ignored[ignored as usize] += 1;
        }
        Ok(())
    }
}

/// Whether the source of an answer is one that may be used.
fn judge(
    inquiry: &Inquiry<'_>,
    to_a: RouteRepr,
    source: Ipv6Addr,
    routes: &mut RouteSocket,
) -> Result<Verdict, AskError> {
    let Inquiry {
        settings,
        a,
        origin,
        ..
    } = inquiry;
    if let Some(verdict) = judge_address(settings, *a, source) {
        return Ok(verdict);
    }
    let to_u = routes.to(source, origin).map_err(failed("route lookup"))?;
    Ok(judge_routes(settings, Some(to_a), to_u))
}

/// The route to A, if A is one to ask about.
fn route_to(inquiry: &Inquiry<'_>, routes: &mut RouteSocket) -> Result<RouteRepr, AskError> {
    let to_a = routes
        .to(inquiry.a, &inquiry.origin)
        .map_err(failed("route lookup"))?;
    let to_a = to_a.ok_or(AskError::NoRoute)?;
    match to_a.route_type {
        RouteType::Unicast => Ok(to_a),
        RouteType::Local | RouteType::Anycast if inquiry.settings.include_local => Ok(to_a),
        RouteType::Refusing => Err(AskError::NoRoute),
        _ => Err(AskError::Local),
    }
}
