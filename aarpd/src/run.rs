//! `aarpd run`: from the configuration to a serving daemon, and back.

use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use aarp_core::relay::Limit;
use aarp_core::settings::Methods;
use aarp_core::table::{Entry, TableWriter};
use aarp_host::alarm::Alarm;
use aarp_host::failure::{Failure, code};
use aarp_host::signals::Signals;
use aarp_mapper::{Limits, Mapper, permitted};
use aarp_sys::clock::boottime;
use aarp_sys::process::overflow_user;
use aarp_sys::table::{Claim, CreateError, Created, Options, Previous, Tenure, namespace};
use rustix::event::epoll;
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};

use crate::clients::Clients;
use crate::configuration::Configuration;
use crate::exporter::Exporter;
use crate::listen::Listener;
use crate::notify::Notify;
use crate::prober::Prober;
use crate::serve::{Daemon, READERS};
use crate::watch::{Routes, Sleep};
use crate::{Place, folder, say};

/// Descriptors that are enough for every connection there may be.
const DESCRIPTORS: u64 = 8192;

/// Serves until a signal comes.
pub(crate) fn run(place: &Place) -> Result<(), Failure> {
    let configuration = Configuration::read(place)?;
    let me = geteuid().as_raw();
    is_trusted(&configuration, place, me)?;
    let signals = Signals::open()?;
    let routes = Routes::open()?;
    let prober = Prober::open()?;
    prober.require(configuration.resolve.methods.or(Methods::ECHO))?;
    let trusted: Vec<u32> = [0, me].into_iter().chain(configuration.user).collect();
    for path in [&configuration.table, &configuration.socket] {
        folder::make(path, place.user_daemon, &trusted)?;
    }
    let mode = if place.user_daemon { 0o600 } else { 0o644 };
    let options = Options {
        path: &configuration.table,
        capacity: configuration.daemon.entries as usize,
        mode,
        trusted: &trusted,
        longest: configuration.longest(),
    };
    let no_table = |error| match error {
        CreateError::Room { .. } if configuration.table.exists() => {
            let message = format!("{error}; the table that is there serves on until it ends");
            Failure::new(code::UNAVAILABLE, message)
        }
        CreateError::Held { .. } | CreateError::Room { .. } => {
            Failure::new(code::UNAVAILABLE, error)
        }
        error => Failure::new(code::SYSTEM, error),
    };
    let claim = Claim::take(&options).map_err(no_table)?;
    // A table that still serves is not given up for a daemon that cannot.
    let ways = Ways::open(place, &configuration)?;
    // What another configuration has let in is nobody's before this one has.
    let judge = |entry: &Entry| permitted(&configuration.resolve, None, entry, boottime());
    let Created { table, previous } = claim.create(&judge).map_err(no_table)?;
    let mut table = table;
    let served = serve(
        place,
        &configuration,
        (table.parts(), previous),
        (signals, routes, prober),
        (ways, trusted),
    );
    // Nobody is to use what nobody refreshes.
    let ended = table
        .end()
        .map_err(|error| Failure::new(code::SYSTEM, error));
    served.and(ended)
}

/// How others reach it, and what it waits with.
struct Ways {
    exporter: Option<Exporter>,
    listener: Listener,
    notify: Notify,
    epoll: OwnedFd,
    alarm: Alarm,
    namespace: String,
}

impl Ways {
    fn open(place: &Place, configuration: &Configuration) -> Result<Self, Failure> {
        let notify = Notify::of_environment()
            .map_err(|error| Failure::system("find the service manager", error))?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(|error| Failure::system("epoll_create1", error))?;
        let alarm = Alarm::new().map_err(|error| Failure::system("make a timer", error))?;
        let namespace =
            namespace().map_err(|e| Failure::system("find the network namespace", e))?;
        let exporter = match configuration.daemon.metrics {
            Some(address) => Some(Exporter::open(address, READERS)?),
            None => None,
        };
        Ok(Self {
            exporter,
            listener: Listener::open(&configuration.socket, place.user_daemon)?,
            notify,
            epoll,
            alarm,
            namespace: format!("{}-{}", namespace.device, namespace.inode),
        })
    }
}

/// The table, and the right to write it.
type Writing<'t> = (&'t mut TableWriter<'static>, &'t mut Tenure);

fn serve(
    place: &Place,
    configuration: &Configuration,
    ((table, tenure), previous): (Writing<'_>, Previous),
    (signals, routes, prober): (Signals, Routes, Prober),
    (ways, own): (Ways, Vec<u32>),
) -> Result<(), Failure> {
    match previous {
        Previous::None | Previous::Taken(0) => {}
        Previous::Taken(count) => say(&format!("goes on with mappings of before: {count}")),
        Previous::Refused(why) => say(&format!(
            "{}: {why}; begins without it",
            configuration.table.display()
        )),
    }
    let Ways {
        exporter,
        listener,
        notify,
        epoll,
        alarm,
        namespace,
    } = ways;
    let mapper = Mapper::new(table, configuration.resolve.clone(), Limits::default());
    let mut daemon = Daemon {
        place,
        configuration,
        mapper,
        tenure,
        prober,
        signals,
        routes,
        sleep: Sleep::new(),
        listener,
        exporter,
        notify,
        alarm,
        epoll,
        clients: Clients::new(descriptors()),
        sockets: Default::default(),
        own,
        namespace,
        started: SystemTime::now(),
        served: Default::default(),
        complaints: Limit::new(Duration::from_secs(10), 5),
        beat: boottime(),
        woken: Duration::ZERO,
        census: Default::default(),
    };
    daemon.serve()
}

/// As many descriptors as this process may have, and needs.
fn descriptors() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(DESCRIPTORS).min(DESCRIPTORS);
    if current.is_none_or(|current| current >= wanted) {
        return current.unwrap_or(wanted);
    }
    let more = Rlimit {
        current: Some(wanted),
        maximum,
    };
    match setrlimit(Resource::Nofile, more) {
        Ok(()) => wanted,
        Err(_) => current.unwrap_or(wanted),
    }
}

/// Programs trust what belongs to root, to the user that the configuration names, or to
/// themselves.
fn is_trusted(configuration: &Configuration, place: &Place, me: u32) -> Result<(), Failure> {
    if me != 0 && me == overflow_user() {
        let message = format!(
            "this is user {me}, who stands for all users without a number: no program trusts \
             what belongs to that"
        );
        return Err(Failure::new(code::CONFIGURATION, message));
    }
    if me == 0 || place.user_daemon || configuration.user == Some(me) {
        return Ok(());
    }
    let message = match configuration.user {
        Some(user) => format!(
            "daemon.user names user {user}, and this is user {me}, whose table nobody would trust"
        ),
        None => format!(
            "this is user {me}, whose table nobody else would trust: name it as daemon.user in \
             the system's configuration, or serve its own programs with --user-daemon"
        ),
    };
    Err(Failure::new(code::CONFIGURATION, message))
}
