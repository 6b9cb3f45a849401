//! What keeps programs from being pinned to the responder of one address.

use std::io::{self, ErrorKind};
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use aarp_core::accept::Refusal;
use aarp_core::bypass::Bypass;
use aarp_core::mapping::Answer;
use aarp_core::policy::{Interest, Patience, interest, plan};
use aarp_core::readiness::{Unreach, unreach};
use aarp_core::settings::Settings;
use aarp_sys::ask::{AskError, Report};
use aarp_sys::process::random;
use aarp_sys::route::{Origin, RouteSocket};
use aarp_wire::probe::Method;
use rustix::event::{PollFd, PollFlags, poll};

use super::finding::Finding;
use super::host::invalid_packets;
use crate::configuration;
use crate::echo::{EchoSocket, Kind};
use crate::exit;
use crate::question::{Asker, Outcome, eligible, not_asked_by_library};
use crate::statistics::millis;

/// What is found about `a`, and whether a unicast address answered that may be used.
/// `but` is what keeps the library from pinning anything, `lost_here` whether this
/// host's own filter loses answers.
pub(crate) fn examine(
    asker: Asker<'_>,
    a: Ipv6Addr,
    but: Option<&'static str>,
    lost_here: bool,
) -> (Vec<Finding>, bool) {
    let settings = asker.settings;
    let unfit = |what: &str| {
        let detail = format!("{a} is never asked about: {what}");
        let finding = Finding::hindrance("policy", exit::CANNOT_BE_PINNED, detail);
        (vec![finding], false)
    };
    if let Err((_, what)) = eligible(a) {
        return unfit(what);
    }
    let mut findings = Vec::new();
    let policy = policy(settings, a, but);
    let but = but.or(policy.hinders().then_some("if the library asked"));
    findings.push(policy);
    let mut pinned = false;
    let invalid_before = invalid_packets();
    match asker.ask(a) {
        Outcome::Asked(report) => {
            let invalid = invalid_before
                .zip(invalid_packets())
                .map(|(before, after)| after.saturating_sub(before));
            pinned = matches!(report.answer, Answer::Pinned { .. });
            findings.extend(match report.answer {
                Answer::None { .. } => {
                    let patience = asker.budget(a);
                    vec![unanswered(a, patience, &report, invalid, lost_here)]
                }
                _ => answer(asker, a, &report, but),
            });
        }
        Outcome::NotAsked(AskError::Local) => return unfit("it is an address of this host"),
        // Said of the sockets already.
        Outcome::NotAsked(AskError::NotPermitted) => {}
        Outcome::NotAsked(AskError::NoMethod) if unreach(settings) != Unreach::Usable => {}
        other => {
            let code = match other.code() {
                exit::PINNED => exit::SOFTWARE,
                code => code,
            };
            let reason = other.reason().unwrap_or_default();
            let finding = Finding::hindrance("answer", code, format!("{a}: {reason}"));
            findings.push(match other {
                Outcome::NotAsked(AskError::NoRoute) => finding.remedy(
                    "see which routes there are:",
                    [format!("ip -6 route get {a}")],
                ),
                Outcome::NotAsked(AskError::NoMethod) => finding.remedy(
                    "see which lines say so:",
                    [format!("aarp-probe explain --offline {a}")],
                ),
                _ => finding,
            });
        }
    }
    (findings, pinned)
}

fn policy(settings: &Settings, a: Ipv6Addr, but: Option<&str>) -> Finding {
    const CHECK: &str = "policy";
    let Some(bypass) = not_asked_by_library(settings, a) else {
        let how = match interest(settings, a) {
            Ok(Interest::Configured) => "inside `prefixes`: with the full budget",
            _ => "as no `prefixes` are set: by echo alone, with the small budget",
        };
        return match but {
            None => Finding::ok(CHECK, format!("the library asks about {a}, {how}")),
            Some(but) => Finding::note(CHECK, format!("{but} it would ask about {a}, {how}")),
        };
    };
    if bypass == Bypass::Off {
        let detail = "no address is asked about: daemon.use is \"require\"";
        return Finding::note(CHECK, detail);
    }
    let places = configuration::places();
    let (why, source) = match bypass {
        Bypass::Excluded => {
            let found = places.containing(a, "resolve.exclude");
            let (prefix, source) =
                found.unwrap_or_else(|| ("exclude".to_owned(), places.last("resolve.exclude")));
            (format!("inside {prefix} of `exclude`"), source)
        }
        _ => (
            "outside of all `prefixes`".to_owned(),
            places.last("resolve.prefixes"),
        ),
    };
    let detail = format!("the library does not ask about {a}: {why} ({source})");
    let finding = Finding::hindrance(CHECK, exit::CANNOT_BE_PINNED, detail);
    match (&source.file, source.line) {
        (Some(file), Some(line)) => finding.remedy(
            "change that line:",
            [format!("${{EDITOR:-vi}} +{line} {file}")],
        ),
        _ => finding.remedy(
            "change that variable, or take it away:",
            [format!("unset {}", source.name)],
        ),
    }
}

fn answer(asker: Asker<'_>, a: Ipv6Addr, report: &Report, but: Option<&str>) -> Vec<Finding> {
    const CHECK: &str = "answer";
    match report.answer {
        Answer::Pinned { u, rtt } => {
            let answers = format!(
                "{u} answers for {a} in {} ms by {}: programs",
                millis(rtt),
                report.method.name()
            );
            let budget = budget(asker.settings, a, rtt);
            let late = budget.as_ref().is_some_and(Finding::hinders);
            let finding = match but.or(late.then_some("if it came in time")) {
                None => Finding::ok(CHECK, format!("{answers} are moved there")),
                Some(but) => Finding::note(CHECK, format!("{answers} would be moved there {but}")),
            };
            std::iter::once(finding).chain(budget).collect()
        }
        Answer::Direct { .. } => {
            let detail = format!(
                "{a} answers our probe itself: there it is an ordinary address, as one on lo, and \
                 no unicast address is told"
            );
            let mut finding = Finding::hindrance(CHECK, exit::CANNOT_BE_PINNED, detail)
                .remedy(
                    "on each responder, as root (A stays as it is for everybody else):",
                    [format!("aarp-responder run --anycast {a}")],
                )
                .remedy(
                    "or, where it is a unicast address, spare the question:",
                    [format!("AARP_EXCLUDE={a}/128 aarp-run CMD")],
                );
            finding.is_ordinary = true;
            vec![finding]
        }
        Answer::Untrusted { u } => vec![untrusted(a, u, report)],
        Answer::None { .. } => Vec::new(),
    }
}

/// Whether the answer comes in time.
fn budget(settings: &Settings, a: Ipv6Addr, rtt: Duration) -> Option<Finding> {
    const CHECK: &str = "budget";
    let interest = interest(settings, a).ok()?;
    let of = |patience| plan(settings, a, interest, patience).budget;
    let (blocking, nonblocking) = (of(Patience::Blocking), of(Patience::NonBlocking));
    let time = humantime::format_duration;
    let widen = format!("AARP_PREFIXES={a}/128 aarp-run CMD");
    let what = "name it in `prefixes`, or give it a larger budget:";
    let late = |who: &str, budget| {
        format!(
            "the answer takes {} ms, and {who} wait {} for it",
            millis(rtt),
            time(budget)
        )
    };
    if rtt >= blocking {
        let detail = late("all calls", blocking);
        return Some(
            Finding::hindrance(CHECK, exit::CANNOT_BE_PINNED, detail).remedy(what, [widen]),
        );
    }
    (rtt >= nonblocking).then(|| {
        Finding::note(CHECK, late("non-blocking calls", nonblocking)).remedy(what, [widen])
    })
}

fn untrusted(a: Ipv6Addr, u: Ipv6Addr, report: &Report) -> Finding {
    let refusal = report.refused.map(|(_, refusal)| refusal);
    let why = refusal.map_or_else(String::new, |refusal| format!(": {refusal}"));
    let refused = |detail: String| Finding::hindrance("answer", exit::UNTRUSTED, detail);
    let by_echo = format!("{u} answers for {a} and is refused{why}");
    match refusal {
        Some(Refusal::NotTrusted) if report.method == Method::Unreach => {
            let neighbour = match is_neighbour(u) {
                true => ", and is on this host's own link, as a router is",
                false => "",
            };
            refused(format!(
                "{u} says that the port of {a} is unreachable, and is refused{why}{neighbour}; it \
                 may be a router or firewall that rejects, which says the same in its own name"
            ))
            .remedy(
                "do not trust it unless it is known to be a responder; see what is on the way:",
                [format!("traceroute -6 -n {a}")],
            )
        }
        Some(Refusal::NotTrusted) => refused(by_echo).remedy(
            "if it is a responder, add its prefix to `trusted`, where that stands:",
            [format!("aarp-probe explain --offline {a}")],
        ),
        Some(Refusal::MoreSpecific) => refused(by_echo).remedy(
            "if it is a responder of your own network, route A as specifically as U:",
            [
                format!("ip -6 route get {u}"),
                format!("ip -6 route add {a}/128 via GATEWAY"),
            ],
        ),
        _ => refused(by_echo),
    }
}

/// Whether packets to `u` go there without a router between.
fn is_neighbour(u: Ipv6Addr) -> bool {
    let route = RouteSocket::open().and_then(|mut routes| routes.to(u, &Origin::default()));
    // Where it cannot be asked, nothing is claimed.
    matches!(route, Ok(Some(route)) if !route.gateway && route.prefix_len > 0)
}

/// An ordinary ping tells whether A or only the answer from U is lost.
fn unanswered(
    a: Ipv6Addr,
    patience: Duration,
    report: &Report,
    invalid: Option<u64>,
    lost_here: bool,
) -> Finding {
    let silence = |detail: String| {
        let detail = if report.unreachable {
            format!("{detail} (the network says that it is unreachable)")
        } else {
            detail
        };
        Finding::hindrance("answer", exit::NO_ANSWER, detail)
    };
    let ping = match ping(a, patience.max(Duration::from_secs(1))) {
        Ok(ping) => ping,
        Err(error) => return silence(format!("{a} does not answer; ping: {error}")),
    };
    let Some(rtt) = ping else {
        let detail = format!("{a} answers neither our probe nor an ordinary ping");
        if lost_here {
            return silence(format!(
                "{detail}, as far as this host's own packet filter lets answers in: see above"
            ));
        }
        return silence(detail).remedy(
            "see how far packets come:",
            [format!("traceroute -6 -n {a}")],
        );
    };
    let lost = format!(
        "{a} answers an ordinary ping ({} ms) and not our probe: the answer, which comes from the \
         unicast address, is lost on its way back, as at a stateful packet filter",
        millis(rtt)
    );
    let (place, own) = match invalid {
        Some(0) => ("; conntrack of this host has not seen it", false),
        Some(_) => ("; conntrack of this host has called it invalid", true),
        None => ("", false),
    };
    let finding = silence(format!("{lost}{place}"));
    if own {
        return finding.remedy(
            "let echo replies in; see the chains of this host's filter:",
            ["nft list ruleset".to_owned()],
        );
    }
    finding
        .remedy(
            "on the filter on the way (a router, a firewall), as root, in the chain that drops:",
            ["nft insert rule inet filter forward icmpv6 type echo-reply accept".to_owned()],
        )
        .remedy(
            "or ask by a method that such filters let pass:",
            [format!(
                "AARP_PREFIXES={a}/128 AARP_TRUSTED=PREFIX-OF-THE-RESPONDERS \
                 AARP_METHODS=echo,unreach aarp-run CMD"
            )],
        )
}

/// Three ordinary echoes to `a`, as of any ping: the round trip of the first answer
/// from there.
fn ping(a: Ipv6Addr, timeout: Duration) -> io::Result<Option<Duration>> {
    let socket =
        EchoSocket::open(Kind::Ping, None).or_else(|_| EchoSocket::open(Kind::Raw, None))?;
    let mut data = [0; 56];
    random(&mut data).map_err(|errno| io::Error::from_raw_os_error(errno.0))?;
    // Nothing that a responder takes for a probe.
    data[..4].copy_from_slice(b"ping");
    let ident = u16::from_ne_bytes([data[4], data[5]]);
    let mut sent = Vec::new();
    let began = Instant::now();
    let mut next = began;
    loop {
        let now = Instant::now();
        if sent.len() < 3 && now >= next {
            socket.send(a, None, ident, sent.len() as u16, &data)?;
            sent.push(now);
            next = now + timeout / 4;
        }
        while let Some(reply) = socket.receive()? {
            let ours = reply.source == a
                && reply.data == data
                && (socket.kind() == Kind::Ping || reply.ident == ident);
            if let Some(at) = sent.get(usize::from(reply.sequence)).filter(|_| ours) {
                return Ok(Some(at.elapsed()));
            }
        }
        let end = began + timeout;
        let until = if sent.len() < 3 { end.min(next) } else { end };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() && until == end {
            return Ok(None);
        }
        let left = left
            .try_into()
            .map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
        match poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
