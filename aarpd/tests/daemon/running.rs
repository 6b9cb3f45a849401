//! Starting, reading the configuration again, ending, and being killed.

use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;

use aarp_core::table::TableView;
use aarp_lab::{Process, Signal, rootless};
use aarp_sys::clock::boottime;
use aarp_wire::mapper::{Code, Message};

use crate::site::{A, PATIENCE, PREFIXES, Site, serves, snapshot, u};
use crate::talk::Told;

/// How a daemon has ended, and what it said.
fn ended(daemon: &Process) -> (Option<i32>, String) {
    let status = daemon.wait(PATIENCE).unwrap();
    (status.code(), daemon.stderr().unwrap())
}

#[test]
fn a_second_daemon_is_refused() {
    rootless::test(|| {
        let site = Site::new(PREFIXES);
        let first = site.start();
        let client = site.connect();
        assert_eq!(client.u(A), u(1));
        let (status, said) = ended(&site.spawn(&[]));
        assert_eq!(status, Some(69), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(
            said.contains("table.lock: another process writes this table"),
            "{said}"
        );
        // Nor one with another table and the same socket.
        let other = site.lab.work().join("other");
        let config = format!(
            "{PREFIXES}[daemon]\nsocket = {:?}\ntable = {other:?}\n",
            site.socket()
        );
        std::fs::write(&site.config, config).unwrap();
        let second = site.host().command(env!("CARGO_BIN_EXE_aarpd"));
        let second = second.args(["run", "--config"]).arg(&site.config);
        let (status, said) = ended(&second.spawn().unwrap());
        assert_eq!(status, Some(69), "{said}");
        assert!(said.contains("another process serves it"), "{said}");
        assert!(!other.exists());
        assert_eq!(client.u(A), u(1));
        assert!(first.try_wait().unwrap().is_none());
    });
}

#[test]
fn killed_it_leaves_a_table_that_serves() {
    rootless::test(|| {
        let site = Site::new(PREFIXES);
        let first = site.start();
        assert_eq!(site.connect().u(A), u(1));
        first.kill();
        assert_eq!(ended(&first).0, None);
        assert_eq!(site.found(A), Some(u(1)));
        // The next goes on where it was.
        let second = site.start();
        assert!(
            second
                .stderr()
                .unwrap()
                .contains("goes on with mappings of before: 1")
        );
        assert_eq!(site.found(A), Some(u(1)));
        let client = site.connect();
        assert_eq!(client.u(A), u(1));
        assert_eq!(client.status()["probes"]["echo"], 0);
    });
}

/// Whatever it was doing: asked by several programs at once, and writing its table.
#[test]
#[ignore = "long: in tests/run.sh --full"]
fn killed_at_any_moment_it_leaves_a_whole_table() {
    rootless::test(|| {
        let site = Site::new(PREFIXES);
        for round in 0..40u64 {
            let daemon = site.start();
            let clients: Vec<_> = (0..4).map(|_| site.connect()).collect();
            for (n, client) in (0..200u64).zip(clients.iter().cycle()) {
                let a = format!("2001:db8:a::{:x}", 1 + (round * 17 + n) % 500);
                client.ask(n as u32, a.parse().unwrap(), 0);
            }
            // After so many answers, or in the midst of none.
            for _ in 0..round {
                let told = clients[0].next().1;
                assert!(matches!(told, Told::Mapping(_)), "{told:?}");
            }
            daemon.kill();
            assert_eq!(ended(&daemon).0, None);
            let snapshot = snapshot(&site.table());
            let table = TableView::open(&snapshot).unwrap();
            for entry in table.entries(0..table.slots()) {
                assert_eq!(entry.mapping.u.to_string(), u(1), "{entry:?}");
            }
        }
        let _daemon = site.start();
        assert_eq!(site.connect().u("2001:db8:a::1"), u(1));
    });
}

/// What a daemon with another configuration has left is not told to anybody.
#[test]
fn a_narrower_configuration_takes_over_what_it_permits() {
    rootless::test(|| {
        let site = Site::new(PREFIXES);
        let first = site.start();
        let client = site.connect();
        let other = "2001:db8:a::1";
        assert_eq!([client.u(A), client.u(other)], [u(1), u(1)]);
        first.kill();
        assert_eq!(ended(&first).0, None);
        let narrower = format!("{PREFIXES}exclude = [\"{A}\"]\n[times]\nttl = \"50s\"\n");
        std::fs::write(&site.config, narrower).unwrap();
        let second = site.start();
        assert!(second.stderr().unwrap().contains("mappings of before: 1"));
        assert_eq!(site.look(A), None);
        let left = site
            .look(other)
            .unwrap()
            .mapping
            .expiry
            .saturating_sub(boottime());
        assert!(left <= std::time::Duration::from_secs(50), "{left:?}");
        assert_eq!(site.found(other), Some(u(1)));
        second.kill();
        assert_eq!(ended(&second).0, None);
        // Nor may it be where it is.
        let trusted = format!("{PREFIXES}trusted = [\"2001:db8:52::/48\"]\n");
        std::fs::write(&site.config, trusted).unwrap();
        let _third = site.start();
        assert_eq!((site.look(A), site.look(other)), (None, None));
    });
}

/// A table that is none, or of others, or of another time: one line, and it begins without.
#[test]
fn a_table_that_cannot_be_gone_on_with_is_replaced() {
    rootless::test(|| {
        let site = Site::new(PREFIXES);
        let first = site.start();
        assert_eq!(site.connect().u(A), u(1));
        first.kill();
        assert_eq!(ended(&first).0, None);
        let good = std::fs::read(site.table()).unwrap();
        let with = |word: usize, change: u8| {
            let mut table = good.clone();
            table[8 * word] ^= change;
            table
        };
        let cases: [(&str, Vec<u8>, &str); 8] = [
            ("empty", Vec::new(), "is no mapping table"),
            (
                "truncated",
                good[..good.len() / 2].to_vec(),
                "is no mapping table",
            ),
            (
                "no multiple of a word",
                good[..good.len() - 3].to_vec(),
                "is no mapping table",
            ),
            ("garbage", vec![0xa5; good.len()], "is no mapping table"),
            ("of another kind", with(0, 1), "is no mapping table"),
            ("of a later version", with(1, 3), "is no mapping table"),
            ("a hole", vec![0; good.len()], ""),
            (
                "of another namespace",
                Vec::new(),
                "is of another network namespace",
            ),
        ];
        for (name, octets, said_of_it) in cases {
            std::fs::remove_file(site.table()).unwrap();
            match name {
                "a hole" => std::fs::File::create(site.table())
                    .unwrap()
                    .set_len(octets.len() as u64)
                    .unwrap(),
                "of another namespace" => {
                    let other = site.lab.host("router").unwrap();
                    let other = other
                        .command(env!("CARGO_BIN_EXE_aarpd"))
                        .args(["run", "--run-dir"]);
                    let other = other
                        .arg(&site.run)
                        .arg("--config")
                        .arg(&site.config)
                        .spawn()
                        .unwrap();
                    serves(&other);
                    other.kill();
                    assert_eq!(ended(&other).0, None);
                }
                _ => std::fs::write(site.table(), &octets).unwrap(),
            }
            let daemon = site.start();
            let said = daemon.stderr().unwrap();
            let line = said.lines().find(|line| line.contains("begins without it"));
            let line = line.unwrap_or_else(|| panic!("{name}: {said}"));
            assert!(
                line.contains(said_of_it) && line.contains("/table: "),
                "{name}: {line}"
            );
            assert_eq!(said.lines().count(), 2, "{name}: {said}");
            assert_eq!(site.look(A), None, "{name}");
            assert_eq!(site.connect().u(A), u(1), "{name}");
            daemon.kill();
            assert_eq!(ended(&daemon).0, None);
        }
        // A link is not followed, and what it leads to stays as it is.
        let elsewhere = site.lab.work().join("elsewhere");
        std::fs::rename(site.table(), &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, site.table()).unwrap();
        let before = std::fs::read(&elsewhere).unwrap();
        let daemon = site.start();
        assert!(
            daemon
                .stderr()
                .unwrap()
                .contains("is a symbolic link; begins without it")
        );
        assert_eq!(site.connect().u(A), u(1));
        assert!(!site.table().is_symlink() && std::fs::read(&elsewhere).unwrap() == before);
    });
}

#[test]
fn every_signal_that_ends_it_leaves_nothing() {
    rootless::test(|| {
        let site = Site::new(PREFIXES);
        for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
            let daemon = site.start();
            let follower = site.connect();
            follower.follow();
            daemon.signal(signal).unwrap();
            assert_eq!(follower.event()["event"], "stopping");
            assert_eq!(follower.next().1, Told::End);
            assert_eq!(ended(&daemon).0, Some(0));
            assert_eq!(std::fs::read_dir(&site.run).unwrap().count(), 0);
        }
    });
}

#[test]
fn a_reload_keeps_what_it_permits() {
    rootless::test(|| {
        let site = Site::new(PREFIXES);
        let daemon = site.start();
        let (client, follower) = (site.connect(), site.connect());
        follower.follow();
        assert_eq!([client.u(A), client.u("2001:db8:a::1")], [u(1), u(1)]);
        let excluded = format!("{PREFIXES}exclude = [\"{A}\"]\n");
        std::fs::write(&site.config, excluded).unwrap();
        daemon.signal(Signal::HUP).unwrap();
        assert_eq!(follower.event_of("reloaded")["forgotten"], 1);
        assert_eq!(site.look(A), None);
        assert_eq!(site.found("2001:db8:a::1"), Some(u(1)));
        assert!(matches!(client.resolve(A), Told::Error(Code::POLICY, _)));
        // A wrong one changes nothing.
        std::fs::write(&site.config, "[resolve]\nprefixes = 7\n").unwrap();
        daemon.signal(Signal::HUP).unwrap();
        daemon.wait_stderr("goes on as before", PATIENCE).unwrap();
        assert!(daemon.stderr().unwrap().contains("resolve.prefixes"));
        assert!(matches!(client.resolve(A), Told::Error(Code::POLICY, _)));
        assert_eq!(client.u("2001:db8:a::1"), u(1));
    });
}

#[test]
fn what_cannot_work_is_one_line() {
    rootless::test(|| {
        let site = Site::new("[daemon]\nentries = 0\n");
        let (status, said) = ended(&site.spawn(&[]));
        assert_eq!((status, said.lines().count()), (Some(78), 1), "{said}");
        assert!(said.contains("daemon.entries: expected"), "{said}");
        std::fs::write(&site.config, "[daemon]\nuser = \"nobody-of-that-name\"\n").unwrap();
        let (status, said) = ended(&site.spawn(&[]));
        assert_eq!((status, said.lines().count()), (Some(78), 1), "{said}");
        // Whom many services may be, and no program trusts.
        let many = aarp_sys::process::overflow_user();
        for user in [many.to_string(), "nobody".to_owned()] {
            let text = format!("[daemon]\nuser = {user:?}\n");
            std::fs::write(&site.config, text).unwrap();
            let (status, said) = ended(&site.spawn(&[]));
            assert_eq!((status, said.lines().count()), (Some(78), 1), "{said}");
            let problem = "aarp.toml: daemon.user: expected a user that no other service has";
            assert!(said.contains(problem), "{said}");
        }
        std::fs::write(&site.config, "[resolve]\nprefix = []\n").unwrap();
        let (status, said) = ended(&site.spawn(&[]));
        assert_eq!((status, said.lines().count()), (Some(78), 1), "{said}");
        // A folder in the way of the table.
        std::fs::write(&site.config, PREFIXES).unwrap();
        std::fs::create_dir_all(site.table()).unwrap();
        let (status, said) = ended(&site.spawn(&[]));
        assert_eq!((status, said.lines().count()), (Some(71), 1), "{said}");
        assert!(said.contains("put in place"), "{said}");
    });
}

#[test]
fn without_permission_to_probe_it_does_not_begin() {
    rootless::test(|| {
        let site = Site::new(PREFIXES);
        if !site.without_ping_sockets() {
            return;
        }
        let host = site.host();
        let daemon = host.command("setpriv").args([
            "--bounding-set",
            "-net_raw",
            "--inh-caps",
            "-net_raw",
            "--",
        ]);
        let daemon = daemon
            .arg(env!("CARGO_BIN_EXE_aarpd"))
            .args(["run", "--run-dir"]);
        let daemon = daemon.arg(&site.run).arg("--config").arg(&site.config);
        let (status, said) = ended(&daemon.spawn().unwrap());
        assert_eq!((status, said.lines().count()), (Some(77), 1), "{said}");
        assert!(said.contains("CAP_NET_RAW"), "{said}");
        assert!(!site.run.exists());
    });
}

#[test]
fn a_file_system_without_room_is_named() {
    rootless::test(|| {
        let site = Site::new(PREFIXES);
        std::fs::create_dir(&site.run).unwrap();
        // Seen by the commands of this host alone.
        let run = site.run.display();
        let script = format!(
            "mount -t tmpfs -o size=1m,mode=755 tmpfs {run} && exec {} run --run-dir {run} --config {}",
            env!("CARGO_BIN_EXE_aarpd"),
            site.config.display()
        );
        let daemon = site
            .host()
            .command("unshare")
            .args(["-m", "sh", "-c", &script]);
        let (status, said) = ended(&daemon.spawn().unwrap());
        assert_eq!((status, said.lines().count()), (Some(69), 1), "{said}");
        assert!(
            said.contains("no room for the table's 8392704 octets"),
            "{said}"
        );
    });
}

/// A restart makes the new table beside the old one: where there is no room for both, that
/// serves on.
#[test]
fn without_room_for_a_second_table_the_first_one_stays() {
    rootless::test(|| {
        let site = Site::new(PREFIXES);
        std::fs::create_dir(&site.run).unwrap();
        let run = site.run.display();
        // The daemon is killed where it serves, in the same mounts as the next. The file of
        // the table, as a program has it that began to read it before.
        let script = format!(
            "mount -t tmpfs -o size=12m,mode=755 tmpfs {run}
             {aarpd} run --run-dir {run} --config {config} 2>{run}/said &
             first=$!
             for n in $(seq 600); do grep -q serves {run}/said && break; sleep 0.1; done
             kill -9 $first; wait $first
             exec 3<{run}/table
             before=$(md5sum <{run}/table)
             {aarpd} run --run-dir {run} --config {config}
             echo ended $?
             cmp /dev/fd/3 {run}/table && test \"$before\" = \"$(md5sum <{run}/table)\" && echo same
             ls {run}",
            aarpd = env!("CARGO_BIN_EXE_aarpd"),
            config = site.config.display()
        );
        let host = site.host().command("unshare");
        let output = host.args(["-m", "sh", "-c", &script]).run().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said, "ended 69\nsame\nsaid\ntable\n");
        let said = String::from_utf8(output.stderr).unwrap();
        let line = "table.new: no room for the table's 8392704 octets";
        assert!(said.contains(line), "{said}");
        assert!(said.contains("the table that is there serves on"), "{said}");
    });
}

/// Whoever may write to the folder may put anything in the place of what programs trust.
#[test]
fn a_folder_that_others_may_write_to_is_refused() {
    rootless::test(|| {
        let site = Site::new(PREFIXES);
        std::fs::create_dir(&site.run).unwrap();
        for mode in [0o777, 0o1777, 0o1757, 0o775] {
            let open = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&site.run, open).unwrap();
            let (status, said) = ended(&site.spawn(&[]));
            assert_eq!((status, said.lines().count()), (Some(78), 1), "{said}");
            let line = format!("the folder {}: others may write there", site.run.display());
            assert!(said.contains(&line), "{said}");
            assert_eq!(std::fs::read_dir(&site.run).unwrap().count(), 0);
        }
        std::fs::remove_dir(&site.run).unwrap();
        // Whatever the umask, and nothing is done by name afterwards.
        let daemon = site
            .host()
            .command("sh")
            .args(["-c", "umask 077; exec \"$0\" \"$@\""]);
        let daemon = daemon
            .arg(env!("CARGO_BIN_EXE_aarpd"))
            .args(["run", "--run-dir"]);
        let daemon = daemon.arg(&site.run).arg("--config").arg(&site.config);
        let daemon = daemon.spawn().unwrap();
        serves(&daemon);
        let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(mode(&site.run), 0o755);
        assert_eq!((mode(&site.socket()), mode(&site.table())), (0o666, 0o644));
        assert_eq!(site.connect().u(A), u(1));
    });
}

/// Somebody tidies up: what is still there is enough to keep a second one out, and what the
/// first finds missing it makes anew, or gives way.
#[test]
#[ignore = "long: in tests/run.sh --full"]
fn what_somebody_removes_lets_no_second_daemon_write_the_table() {
    rootless::test(|| {
        let site = Site::new(PREFIXES);
        let lock = site.run.join("table.lock");
        let first = site.start();
        std::fs::remove_file(&lock).unwrap();
        std::fs::remove_file(site.socket()).unwrap();
        let (status, said) = ended(&site.spawn(&[]));
        assert_eq!((status, said.lines().count()), (Some(69), 1), "{said}");
        assert!(said.contains("another process writes this table"), "{said}");
        first
            .wait_stderr("table.lock was removed; it is made anew", PATIENCE)
            .unwrap();
        assert!(lock.exists());
        // Everything is gone, and another one serves: this one is nobody's any more.
        for name in ["table", "table.lock"] {
            std::fs::remove_file(site.run.join(name)).unwrap();
        }
        let second = site.start();
        let (status, said) = ended(&first);
        assert_eq!(status, Some(69), "{said}");
        assert!(said.contains("another process writes this table"), "{said}");
        assert!(said.contains("this one stops"), "{said}");
        let there: Vec<bool> = [lock, site.socket(), site.table()]
            .iter()
            .map(|path| path.exists())
            .collect();
        assert_eq!(there, [true; 3]);
        assert_eq!(site.connect().u(A), u(1));
        assert!(second.try_wait().unwrap().is_none());
    });
}

#[test]
fn the_service_manager_is_told() {
    rootless::test(|| {
        let site = Site::new(PREFIXES);
        let path = site.lab.work().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let heard = || {
            let mut buffer = [0; 4096];
            let length = loop {
                match manager.recv(&mut buffer) {
                    // A child of another test has ended.
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    length => break length.unwrap(),
                }
            };
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        let heard_of = |what: &str| {
            loop {
                let told = heard();
                if told.starts_with(what) {
                    return told;
                }
            }
        };
        let daemon = site.host().command(env!("CARGO_BIN_EXE_aarpd"));
        let daemon = daemon
            .args(["run", "--run-dir"])
            .arg(&site.run)
            .arg("--config")
            .arg(&site.config)
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "200000")
            .spawn()
            .unwrap();
        assert!(heard_of("READY=1").contains("STATUS=serves "));
        assert_eq!(site.connect().u(A), u(1));
        for _ in 0..3 {
            assert_eq!(heard(), "WATCHDOG=1");
        }
        daemon.signal(Signal::HUP).unwrap();
        let reloading = heard_of("RELOADING=1");
        let (_, at) = reloading.split_once("MONOTONIC_USEC=").unwrap();
        assert!(at.parse::<u64>().unwrap() > 0);
        heard_of("READY=1");
        daemon.signal(Signal::TERM).unwrap();
        heard_of("STOPPING=1");
        assert_eq!(ended(&daemon).0, Some(0));
    });
}

/// A socket that systemd has opened is served and left in its place.
#[test]
fn the_socket_of_the_service_manager_is_served() {
    rootless::test(|| {
        let site = Site::new(PREFIXES);
        std::fs::create_dir(&site.run).unwrap();
        let socket = site.socket();
        let script = format!(
            "import os, socket\ns = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n\
             s.bind({:?})\ns.listen(16)\nos.dup2(s.fileno(), 3)\nos.set_inheritable(3, True)\n\
             os.environ['LISTEN_PID'] = str(os.getpid())\nos.environ['LISTEN_FDS'] = '1'\n\
             os.execv({:?}, ['aarpd', 'run', '--run-dir', {:?}, '--config', {:?}])\n",
            socket,
            env!("CARGO_BIN_EXE_aarpd"),
            site.run,
            site.config
        );
        let daemon = site.host().command("python3").args(["-c", &script]);
        let daemon = daemon.spawn().unwrap();
        serves(&daemon);
        assert_eq!(site.connect().u(A), u(1));
        assert!(daemon.terminate(PATIENCE).unwrap().success());
        assert!(socket.exists(), "it is not the daemon's to remove");
    });
}

#[test]
fn a_users_own_daemon_keeps_to_itself() {
    rootless::test(|| {
        let site = Site::new(PREFIXES);
        let folder = site.lab.work().join("runtime");
        std::fs::create_dir(&folder).unwrap();
        let daemon = site.host().command(env!("CARGO_BIN_EXE_aarpd"));
        let daemon = daemon
            .args(["run", "--user-daemon", "--config"])
            .arg(&site.config)
            .env("XDG_RUNTIME_DIR", &folder)
            .spawn()
            .unwrap();
        serves(&daemon);
        let mode = |name: &str| {
            let found = std::fs::metadata(folder.join("aarp").join(name)).unwrap();
            found.permissions().mode() & 0o777
        };
        assert_eq!((mode("table"), mode("aarpd.sock")), (0o600, 0o600));
        let client = site.connect_to(&folder.join("aarp/aarpd.sock"));
        assert_eq!(client.u(A), u(1));
        drop(daemon);
        let system = site.start();
        let found = |name: &str| std::fs::metadata(site.run.join(name)).unwrap();
        assert_eq!(found("table").mode() & 0o777, 0o644);
        assert_eq!(found("aarpd.sock").mode() & 0o777, 0o666);
        assert!(system.terminate(PATIENCE).unwrap().success());
    });
}

const METRICS: &str = "[daemon]\nmetrics = \"[::1]:9847\"\n";

/// What an HTTP client is told.
fn get(site: &Site, path: &'static str) -> String {
    site.host().enter(move || {
        let mut stream = std::net::TcpStream::connect("[::1]:9847").unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: aarpd\r\n\r\n");
        let mut answer = String::new();
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        stream.read_to_string(&mut answer).unwrap();
        answer
    })
}

/// Prometheus reads counters on loopback.
#[test]
fn metrics_are_read_over_http() {
    rootless::test(|| {
        let site = Site::new(&format!("{PREFIXES}{METRICS}"));
        let _daemon = site.start();
        assert_eq!(site.connect().u(A), u(1));
        let answer = get(&site, "/metrics");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(
            answer.contains("\naarpd_probes_sent_total{method=\"echo\"} 1\n"),
            "{answer}"
        );
        assert!(
            answer.contains("\naarpd_round_trip_seconds_count 1\n"),
            "{answer}"
        );
        assert!(get(&site, "/").starts_with("HTTP/1.1 404 "));
        // The same on the socket.
        let (text, _) = site.connect().lines(&Message::Metrics);
        assert!(
            text.contains("aarpd_mappings{state=\"pinned\"} 1\n"),
            "{text}"
        );
    });
}

/// Whoever reads all the time waits, and is answered.
#[test]
#[ignore = "long: in tests/run.sh --full"]
fn metrics_are_read_so_often_and_not_more() {
    rootless::test(|| {
        let site = Site::new(&format!("{PREFIXES}{METRICS}"));
        let _daemon = site.start();
        let began = boottime();
        for _ in 0..80 {
            let answer = get(&site, "/metrics");
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        // Twenty at once, and then twenty a second.
        let took = boottime() - began;
        assert!(took >= std::time::Duration::from_secs(3), "{took:?}");
    });
}

/// Anybody may listen where it would: that is no reason to give up what still serves.
#[test]
fn a_port_that_is_taken_costs_no_table() {
    rootless::test(|| {
        let site = Site::new(PREFIXES);
        let first = site.start();
        assert_eq!(site.connect().u(A), u(1));
        first.kill();
        assert_eq!(ended(&first).0, None);
        let listen = || std::net::TcpListener::bind("[::1]:9847").unwrap();
        let squatter = site.host().enter(listen);
        std::fs::write(&site.config, format!("{PREFIXES}{METRICS}")).unwrap();
        let before = std::fs::metadata(site.table()).unwrap().ino();
        let (status, said) = ended(&site.spawn(&[]));
        assert_eq!((status, said.lines().count()), (Some(69), 1), "{said}");
        assert!(said.contains("listen on [::1]:9847"), "{said}");
        let after = std::fs::metadata(site.table()).map(|table| table.ino());
        assert_eq!(after.ok(), Some(before), "the table is still there");
        assert_eq!(site.found(A), Some(u(1)));
        let beside = |suffix: &str| site.run.join(format!("table{suffix}"));
        assert!(!beside(".lock").exists() && !beside(".new").exists());
        // The next one goes on with it.
        drop(squatter);
        let _second = site.start();
        assert_eq!(site.found(A), Some(u(1)));
    });
}

/// Who comes and says nothing holds nobody up for long, nor do many of them: who reads
/// waits for so long, and is not sent away.
#[test]
#[ignore = "long: in tests/run.sh --full"]
fn readers_of_metrics_who_say_nothing_are_let_go() {
    rootless::test(|| {
        let site = Site::new(&format!("{PREFIXES}{METRICS}"));
        let _daemon = site.start();
        let idle = site.host().enter(|| {
            let connect = |_| std::net::TcpStream::connect("[::1]:9847").unwrap();
            (0..20).map(connect).collect::<Vec<_>>()
        });
        assert!(idle.iter().all(|stream| stream.as_raw_fd() > 2));
        assert_eq!(site.connect().u(A), u(1));
        let answer = get(&site, "/metrics");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    });
}
