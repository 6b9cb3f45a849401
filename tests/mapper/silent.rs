//! A daemon that says nothing any more, and one that was replaced without a word.

use std::fs;
use std::io::Write as _;
use std::process::{ChildStdin, Stdio};
use std::time::Duration;

use aarp_lab::{Command, Process, Signal};

use crate::daemon::{Served, age, kill, with_daemon};
use crate::site::{A, Counters, PATIENCE, PORT, Variant};

/// What strace tells of a curl, and what the library counts.
fn traced(served: &Served, url: &str) -> (String, Counters) {
    let file = served.site.lab.work().join("calls");
    let command = served.command("strace").args(["-f", "-qq", "-o"]);
    let output = command.arg(&file).args(["curl", "-sS", url]).output();
    let output = output.expect("strace runs");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "s1\n", "{log}");
    let calls = fs::read_to_string(file).expect("what strace has written");
    (calls, Counters::parse(&log))
}

/// Nobody speaks to a daemon that is stopped once its table shows that: the question is
/// the network's, with the whole budget, by whichever way the program comes.
#[test]
fn a_daemon_without_a_sign_of_life_is_not_asked() {
    if !crate::stage::has(&["strace"]) {
        return;
    }
    with_daemon(Variant::default(), "", |served| {
        let mut daemon = served.start();
        daemon.signal(Signal::STOP).expect("aarpd runs");
        age(served, Duration::from_secs(13));
        for host in [format!("[{A}]"), "www.any.test".to_owned()] {
            let (calls, counters) = traced(served, &format!("http://{host}:{PORT}/who"));
            assert!(!calls.contains("aarpd.sock"), "{calls}");
            let seen = ["pinned", "told", "probes"].map(|name| counters.get(name));
            assert_eq!(seen, [1, 0, 1], "{host}: {}", counters.log);
        }
        // It goes on, and says so.
        daemon.signal(Signal::CONT).expect("aarpd runs");
        aarp_lab::wait_until("the daemon answers", PATIENCE, || {
            let (_, counters) = served.curl();
            Ok(counters.get("told") + counters.get("hits") == 1)
        })
        .expect("it does");
        kill(&mut daemon);
    });
}

/// Where no table tells that the daemon goes on it is given a part of the time: what is
/// left is for the network.
#[test]
#[ignore = "long: in tests/run.sh --full"]
fn a_daemon_that_may_be_stuck_leaves_time_for_the_network() {
    with_daemon(Variant::default(), "", |served| {
        let mut daemon = served.start();
        daemon.signal(Signal::STOP).expect("aarpd runs");
        // Its sign of life is late, and then there is no table that would tell.
        age(served, Duration::from_secs(8));
        let (by, counters) = served.curl();
        let seen = ["pinned", "told", "probes"].map(|name| counters.get(name));
        assert_eq!((by.as_str(), seen), ("s1", [1, 0, 1]), "{}", counters.log);
        fs::remove_file(served.table()).expect("a table");
        for (by, counters) in [served.curl(), served.wget()] {
            let seen = ["pinned", "told", "probes"].map(|name| counters.get(name));
            assert_eq!((by.as_str(), seen), ("s1", [1, 0, 1]), "{}", counters.log);
        }
        kill(&mut daemon);
    });
}

/// A program that lives for long: it connects whenever it is told to.
pub struct Client {
    process: Process,
    stdin: ChildStdin,
    turns: usize,
}

impl Client {
    pub fn start(served: &Served, variables: &[(&str, &str)]) -> Self {
        Self::start_by(served.command(crate::stage::python()), variables)
    }

    /// The same, by a command that starts python3.
    pub fn start_by(command: Command<'_>, variables: &[(&str, &str)]) -> Self {
        let script = format!(
            "import socket, sys\n\
             for line in sys.stdin:\n\
             \x20   s = socket.socket(socket.AF_INET6)\n\
             \x20   s.connect(('{A}', {PORT}))\n\
             \x20   s.sendall(b'GET /who HTTP/1.0\\r\\n\\r\\n')\n\
             \x20   text = b''\n\
             \x20   while part := s.recv(4096): text += part\n\
             \x20   print(text.decode().split()[-1], flush=True)\n"
        );
        let command = command.args(["-c", &script]);
        let command = command.envs(variables.iter().copied());
        let mut process = command.stdin(Stdio::piped()).spawn().expect("it starts");
        let stdin = process.take_stdin().expect("a pipe");
        Self {
            process,
            stdin,
            turns: 0,
        }
    }

    /// Connects once; who has served it.
    pub fn connect(&mut self) -> String {
        writeln!(self.stdin, "go").expect("it reads");
        self.turns += 1;
        let mut served_by = None;
        aarp_lab::wait_until("the client is served", PATIENCE, || {
            let text = self.process.stdout()?;
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            served_by = whole.lines().nth(self.turns - 1).map(str::to_owned);
            if let (None, Some(status)) = (&served_by, self.process.try_wait()?) {
                panic!("{status}: {}", self.process.stderr()?);
            }
            Ok(served_by.is_some())
        })
        .expect("it is");
        served_by.expect("a line")
    }

    /// The inode of the file that it has mapped as its table.
    fn reads(&self, served: &Served) -> Option<String> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.process.pid()));
        let maps = maps.expect("it runs");
        let table = served.table().display().to_string();
        let line = maps.lines().find(|line| line.contains(&table))?;
        let inode = line.split_ascii_whitespace().nth(4)?;
        Some(inode.to_owned())
    }

    /// Ends it; what the library has counted.
    pub fn end(self) -> Counters {
        drop(self.stdin);
        let status = self.process.wait(PATIENCE).expect("it ends");
        let log = self.process.stderr().expect("its standard error");
        assert!(status.success(), "{status}: {log}");
        Counters::parse(&log)
    }
}

/// A daemon is killed, and its folder made anew: nobody retires the table that a program
/// reads, and it finds the new one nevertheless.
#[test]
fn a_table_that_was_replaced_without_a_word_is_found() {
    with_daemon(Variant::default(), "ttl = \"1s\"\n", |served| {
        use std::os::unix::fs::MetadataExt;
        let inode = || {
            fs::metadata(served.table())
                .expect("a table")
                .ino()
                .to_string()
        };
        let mut daemon = served.start();
        let mut client = Client::start(served, &[]);
        assert_eq!(client.connect(), "s1");
        assert_eq!(client.reads(served), Some(inode()));
        kill(&mut daemon);
        age(served, Duration::from_secs(13));
        for name in ["table", "table.lock", "aarpd.sock"] {
            fs::remove_file(served.table().with_file_name(name)).expect("a file of aarpd's");
        }
        let mut daemon = served.start();
        aarp_lab::wait_until("the new table is read", PATIENCE, || {
            assert_eq!(client.connect(), "s1");
            Ok(client.reads(served) == Some(inode()))
        })
        .expect("it is");
        let counters = client.end();
        assert_eq!(
            counters.get("pinned"),
            counters.get("calls"),
            "{}",
            counters.log
        );
        kill(&mut daemon);
    });
}

/// What a daemon tells whose table cannot be read is remembered by the program itself.
#[test]
fn what_no_table_keeps_is_remembered() {
    with_daemon(Variant::default(), "", |served| {
        let mut daemon = served.start();
        let mut client = Client::start(served, &[]);
        fs::remove_file(served.table()).expect("a table");
        for _ in 0..3 {
            assert_eq!(client.connect(), "s1");
        }
        let counters = client.end();
        let seen = ["pinned", "told", "hits"].map(|name| counters.get(name));
        assert_eq!(seen, [3, 1, 2], "{}", counters.log);
        kill(&mut daemon);
    });
}
