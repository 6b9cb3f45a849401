//! Whether there is an aarpd, and a mapping table, and whether programs use them.

use aarp_core::settings::{DaemonUse, Settings};
use aarp_sys::clock::boottime;
use aarp_sys::table::{AttachError, namespace};
use aarp_wire::mapper::Message;
use serde_json::Value;

use super::finding::Finding;
use crate::exit;
use crate::mapper::table::{Refused, Table};
use crate::mapper::{MapperError, Which, plain};

const DAEMON: &str = "aarpd";
const TABLE: &str = "mapping table";

/// Of the daemon; and of its table, where programs look for one.
pub(super) fn examine(settings: &Settings) -> (Finding, Option<Finding>) {
    if settings.daemon.usage == DaemonUse::Off {
        let detail = "daemon.use is \"off\": each program asks by itself, whoever else has asked";
        return (Finding::ok(DAEMON, detail), None);
    }
    let which = Which::default();
    let status = status(&which, settings);
    let table = which.table(settings);
    let is_served = status.is_ok();
    let daemon = match status {
        Ok(finding) => finding,
        Err(error) => without(settings, &error),
    };
    (daemon, Some(of_table(table, is_served)))
}

/// What the daemon says of itself.
fn status(which: &Which, settings: &Settings) -> Result<Finding, MapperError> {
    let connection = which.connect(settings)?;
    let (text, _) = connection.lines(&Message::Status)?;
    let path = connection.path.display();
    let status: Value = serde_json::from_str(&text)
        .map_err(|error| MapperError::Nonsense(connection.path.clone(), error.to_string()))?;
    let (pid, user) = (&status["pid"], connection.uid);
    let detail = format!("process {pid} of user {user} answers at {path}, and is asked first");
    let told = plain(status["namespace"].as_str().unwrap_or_default());
    let own = namespace().map(|own| format!("{}-{}", own.device, own.inode));
    Ok(match own {
        Ok(own) if own != told => {
            let other = "it serves another network namespace, where other responders may answer";
            Finding::note(DAEMON, format!("{detail}; {other}"))
        }
        _ => Finding::ok(DAEMON, detail),
    })
}

/// Without a daemon.
fn without(settings: &Settings, error: &MapperError) -> Finding {
    if settings.daemon.usage == DaemonUse::Require {
        let detail = format!("{error}; daemon.use is \"require\": nothing is pinned");
        return Finding::hindrance(DAEMON, exit::CANNOT_BE_PINNED, detail).remedy(
            "start it, or do not require it:",
            ["systemctl start aarpd.socket".to_owned()],
        );
    }
    let detail = format!("{error}; each program asks by itself");
    match error.is_absent() {
        // Nobody has to have one.
        true => Finding::ok(DAEMON, detail),
        false => Finding::note(DAEMON, detail),
    }
}

fn of_table(table: Result<Table, Vec<Refused>>, is_served: bool) -> Finding {
    let table = match table {
        Ok(table) => table,
        Err(refused) => return unused(&refused, is_served),
    };
    let header = table.view.header();
    let writer = header.identity().pid;
    let silent = boottime().saturating_sub(header.heartbeat()).as_secs();
    let count = table.fresh(boottime()).len();
    let mappings = if count == 1 { "mapping" } else { "mappings" };
    let path = table.path.display();
    if is_served {
        let detail = format!("{path}, of process {writer}: {count} {mappings}, read first");
        return Finding::ok(TABLE, detail);
    }
    let detail = format!(
        "{path}: {count} {mappings}; its writer, process {writer}, was last alive {silent} s ago, \
         and nobody answers: it serves until its mappings end"
    );
    Finding::note(TABLE, detail)
}

/// Why no table is read.
fn unused(refused: &[Refused], is_served: bool) -> Finding {
    let there = refused
        .iter()
        .filter(|one| one.error != AttachError::Absent);
    let there: Vec<String> = there.map(Refused::to_string).collect();
    let places: Vec<String> = refused
        .iter()
        .map(|one| one.path.display().to_string())
        .collect();
    let instead = match is_served {
        true => "programs ask on the socket each time",
        false => "programs remember by themselves",
    };
    match there.as_slice() {
        [] if !is_served => Finding::ok(TABLE, format!("none; {instead}")),
        [] => Finding::note(TABLE, format!("none at {}; {instead}", places.join(", "))),
        there => Finding::note(TABLE, format!("not read: {}; {instead}", there.join(", "))),
    }
}
