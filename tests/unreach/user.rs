//! A user without privileges, and what it runs.

use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use aarp_lab::{Command, Filter, Packet, Process, Transport};
use serde_json::Value;

use crate::site::{A, PATIENCE, Site, now};
use crate::stage::{library, tool};

/// nobody, and its group.
const NOBODY: u32 = 65534;

/// The port that is probed, unless set.
pub const PORT: u16 = 33999;

/// Configuration under which both methods may be used.
pub const BOTH: [(&str, &str); 2] = [
    ("AARP_METHODS", "echo,unreach"),
    ("AARP_TRUSTED", "2001:db8:51::/48,2001:db8:52::/48"),
];

/// Who runs a program on the client's host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// One that may do nothing, and no group may ping.
    Nobody,
    /// One that may ping.
    Root,
}

/// Whether there are users besides this one: not in an ordinary user's namespace.
pub fn has_other_users() -> bool {
    // Inside, outside, and how many.
    let map = std::fs::read_to_string("/proc/self/uid_map").expect("/proc is mounted");
    let counts = map.lines().map(|line| line.split_whitespace().nth(2));
    let counts = counts.map(|count| count.and_then(|count| count.parse::<u64>().ok()));
    counts.map(|count| count.expect("a number")).sum::<u64>() > 1
}

/// Programs where any user may run them: the tree that is tested may lie in a folder
/// of root's.
pub struct Programs(PathBuf);

impl Programs {
    pub fn new(site: &Site) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let name = site.lab.work().file_name().expect("a name");
        let name = format!("aarp-unreach-{}", name.to_string_lossy());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).expect("a new folder");
        let programs = Self(folder);
        for file in [tool("aarp-probe"), library()] {
            let to = programs.path(&file);
            aarp_lab::write_executable(&to, std::fs::read(&file).expect("readable")).unwrap();
        }
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&programs.0, mode).expect("ours");
        programs
    }

    fn path(&self, file: &Path) -> PathBuf {
        self.0.join(file.file_name().expect("a file"))
    }

    fn command<'s>(
        &self,
        site: &'s Site,
        user: User,
        program: &Path,
        variables: &[(&str, &str)],
    ) -> Command<'s> {
        let client = site.lab.host("client").unwrap();
        client
            .sysctl("net.ipv4.ping_group_range", "1 0")
            .expect("a network namespace of root's");
        let command = client
            .command(program)
            .env("AARP_CONFIG", "/dev/null")
            .env("AARP_PREFIXES", format!("{A}/128"))
            .env("AARP_BUDGET", "10s")
            .envs(variables.iter().copied());
        match user {
            User::Nobody => command.user(NOBODY, NOBODY),
            User::Root => command,
        }
    }

    /// Begins to ask who answers for `a`.
    pub fn start(
        &self,
        site: &Site,
        user: User,
        a: Ipv6Addr,
        variables: &[(&str, &str)],
    ) -> Process {
        let program = self.path(&tool("aarp-probe"));
        let command = self.command(site, user, &program, variables);
        let command = command.args(["resolve", "--json", &a.to_string()]);
        command.spawn().expect("aarp-probe starts")
    }

    /// Asks who answers for `a`, and returns the record and the exit status.
    pub fn resolve(
        &self,
        site: &Site,
        user: User,
        a: Ipv6Addr,
        variables: &[(&str, &str)],
    ) -> (Value, Option<i32>) {
        outcome(&self.start(site, user, a, variables))
    }

    /// Fetches from A under the library; returns who served it, and the log.
    pub fn fetch(&self, site: &Site, user: User, variables: &[(&str, &str)]) -> (String, String) {
        let seconds = PATIENCE.as_secs().to_string();
        let url = format!("http://[{A}]/who");
        let words = ["-sgS", "--max-time", &seconds, &url].map(str::to_owned);
        self.run(site, user, "curl", &words, variables)
    }

    /// Runs a program under the library; returns what it says, and the log.
    pub fn run(
        &self,
        site: &Site,
        user: User,
        program: &str,
        words: &[String],
        variables: &[(&str, &str)],
    ) -> (String, String) {
        let command = self.command(site, user, Path::new(program), variables);
        let output = command
            .args(words)
            .env("LD_PRELOAD", self.path(&library()))
            .env("AARP_BUDGET_NONBLOCKING", "10s")
            .env("AARP_LOG", "debug")
            .limit(2 * PATIENCE)
            .output()
            .unwrap();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{}: {log}", output.status);
        let told = String::from_utf8_lossy(&output.stdout);
        (told.trim_end().to_owned(), log)
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}

/// Waits for aarp-probe to end; its record and its exit status.
pub fn outcome(process: &Process) -> (Value, Option<i32>) {
    let status = process.wait(PATIENCE).expect("aarp-probe ends");
    let text = process.stdout().expect("its standard output");
    let record = serde_json::from_str(&text).unwrap_or_else(|error| {
        let log = process.stderr().expect("its standard error");
        panic!("{error}: {text}{log}")
    });
    (record, status.code())
}

/// The payload of a probe by `unreach`, if the packet is one.
pub fn datagram(packet: &Packet) -> Option<&[u8]> {
    let is_probe = Filter::udp().dst(A).port(PORT).matches(packet);
    (is_probe && packet.payload.starts_with(b"AARP\x01\x02")).then_some(&packet.payload)
}

/// The code of a destination-unreachable that quotes such a payload, and who sent it.
pub fn unreachable(packet: &Packet, payload: &[u8]) -> Option<(u8, Ipv6Addr)> {
    let Transport::Icmp6 { kind: 1, code } = packet.transport else {
        return None;
    };
    // Behind the headers of IPv6 and UDP.
    let quoted = packet.payload.get(48..)? == payload;
    match packet.src {
        std::net::IpAddr::V6(source) if quoted => Some((code, source)),
        _ => None,
    }
}

/// What an interface of a host carries while something is done.
pub fn seen<T>(
    site: &Site,
    host: &str,
    interface: &str,
    action: impl FnOnce() -> T,
) -> (T, Vec<Packet>) {
    let capture = site.lab.capture(host, interface).unwrap();
    let since = now();
    let done = action();
    let mut packets = capture.packets().unwrap();
    packets.retain(|packet| packet.time >= since);
    (done, packets)
}
