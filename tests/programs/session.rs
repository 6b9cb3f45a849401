//! The programs, and one session of each.
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ExitStatus, Stdio};
use std::time::Duration;

use aarp_lab::{Command, Process, wait_until};

use crate::site::{A, LIMIT, NAME, Site, now, system};

/// A program that is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Curl,
    Wget,
    HttpClient,
    Asyncio,
    Ssh,
    Git,
    Nc,
    Java,
}

/// How a program is told where to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Literal,
    Name,
}

/// How a program is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Without us.
    Native,
    /// Under the ARL, with A among the `prefixes`.
    Prefixes,
    /// Under the ARL, with nothing configured.
    Unconfigured,
}

impl Program {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Curl => "curl",
            Self::Wget => "wget",
            Self::HttpClient => "python3 http.client",
            Self::Asyncio => "python3 asyncio",
            Self::Ssh => "ssh",
            Self::Git => "git over http",
            Self::Nc => "nc",
            Self::Java => "java HttpClient",
        }
    }

    /// The command that is its client.
    pub(crate) fn executable(self) -> &'static str {
        match self {
            Self::Curl => "curl",
            Self::Wget => "wget",
            Self::HttpClient | Self::Asyncio => "python3",
            Self::Ssh => "ssh",
            Self::Git => "git",
            Self::Nc => "nc.openbsd",
            Self::Java => "java",
        }
    }

    /// Whether its socket is one that does not block while it connects.
    pub(crate) fn is_nonblocking(self) -> bool {
        match self {
            Self::Curl | Self::Asyncio | Self::Git | Self::Nc | Self::Java => true,
            Self::Wget | Self::HttpClient | Self::Ssh => false,
        }
    }

    /// Starts what it talks to.
    pub(crate) fn serve(self, site: &mut Site) {
        match self {
            Self::Curl | Self::Wget | Self::HttpClient | Self::Asyncio | Self::Java => {
                site.serve_http();
            }
            Self::Git => {
                site.make_repository();
                site.serve_http();
            }
            Self::Ssh => site.serve_ssh(),
            // Each session has a listener of its own.
            Self::Nc => {}
        }
    }
}

impl Target {
    pub(crate) const ALL: [Self; 2] = [Self::Literal, Self::Name];

    /// As a program takes it that has no use for brackets.
    fn bare(self) -> String {
        match self {
            Self::Literal => A.to_string(),
            Self::Name => NAME.to_owned(),
        }
    }

    fn in_url(self) -> String {
        match self {
            Self::Literal => format!("[{A}]"),
            Self::Name => NAME.to_owned(),
        }
    }
}

/// A program at work.
#[derive(Debug)]
pub(crate) struct Session {
    /// For messages.
    pub(crate) what: String,
    /// Just before it was started, by the clock of captures.
    pub(crate) started: Duration,
    pub(crate) client: Process,
    /// Where the program writes.
    folder: PathBuf,
    traffic: Traffic,
}

/// What goes on in a session.
#[derive(Debug)]
enum Traffic {
    /// A file comes; half of it, then the rest when the gate is open.
    Download { gate: String, file: PathBuf },
    /// Lines go there and come back.
    Dialogue {
        to_client: Option<ChildStdin>,
        /// The other end, where that does not echo by itself.
        listener: Option<(Process, Option<ChildStdin>)>,
        lines: usize,
    },
}

impl Session {
    /// Starts a program, which goes to A.
    pub(crate) fn start(site: &Site, program: Program, target: Target, mode: Mode) -> Self {
        let started = now();
        // Names files, gates and ports; unique, as no two start within a microsecond.
        let label = format!("{}", started.as_micros());
        let what = format!("{} to {} ({mode:?})", program.name(), target.bare());
        let command = |name: &str| {
            let path = &system(name);
            match mode {
                Mode::Native => site.native(path),
                Mode::Unconfigured => site.under_arl(path),
                Mode::Prefixes => site
                    .under_arl(path)
                    .env("AARP_PREFIXES", format!("{A}/128")),
            }
        };
        let folder = site.folder(&label);
        let spawn = |command: Command<'_>| command.cwd(&folder).spawn().unwrap();
        let host = target.bare();
        let url = |path: &str| format!("http://{}/{path}", target.in_url());
        let script = |name: &str| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs");
            let python = command("python3").args(["-I", "-B"]);
            let python = python.arg(path.join(name));
            python.args([host.as_str(), &format!("/gated/{label}"), "plain"])
        };
        let java = || {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/Download.java");
            let java = command("java").arg(source);
            java.args([host.as_str(), &format!("/gated/{label}"), "plain"])
        };
        let gated = url(&format!("gated/{label}"));
        let mut listener = None;
        let process = match program {
            Program::Curl => command("curl").args(["-sSfg", "-o", "plain", &gated]),
            Program::Wget => command("wget").args(["-nv", "-t1", "-O", "plain", &gated]),
            Program::HttpClient => script("http_client.py"),
            Program::Asyncio => script("asyncio_client.py"),
            Program::Java => java(),
            Program::Git => {
                let repository = url(&format!("git/{label}/repo.git"));
                command("git").args(["clone", "-q", &repository, "clone"])
            }
            Program::Ssh => ssh(command("ssh"), site.lab.work()).args([&host, "cat"]),
            Program::Nc => {
                // Out of the range of clients' ports.
                let port = 10_000 + (started.as_micros() % 20_000) as u16;
                listener = Some(listen(site, port));
                command("nc.openbsd").args(["-N", &host, &port.to_string()])
            }
        };
        let (client, traffic) = match program {
            Program::Ssh | Program::Nc => {
                let mut client = spawn(process.stdin(Stdio::piped()));
                let to_client = client.take_stdin();
                let traffic = Traffic::Dialogue {
                    to_client,
                    listener,
                    lines: 0,
                };
                (client, traffic)
            }
            _ => {
                let file = folder.join(match program {
                    Program::Git => "clone/plain",
                    _ => "plain",
                });
                let traffic = Traffic::Download { gate: label, file };
                (spawn(process), traffic)
            }
        };
        Self {
            what,
            started,
            client,
            folder,
            traffic,
        }
    }

    /// Waits until the session is in its middle, and stays there: a good part has
    /// come, and another cannot come yet.
    pub(crate) fn reach_middle(&mut self, site: &Site) {
        match &mut self.traffic {
            Traffic::Download { .. } => {
                let half = site.content.len() as u64 / 2;
                // What the program has in its own buffers is not seen.
                let enough = half - half / 4;
                wait_until(&self.what, LIMIT, || {
                    let come = largest_file(&self.folder);
                    assert!(come <= half + half / 4, "{}: {come} octets", self.what);
                    if let Some(status) = self.client.try_wait()? {
                        panic!("{}: {status}: {}", self.what, self.client.stderr()?);
                    }
                    Ok(come >= enough)
                })
                .unwrap_or_else(|error| panic!("{error}: {}", self.log()));
            }
            Traffic::Dialogue { .. } => {
                self.exchange();
                self.exchange();
            }
        }
    }

    /// One line there and one back.
    fn exchange(&mut self) {
        let Traffic::Dialogue {
            to_client,
            listener,
            lines,
        } = &mut self.traffic
        else {
            panic!("{} is no dialogue", self.what)
        };
        *lines += 1;
        let line = format!("line {lines}\n");
        say(to_client, &line);
        if let Some((listener, to_listener)) = listener {
            listener.wait_stdout(&line, LIMIT).unwrap();
            say(to_listener, &line);
        }
        self.client.wait_stdout(&line, LIMIT).unwrap();
    }

    /// What the program and the library have said.
    pub(crate) fn log(&self) -> String {
        self.client.stderr().unwrap()
    }

    /// Lets it go on to its end, which must be as without any trouble.
    pub(crate) fn complete(&mut self, site: &Site) {
        let (what, status) = (self.what.clone(), self.go_on(site));
        assert!(status.success(), "{what}: {status}: {}", self.log());
        match &self.traffic {
            Traffic::Download { file, .. } => {
                let came = fs::read(file).unwrap();
                assert_eq!(came.len(), site.content.len(), "{what}");
                assert!(came == site.content, "{what}: another content came");
            }
            Traffic::Dialogue {
                listener, lines, ..
            } => {
                let expected: String = (1..=*lines).map(|n| format!("line {n}\n")).collect();
                assert_eq!(self.client.stdout().unwrap(), expected, "{what}");
                if let Some((listener, _)) = listener {
                    let status = listener.wait(LIMIT).unwrap();
                    assert!(status.success(), "{what}: listener: {status}");
                    assert_eq!(listener.stdout().unwrap(), expected, "{what}");
                }
            }
        }
    }

    fn go_on(&mut self, site: &Site) -> ExitStatus {
        if let Traffic::Download { gate, .. } = &self.traffic {
            site.upstream.open(gate);
        } else {
            for _ in 0..3 {
                self.exchange();
            }
            self.hang_up();
        }
        self.client.wait(LIMIT).unwrap()
    }

    fn hang_up(&mut self) {
        if let Traffic::Dialogue {
            to_client,
            listener,
            ..
        } = &mut self.traffic
        {
            drop(to_client.take());
            if let Some((_, to_listener)) = listener {
                drop(to_listener.take());
            }
        }
    }

    /// Lets it go on to its end, which must be a failure.
    pub(crate) fn break_off(&mut self, site: &Site) {
        match &mut self.traffic {
            Traffic::Download { gate, .. } => {
                site.upstream.open(gate);
                let status = self.client.wait(LIMIT).unwrap();
                assert!(!status.success(), "{} came to a good end", self.what);
                let come = largest_file(&self.folder);
                assert!(come < site.content.len() as u64, "{}", self.what);
            }
            Traffic::Dialogue {
                to_client,
                listener,
                ..
            } => {
                // An acknowledgement that was late may have broken it already.
                match to_client.as_mut().unwrap().write_all(b"lost\n") {
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                    written => written.unwrap(),
                }
                // Whatever its status: nc calls a reset an end.
                self.client.wait(LIMIT).unwrap();
                let (listener, _) = listener.as_ref().unwrap();
                assert!(!listener.stdout().unwrap().contains("lost"));
            }
        }
    }
}

fn ssh<'h>(ssh: Command<'h>, work: &Path) -> Command<'h> {
    let work = work.display();
    ssh.args(["-F", "none", "-l", "root"])
        .args(["-i", &format!("{work}/user-key")])
        .args(["-o", &format!("UserKnownHostsFile={work}/known_hosts")])
        .args(["-o", "GlobalKnownHostsFile=none"])
        .args(["-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"])
        .args(["-o", "IdentitiesOnly=yes", "-o", "UpdateHostKeys=no"])
}

/// A listener where the route of A leads now.
fn listen(site: &Site, port: u16) -> (Process, Option<ChildStdin>) {
    let host = site.host(site.node());
    let listener = host.command(system("nc.openbsd")).args(["-6", "-N", "-l"]);
    let listener = listener.arg(port.to_string()).stdin(Stdio::piped());
    let mut listener = listener.spawn().unwrap();
    host.wait_tcp(port, LIMIT).unwrap();
    let stdin = listener.take_stdin();
    (listener, stdin)
}

fn say(to: &mut Option<ChildStdin>, line: &str) {
    let to = to.as_mut().expect("the dialogue has not ended");
    to.write_all(line.as_bytes()).unwrap();
}

/// The length of the largest file below a folder: what a download has written so
/// far, by whatever name.
fn largest_file(folder: &Path) -> u64 {
    // A folder or file may come and go while it is looked at.
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let lengths = entries.flatten().map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => largest_file(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    });
    lengths.max().unwrap_or(0)
}
