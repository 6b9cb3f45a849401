//! The network of these tests, what is installed, and programs in C that use it.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::net::{Ipv6Addr, TcpListener};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command as Plain, Stdio};
use std::time::Duration;

use aarp_lab::{Command, Host, HostSpec, Lab, Network, Process};

use aarp_sys::clock::boottime;

use crate::stage::python;

/// For what has to happen; far more than it takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const A: &str = "2001:db8:a::53";
/// In `prefixes`, routed, and nobody has it.
pub const SILENT: &str = "2001:db8:b::53";
/// The port of the services.
pub const PORT: u16 = 7;

/// The unicast address of responder `n`.
pub fn u(n: usize) -> String {
    format!("2001:db8:5{n}::2")
}

/// The installed tree: `AARP_STAGE`, or target/stage of the workspace; with the parts that
/// these tests take from it.
pub fn stage() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let stage =
        std::env::var_os("AARP_STAGE").map_or_else(|| root.join("target/stage"), Into::into);
    let stage = stage.canonicalize().unwrap_or(stage);
    for part in ["bin/aarpd", "lib/libaarp-resolve.so.0", "include/aarp.h"] {
        assert!(
            stage.join(part).is_file(),
            "{0} is no installed tree: run PREFIX={0} ./install.sh, or set AARP_STAGE",
            stage.display()
        );
    }
    stage
}

/// What a command prints, which succeeds.
pub fn output_of(command: &mut Plain) -> String {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// How a program is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linked {
    Shared,
    Static,
}

/// Answers our own probes to any A from `u`, as aarp-responder has it.
fn answers_from(u: &str) -> String {
    format!(
        "table inet answers {{
            chain out {{
                type filter hook output priority mangle; policy accept;
                ip6 saddr 2001:db8:a::/48 icmpv6 type echo-reply @th,64,32 0x41415250 ip6 saddr set {u}
            }}
        }}\n"
    )
}

/// Two clients - router - two responders for 2001:db8:a::/48, which is routed to the first.
fn network() -> Network {
    let router = HostSpec::router()
        .route(format!("2001:db8:a::/48 via {}", u(1)))
        .route(format!("2001:db8:b::/48 via {}", u(1)));
    let mut network = Network::new().host("router", router);
    for (n, name) in [(1, "client"), (2, "other")] {
        let host = HostSpec::new().route(format!("default via 2001:db8:{n}::1"));
        network = network.host(name, host).link(
            format!("{name}:eth0 2001:db8:{n}::2/64"),
            format!("router:{name} 2001:db8:{n}::1/64"),
        );
    }
    for n in 1..=2 {
        let host = HostSpec::new()
            .route(format!("default via 2001:db8:5{n}::1"))
            .route("local 2001:db8:a::/48 dev lo")
            .route("blackhole 2001:db8:b::/48")
            .firewall(answers_from(&u(n)));
        network = network.host(format!("s{n}"), host).link(
            format!("s{n}:eth0 {}/64", u(n)),
            format!("router:s{n} 2001:db8:5{n}::1/64"),
        );
    }
    network
}

pub struct Site {
    pub lab: Lab,
    folder: PathBuf,
}

impl Site {
    /// The network, and a configuration with `more` lines.
    pub fn new(more: &str) -> Self {
        let lab = Lab::new(&network()).unwrap();
        let folder = lab.work().join("aarp");
        fs::create_dir(&folder).unwrap();
        let shown = folder.display();
        // Nobody asks twice because a machine is slow.
        let text = format!(
            "[resolve]\nprefixes = [\"2001:db8:a::/48\", \"2001:db8:b::/48\"]\n\
             [times]\nbudget = \"10s\"\nretransmit = [\"5s\"]\n\
             [[prefix]]\nprefix = \"2001:db8:b::/48\"\nbudget = \"300ms\"\n\
             retransmit = [\"100ms\"]\n\
             [daemon]\nsocket = \"{shown}/aarpd.sock\"\ntable = \"{shown}/table\"\n{more}"
        );
        fs::write(folder.join("aarp.toml"), text).unwrap();
        Self { lab, folder }
    }

    pub fn host(&self, name: &str) -> &Host {
        self.lab.host(name).unwrap()
    }

    /// aarpd on the client's host, which serves when this returns.
    pub fn start(&self) -> Process {
        let command = self.host("client").command(stage().join("bin/aarpd"));
        let command = command.args(["run", "--config"]);
        let daemon = command.arg(self.config()).spawn().unwrap();
        daemon.wait_stderr("serves ", PATIENCE).unwrap();
        daemon
    }

    /// A user's own aarpd on a host, which serves when this returns.
    pub fn start_own(&self, host: &str, runtime: &Path) -> Process {
        let command = self.host(host).command(stage().join("bin/aarpd"));
        let command = command.args(["run", "--user-daemon", "--config"]);
        let command = command.arg(self.without_places());
        let daemon = command.env("XDG_RUNTIME_DIR", runtime).spawn().unwrap();
        daemon.wait_stderr("serves ", PATIENCE).unwrap();
        daemon
    }

    /// In the place of the daemon's socket somebody who has a way of tests/mapper/stranger.py:
    /// "answers" names responder 2 to whoever asks.
    pub fn listen(&self, way: &str) -> Process {
        let socket = self.folder.join("aarpd.sock");
        match fs::remove_file(&socket) {
            Err(error) if error.kind() != ErrorKind::NotFound => panic!("{error}"),
            _ => {}
        }
        let stranger = include_str!("../../../../tests/mapper/stranger.py");
        let command = self.host("client").command(python());
        let command = command.args(["-c", stranger]).arg(socket).arg(way);
        let stranger = command.stdin(Stdio::piped()).spawn().unwrap();
        stranger.wait_stdout("listens", PATIENCE).unwrap();
        stranger
    }

    /// A configuration that does not say where the daemon is.
    fn without_places(&self) -> PathBuf {
        let config = self.folder.join("default.toml");
        let text = fs::read_to_string(self.folder.join("aarp.toml")).unwrap();
        let (rest, _) = text.split_once("[daemon]").unwrap();
        fs::write(&config, rest).unwrap();
        config
    }

    /// What tests/c/results.c prints about an address on a host which has the folder of the
    /// daemon where the system's is.
    pub fn results_in_container(
        &self,
        host: &str,
        program: &Path,
        runtime: &Path,
        a: &str,
    ) -> String {
        let script = "mount -t tmpfs none /run && mkdir /run/aarp && mount --bind \"$1\" /run/aarp \
                      && exec \"$2\" \"$3\" 10000";
        let command = self.command(host, Path::new("unshare"));
        let command = command
            .args(["-m", "sh", "-c", script, "sh"])
            .arg(&self.folder);
        let command = command.arg(program).arg(a);
        let command = command.env("AARP_CONFIG", self.without_places());
        let output = command.env("XDG_RUNTIME_DIR", runtime).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {error}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// The configuration.
    pub fn config(&self) -> PathBuf {
        self.folder.join("aarp.toml")
    }

    /// The daemon's mapping table.
    pub fn table(&self) -> PathBuf {
        self.folder.join("table")
    }

    /// As if the daemon had given its last sign of life so long ago.
    pub fn age(&self, age: Duration) {
        self.gives_sign_of_life(boottime().saturating_sub(age));
    }

    /// As if the daemon had given, or were to give, its last sign of life then.
    fn gives_sign_of_life(&self, then: Duration) {
        self.write(8 * 16, then.as_nanos() as u64);
    }

    /// Writes a word of the daemon's mapping table.
    fn write(&self, at: u64, word: u64) {
        let table = fs::OpenOptions::new().write(true).open(self.table());
        table
            .unwrap()
            .write_all_at(&word.to_le_bytes(), at)
            .unwrap();
    }

    /// As if somebody wrote the table for the next hour, in which `a` holds from now on, and
    /// is due all the time.
    pub fn is_due(&self, a: &str) {
        let hour = Duration::from_secs(3600);
        self.gives_sign_of_life(boottime() + hour);
        let octets = fs::read(self.table()).unwrap();
        let a: Ipv6Addr = a.parse().unwrap();
        let mut slots = octets[4096..].chunks(64);
        let slot = slots.position(|slot| slot[8..24] == a.octets());
        let slot = 4096 + 64 * slot.unwrap() as u64;
        self.write(slot + 56, (hour.as_millis() as u64) << 32);
        let expiry = boottime() + hour - Duration::from_secs(1);
        self.write(slot + 40, expiry.as_nanos() as u64);
    }

    /// Serves on every address of responder `n`, or on one alone: says who it is.
    pub fn serve(&self, n: usize, address: &'static str) {
        let host = self.host(&format!("s{n}"));
        // A is an address of the host by a route alone.
        host.sysctl("net.ipv6.ip_nonlocal_bind", "1").unwrap();
        let bind = move || TcpListener::bind((address, PORT));
        let listener = host.enter(bind).unwrap();
        // Ends with this process.
        std::thread::spawn(move || {
            for accepted in listener.incoming() {
                // Who has gone away hears nothing.
                let _ = accepted.and_then(|mut to| writeln!(to, "s{n}"));
            }
        });
    }

    /// From now on the router sends every A to responder `n`.
    pub fn move_to(&self, n: usize) {
        let route = format!("-6 route replace 2001:db8:a::/48 via {}", u(n));
        self.lab.ip("router", &route).unwrap();
    }

    /// Compiles a program as its own page says: with what pkg-config knows.
    pub fn compile(&self, source: &Path, linked: Linked) -> PathBuf {
        let stage = stage();
        let mut ask = Plain::new("pkg-config");
        ask.env("PKG_CONFIG_PATH", stage.join("lib/pkgconfig"));
        ask.args(["--cflags", "--libs", "aarp"]);
        if linked == Linked::Static {
            ask.arg("--static");
        }
        let mut flags = output_of(&mut ask);
        if linked == Linked::Static {
            flags = flags.replace("-laarp-resolve", "-l:libaarp-resolve.a");
        }
        let name = source.file_stem().unwrap().to_str().unwrap();
        let program = self.folder.join(format!("{name}-{linked:?}"));
        let mut compile = Plain::new("cc");
        compile.args(["-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]);
        compile.arg("-o").arg(&program).arg(source);
        output_of(compile.args(flags.split_whitespace()));
        program
    }

    /// A program on a host, with the configuration.
    pub fn command(&self, host: &str, program: &Path) -> Command<'_> {
        let command = self.host(host).command(program);
        command
            .env("LD_LIBRARY_PATH", stage().join("lib"))
            .env("AARP_CONFIG", self.config())
            .env("XDG_CONFIG_HOME", &self.folder)
            .limit(2 * PATIENCE)
    }

    /// What the example prints on standard output and error.
    pub fn connect(&self, example: &Path) -> (String, String) {
        let arguments = [A.to_owned(), PORT.to_string()];
        let output = self.command("client", example).args(arguments).output();
        let output = output.unwrap();
        let [out, err] =
            [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(output.status.success(), "{}: {out}{err}", output.status);
        (out, err)
    }

    /// The same, where it has been started and its standard input is a pipe.
    pub fn spawn(&self, program: &Path, pairs: &[(&str, u32)]) -> (Process, ChildStdin) {
        // Its own time is longer than any that the table will tell of.
        let command = self.command("client", program).env("AARP_TTL", "10h");
        let command = command.args(arguments(pairs)).stdin(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let stdin = process.take_stdin().unwrap();
        (process, stdin)
    }

    /// The same under strace, which is told `more`; and how many times it has dialled the
    /// daemon.
    pub fn traced(
        &self,
        more: &[&str],
        program: &Path,
        pairs: &[(&str, u32)],
    ) -> (Vec<String>, usize) {
        let calls = self.folder.join("calls");
        let strace = self.command("client", Path::new("strace"));
        let strace = strace.args(["-f", "-qq", "-o"]).arg(&calls).args(more);
        let said = printed(strace.arg(program), pairs);
        let calls = fs::read_to_string(calls).unwrap();
        let is_dial = |line: &&str| line.contains(" connect(") && line.contains("aarpd.sock");
        (said, calls.lines().filter(is_dial).count())
    }

    /// What tests/c/results.c prints on a host about pairs of an address and a budget.
    pub fn results(&self, host: &str, program: &Path, pairs: &[(&str, u32)]) -> Vec<String> {
        printed(self.command(host, program), pairs)
    }
}

fn arguments(pairs: &[(&str, u32)]) -> Vec<String> {
    let words = |(a, budget): &(&str, u32)| [a.to_string(), budget.to_string()];
    pairs.iter().flat_map(words).collect()
}

/// The lines that a command prints about pairs of an address and a budget.
fn printed(command: Command<'_>, pairs: &[(&str, u32)]) -> Vec<String> {
    let output = command.args(arguments(pairs)).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {error}", output.status);
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(str::to_owned).collect()
}
