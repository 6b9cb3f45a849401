//! What a daemon changes of the host's configuration, so that all of it is put back.
//!
//! What is there already is left alone, now and at the end: it is somebody else's.
//! Each change that is really made is recorded before the next one; so after a
//! failure half-way the record still says what there is to undo. The record can be
//! written down (it is serialisable) and taken up again after a crash.

use std::io::Write;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::HostError;
use crate::own;
use crate::sysctl::{Number, Switch};
use crate::tool::Tool;

mod listing;
mod look;

use look::Look;

/// The metric of IPv6 routes for which none is named (`IP6_RT_PRIO_USER`).
pub const METRIC: u32 = 1024;
/// The table of routes that everybody uses (`RT_TABLE_MAIN`).
pub const MAIN: u32 = 254;

/// One thing that is to be so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// An address of an interface, without duplicate address detection.
    Address {
        /// The address.
        address: Ipv6Addr,
        /// The length of its prefix.
        prefix_length: u8,
        /// The interface.
        interface: String,
        /// Never chosen as a source by itself (`preferred_lft 0`).
        deprecated: bool,
    },
    /// A route into an interface, in place of one with the same metric.
    Route {
        /// The destination.
        destination: Ipv6Addr,
        /// The length of its prefix.
        prefix_length: u8,
        /// The interface.
        interface: String,
        /// The table; [`MAIN`] is everybody's.
        table: u32,
        /// The metric; the lowest counts. [`METRIC`] is the kernel's choice.
        metric: u32,
    },
    /// A rule that sends what comes from an address to a table of routes.
    Rule {
        /// The source address.
        from: Ipv6Addr,
        /// Only packets of this protocol.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        protocol: Option<u8>,
        /// The table.
        table: u32,
        /// The rule's place: 0 is the table of local addresses, 32766 the main table.
        priority: u32,
    },
    /// An address of another node, for which this host answers neighbour
    /// solicitations where [`Change::ProxyNdp`] is set.
    ProxyNeighbour {
        /// The address.
        address: Ipv6Addr,
        /// The interface of the link on which it is solicited.
        interface: String,
    },
    /// Neighbour solicitations for others are answered on an interface.
    ProxyNdp {
        /// The interface.
        interface: String,
    },
    /// They are answered at once.
    ProxyDelay {
        /// The interface.
        interface: String,
    },
    /// What comes in by an interface and is for others is passed on.
    Forwarding {
        /// The interface, or `all`.
        interface: String,
    },
}

/// A change that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What.
    pub change: Change,
    /// The routes that were in its place, as arguments of `ip route`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<Vec<String>>,
    /// The number that was in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u32>,
}

/// The changes that a program has made, in their order. Dropped without
/// [`undo`](Self::undo) they stay.
#[derive(Debug)]
#[must_use = "what is not undone stays on the host"]
pub struct Changes {
    ip: Tool,
    done: Vec<Done>,
    /// Where the record is written down.
    file: Option<PathBuf>,
}

impl Changes {
    /// Nothing changed so far.
    pub fn new(ip: Tool) -> Self {
        Self::resume(ip, Vec::new())
    }

    /// Goes on from the record of a program that has ended without undoing it.
    pub fn resume(ip: Tool, done: Vec<Done>) -> Self {
        let file = None;
        Self { ip, done, file }
    }

    /// Nothing changed so far, after what a program that was killed has left is undone,
    /// as its record in `file` says; from now on the record is written there, before
    /// each change. Returns also what could not be undone.
    ///
    /// # Errors
    /// [`HostError::System`] when the record cannot be read or removed; one that somebody
    /// else can have written is an error too, as its folder may not be one's own alone; and
    /// one that is not understood, for it may be all that is known of a route.
    pub fn recorded(ip: Tool, file: &Path) -> Result<(Self, Vec<HostError>), HostError> {
        let left = match own::read(file) {
            Ok(octets) => serde_json::from_slice(&octets).map_err(std::io::Error::from),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let left = left.map_err(|error| {
            let operation = format!("undo what {} names", file.display());
            HostError::system(&operation, error)
        })?;
        let mut changes = Self::resume(ip, left);
        let errors = changes.undo();
        // What cannot be undone now will not be later.
        changes.done.clear();
        changes.file = Some(file.to_owned());
        changes.save()?;
        Ok((changes, errors))
    }

    /// Writes the record down, or removes it when it is empty.
    fn save(&self) -> Result<(), HostError> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let written = if self.done.is_empty() {
            match std::fs::remove_file(file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
        } else {
            // Whole or not at all, whenever the program is killed.
            let next = file.with_extension("new");
            serde_json::to_vec(&self.done)
                .map_err(std::io::Error::from)
                .and_then(|octets| own::create(&next)?.write_all(&octets))
                .and_then(|()| std::fs::rename(&next, file))
        };
        written.map_err(|error| HostError::system(&format!("write {}", file.display()), error))
    }

    /// What has been changed, in its order.
    #[must_use]
    pub fn record(&self) -> &[Done] {
        &self.done
    }

    /// Makes a change; whether there was anything to change.
    ///
    /// # Errors
    /// [`HostError`]; nothing is changed then.
    pub fn make(&mut self, change: Change) -> Result<bool, HostError> {
        if self.holds(&change)? {
            return Ok(false);
        }
        let replaced = match &change {
            Change::Route { metric, .. } => listing::of_metric(self.routes(&change)?, *metric),
            _ => Vec::new(),
        };
        let before = match &change {
            Change::ProxyDelay { interface } => Number::ProxyDelay.read(interface)?,
            _ => None,
        };
        // Written down before it is done: undoing what was not done does no harm.
        let unreplaced = replaced.is_empty();
        let known = self.done.iter_mut().find(|done| done.change == change);
        let is_new = known.is_none();
        match known {
            // Put back again: once is enough to undo it, with the number of the last who
            // has set one.
            Some(done) => done.before = before.or(done.before),
            None => self.done.push(Done {
                change: change.clone(),
                replaced,
                before,
            }),
        }
        let made = self.save().and_then(|()| self.apply(&change, "add"));
        let Err(error) = made else { return Ok(true) };
        if is_new {
            self.done.pop();
            self.save()?;
        }
        // Somebody else may just have done the same.
        match unreplaced && self.holds(&change)? {
            true => Ok(false),
            false => Err(error),
        }
    }

    /// Makes those of the changes that are not so by now, and tells of each that was
    /// made. What is there is listed once for all of them; each is tried even if another
    /// fails.
    ///
    /// # Errors
    /// The first [`HostError`].
    pub fn make_all(
        &mut self,
        wanted: &[Change],
        mut made: impl FnMut(&Change),
    ) -> Result<(), HostError> {
        let mut look = Look::new(&self.ip);
        let missing: Vec<_> = wanted
            .iter()
            .map(|change| look.holds(change).map(|holds| (change, holds)))
            .collect();
        let mut result = Ok(());
        for looked in missing {
            let tried = looked.and_then(|(change, holds)| {
                if !holds && self.make(change.clone())? {
                    made(change);
                }
                Ok(())
            });
            result = result.and(tried);
        }
        result
    }

    /// Undoes one change, if it is one of ours; whether it was.
    ///
    /// # Errors
    /// [`HostError`]; the change stays in the record then.
    pub fn revert(&mut self, change: &Change) -> Result<bool, HostError> {
        let Some(place) = self.done.iter().rposition(|done| done.change == *change) else {
            return Ok(false);
        };
        self.put_back(&self.done[place])?;
        self.done.remove(place);
        self.save()?;
        Ok(true)
    }

    /// Undoes every change, the last first; each is tried even if another fails.
    /// What could not be undone stays in the record, and is told. What others have
    /// removed or changed meanwhile is left as it is.
    #[must_use = "what could not be undone is to be told"]
    pub fn undo(&mut self) -> Vec<HostError> {
        let mut errors = Vec::new();
        let mut left = Vec::new();
        while let Some(done) = self.done.pop() {
            if let Err(error) = self.put_back(&done) {
                errors.push(error);
                left.push(done);
            }
        }
        left.reverse();
        self.done = left;
        errors.extend(self.save().err());
        errors
    }

    fn put_back(&self, done: &Done) -> Result<(), HostError> {
        let change = &done.change;
        if !self.holds(change)? {
            return self.restore(done);
        }
        // One step, so that no packet meets neither: `replace` is for the first, and
        // what is of several parts is one route to the kernel.
        if let Some((first, rest)) = done.replaced.split_first() {
            self.ip_route("replace", change, first)?;
            return rest
                .iter()
                .try_for_each(|route| self.ip_route("append", change, route));
        }
        let undone = match (change, done.before) {
            (Change::ProxyDelay { interface }, Some(before)) => {
                Number::ProxyDelay.write(interface, before)
            }
            _ => self.apply(change, "del"),
        };
        match undone {
            Err(error) if self.holds(change)? => Err(error),
            _ => Ok(()),
        }
    }

    /// Puts back what a route has replaced after that was lost with its interface;
    /// unless somebody else has put something in its place.
    fn restore(&self, done: &Done) -> Result<(), HostError> {
        let Change::Route { metric, .. } = &done.change else {
            return Ok(());
        };
        if done.replaced.is_empty()
            || !listing::of_metric(self.routes(&done.change)?, *metric).is_empty()
        {
            return Ok(());
        }
        done.replaced
            .iter()
            .try_for_each(|route| self.ip_route("append", &done.change, route))
    }

    /// Whether it is so now.
    fn holds(&self, change: &Change) -> Result<bool, HostError> {
        Look::new(&self.ip).holds(change)
    }

    /// The routes to the same destination.
    fn routes(&self, change: &Change) -> Result<Vec<Vec<String>>, HostError> {
        let Change::Route { table, .. } = change else {
            return Ok(Vec::new());
        };
        let (prefix, table) = (prefix(change), table.to_string());
        let list = [
            "-N", "-6", "route", "show", "table", &table, "exact", &prefix,
        ];
        match self.ip.run(&list, None) {
            Ok(text) => Ok(listing::routes(&text)),
            // A table comes into being with its first route.
            Err(HostError::Failed { reason, .. }) if reason.contains("does not exist") => {
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }

    /// `add` or `del`.
    fn apply(&self, change: &Change, verb: &str) -> Result<(), HostError> {
        let ip = |arguments: &[&str]| self.ip.run(arguments, None).map(drop);
        match change {
            Change::Address {
                interface,
                deprecated,
                ..
            } => {
                let prefix = prefix(change);
                let start = ["-6", "addr", verb, &prefix, "dev", interface];
                let rest: &[&str] = match (verb, deprecated) {
                    ("add", true) => &["nodad", "preferred_lft", "0"],
                    ("add", false) => &["nodad"],
                    _ => &[],
                };
                ip(&[&start, rest].concat())
            }
            Change::Route {
                interface, metric, ..
            } => {
                let verb = if verb == "add" { "replace" } else { verb };
                let route = [&prefix(change), "dev", interface, "metric"];
                let mut route: Vec<_> = route.map(str::to_owned).into();
                route.push(metric.to_string());
                self.ip_route(verb, change, &route)
            }
            Change::Rule {
                from,
                protocol,
                table,
                priority,
            } => {
                let [from, table, priority] =
                    [from.to_string(), table.to_string(), priority.to_string()];
                let mut rule = vec![
                    "-6", "rule", verb, "from", &from, "lookup", &table, "priority", &priority,
                ];
                let protocol = protocol.map(|protocol| protocol.to_string());
                if let Some(protocol) = &protocol {
                    rule.extend(["ipproto", protocol]);
                }
                ip(&rule)
            }
            Change::ProxyNeighbour { address, interface } => ip(&[
                "-6",
                "neigh",
                verb,
                "proxy",
                &address.to_string(),
                "dev",
                interface,
            ]),
            Change::ProxyNdp { interface } => Switch::ProxyNdp.write(interface, verb == "add"),
            Change::ProxyDelay { interface } => match verb {
                "add" => Number::ProxyDelay.write(interface, 0),
                // What it was is not known: it was nothing that could be put back.
                _ => Ok(()),
            },
            Change::Forwarding { interface } => Switch::Forwarding.write(interface, verb == "add"),
        }
    }

    fn ip_route(&self, verb: &str, change: &Change, route: &[String]) -> Result<(), HostError> {
        let Change::Route { table, .. } = change else {
            return Ok(());
        };
        let table = table.to_string();
        let mut arguments = vec!["-6", "route", verb];
        arguments.extend(route.iter().map(String::as_str));
        arguments.extend(["table", &table]);
        self.ip.run(&arguments, None).map(drop)
    }
}

/// `address/length`.
fn prefix(change: &Change) -> String {
    match change {
        Change::Address {
            address,
            prefix_length,
            ..
        }
        | Change::Route {
            destination: address,
            prefix_length,
            ..
        } => format!("{address}/{prefix_length}"),
        Change::Rule { from: address, .. } | Change::ProxyNeighbour { address, .. } => {
            address.to_string()
        }
        Change::ProxyNdp { .. } | Change::ProxyDelay { .. } | Change::Forwarding { .. } => {
            String::new()
        }
    }
}
