//! `aarp-agent run`: from settings to a serving agent, and back.

use std::net::Ipv6Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aarp_core::binding::cache::{self, Cache, Change};
use aarp_core::binding::keyring::Keyring;
use aarp_core::binding::lifetime::Lifetime;
use aarp_core::binding::timestamp::Timestamp;
use aarp_core::relay::Limit;
use aarp_host::alarm::Alarm;
use aarp_host::failure::{Failure, code};
use aarp_host::privilege;
use aarp_host::tool::Tool;
use aarp_host::watch::{Event, Watch};
use aarp_mobility::channel::{Buffers, Channel, ChannelError, Role};
use aarp_mobility::registrar::{Outcome, Registrar, Why};
use aarp_mobility::status::{StatusError, StatusSocket};
use aarp_sys::clock;
use aarp_sys::nflog::NflogError;
use aarp_sys::tun::{Tun, TunError};
use aarp_sys::tunnel::Tunnel;
use aarp_wire::ipv6::Ipv6Packet;
use rustix::event::{PollFd, PollFlags, poll};

use crate::counters::Counters;
use crate::links::{Found, Links};
use crate::memory::{Copied, Memory};
use crate::place::Placement;
use crate::settings::Settings;
use crate::status::Judged;
use crate::table::Table;
use crate::thread::RelayThread;
use crate::{keys, say, status};

/// The nft table of the control channel.
const TABLE: &str = "aarp_agent";
/// The TUN device.
const DEVICE: &str = "aarp-agent";
/// Room for packets that wait at the tunnels' sockets, in octets.
const SOCKET_BUFFER: usize = 4 << 20;
/// How often the host is looked at for what nothing tells of, as of a proxy neighbour
/// that is removed.
const LOOK: Duration = Duration::from_secs(5);
/// For so long a device is waited for that what a killed one had started still holds.
const FREE: Duration = Duration::from_secs(3);
/// How often it is repeated that anybody may register.
const REMINDER: Duration = Duration::from_secs(3600);

/// A serving agent.
struct Agent<'s> {
    settings: &'s Settings,
    channel: Channel,
    registrar: Registrar,
    table: Arc<Table>,
    counters: Arc<Counters>,
    socket: StatusSocket,
    links: Links,
    memory: Memory,
    started: SystemTime,
    judged: Judged,
    identities: Arc<[String]>,
    complaints: Limit,
    /// For lines about refused updates, which anybody can cause.
    refusals: Limit,
    reminder: Limit,
    alarm: Alarm,
}

/// Serves until a signal comes.
pub(crate) fn run(settings: &Settings, socket: &Path) -> Result<(), Failure> {
    let record = socket.with_extension("changes");
    let memory = Memory::new(socket.with_extension("bindings"))
        .map_err(|error| Failure::system("ask which start of the host this is", error))?;
    privilege::require_net_admin()?;
    let keyring = keys::keyring(settings)?;
    let (ip, nft) = (Tool::ip()?, Tool::nft()?);
    let mut watch = Watch::open_with_routes()?;
    watch.look_every(LOOK);
    // The first to have it serves; the second touches nothing.
    let socket = StatusSocket::bind(socket).map_err(|error| match error {
        StatusError::Busy { .. } => Failure::new(code::UNAVAILABLE, error),
        _ => Failure::new(code::SYSTEM, error),
    })?;
    let tunnel = Tunnel::open(settings.address).map_err(|error| {
        Failure::new(
            code::UNAVAILABLE,
            format!("{error}; agent.address has to be an address of this host"),
        )
    })?;
    for set in [Tunnel::set_receive_buffer, Tunnel::set_send_buffer] {
        set(&tunnel, SOCKET_BUFFER).map_err(|e| Failure::new(code::SYSTEM, e))?;
    }
    let channel = Channel::open(Role::Agent, &[settings.address], TABLE).map_err(|error| {
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
    let mut placement = Placement::take(settings, &ip, &nft, &tun, &channel, &record)?;
    let result = serve(
        settings,
        keyring,
        (tun, tunnel),
        channel,
        (socket, memory),
        watch,
        &mut placement,
    );
    result.and(placement.give_back())
}

fn serve(
    settings: &Settings,
    keyring: Keyring,
    (tun, tunnel): (Tun, Tunnel),
    channel: Channel,
    (socket, memory): (StatusSocket, Memory),
    mut watch: Watch,
    placement: &mut Placement,
) -> Result<(), Failure> {
    let own = placement.inventory().addresses.iter();
    let mut cache = Cache::new(cache::Settings {
        home: settings.home.clone(),
        own: own.map(|own| own.address).collect(),
        // At least a unit: the settings were checked.
        max_lifetime: Lifetime::configured(settings.lifetime_max).unwrap_or(Lifetime(1)),
        refresh_advice: None,
        capacity: settings.bindings_max as usize,
    });
    match memory.restore(&mut cache, &keyring, settings.insecure_unauthenticated) {
        Ok(0) => {}
        Ok(number) => say(&format!(
            "goes on with the bindings of before: {number}, in {}",
            memory.path().display()
        )),
        Err(error) => say(&format!(
            "{}: {error}; begins without the bindings of before",
            memory.path().display()
        )),
    }
    let table = Arc::new(Table::new(cache));
    let counters = Arc::new(Counters::default());
    let links = Links::claim(
        placement.on_links(),
        placement.inventory(),
        settings.address,
        clock::boottime(),
    )?;
    let relay = RelayThread::start(tun, tunnel, Arc::clone(&table), Arc::clone(&counters))?;
    let identities = keys::identities(&keyring);
    let mut agent = Agent {
        settings,
        channel,
        registrar: Registrar::new(settings.address, keyring, settings.insecure_unauthenticated),
        table,
        counters,
        socket,
        links,
        memory,
        started: SystemTime::now(),
        judged: Judged::default(),
        identities,
        complaints: Limit::new(Duration::from_secs(1), 20),
        refusals: Limit::new(Duration::from_secs(10), 5),
        reminder: Limit::new(REMINDER, 1),
        alarm: Alarm::new().map_err(|error| Failure::system("make a timer", error))?,
    };
    let home: Vec<_> = settings.home.iter().map(ToString::to_string).collect();
    say(&format!(
        "serves {} at {}",
        home.join(", "),
        settings.address
    ));
    let mut buffers = Buffers::new();
    loop {
        agent.remind();
        match watch.take()? {
            Some(Event::Signal(number)) => {
                say(&format!("stops on signal {number}"));
                agent.keep();
                return Ok(());
            }
            Some(Event::Reload) => agent.reload(),
            Some(Event::Changed) => {
                let mut unanswered = Vec::new();
                if let Err(failure) = placement.restore(&agent.channel, &mut unanswered) {
                    agent.complain(&failure.to_string());
                    watch.retry();
                }
                agent.doubt(&unanswered);
            }
            None => {}
        }
        agent.expire();
        if agent.memory.due_in(&agent.table.lock()) == Some(Duration::ZERO) {
            agent.keep();
        }
        if !agent.claim(placement) {
            watch.retry();
        }
        wait(&agent, &watch, &relay)?;
        if relay.has_ended() {
            return Err(Failure::new(code::SYSTEM, "the relay has ended"));
        }
        // What comes meanwhile waits; it is no longer than a probe takes.
        if !agent.links.are_tentative() {
            agent.listen(&mut buffers)?;
        }
        agent.tell();
    }
}

/// Waits until there is something to do.
fn wait(agent: &Agent<'_>, watch: &Watch, relay: &RelayThread) -> Result<(), Failure> {
    let now = clock::boottime();
    let (expiry, unwritten) = {
        let cache = agent.table.lock();
        (cache.next_expiry(), agent.memory.due_in(&cache))
    };
    let due = [
        unwritten,
        expiry.map(|at| at.saturating_sub(now)),
        agent.links.due().map(|at| at.saturating_sub(now)),
        watch.due_in(),
        Some(REMINDER),
    ];
    let due = due.into_iter().flatten().min().unwrap_or(REMINDER);
    agent
        .alarm
        .set(due)
        .map_err(|error| Failure::system("set a timer", error))?;
    let mut sources: Vec<BorrowedFd<'_>> = watch.sources().into();
    sources.extend([agent.socket.as_fd(), relay.ended(), agent.alarm.as_fd()]);
    sources.extend(agent.links.sources());
    if !agent.links.are_tentative() {
        sources.push(agent.channel.as_fd());
    }
    let mut fds: Vec<_> = sources
        .into_iter()
        .map(|source| PollFd::from_borrowed_fd(source, PollFlags::IN))
        .collect();
    match poll(&mut fds, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(Failure::system("poll", error)),
    }
}

impl Agent<'_> {
    /// Answers the updates that have come.
    fn listen(&mut self, buffers: &mut Buffers) -> Result<(), Failure> {
        let Self {
            channel,
            registrar,
            table,
            judged,
            complaints,
            refusals,
            ..
        } = self;
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let wall = Timestamp::from_unix(wall.unwrap_or_default());
        let now = clock::boottime();
        let mut changes = Vec::new();
        let exchanged = channel.exchange(
            buffers,
            |packet, room| {
                let mut cache = table.lock();
                match registrar.receive(&mut cache, packet, now, wall, room) {
                    Outcome::Judged {
                        answer,
                        anycast,
                        care_of,
                        status,
                        change,
                    } => {
                        if !status.is_accepted() {
                            *judged.refused.entry(status.0).or_default() += 1;
                        }
                        changes.push((anycast, care_of, status, change));
                        Some(answer)
                    }
                    Outcome::Complaint(answer) => {
                        judged.complaints += 1;
                        Some(answer)
                    }
                    Outcome::Silence(why) => {
                        *judged.unanswered.entry(why).or_default() += 1;
                        if matches!(why, Why::Unauthenticated | Why::Unknown)
                            && refusals.permits(now)
                        {
                            say(&unheard(packet, why));
                        }
                        None
                    }
                }
            },
            |error| {
                if complaints.permits(now) {
                    say(&error.to_string());
                }
            },
        );
        for (anycast, care_of, status, change) in changes {
            if change == Change::Created {
                self.links.announce(anycast, now);
            }
            let told = match change {
                Change::None => format!("{anycast}: {care_of} refused: {status}"),
                Change::Refreshed => continue,
                Change::Created => format!("{anycast} is at {care_of}"),
                Change::Moved { from } => format!("{anycast} is at {care_of}, no longer at {from}"),
                Change::Deleted => format!("{anycast}: {care_of} has left"),
            };
            let limit = match change {
                Change::None => &mut self.refusals,
                _ => &mut self.complaints,
            };
            if limit.permits(now) {
                say(&told);
            }
        }
        exchanged
            .map(drop)
            .map_err(|error| Failure::system("receive Binding Updates", error))
    }

    /// Pursues the claims to the addresses on the agent's links. Returns whether all that
    /// has come of it could be done.
    fn claim(&mut self, placement: &mut Placement) -> bool {
        let mut done = true;
        for found in self.links.turn(clock::boottime()) {
            let Found {
                address,
                interface,
                held,
            } = found;
            let contested = self.links.contested().contains(&address);
            self.table.lock().contest(address, contested);
            let result = match held {
                true => placement.answer(address, &interface),
                false => placement.fall_silent(address, &interface),
            };
            if let Err(failure) = result {
                self.complain(&failure.to_string());
                done = false;
            }
        }
        done
    }

    /// These were not answered for on their links for a while.
    fn doubt(&mut self, unanswered: &[(Ipv6Addr, String)]) {
        for (address, interface) in unanswered {
            self.links.doubt(*address, interface, clock::boottime());
        }
    }

    /// Reads the keys again. Bindings of keys that are gone live to their end: they
    /// cannot be refreshed.
    fn reload(&mut self) {
        let keyring = self.registrar.keyring_mut();
        match keys::replace(keyring, self.settings) {
            Err(failure) => say(&format!("{failure}; the keys are those before")),
            Ok(gone) => {
                let identities = keys::identities(keyring);
                let holders = keyring.holders().len();
                self.identities = identities;
                say(&format!(
                    "has read the keys again: those of {holders} nodes"
                ));
                for identity in gone {
                    say(&format!(
                        "{identity} has no key any more; what it has registered ends with its lifetime"
                    ));
                }
            }
        }
    }

    /// Writes down what an agent that is started next goes on with.
    fn keep(&mut self) {
        let Self {
            table,
            memory,
            identities,
            ..
        } = self;
        if let Err(error) = memory.keep(|| Copied::of(&table.lock()), identities) {
            let path = memory.path().display().to_string();
            self.complain(&format!(
                "{path}: {error}; a restart would lose the bindings"
            ));
        }
    }

    /// Says what others can cause.
    fn complain(&mut self, line: &str) {
        if self.complaints.permits(clock::boottime()) {
            say(line);
        }
    }

    /// Lets bindings end whose lifetime is over.
    fn expire(&mut self) {
        let now = clock::boottime();
        loop {
            let ended = self.table.lock().expire(now);
            let Some(binding) = ended else { return };
            if self.complaints.permits(now) {
                let (anycast, care_of) = (binding.anycast(), binding.care_of());
                say(&format!("{anycast}: the binding to {care_of} has expired"));
            }
        }
    }

    /// Answers who asks for the status.
    fn tell(&mut self) {
        let records = || -> Box<dyn FnOnce() -> Vec<u8> + Send> {
            let cache = self.table.lock();
            let source = status::Source {
                address: self.settings.address,
                interface: DEVICE,
                authenticated: !self.settings.insecure_unauthenticated,
                started: self.started,
                bindings: cache.iter().copied().collect(),
                contested: self.links.contested().into_iter().collect(),
                cache: cache.counters().clone(),
                counters: Arc::clone(&self.counters),
                judged: self.judged.clone(),
                lost: self.channel.counters().lost,
                now: clock::boottime(),
                wall: SystemTime::now(),
                identities: Arc::clone(&self.identities),
            };
            drop(cache);
            Box::new(move || source.render())
        };
        if let Err(error) = self.socket.answer(records)
            && self.complaints.permits(clock::boottime())
        {
            say(&format!("serve the status: {error}"));
        }
    }

    fn remind(&mut self) {
        if self.settings.insecure_unauthenticated && self.reminder.permits(clock::boottime()) {
            say(
                "WARNING: insecure_unauthenticated is set: whoever reaches the agent can take any of its addresses",
            );
        }
    }
}

/// What is said of an update that is not answered, for who looks for the reason here.
fn unheard(packet: &[u8], why: Why) -> String {
    let source = Ipv6Packet::new(packet).map(|packet| packet.source().to_string());
    let source = source.unwrap_or_else(|_| "somebody".to_owned());
    match why {
        Why::Unauthenticated => format!(
            "an update from {source} has no authentication and is not answered (its key is missing there?)"
        ),
        _ => format!(
            "an update from {source} has an SPI or a peer that the file of keys does not have, and is not answered"
        ),
    }
}
