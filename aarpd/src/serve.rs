//! The loop: what there is to do, what to wait for, and what has come.

use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use aarp_core::relay::Limit;
use aarp_host::alarm::Alarm;
use aarp_host::failure::{Failure, code};
use aarp_host::signals::{Signals, Wanted};
use aarp_mapper::sockets::Sockets;
use aarp_mapper::{Action, Cause, Changed, Mapper, User};
use aarp_sys::clock::boottime;
use aarp_sys::table::{CreateError, Renewed, Tenure};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

use crate::client::Client;
use crate::clients::Clients;
use crate::configuration::Configuration;
use crate::exporter::{Exporter, Request, Turn};
use crate::listen::Listener;
use crate::notify::Notify;
use crate::prober::{self, Prober};
use crate::report::{self, Served};
use crate::standing::Census;
use crate::watch::{Routes, Sleep};
use crate::{Place, metrics, say};

/// What is waited for, by number; clients are above.
mod source {
    pub(super) const LISTENER: u64 = 0;
    pub(super) const SIGNALS: u64 = 1;
    pub(super) const ROUTES: u64 = 2;
    pub(super) const ALARM: u64 = 3;
    pub(super) const EXPORTER: u64 = 4;
    /// And the ranks of the methods.
    pub(super) const PROBES: u64 = 8;
}

/// The number of the first who reads metrics: above all clients.
pub(crate) const READERS: u64 = 1 << 62;
/// How often the table is given a sign of life.
const BEAT: Duration = Duration::from_secs(5);
/// How much may have to be done before clients are heard again.
const QUEUED: usize = 4096;
/// How many are let in at once.
const CALLERS: usize = 64;

/// A serving daemon.
pub(crate) struct Daemon<'t> {
    pub(crate) place: &'t Place,
    pub(crate) configuration: &'t Configuration,
    pub(crate) mapper: Mapper<'t>,
    pub(crate) tenure: &'t mut Tenure,
    pub(crate) prober: Prober,
    pub(crate) signals: Signals,
    pub(crate) routes: Routes,
    pub(crate) sleep: Sleep,
    pub(crate) listener: Listener,
    pub(crate) exporter: Option<Exporter>,
    pub(crate) notify: Notify,
    pub(crate) alarm: Alarm,
    pub(crate) epoll: OwnedFd,
    pub(crate) clients: Clients,
    pub(crate) sockets: Sockets,
    /// Users without a limit: root, and whose daemon this is.
    pub(crate) own: Vec<u32>,
    pub(crate) namespace: String,
    pub(crate) started: SystemTime,
    pub(crate) served: Served,
    pub(crate) complaints: Limit,
    /// When the next sign of life is due.
    pub(crate) beat: Duration,
    /// What the timer is set to.
    pub(crate) woken: Duration,
    pub(crate) census: Census,
}

impl Daemon<'_> {
    /// Serves until a signal comes.
    pub(crate) fn serve(&mut self) -> Result<(), Failure> {
        self.register()?;
        let (socket, table) = (&self.configuration.socket, &self.configuration.table);
        let line = format!("serves {} and {}", socket.display(), table.display());
        say(&line);
        self.notify.ready(&line);
        let mut events = Vec::with_capacity(256);
        loop {
            self.keep_up(boottime())?;
            self.act();
            self.set_alarm()?;
            events.clear();
            let room = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, room, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(Failure::system("epoll_wait", error)),
            }
            for event in &events {
                let number = event.data.u64();
                if number != source::SIGNALS {
                    self.dispatch(number, event.flags);
                    continue;
                }
                match self.signals.take() {
                    None => {}
                    Some(Wanted::Reload) => self.reload(),
                    Some(Wanted::End(signal)) => {
                        say(&format!("stops on signal {signal}"));
                        self.notify.stopping();
                        self.tell_followers(report::stopping);
                        return Ok(());
                    }
                }
            }
        }
    }

    fn register(&mut self) -> Result<(), Failure> {
        let failed = |error| Failure::system("epoll_ctl", error);
        let epoll = &self.epoll;
        let add = |source: &dyn std::os::fd::AsFd, number| {
            epoll::add(
                epoll,
                source.as_fd(),
                EventData::new_u64(number),
                EventFlags::IN,
            )
        };
        add(&self.listener, source::LISTENER).map_err(failed)?;
        add(&self.signals, source::SIGNALS).map_err(failed)?;
        add(&self.routes, source::ROUTES).map_err(failed)?;
        add(&self.alarm, source::ALARM).map_err(failed)?;
        if let Some(exporter) = &self.exporter {
            add(exporter, source::EXPORTER).map_err(failed)?;
        }
        for (rank, socket) in self.prober.sockets() {
            add(socket, source::PROBES + rank as u64).map_err(failed)?;
        }
        Ok(())
    }

    /// When there is something to do if nothing comes.
    fn due(&self) -> Duration {
        let exporter = self.exporter.as_ref().and_then(Exporter::due);
        let dues = [
            self.mapper.due(),
            self.routes.due(),
            self.clients.due(),
            exporter,
        ];
        dues.into_iter().flatten().fold(self.beat, Duration::min)
    }

    /// Has the timer wake this program when something is due.
    fn set_alarm(&mut self) -> Result<(), Failure> {
        let due = self.due();
        let now = boottime();
        // A call less for each request, most often.
        if due == self.woken && now < due {
            return Ok(());
        }
        self.woken = due;
        let left = due.saturating_sub(now);
        let set = self.alarm.set(left);
        set.map_err(|error| Failure::system("set a timer", error))
    }

    /// What is due by the clock.
    fn keep_up(&mut self, now: Duration) -> Result<(), Failure> {
        if self.sleep.is_over() {
            self.mapper.begin_epoch(Cause::Resume, now);
        }
        if let Some(changed) = self.routes.take(now) {
            let changed = match &changed {
                Ok(prefixes) => Changed::Prefixes(prefixes),
                Err(()) => Changed::Unknown,
            };
            self.mapper.routes_changed(changed, now);
        }
        if self.beat <= now {
            let every = self.notify.watchdog.unwrap_or(BEAT).min(BEAT);
            self.beat = now + every;
            self.mapper.table_mut().beat(now);
            self.notify.alive();
            self.stay()?;
        }
        self.served.deaf += self.clients.let_deaf_go(now);
        if let Some(exporter) = &mut self.exporter {
            exporter.expire(now);
            let armed = exporter.arm(&self.epoll, source::EXPORTER);
            armed.map_err(|error| Failure::system("epoll_ctl", error))?;
        }
        Ok(())
    }

    /// Looks whether its place is still its own: somebody may have removed its lock file, and
    /// then there may be another daemon, which is the one that programs find.
    fn stay(&mut self) -> Result<(), Failure> {
        let table = self.configuration.table.display();
        match self.tenure.renew() {
            Ok(Renewed::Unchanged) => {}
            Ok(Renewed::Anew) => say(&format!("{table}.lock was removed; it is made anew")),
            Err(error @ CreateError::Held { .. }) => {
                let message = format!("{error}; this one stops");
                return Err(Failure::new(code::UNAVAILABLE, message));
            }
            Err(error) => self.complain(&error.to_string()),
        }
        Ok(())
    }

    /// Does what the mapper wants done: what comes in during a turn is done by the end of
    /// the next.
    fn act(&mut self) {
        for _ in 0..self.mapper.turn() {
            let now = boottime();
            let Some(action) = self.mapper.next(now) else {
                return;
            };
            match action {
                Action::Begin(a) => match self.prober.start(a) {
                    Ok(start) => self.mapper.begin(a, &start, boottime()),
                    Err(failure) => {
                        self.mapper.not_begun(a);
                        self.complain(&failure.to_string());
                    }
                },
                Action::Send(probe) => {
                    if let Err(errno) = self.prober.send(&probe) {
                        self.mapper.not_sent(probe.to, probe.rank, boottime());
                        if !aarp_sys::probe::is_from_icmp(errno) {
                            self.complain(&format!("send to {}: {errno}", probe.to));
                        }
                    }
                }
                Action::Tell(asker, reply) => self.answer(asker, &reply, now),
                Action::Happened(event) => self.tell_followers(|| report::event(&event)),
                Action::Flushed(asker, count) => self.tell_flushed(asker, count),
                Action::Reloaded(forgotten) => {
                    say(&format!(
                        "has read its configuration again; mappings that it forbids: {forgotten}"
                    ));
                    self.tell_followers(|| report::reloaded(forgotten));
                    self.notify.ready("serves");
                }
            }
        }
    }

    fn dispatch(&mut self, number: u64, flags: EventFlags) {
        let now = boottime();
        match number {
            source::LISTENER => self.admit(now),
            // What is due is done in each turn.
            source::ALARM => {}
            source::ROUTES => {
                if let Err(error) = self.routes.hear(now) {
                    self.complain(&error.to_string());
                }
            }
            source::EXPORTER => self.admit_reader(now),
            READERS.. => self.serve_reader(number),
            // Whoever waits is still there when that is done.
            crate::clients::FIRST.. if self.mapper.queued() > QUEUED => {}
            crate::clients::FIRST.. => self.serve_client(number, flags, now),
            probes => {
                if let Err(error) = self.receive((probes - source::PROBES) as usize) {
                    self.complain(&error.to_string());
                }
            }
        }
    }

    /// Takes the answers to probes.
    fn receive(&mut self, rank: usize) -> Result<(), Failure> {
        let mapper = &mut self.mapper;
        self.prober.receive(rank, |incoming, source, routes| {
            let route = |to| prober::route(routes, to);
            mapper.hear(rank, incoming, source, boottime(), route);
        })
    }

    /// Lets those in who wait.
    fn admit(&mut self, now: Duration) {
        for _ in 0..CALLERS {
            let caller = match self.listener.accept() {
                Ok(Some(caller)) => caller,
                Ok(None) => return,
                Err(error) => {
                    // Without a descriptor who waits would be seen again and again.
                    let displaced = self.clients.displace_one();
                    self.complain(&format!("let somebody in: {error}"));
                    if !displaced {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    return;
                }
            };
            self.served.connections += 1;
            // Root of another network namespace has no place that is left to root's.
            let user = match self.own.contains(&caller.uid) && !caller.is_foreign {
                true => User::Own,
                false => User::Other(caller.uid),
            };
            let client = Client::new(caller, user, now);
            if let Err(error) = self.clients.admit(&self.epoll, client) {
                self.complain(&format!("wait for a client: {error}"));
            }
        }
    }

    fn admit_reader(&mut self, now: Duration) {
        let Some(exporter) = &mut self.exporter else {
            return;
        };
        let added = match exporter.accept(now) {
            Ok(Some((number, reader))) => {
                let data = EventData::new_u64(number);
                let added = epoll::add(&self.epoll, reader, data, EventFlags::IN);
                added.map_err(|error| (Some(number), error.into()))
            }
            Ok(None) => Ok(()),
            Err(error) => Err((None, error)),
        };
        if let Err((number, error)) = added {
            if let Some(number) = number {
                exporter.remove(number);
            }
            let error: std::io::Error = error;
            self.complain(&format!("let a reader of metrics in: {error}"));
        }
    }

    fn serve_reader(&mut self, number: u64) {
        let Some(mut exporter) = self.exporter.take() else {
            return;
        };
        if let Some(reader) = exporter.get_mut(number) {
            let turn = match reader.turn() {
                // Whoever may write is heard of again at once.
                Turn::Asks(Request::Metrics) if !self.count_on(boottime()) => Turn::Writing,
                Turn::Asks(request) => {
                    let text = || self.with_standing(metrics::text);
                    reader.answer(request, text)
                }
                turn => turn,
            };
            let armed = match turn {
                Turn::Writing => {
                    let data = EventData::new_u64(number);
                    epoll::modify(&self.epoll, &*reader, data, EventFlags::OUT).is_ok()
                }
                turn => turn == Turn::Reading,
            };
            if !armed {
                exporter.remove(number);
            }
        }
        self.exporter = Some(exporter);
    }

    /// Reads the configuration again. What cannot be changed while it serves stays.
    fn reload(&mut self) {
        self.notify.reloading();
        match Configuration::read(self.place) {
            Err(failure) => {
                say(&format!("{failure}; goes on as before"));
                self.notify.ready("serves");
            }
            Ok(read) => {
                let fixed = |configuration: &Configuration| {
                    let Configuration {
                        socket,
                        table,
                        daemon,
                        user,
                        ..
                    } = configuration;
                    (
                        socket.clone(),
                        table.clone(),
                        daemon.entries,
                        daemon.metrics,
                        *user,
                    )
                };
                if fixed(&read) != fixed(self.configuration) {
                    say("socket, table, entries, user and metrics stay until it is restarted");
                }
                self.mapper.reload(read.resolve);
            }
        }
    }

    /// Says what others can cause.
    pub(crate) fn complain(&mut self, line: &str) {
        if self.complaints.permits(boottime()) {
            say(line);
        }
    }
}
