//! `aarp-probe census`: how many responders stand behind A, as far as routers on the
//! way spread flows among them.

mod report;
mod sources;
mod tally;

use std::io::{self, ErrorKind, Write, stdout};
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use aarp_core::policy::{Interest, Patience, plan};
use aarp_core::settings::Settings;
use aarp_sys::process::random;
use aarp_sys::route::{Origin, RouteSocket};
use aarp_wire::probe::{Method, Nonce, Payload};
use aarp_wire::route::RouteType;
use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::echo::{EchoSocket, Kind, Reply};
use crate::exit;
use crate::options::{Output, duration, interval};
use crate::paint::Brush;
use crate::question::{NOT_PERMITTED, eligible, in_words, not_asked_by_library};
use crate::record;
use crate::target::first;
use crate::who::{Who, judge};
use tally::{Asked, Flow, Tally};

/// Ping sockets for each source address, each with its own identifier.
const PING_SOCKETS: usize = 16;

/// Options of `aarp-probe census`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// An IPv6 address, or a name that has one
    #[arg(value_name = "ADDR|NAME")]
    destination: String,
    /// How many flows to ask on, each with its own flow label and identifier
    #[arg(long, short, value_name = "N", default_value_t = 100, env = "AARP_PROBE_COUNT",
          value_parser = clap::value_parser!(u64).range(1..=65536))]
    count: u64,
    /// How often to ask on each flow; two tell whether a flow stays with its responder
    #[arg(long, value_name = "N", default_value_t = 2,
          value_parser = clap::value_parser!(u64).range(1..=16))]
    repeat: u64,
    /// The time from one probe to the next
    #[arg(long, short, value_name = "TIME", default_value = "10ms", value_parser = interval,
          env = "AARP_PROBE_INTERVAL")]
    interval: Duration,
    /// How long to wait for the last answers, such as 300ms or 2s
    ///
    /// Without it, the budget that the configuration gives to `prefixes`.
    #[arg(long, value_name = "TIME", value_parser = duration, env = "AARP_PROBE_TIMEOUT")]
    timeout: Option<Duration>,
    /// Ask from this address of the host; several times for several
    ///
    /// Without it, from all of the host's that are of the scope of A.
    #[arg(long, value_name = "ADDR")]
    source: Vec<Ipv6Addr>,
    #[command(flatten)]
    output: Output,
}

/// Asks, prints, and returns the exit code.
pub(crate) fn run(arguments: &Arguments, settings: &Settings, brush: Brush) -> anyhow::Result<u8> {
    let (target, a) = match first(&arguments.destination) {
        Ok(found) => found,
        Err(error) => {
            let name = &arguments.destination;
            return Ok(record::nothing(
                arguments.output.json,
                name,
                &error,
                exit::NO_ANSWER,
            )?);
        }
    };
    let hindered = |reason: &str, code: u8| -> anyhow::Result<u8> {
        let name = target.describe();
        Ok(record::nothing(arguments.output.json, &name, reason, code)?)
    };
    if let Err((_, what)) = eligible(a) {
        return hindered(what, exit::CANNOT_BE_PINNED);
    }
    let route = RouteSocket::open()
        .and_then(|mut routes| routes.to(a, &Origin::default()))
        .map_err(|errno| io::Error::from_raw_os_error(errno.0))
        .context("route lookup")?;
    match route.map(|route| route.route_type) {
        None | Some(RouteType::Refusing) => {
            return hindered("there is no route to it", exit::NO_ANSWER);
        }
        Some(RouteType::Local | RouteType::Anycast) if !settings.include_local => {
            return hindered("it is an address of this host", exit::CANNOT_BE_PINNED);
        }
        Some(_) => {}
    }
    if let Some(bypass) = not_asked_by_library(settings, a) {
        eprintln!("aarp-probe: {a}: {}", in_words(bypass));
    }
    let mut sockets = Vec::new();
    for source in chosen_sources(arguments, a)? {
        match open(source) {
            Ok(opened) => sockets.push((source, opened)),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return hindered(NOT_PERMITTED, exit::NOT_PERMITTED);
            }
            // One that the user has named must work.
            Err(error) if !arguments.source.is_empty() => {
                eprintln!("aarp-probe: {source}: {error}");
                return Ok(exit::USAGE);
            }
            Err(error) => eprintln!("aarp-probe: {source} is left out: {error}"),
        }
    }
    if sockets.is_empty() {
        return hindered("no address of this host can be its source", exit::NO_ANSWER);
    }
    let kind = sockets[0].1[0].kind();
    let budget = plan(settings, a, Interest::Configured, Patience::Blocking).budget;
    let timeout = arguments.timeout.unwrap_or(budget);
    // The first signal ends it with what there is, the second one at once.
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let code = exit::INTERRUPTED.into();
        flag::register_conditional_shutdown(signal, code, Arc::clone(&stop))
            .and_then(|_| flag::register(signal, Arc::clone(&stop)))
            .context("handling signals")?;
    }
    let asked = Census::new(arguments, a, &sockets, timeout, &stop)?.run(settings)?;
    let tally = Tally {
        interrupted: stop.load(Ordering::Relaxed),
        ..Tally::of(&asked)
    };
    let mut stdout = stdout().lock();
    if arguments.output.json {
        let record = report::json(&target, a, kind, &tally);
        record::write(&mut stdout, "census", SystemTime::now(), &record)?;
    } else {
        stdout.write_all(report::in_columns(brush, &target, kind, &tally).as_bytes())?;
        stdout.flush()?;
    }
    if let Some(path) = &arguments.output.prom_textfile {
        report::metrics(&target, a, &tally).write(path)?;
    }
    Ok(report::code(&tally))
}

/// The source addresses: those that were named, or all that are suitable, the one
/// that the kernel would choose first.
fn chosen_sources(arguments: &Arguments, a: Ipv6Addr) -> anyhow::Result<Vec<Ipv6Addr>> {
    if !arguments.source.is_empty() {
        return Ok(arguments.source.clone());
    }
    let mut sources = vec![EchoSocket::source_to(a).context("choosing a source address")?];
    let table = std::fs::read_to_string("/proc/net/if_inet6").context("/proc/net/if_inet6")?;
    for source in sources::suitable(&table, a) {
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    Ok(sources)
}

/// A raw socket, whose identifiers are ours; or else some ping sockets.
fn open(source: Ipv6Addr) -> io::Result<Vec<EchoSocket>> {
    match EchoSocket::open(Kind::Raw, Some(source)) {
        Ok(raw) => return Ok(vec![raw]),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
        Err(error) => return Err(error),
    }
    (0..PING_SOCKETS)
        .map(|_| EchoSocket::open(Kind::Ping, Some(source)))
        .collect()
}

/// A census under way.
struct Census<'c> {
    a: Ipv6Addr,
    interval: Duration,
    timeout: Duration,
    repeat: usize,
    nonce: Nonce,
    sockets: Vec<&'c EchoSocket>,
    /// The flows, each with its socket.
    flows: Vec<(Flow, usize)>,
    /// When each probe was sent.
    sent: Vec<Option<Instant>>,
    answers: Vec<Option<(Ipv6Addr, Duration)>>,
    /// Set by a signal.
    stop: &'c AtomicBool,
}

impl<'c> Census<'c> {
    fn new(
        arguments: &Arguments,
        a: Ipv6Addr,
        sources: &'c [(Ipv6Addr, Vec<EchoSocket>)],
        timeout: Duration,
        stop: &'c AtomicBool,
    ) -> anyhow::Result<Self> {
        let mut nonce = [0; 16];
        fill(&mut nonce)?;
        let mut sockets = Vec::new();
        let mut of_source: Vec<Vec<usize>> = Vec::new();
        for (_, opened) in sources {
            of_source.push((sockets.len()..sockets.len() + opened.len()).collect());
            sockets.extend(opened);
        }
        let mut flows = Vec::new();
        for number in 0..arguments.count as usize {
            let place = number % sources.len();
            let of_source = &of_source[place];
            let socket = of_source[number / sources.len() % of_source.len()];
            let mut bits = [0; 6];
            fill(&mut bits)?;
            let label = u32::from_ne_bytes([bits[0], bits[1], bits[2], 0]) & 0xf_ffff;
            let flow = Flow {
                source: sources[place].0,
                // Zero would leave it to the kernel.
                label: sockets[socket].has_labels().then(|| label.max(1)),
                ident: sockets[socket]
                    .ident()
                    .unwrap_or_else(|| u16::from_ne_bytes([bits[3], bits[4]])),
            };
            flows.push((flow, socket));
        }
        let probes = flows.len() * arguments.repeat as usize;
        Ok(Self {
            a,
            interval: arguments.interval,
            timeout,
            repeat: arguments.repeat as usize,
            nonce,
            sockets,
            flows,
            sent: vec![None; probes],
            answers: vec![None; probes],
            stop,
        })
    }

    fn run(mut self, settings: &Settings) -> anyhow::Result<Vec<Asked>> {
        let mut due = Instant::now();
        for probe in 0..self.sent.len() {
            self.receive_until(due)?;
            if self.is_stopped() {
                break;
            }
            self.send(probe)?;
            due += self.interval;
        }
        let until = Instant::now() + self.timeout;
        self.receive_until(until)?;
        let mut judged: Vec<(Ipv6Addr, Who)> = Vec::new();
        for (source, _) in self.answers.iter().flatten() {
            if judged.iter().all(|(known, _)| known != source) {
                let who = judge(settings, self.a, *source)
                    .map_err(|errno| io::Error::from_raw_os_error(errno.0))
                    .context("route lookup")?;
                judged.push((*source, who));
            }
        }
        let who = |source: Ipv6Addr| {
            let found = judged.iter().find(|(known, _)| *known == source);
            found.map_or(Who::Refused(source), |(_, who)| *who)
        };
        let probes: Vec<_> = self.sent.iter().zip(&self.answers).collect();
        let flows = self.flows.iter().zip(probes.chunks(self.repeat));
        let asked = flows.map(|((flow, _), probes)| Asked {
            flow: *flow,
            answers: probes
                .iter()
                .filter(|(sent, answer)| answer.is_some() || self.is_lost(**sent))
                .map(|(_, answer)| answer.map(|(source, rtt)| (who(source), rtt)))
                .collect(),
        });
        // Flows that a signal left unasked say nothing.
        Ok(asked.filter(|asked| !asked.answers.is_empty()).collect())
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether a probe without an answer counts as lost: after a signal, only one that
    /// had its time.
    fn is_lost(&self, sent: Option<Instant>) -> bool {
        sent.is_some_and(|sent| !self.is_stopped() || sent.elapsed() >= self.timeout)
    }

    fn payload(&self, probe: usize) -> [u8; aarp_wire::probe::LEN] {
        Payload {
            method: Method::Echo,
            nonce: self.nonce,
            attempt: probe as u32,
        }
        .emit()
    }

    fn send(&mut self, probe: usize) -> anyhow::Result<()> {
        let (flow, socket) = self.flows[probe / self.repeat];
        let data = self.payload(probe);
        let socket = self.sockets[socket];
        self.sent[probe] = Some(Instant::now());
        match socket.send(self.a, flow.label, flow.ident, probe as u16, &data) {
            Ok(()) => Ok(()),
            // It is lost, as it may be anywhere on the way.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock
                        | ErrorKind::HostUnreachable
                        | ErrorKind::NetworkUnreachable
                        | ErrorKind::PermissionDenied
                ) || error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) =>
            {
                Ok(())
            }
            Err(error) => Err(error).context("sendto"),
        }
    }

    fn receive_until(&mut self, until: Instant) -> anyhow::Result<()> {
        loop {
            for number in 0..self.sockets.len() {
                while let Some(reply) = self.sockets[number].receive().context("recvfrom")? {
                    self.take(number, &reply);
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            let open = self.sent.iter().zip(&self.answers);
            let awaited = open.filter(|(sent, answer)| sent.is_some() && answer.is_none());
            let all_sent = self.sent.iter().all(Option::is_some);
            if self.is_stopped() || left.is_zero() || (all_sent && awaited.count() == 0) {
                return Ok(());
            }
            let mut fds: Vec<_> = self
                .sockets
                .iter()
                .map(|socket| PollFd::new(*socket, PollFlags::IN))
                .collect();
            // A signal that comes before poll() does not end it.
            let left = left.min(Duration::from_millis(100));
            let left = left.try_into().context("a time")?;
            match poll(&mut fds, Some(&left)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("poll"),
            }
        }
    }

    /// Counts a reply that is the answer to a probe of ours, the first one to each.
    fn take(&mut self, socket: usize, reply: &Reply) {
        let Ok(payload) = Payload::parse(&reply.data) else {
            return;
        };
        let probe = payload.attempt as usize;
        let Some(Some(sent)) = self.sent.get(probe).copied() else {
            return;
        };
        let (flow, of) = self.flows[probe / self.repeat];
        let ours = payload.nonce == self.nonce
            && payload.method == Method::Echo
            && reply.sequence == probe as u16
            && of == socket
            // A ping socket gets nothing with another identifier.
            && (self.sockets[socket].kind() == Kind::Ping || reply.ident == flow.ident);
        if ours && self.answers[probe].is_none() {
            self.answers[probe] = Some((reply.source, sent.elapsed()));
        }
    }
}

fn fill(octets: &mut [u8]) -> anyhow::Result<()> {
    random(octets)
        .map_err(|errno| io::Error::from_raw_os_error(errno.0))
        .context("getrandom")
}
