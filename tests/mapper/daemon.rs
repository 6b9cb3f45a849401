//! aarpd on the client's host, and programs that know where it is.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aarp_lab::{Command, Process, Signal, rootless};
use aarp_sys::clock::boottime;

use crate::NEEDED;
use crate::site::{A, Counters, PATIENCE, PORT, Site, Variant};
use crate::stage::{has, library, tool};

/// For how long a program waits, unless a test says otherwise.
pub const BUDGET: Duration = Duration::from_secs(10);

/// A network whose client has a daemon.
pub struct Served {
    pub site: Site,
    folder: PathBuf,
}

/// Runs a test on such a network. `more` are lines of the configuration.
pub fn with_daemon(variant: Variant, more: &str, body: impl FnOnce(&Served)) {
    if has(&NEEDED) {
        rootless::test(|| body(&Served::new(variant, more)));
    }
}

impl Served {
    fn new(variant: Variant, more: &str) -> Self {
        let site = Site::new(variant);
        let folder = site.lab.host("client").expect("a host").dir().join("aarp");
        fs::create_dir_all(&folder).expect("a writable folder");
        let shown = folder.display();
        let budget = BUDGET.as_secs();
        // Nobody asks twice because a machine is slow.
        let text = format!(
            "[resolve]\nprefixes = [\"{A}/128\"]\n\
             [daemon]\nsocket = \"{shown}/aarpd.sock\"\ntable = \"{shown}/table\"\nentries = 1000\n\
             [times]\nbudget = \"{budget}s\"\nbudget_nonblocking = \"{budget}s\"\nretransmit = [\"5s\"]\n{more}"
        );
        fs::write(folder.join("aarp.toml"), text).expect("a writable folder");
        Self { site, folder }
    }

    pub fn config(&self) -> PathBuf {
        self.folder.join("aarp.toml")
    }

    pub fn table(&self) -> PathBuf {
        self.folder.join("table")
    }

    /// Starts the daemon, which serves when this returns.
    pub fn start(&self) -> Process {
        let daemon = self.spawn();
        daemon
            .wait_stderr("serves ", PATIENCE)
            .expect("aarpd serves");
        daemon
    }

    /// Starts the daemon.
    pub fn spawn(&self) -> Process {
        let host = self.site.lab.host("client").expect("a host");
        let command = host.command(tool("aarpd"));
        let command = command.args(["run", "--config"]).arg(self.config());
        command.spawn().expect("aarpd starts")
    }

    /// A command on the client's host, under the library.
    pub fn command(&self, program: &str) -> Command<'_> {
        self.command_on("client", program)
    }

    /// The same on any.
    pub fn command_on(&self, host: &str, program: &str) -> Command<'_> {
        let host = self.site.lab.host(host).expect("a host");
        host.command(program)
            .env("LD_PRELOAD", library().display().to_string())
            .env("AARP_CONFIG", self.config().display().to_string())
            .env("AARP_STATS", "1")
    }

    /// One curl, and who has served it. Its socket does not block.
    pub fn curl(&self) -> (String, Counters) {
        self.fetched(self.command("curl").arg("-sS"))
    }

    /// One curl on a host whose network is another; the files of the daemon are the same.
    pub fn curl_on(&self, host: &str) -> (String, Counters) {
        self.fetched(self.command_on(host, "curl").arg("-sS"))
    }

    /// One wget, which waits in connect().
    pub fn wget(&self) -> (String, Counters) {
        self.fetched(self.command("wget").args(["-q", "-O", "-"]))
    }

    pub fn fetched(&self, command: Command<'_>) -> (String, Counters) {
        let output = command.arg(format!("http://[{A}]:{PORT}/who")).output();
        let output = output.expect("it runs");
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{}: {log}", output.status);
        let served = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (served, Counters::parse(&log))
    }
}

/// Where a table has the last sign of life of its daemon, in nanoseconds of CLOCK_BOOTTIME.
const HEARTBEAT: u64 = 8 * 16;

/// As if the daemon that writes the table had given its last sign of life so long ago:
/// what a program finds once it has been stuck, or dead, for that time.
pub fn age(served: &Served, age: Duration) {
    live(served, boottime().saturating_sub(age));
}

/// As if it had given it then, or were to give it then.
pub fn live(served: &Served, at: Duration) {
    live_in(&served.table(), at);
}

/// The same in a table by its path.
pub fn live_in(table: &Path, at: Duration) {
    let file = fs::OpenOptions::new().write(true).open(table);
    let octets = (at.as_nanos() as u64).to_le_bytes();
    let written = file.and_then(|file| file.write_all_at(&octets, HEARTBEAT));
    written.expect("a table");
}

/// Kills a daemon that has no time for anything.
pub fn kill(daemon: &mut Process) {
    daemon.signal(Signal::KILL).expect("aarpd runs");
    daemon.wait(PATIENCE).expect("it ends");
}
