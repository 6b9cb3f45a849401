//! Programs that do what a test says, a step at a time.
use std::io::Write as _;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Stdio};
use std::time::Duration;

use aarp_lab::{Command, Process};

use crate::base::{A, LIMIT, Node, Site, now, system};
use crate::common::stage;
use crate::{B, PORT, U1, U2};

pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name)
}

/// The program.
pub(crate) struct Program {
    process: Process,
    stdin: ChildStdin,
    pub(crate) began: Duration,
    lines: usize,
}

impl Program {
    /// `dialogue.py`, which has sockets by name, and words for what it does.
    pub(crate) fn start(site: &Site, variables: &[(&str, &str)]) -> Self {
        let command = under_arl(site, variables).arg("-u");
        let command = command.arg(script("life/dialogue.py"));
        Self::run(command.args([A.to_string(), PORT.to_string()]))
    }

    /// `steps.py`, which takes statements of Python.
    pub(crate) fn steps(site: &Site, variables: &[(&str, &str)]) -> Self {
        Self::stepwise(under_arl(site, variables))
    }

    /// The same with a file as its whole configuration.
    pub(crate) fn steps_by(site: &Site, file: &str) -> Self {
        let library = stage().join("lib/aarp/libaarp.so");
        let command = site.client_host().command(system("python3"));
        let command = command.env("LD_PRELOAD", library).env("AARP_CONFIG", file);
        Self::stepwise(command)
    }

    /// The same on the host of a node, as it is.
    pub(crate) fn steps_of(site: &Site, node: Node) -> Self {
        Self::stepwise(site.host(node).command(system("python3")))
    }

    fn stepwise(command: Command<'_>) -> Self {
        let command = command.arg("-u").arg(script("life/steps.py"));
        let known = [("A", A), ("B", B), ("U1", U1), ("U2", U2)];
        let known = known.map(|(name, address)| format!("{name}={address}"));
        let mut program = Self::run(command.args(known).arg(PORT.to_string()));
        program.waits_for("its start");
        program
    }

    fn run(command: Command<'_>) -> Self {
        let began = now();
        let mut process = command.stdin(Stdio::piped()).spawn().unwrap();
        let stdin = process.take_stdin().unwrap();
        Self {
            process,
            stdin,
            began,
            lines: 0,
        }
    }

    /// Has it do something, and returns what it says about it.
    #[track_caller]
    pub(crate) fn does(&mut self, what: &str) -> String {
        writeln!(self.stdin, "{what}").unwrap();
        self.waits_for(what)
    }

    #[track_caller]
    fn waits_for(&mut self, what: &str) -> String {
        let line = self.lines;
        self.lines += 1;
        let mut ended = None;
        let said = |process: &Process| -> aarp_lab::Result<Option<String>> {
            let text = process.stdout()?;
            let mut complete = text
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'));
            Ok(complete.nth(line).map(|line| line.trim_end().to_owned()))
        };
        aarp_lab::wait_until(&format!("an answer to {what}"), LIMIT, || {
            ended = self.process.try_wait()?;
            Ok(ended.is_some() || said(&self.process)?.is_some())
        })
        .unwrap_or_else(|error| panic!("{error}: {}", self.log()));
        let said = said(&self.process).unwrap();
        said.unwrap_or_else(|| panic!("{what}: {ended:?}: {}", self.log()))
    }

    /// Has it do something, and expects this.
    #[track_caller]
    pub(crate) fn expect(&mut self, what: &str, said: impl AsRef<str>) {
        assert_eq!(self.does(what), said.as_ref(), "{what}: {}", self.log());
    }

    /// Has `dialogue.py` ask, and expects that a node answers which was spoken to by
    /// this address; what is shown is A.
    #[track_caller]
    pub(crate) fn asks(&mut self, what: &str, node: Node, address: Ipv6Addr) {
        let text = what.split_once(' ').unwrap().1;
        let text = text.split_once(' ').unwrap().1;
        self.expect(what, format!("{} {text}", answer(A, node, address)));
    }

    pub(crate) fn log(&self) -> String {
        self.process.stderr().unwrap()
    }

    pub(crate) fn end(self) -> String {
        drop(self.stdin);
        let status = self.process.wait(LIMIT).unwrap();
        let log = self.process.stderr().unwrap();
        assert!(status.success(), "{status}: {log}");
        log
    }
}

/// What the programs say of an answer that is shown from an address, and was given by
/// a node that was spoken to by this address.
pub(crate) fn answer(shown: Ipv6Addr, node: Node, address: Ipv6Addr) -> String {
    format!("{shown} {} {address}", node.name())
}

fn under_arl<'a>(site: &'a Site, variables: &[(&str, &str)]) -> Command<'a> {
    let mut command = site
        .under_arl(&system("python3"))
        .env("AARP_PREFIXES", format!("{A}/128,{B}/128"))
        .env("AARP_BUDGET", "10s")
        .env("AARP_BUDGET_NONBLOCKING", "10s")
        .env("AARP_BUDGET_UNCONFIGURED", "10s")
        .env("AARP_STATS", "1");
    for (name, value) in variables {
        command = command.env(name, value);
    }
    command
}
