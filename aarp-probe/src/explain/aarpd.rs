//! Whether the library asks aarpd, and what it would find in the mapping table.

use std::net::Ipv6Addr;

use aarp_core::settings::{DaemonUse, Settings};
use aarp_sys::clock::boottime;
use aarp_sys::table::AttachError;

use super::places::Places;
use super::{Decision, time};
use crate::mapper::Which;
use crate::mapper::table::{Refused, Table};

/// What is decided about one destination.
pub(super) fn decisions(settings: &Settings, places: &Places, a: Ipv6Addr) -> Vec<Decision> {
    let decision = |decision, key: &'static str, value: String| Decision {
        decision,
        value,
        source: places.last(key),
    };
    let usage = settings.daemon.usage;
    if usage == DaemonUse::Off {
        let value = "not asked, and its table is not read".to_owned();
        return vec![decision("aarpd", "daemon.use", value)];
    }
    let which = Which::default();
    let asked = match (which.connect(settings), usage) {
        (Ok(connection), _) => {
            let what = format!("asked before the network, at {}", connection.path.display());
            decision("aarpd", "daemon.socket", what)
        }
        (Err(error), DaemonUse::Require) => {
            let value = format!("required, and {error}: nothing is pinned");
            decision("aarpd", "daemon.use", value)
        }
        (Err(error), _) if error.is_absent() => {
            let value = "not there: the program asks by itself".to_owned();
            decision("aarpd", "daemon.socket", value)
        }
        (Err(error), _) => {
            let value = format!("not asked, {error}: the program asks by itself");
            decision("aarpd", "daemon.socket", value)
        }
    };
    let mut decisions = vec![asked];
    match which.table(settings) {
        Ok(table) => {
            let value = format!("read first: {}", table.path.display());
            decisions.push(decision("mapping table", "daemon.table", value));
            let known = known(&table, a);
            decisions.extend(known.map(|known| decision("known already", "daemon.table", known)));
        }
        Err(refused) => {
            let there = refused
                .iter()
                .filter(|one| one.error != AttachError::Absent);
            let there: Vec<String> = there.map(Refused::to_string).collect();
            if !there.is_empty() {
                let value = format!("not read: {}", there.join(", "));
                decisions.push(decision("mapping table", "daemon.table", value));
            }
        }
    }
    decisions
}

/// What a program that looks now finds.
fn known(table: &Table, a: Ipv6Addr) -> Option<String> {
    let now = boottime();
    let mapping = table.view.lookup(a, now)?.mapping;
    let left = mapping.expiry.saturating_sub(now).as_secs();
    let left = time(std::time::Duration::from_secs(left));
    Some(match mapping.u == a {
        true => format!("{}, for {left} more", mapping.state.name()),
        false => format!("{}, {}, for {left} more", mapping.state.name(), mapping.u),
    })
}
