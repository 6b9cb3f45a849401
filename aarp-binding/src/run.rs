//! `aarp-binding run`: from settings to registered addresses, and back.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aarp_core::relay::Limit;
use aarp_health::Monitor;
use aarp_health::feed::{Follower, HOLD, News};
use aarp_host::address::classify;
use aarp_host::alarm::Alarm;
use aarp_host::choice;
use aarp_host::failure::{Failure, code};
use aarp_host::inventory::Inventory;
use aarp_host::privilege;
use aarp_host::tool::Tool;
use aarp_host::watch::{Event, Watch};
use aarp_mobility::channel::{Buffers, Channel, ChannelError, Role};
use aarp_mobility::registrant::Unheard;
use aarp_mobility::status::{StatusError, StatusSocket};
use aarp_sys::clock;
use aarp_sys::nflog::NflogError;
use aarp_sys::raw6::RawSender;
use aarp_sys::tun::{Tun, TunError};
use aarp_sys::tunnel::Tunnel;
use aarp_wire::ipv6::{HEADER, Ipv6Packet, MTU_MIN};
use rustix::event::{PollFd, PollFlags, poll};

use crate::keys::{self, Peers};
use crate::memory::Memory;
use crate::place::Placement;
use crate::service::Service;
use crate::settings::{Follow, Reverse, Settings};
use crate::tunnel::{Counters, End, Ends};
use crate::{say, status};

/// The nft table of the control channel.
const TABLE: &str = "aarp_binding";
/// The TUN device.
const DEVICE: &str = "aarp-binding";
/// IPPROTO_RAW: packets with a header of their own, which no IPsec policy names.
const ANY: u8 = 255;
/// Room for packets that wait at the tunnels' sockets, in octets.
const SOCKET_BUFFER: usize = 1 << 20;
/// The longest that nothing is looked at.
const IDLE: Duration = Duration::from_secs(3600);
/// For so long a device is waited for that what a killed one had started still holds.
const FREE: Duration = Duration::from_secs(3);

/// Files that are read and written.
pub(crate) struct Files {
    pub(crate) keys: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) socket: PathBuf,
    /// Where aarp-responder says how the services are.
    pub(crate) responder: PathBuf,
}

/// A running sidecar.
struct Sidecar {
    services: Vec<Service>,
    channel: Channel,
    ends: Ends,
    tun: Arc<Tun>,
    counters: Arc<Counters>,
    memory: Memory,
    /// The file of keys.
    keys: PathBuf,
    socket: StatusSocket,
    ip: Tool,
    /// Hears what aarp-responder says, unless nobody wants to know.
    responder: Option<Follower>,
    /// The addresses of this host.
    own: Vec<Ipv6Addr>,
    unheard: BTreeMap<Unheard, u64>,
    alarm: Alarm,
    /// For lines that others can cause.
    limit: Limit,
    /// Whether a problem with the memory was told already.
    told: bool,
}

/// Registers the addresses until a signal comes.
pub(crate) fn run(
    bindings: Vec<Settings>,
    files: &Files,
    first: Option<u16>,
) -> Result<(), Failure> {
    privilege::require_net_admin()?;
    let keys = keys::read(bindings.iter(), &files.keys)?;
    for line in keys::warnings(&bindings) {
        say(&line);
    }
    let (ip, nft) = (Tool::ip()?, Tool::nft()?);
    let watch = Watch::open_with_routes()?;
    // The first to have it registers; the second touches nothing.
    let socket = StatusSocket::bind(&files.socket).map_err(|error| match error {
        StatusError::Busy { .. } => Failure::new(code::UNAVAILABLE, error),
        _ => Failure::new(code::SYSTEM, error),
    })?;
    let (memory, problem) = Memory::open(&files.state);
    if let Some(problem) = problem {
        let folder = files.state.display();
        say(&format!(
            "{folder}: what was remembered cannot be read and begins anew: {problem}"
        ));
    }
    let channel = Channel::open(Role::Responder, &[], TABLE).map_err(|error| {
        let code = match &error {
            ChannelError::Log(NflogError::NotPermitted(_)) => code::NOT_PERMITTED,
            ChannelError::Log(NflogError::NoSupport(_)) => code::UNAVAILABLE,
            _ => code::SYSTEM,
        };
        Failure::new(code, error)
    })?;
    let tun = Tun::open_within(DEVICE, FREE).map_err(|error| {
        let code = match &error {
            TunError::NotPermitted { .. } => code::NOT_PERMITTED,
            TunError::NoDriver(_) | TunError::Busy { .. } => code::UNAVAILABLE,
            _ => code::SYSTEM,
        };
        Failure::new(code, error)
    })?;
    tun.up()
        .map_err(|error| Failure::system("bring the TUN device up", error))?;
    let sender = RawSender::open(ANY).map_err(|error| Failure::new(code::SYSTEM, error))?;
    let counters = Arc::new(Counters::default());
    let tun = Arc::new(tun);
    let ends = Ends::start(Arc::clone(&tun), sender, Arc::clone(&counters), say)
        .map_err(|error| Failure::system("start the tunnel's thread", error))?;
    let mut placement = Placement::take(
        &bindings,
        &ip,
        &nft,
        DEVICE,
        &files.socket.with_extension("changes"),
    )?;
    let follows = bindings.iter().any(|b| b.responder != Follow::Off);
    let responder = follows.then(|| Follower::new(&files.responder)).transpose();
    let mut peers = Peers::default();
    let services = bindings
        .into_iter()
        .map(|settings| Service::new(settings, &keys, first, &memory, &mut peers));
    let mut sidecar = Sidecar {
        services: services.collect(),
        channel,
        ends,
        tun,
        counters,
        memory,
        keys: files.keys.clone(),
        socket,
        ip,
        responder: responder
            .map_err(|error| Failure::system("name the network namespace", error))?,
        own: Vec::new(),
        unheard: BTreeMap::new(),
        alarm: Alarm::new().map_err(|error| Failure::system("make a timer", error))?,
        limit: Limit::new(Duration::from_secs(10), 5),
        told: false,
    };
    let result = sidecar.supervise(watch, &mut placement);
    result.and(placement.give_back(&sidecar.channel))
}

impl Sidecar {
    fn supervise(&mut self, mut watch: Watch, placement: &mut Placement) -> Result<(), Failure> {
        let mut buffers = Buffers::new();
        let mut leaving = false;
        self.follow(placement)?;
        loop {
            match watch.take()? {
                Some(Event::Signal(number)) if leaving => {
                    say(&format!("stops at once on signal {number}"));
                    return Ok(());
                }
                Some(Event::Signal(number)) => {
                    say(&format!("deregisters on signal {number}"));
                    leaving = true;
                    for service in &mut self.services {
                        service.wanted = false;
                    }
                }
                Some(Event::Reload) => self.reload(),
                Some(Event::Changed) => {
                    let followed = self
                        .follow(placement)
                        .and_then(|()| placement.restore(&self.channel));
                    if let Err(failure) = followed {
                        say(&failure.to_string());
                        watch.retry();
                    }
                }
                None => {}
            }
            self.listen(&mut buffers)?;
            self.hear_responder();
            for service in &mut self.services {
                service.tell_health();
                service.pursue(&self.channel, &mut buffers, &mut self.memory);
                let led = placement.lead(service.settings.anycast, service.is_registered());
                if let Err(failure) = led
                    && self.limit.permits(clock::boottime())
                {
                    say(&failure.to_string());
                    watch.retry();
                }
                for line in service.news.drain(..) {
                    say(&line);
                }
            }
            self.remember();
            self.tell();
            if leaving && self.services.iter().all(Service::is_idle) {
                return Ok(());
            }
            self.wait(&watch)?;
            if self.ends.has_ended() {
                return Err(Failure::new(code::SYSTEM, "the tunnel has ended"));
            }
        }
    }

    /// Reads the keys again.
    fn reload(&mut self) {
        let bindings = self.services.iter().map(|service| &service.settings);
        match keys::read(bindings, &self.keys) {
            Err(failure) => say(&format!("{failure}; the keys are those before")),
            Ok(keys) => {
                for service in &mut self.services {
                    service.set_keys(&keys);
                }
                say("has read the keys again");
            }
        }
    }

    /// Hears what aarp-responder says of the services.
    fn hear_responder(&mut self) {
        let Some(responder) = &mut self.responder else {
            return;
        };
        for news in responder.follow(clock::boottime()) {
            match news {
                News::Found => say("aarp-responder runs here; its addresses are as it says"),
                News::Lost => say(&format!(
                    "aarp-responder is gone; what it said last holds for {} s",
                    HOLD.as_secs()
                )),
                News::Changed(anycast, said) => {
                    let mut all = self.services.iter().map(|service| &service.settings);
                    if all.any(|s| s.anycast == anycast && s.responder != Follow::Off) {
                        let (condition, reason) = (said.condition, said.reason);
                        say(&format!(
                            "{anycast}: {condition} by aarp-responder: {reason}"
                        ));
                    }
                }
            }
        }
        let awaits = responder.is_about_to_hear();
        for service in &mut self.services {
            if service.settings.responder != Follow::Off {
                service.awaits_statement = awaits;
                let said = responder.statement(service.settings.anycast).cloned();
                if service.statement.is_some() && said.is_none() {
                    let anycast = service.settings.anycast;
                    say(&format!(
                        "{anycast}: decided without aarp-responder from now on"
                    ));
                }
                service.statement = said;
            }
        }
    }

    fn wait(&self, watch: &Watch) -> Result<(), Failure> {
        let now = clock::boottime();
        let registrants = self.services.iter().flat_map(|s| &s.registrants);
        let deadlines = registrants.filter_map(|r| r.registration.deadline());
        let responder = self.responder.as_ref();
        let deadlines = deadlines.chain(responder.and_then(Follower::deadline));
        let due = deadlines.map(|at| at.saturating_sub(now));
        let due = due.chain(watch.due_in()).min().unwrap_or(IDLE).min(IDLE);
        self.alarm
            .set(due)
            .map_err(|error| Failure::system("set a timer", error))?;
        let mut sources: Vec<BorrowedFd<'_>> = watch.sources().into();
        sources.extend([
            self.channel.as_fd(),
            self.socket.as_fd(),
            self.ends.ended().as_fd(),
            self.alarm.as_fd(),
        ]);
        sources.extend(responder.and_then(Follower::source));
        let monitors = self.services.iter().filter_map(|s| s.monitor.as_ref());
        sources.extend(monitors.map(AsFd::as_fd));
        let mut fds: Vec<PollFd<'_>> = sources
            .into_iter()
            .map(|source| PollFd::from_borrowed_fd(source, PollFlags::IN))
            .collect();
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(Failure::system("poll", error)),
        }
    }

    /// Listens to what agents have said.
    fn listen(&mut self, buffers: &mut Buffers) -> Result<(), Failure> {
        let mut packets = Vec::new();
        let received = self.channel.exchange(
            buffers,
            |packet, _| {
                packets.push(packet.to_vec());
                None
            },
            |_| {},
        );
        received.map_err(|error| Failure::system("receive Binding Acknowledgements", error))?;
        for packet in packets {
            let mut heard = Err(Unheard::Elsewhere);
            for service in &mut self.services {
                heard = service.hear(
                    &packet,
                    &self.channel,
                    buffers,
                    &mut self.memory,
                    &mut self.limit,
                );
                if heard != Err(Unheard::Elsewhere) {
                    break;
                }
            }
            if let Err(why) = heard {
                *self.unheard.entry(why).or_default() += 1;
                if why == Unheard::Authentication && self.limit.permits(clock::boottime()) {
                    let source = Ipv6Packet::new(&packet).map(|p| p.source().to_string());
                    let source = source.unwrap_or_else(|_| "an agent".to_owned());
                    say(&format!(
                        "{source}: its answer is not authenticated by our key: is the entry of keys.toml the same there?"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Follows the unicast addresses of the host.
    fn follow(&mut self, placement: &Placement) -> Result<(), Failure> {
        let inventory = Inventory::read(&self.ip)?;
        let taken: Vec<Ipv6Addr> = self.services.iter().map(|s| s.settings.anycast).collect();
        let own = inventory.addresses.iter().map(|a| a.address);
        let own: Vec<Ipv6Addr> = own.filter(|own| !taken.contains(own)).collect();
        let mut changed = own != self.own;
        self.own = own;
        for service in &mut self.services {
            let anycast = service.settings.anycast;
            let class = classify(anycast).map_err(|what| {
                Failure::new(code::CONFIGURATION, format!("{anycast} is {what}"))
            })?;
            let named = service.settings.care_of;
            let next = choice::follow(
                anycast,
                class,
                named,
                None,
                service.unicast,
                &inventory,
                &taken,
            );
            let next = next.filter(|unicast| service.fits(*unicast));
            if next == service.unicast && service.monitor.is_some() {
                continue;
            }
            match (service.unicast, next) {
                (None, None) => {
                    let named = named.map_or_else(String::new, |u| format!(" ({u})"));
                    say(&format!(
                        "{anycast}: waits for a usable unicast address{named}"
                    ));
                }
                (Some(before), None) => {
                    say(&format!("{anycast}: the unicast address {before} is gone"));
                }
                (_, Some(now)) => say(&format!("{anycast}: the unicast address is {now}")),
            }
            changed |= next != service.unicast;
            service.unicast = next;
            let Some(unicast) = next else { continue };
            match &service.monitor {
                Some(monitor) => monitor.set_unicast(unicast),
                None => {
                    let checks = service.settings.checks.clone();
                    let monitor = Monitor::start(checks, unicast)
                        .map_err(|error| Failure::system("start the health checks", error))?;
                    service.monitor = Some(monitor);
                }
            }
        }
        match changed {
            true => self.open_tunnels(placement),
            false => Ok(()),
        }
    }

    /// Opens the tunnels of the present unicast addresses, in place of those before.
    fn open_tunnels(&mut self, placement: &Placement) -> Result<(), Failure> {
        let mut by_unicast: BTreeMap<Ipv6Addr, Vec<(Ipv6Addr, Vec<Ipv6Addr>)>> = BTreeMap::new();
        for service in &self.services {
            if let Some(unicast) = service.unicast {
                let settings = &service.settings;
                let entry = by_unicast.entry(unicast).or_default();
                entry.push((settings.anycast, settings.agents.clone()));
            }
        }
        let own: Vec<Ipv6Addr> = by_unicast.keys().copied().collect();
        let mut ends = Vec::new();
        let mut mtu = u32::MAX;
        for (unicast, anycasts) in by_unicast {
            let system = |error| Failure::new(code::SYSTEM, error);
            let tunnel = Tunnel::open(unicast).map_err(system)?;
            tunnel.set_receive_buffer(SOCKET_BUFFER).map_err(system)?;
            tunnel.set_send_buffer(SOCKET_BUFFER).map_err(system)?;
            for agent in anycasts.iter().flat_map(|(_, agents)| agents) {
                // Without a route to it there is nothing to be known of its path.
                if let Ok(path) = tunnel.path_mtu(*agent) {
                    mtu = mtu.min(path);
                }
            }
            let optimized = self.services.iter().map(|service| &service.settings);
            let optimized = optimized.filter(|settings| settings.route_optimization);
            let optimized = optimized.map(|settings| settings.anycast).collect();
            let direct = self.services.iter().map(|service| &service.settings);
            let direct = direct.filter(|settings| settings.reverse == Reverse::Direct);
            let direct = direct.map(|settings| settings.anycast).collect();
            ends.push(End {
                tunnel,
                anycasts,
                direct,
                own: self.own.clone(),
                optimized,
            });
        }
        if mtu != u32::MAX {
            // So that the service sends what fits from the start.
            let inner = mtu.saturating_sub(HEADER as u32).max(MTU_MIN as u32);
            self.tun
                .set_mtu(inner)
                .map_err(|error| Failure::system("set the TUN device's MTU", error))?;
        }
        self.ends.set(ends);
        self.channel.set_own(&own);
        placement.apply(&self.channel)
    }

    fn remember(&mut self) {
        if let Err(error) = self.memory.save()
            && !std::mem::replace(&mut self.told, true)
        {
            say(&format!(
                "sequence numbers are not kept over a restart: {error}"
            ));
        }
    }

    /// Answers who asks for the status.
    fn tell(&mut self) {
        let records = || -> Box<dyn FnOnce() -> Vec<u8> + Send> {
            let records = status::render(
                &self.services,
                &self.counters,
                &self.unheard,
                clock::boottime(),
            );
            Box::new(move || records)
        };
        if let Err(error) = self.socket.answer(records)
            && self.limit.permits(clock::boottime())
        {
            say(&format!("serve the status: {error}"));
        }
    }
}
