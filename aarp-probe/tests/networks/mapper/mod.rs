//! A daemon on a lab network, for looking into it: `cache`, `top`, `events`, `metrics`, and
//! what `doctor` and `explain` say of it.

mod cache;
mod live;
mod presence;

use std::path::{Path, PathBuf};

use aarp_lab::{Command, Host, Lab, Process, wait_until};
use aarp_sys::clock::boottime;
use aarp_sys::interrupt::Interruptible;
use aarp_sys::mapper::{Daemon, Reply, Waiting, resolve};
use aarp_wire::mapper::{Asked, Message};
use serde_json::Value;

use crate::site::{Ended, PATIENCE, ended, move_to, probe, responders};

/// Inside the prefix, and nobody's.
pub const SILENT: &str = "2001:db8:a::dead";

/// Two responders, and a daemon on the client's host.
pub struct Site {
    pub lab: Lab,
    pub config: PathBuf,
    pub run: PathBuf,
}

impl Site {
    pub fn new() -> Self {
        let lab = Lab::new(&responders(2)).unwrap();
        move_to(&lab, 1);
        let (config, run) = (lab.work().join("aarp.toml"), lab.work().join("run"));
        let site = Self { config, run, lab };
        site.configure("");
        site
    }

    /// Where the daemon is, and what it asks about; and more of `[daemon]`.
    pub fn configure(&self, more: &str) {
        let (socket, table) = (self.socket(), self.run.join("table"));
        // Nobody but one is silent because a machine is slow.
        let text = format!(
            "[resolve]\nprefixes = [\"2001:db8:a::/48\"]\n\
             [times]\nbudget = \"10s\"\nretransmit = [\"5s\"]\n\
             [[prefix]]\nprefix = \"{SILENT}/128\"\nbudget = \"300ms\"\nretransmit = []\n\
             [daemon]\nsocket = {socket:?}\ntable = {table:?}\n{more}"
        );
        std::fs::write(&self.config, text).unwrap();
    }

    pub fn host(&self) -> &Host {
        self.lab.host("client").unwrap()
    }

    pub fn socket(&self) -> PathBuf {
        self.run.join("aarpd.sock")
    }

    /// The installed daemon, which serves.
    pub fn start(&self) -> Process {
        let aarpd = stage().join("bin/aarpd");
        let command = self.host().command(aarpd).arg("run");
        let command = command.arg("--run-dir").arg(&self.run);
        let command = command.arg("--config").arg(&self.config);
        let daemon = command.spawn().unwrap();
        wait_until("the daemon serves", PATIENCE, || {
            let said = daemon.stderr()?;
            assert!(daemon.try_wait()?.is_none(), "it has ended: {said}");
            Ok(said.contains("serves "))
        })
        .unwrap();
        daemon
    }

    pub fn probe(&self, arguments: &[&str]) -> Command<'_> {
        probe(self.host(), arguments)
            .env("AARP_CONFIG", &self.config)
            .env("XDG_RUNTIME_DIR", self.lab.work())
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.probe(arguments))
    }

    /// A program asks the daemon, and waits for the answer.
    pub fn ask(&self, a: &str, flags: u32) -> Reply {
        let socket = self.socket();
        let (a, budget) = (a.parse().unwrap(), 1000);
        // The daemon hears programs of its network namespace alone.
        self.host().enter(move || {
            let (path, trusted) = (socket.to_str().unwrap(), [aarp_sys::process::user()]);
            let daemon = Daemon {
                path,
                trusted: &trusted,
            };
            let mut replies = [Reply::None];
            resolve(
                &daemon,
                &[Asked { a, budget, flags }],
                &mut replies,
                boottime() + PATIENCE,
                Waiting::ForAll,
                Interruptible::Never,
            )
            .unwrap();
            replies[0]
        })
    }

    pub fn tell(&self, message: Message<'static>) {
        let socket = self.socket();
        self.host().enter(move || {
            let (path, trusted) = (socket.to_str().unwrap(), [aarp_sys::process::user()]);
            let trusted = &trusted;
            aarp_sys::mapper::tell(&Daemon { path, trusted }, &message).unwrap();
        });
    }

    /// The U that the daemon tells.
    pub fn learn(&self, a: &str) -> String {
        match self.ask(a, 0) {
            Reply::Answer(answer) => answer.u.to_string(),
            other => panic!("{a}: {other:?}"),
        }
    }
}

/// The installed tree: `AARP_STAGE`, or target/stage.
fn stage() -> PathBuf {
    let stage = std::env::var_os("AARP_STAGE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/stage"),
        PathBuf::from,
    );
    assert!(
        stage.join("bin/aarpd").is_file(),
        "{} has no aarpd: run PREFIX={0} ./install.sh, or set AARP_STAGE",
        stage.display()
    );
    stage
}

/// Keeps what was shown, for the manual.
pub fn keep(name: &str, shown: &str) {
    if let Some(folder) = std::env::var_os("AARP_RECORD") {
        std::fs::write(PathBuf::from(folder).join(name), shown).unwrap();
    }
}

/// Waits until a process has printed that.
pub fn printed(process: &Process, what: &str) {
    process.wait_stdout(what, PATIENCE).unwrap();
}

/// The finding of a check.
pub fn finding<'r>(records: &'r [Value], check: &str) -> &'r Value {
    let found = records.iter().find(|record| record["check"] == check);
    found.unwrap_or_else(|| panic!("{check}: {records:#?}"))
}
