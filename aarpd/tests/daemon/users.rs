//! Users who are neither root nor the daemon's own.

use aarp_lab::{Command, Process, rootless, wait_until};

use crate::site::{A, PATIENCE, PREFIXES, Site, u};

/// Speaks as another user: sends each argument, octets in hexadecimal, reads an answer
/// where the argument ends with `?`, and prints its type and what follows the header.
const SPEAKER: &str = r#"
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.settimeout(60)
s.connect(sys.argv[1])
for packet in sys.argv[2:]:
    s.send(bytes.fromhex(packet.rstrip('?')))
    if packet.endswith('?'):
        answer = s.recv(1 << 16)
        print(answer[5], answer[12:].hex())
"#;

/// A message, in hexadecimal.
fn packet(message: &aarp_wire::mapper::Message<'_>) -> String {
    let mut buffer = [0; 64];
    let octets = message.emit(1, &mut buffer).unwrap();
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Runs the body where there are other users.
fn with_users(body: impl FnOnce(Site) + 'static) {
    rootless::test(|| {
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
        let is_whole = map.split_ascii_whitespace().nth(2) == Some("4294967295");
        if !is_whole {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or("a test of aarpd");
            return rootless::skipped(name, "there is no other user in a user namespace");
        }
        let site = Site::new(PREFIXES);
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(site.lab.work(), open).unwrap();
        body(site);
    });
}

fn speaker<'s>(site: &'s Site, uid: u32) -> Command<'s> {
    let command = site.host().command("/usr/bin/python3").user(uid, uid);
    command.args(["-c", SPEAKER]).arg(site.socket())
}

/// The answers, each a type and its content.
fn answers(command: Command<'_>) -> Vec<(u8, String)> {
    let output = command.run().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text
        .lines()
        .map(|line| line.split_once(' ').unwrap_or((line, "")));
    lines
        .map(|(kind, rest)| (kind.parse().unwrap(), rest.to_owned()))
        .collect()
}

const MAPPING: u8 = 2;
const TEXT: u8 = 10;
const DONE: u8 = 11;
const ERROR: u8 = 12;

#[test]
fn others_ask_about_prefixes_and_flush_nothing() {
    with_users(|site| {
        use aarp_wire::mapper::{Asked, Message};
        let _daemon = site.start();
        let ask = |a: &str| {
            let (budget, flags) = (1000, 0);
            packet(&Message::Resolve(Asked {
                a: a.parse().unwrap(),
                budget,
                flags,
            })) + "?"
        };
        let flush = packet(&Message::Flush("::".parse().unwrap(), 0)) + "?";
        let told =
            answers(speaker(&site, 65534).args([ask(A), ask("2001:db8:b::1"), flush.clone()]));
        assert_eq!(told[0].0, MAPPING);
        assert_eq!((told[1].0, &told[1].1[..2]), (ERROR, "04"));
        assert_eq!((told[2].0, &told[2].1[..2]), (ERROR, "02"));
        assert_eq!(site.found(A), Some(u(1)), "it is still there");
        // Nothing configured: root alone may ask about everything.
        let everything = "[times]\nbudget_unconfigured = \"10s\"\nretransmit = [\"5s\"]\n";
        std::fs::write(&site.config, everything).unwrap();
        _daemon.signal(aarp_lab::Signal::HUP).unwrap();
        _daemon
            .wait_stderr("has read its configuration again", PATIENCE)
            .unwrap();
        let told = answers(speaker(&site, 65534).args([ask("2001:db8:a::2")]));
        assert_eq!((told[0].0, &told[0].1[..2]), (ERROR, "02"));
        assert_eq!(site.connect().u("2001:db8:a::2"), u(1));
        // Root may have it forget.
        let told = answers(
            site.host()
                .command("python3")
                .args(["-c", SPEAKER])
                .arg(site.socket())
                .arg(flush),
        );
        assert_eq!(told, [(DONE, "02000000".to_owned())]);
    });
}

#[test]
fn one_user_does_not_keep_others_from_asking() {
    with_users(|site| {
        use aarp_wire::mapper::{Asked, Message};
        let _daemon = site.start();
        let ask = |n: usize| {
            let a = format!("2001:db8:a::{n:x}").parse().unwrap();
            packet(&Message::Resolve(Asked {
                a,
                budget: 1000,
                flags: 0,
            })) + "?"
        };
        // More at once than any user may.
        let told = answers(speaker(&site, 65534).args((1..1500).map(ask)));
        let refused = told
            .iter()
            .filter(|(kind, rest)| *kind == ERROR && rest.starts_with("03"));
        let refused = refused.count();
        assert!(
            refused > 100 && told.len() - refused >= 200,
            "{refused} of {}",
            told.len()
        );
        let told = answers(speaker(&site, 65533).args([ask(2000)]));
        assert_eq!(told[0].0, MAPPING);
        assert_eq!(site.connect().u(A), u(1));
        let status = site.connect().status();
        assert_eq!(status["requests"]["refused"]["user-limit"], refused);
        // Root sees who it was, and others see themselves.
        let first = &status["users"][0];
        assert_eq!(
            (&first["uid"], &first["refused"]),
            (&65534.into(), &refused.into())
        );
        assert_eq!(status["users"].as_array().unwrap().len(), 2);
        let told = answers(speaker(&site, 65533).args([packet(&Message::Status) + "?"]));
        let octets: Vec<u8> = told[0]
            .1
            .as_bytes()
            .chunks(2)
            .map(|hex| u8::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).unwrap())
            .collect();
        let text = String::from_utf8_lossy(&octets).into_owned();
        let record: serde_json::Value =
            serde_json::from_str(text.trim_start_matches(|c| c != '{')).unwrap();
        assert_eq!(record["users"].as_array().unwrap().len(), 1, "{text}");
        let own = &record["users"][0];
        assert_eq!(
            (&own["uid"], &own["questions"], &own["connections"]),
            (&65533.into(), &1.into(), &1.into())
        );
    });
}

#[test]
fn who_reads_all_the_time_is_told_to_wait() {
    with_users(|site| {
        use aarp_wire::mapper::{Asked, Message};
        let _daemon = site.start();
        let a = A.parse().unwrap();
        let list = packet(&Message::List("2001:db8:a::1".parse().unwrap())) + "?";
        let (budget, flags) = (1000, 0);
        let ask = packet(&Message::Resolve(Asked { a, budget, flags })) + "?";
        let whose = packet(&Message::Whose(1)) + "?";
        let reads = std::iter::repeat_n(list.clone(), 1000);
        let told = answers(speaker(&site, 65534).args(reads.chain([ask]).chain([whose])));
        let (lists, others) = told.split_at(1000);
        let is_busy = |(kind, rest): &&(u8, String)| *kind == ERROR && rest.starts_with("03");
        let busy = lists.iter().filter(is_busy).count();
        assert!((500..=980).contains(&busy), "{busy}");
        assert!(lists[..20].iter().all(|(kind, _)| *kind == DONE));
        // What programs need is another matter; and so are other users, and root.
        assert_eq!(others[0].0, MAPPING);
        assert!(!is_busy(&&others[1]), "{others:?}");
        let told = answers(speaker(&site, 65533).args([list.clone()]));
        assert_eq!(told[0].0, DONE);
        let root = site.connect();
        for _ in 0..100 {
            assert_eq!(root.lines(&Message::List(a)).1, 1);
        }
        let record = &root.status()["users"][0];
        assert_eq!(
            (&record["uid"], &record["refused"]),
            (&65534.into(), &busy.into())
        );
    });
}

/// So it is with sockets, of which programs speak more often.
#[test]
#[ignore = "long: in tests/run.sh --full"]
fn who_speaks_of_sockets_all_the_time_is_told_to_wait() {
    with_users(|site| {
        use aarp_wire::mapper::{Message, Peer};
        let _daemon = site.start();
        let (a, uni) = (A.parse().unwrap(), u(1).parse().unwrap());
        let tell = |cookie| {
            let (port, protocol) = (443, 6);
            let peer = Peer {
                cookie,
                a,
                u: uni,
                port,
                protocol,
            };
            packet(&Message::Socket(peer)) + "?"
        };
        let told = answers(speaker(&site, 65534).args((1..12_000).map(tell)));
        let is_busy = |(kind, rest): &&(u8, String)| *kind == ERROR && rest.starts_with("03");
        assert!(told[..4096].iter().all(|(kind, _)| *kind == DONE));
        assert!(told.iter().filter(is_busy).count() > 1000);
        let told = answers(speaker(&site, 65533).args([tell(7)]));
        assert_eq!(told[0].0, DONE);
    });
}

/// A folder of another user's is no place for what programs are to trust.
#[test]
fn a_folder_of_another_user_is_refused() {
    with_users(|site| {
        std::fs::create_dir(&site.run).unwrap();
        std::os::unix::fs::chown(&site.run, Some(65533), None).unwrap();
        let daemon = site.spawn(&[]);
        assert_eq!(daemon.wait(PATIENCE).unwrap().code(), Some(78));
        let said = daemon.stderr().unwrap();
        assert!(said.contains("run: belongs to user 65533"), "{said}");
        assert_eq!(std::fs::read_dir(&site.run).unwrap().count(), 0);
    });
}

/// What a user has put in the place of the table is not gone on with.
#[test]
fn a_table_of_another_user_is_not_taken_over() {
    with_users(|site| {
        use std::os::unix::fs::{PermissionsExt, chown};
        let mut daemon = site.start();
        assert_eq!(site.connect().u(A), u(1));
        type Spoil = fn(&std::path::Path);
        let cases: [(Spoil, &str); 2] = [
            (
                |table| chown(table, Some(65533), None).unwrap(),
                "belongs to user 65533, who is not trusted",
            ),
            (
                |table| {
                    std::fs::set_permissions(table, std::fs::Permissions::from_mode(0o666)).unwrap()
                },
                "others may write it",
            ),
        ];
        for (spoil, said_of_it) in cases {
            daemon.kill();
            daemon.wait(PATIENCE).unwrap();
            spoil(&site.table());
            daemon = site.start();
            let said = daemon.stderr().unwrap();
            assert!(
                said.contains(said_of_it) && said.contains("begins without it"),
                "{said}"
            );
            assert_eq!(site.look(A), None);
            assert_eq!(site.connect().u(A), u(1));
        }
    });
}

#[test]
fn a_user_hears_nothing_of_roots_sockets() {
    with_users(|site| {
        use aarp_wire::mapper::{Message, Peer};
        let _daemon = site.start();
        let (a, uni) = (A.parse().unwrap(), u(1).parse().unwrap());
        let peer = |cookie| Peer {
            cookie,
            a,
            u: uni,
            port: 443,
            protocol: 6,
        };
        let root = site.connect();
        root.send(1, &Message::Socket(peer(4711)));
        assert_eq!(root.next().1, crate::talk::Told::Done(1));
        let whose = |cookie| packet(&Message::Whose(cookie)) + "?";
        let tell = packet(&Message::Socket(peer(4712))) + "?";
        let told = answers(speaker(&site, 65534).args([whose(4711), tell, whose(4712)]));
        let kinds: Vec<u8> = told.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [ERROR, DONE, 15], "{told:?}");
        let told = answers(speaker(&site, 65533).args([whose(4711), whose(4712)]));
        assert!(told.iter().all(|(kind, _)| *kind == ERROR), "{told:?}");
    });
}

#[test]
fn connections_of_one_user_do_not_keep_others_out() {
    with_users(|site| {
        let _daemon = site.start();
        let holder = r#"
import socket, sys, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (2000, 2000))
held = []
for n in range(1500):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect(sys.argv[1])
    held.append(s)
print('held', flush=True)
sys.stdin.read()
"#;
        let command = site.host().command("/usr/bin/python3").user(65534, 65534);
        let command = command.args(["-c", holder]).arg(site.socket());
        let mut holder = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
        holder.wait_stdout("held", PATIENCE).unwrap();
        let client = site.connect();
        wait_until("they are no more than they may be", PATIENCE, || {
            let status = client.status();
            Ok(status["clients"] == 257 && status["served"]["displaced"] == 1500 - 256)
        })
        .unwrap();
        assert_eq!(client.u(A), u(1));
        drop(holder.take_stdin());
    });
}

/// Somebody with as many user numbers as a user namespace gives, all of whose connections
/// wait for an answer.
#[test]
fn a_crowd_of_users_keeps_neither_root_nor_others_out() {
    with_users(|site| {
        use aarp_wire::mapper::{Asked, Message};
        // Nobody answers, for as long as this takes.
        let config = format!("{PREFIXES}[times]\nbudget = \"60s\"\n");
        std::fs::write(&site.config, config).unwrap();
        // Not by a link that is down, of which the router would tell.
        let silent = "table ip6 silence { chain input { type filter hook input priority 0; \
                      icmpv6 type echo-request drop; }; }";
        site.lab.host("s1").unwrap().nft(silent).unwrap();
        let daemon = site.start();
        let question = packet(&Message::Resolve(Asked {
            a: A.parse().unwrap(),
            budget: 60_000,
            flags: 0,
        }));
        let holder = r#"
import os, resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
held = []
for uid in range(100000, 100300):
    os.seteuid(uid)
    for n in range(8):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.connect(sys.argv[1])
        try:
            s.send(bytes.fromhex(sys.argv[2]))
        except (BrokenPipeError, ConnectionResetError):
            pass
        held.append(s)
    os.seteuid(0)
print('held', flush=True)
sys.stdin.read()
"#;
        let command = site.host().command("/usr/bin/python3").args(["-c", holder]);
        let command = command.arg(site.socket()).arg(question);
        let mut holder = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
        holder.wait_stdout("held", PATIENCE).unwrap();
        let root: Vec<_> = (0..20).map(|_| site.connect()).collect();
        for client in &root {
            assert!(client.status()["waiters"].as_u64() > Some(100));
        }
        let told = answers(speaker(&site, 65533).args([packet(&Message::Status) + "?"]));
        assert_eq!(told[0].0, TEXT);
        let status = root[0].status();
        let most = 2048 - 2048 / 4 + root.len() as u64;
        assert!(status["clients"].as_u64() <= Some(most), "{status}");
        drop(holder.take_stdin());
        assert!(daemon.try_wait().unwrap().is_none());
    });
}

/// What the service does as root before it starts, in this folder and for this user.
fn prepare(site: &Site) {
    let unit = include_str!("../../../packaging/systemd/aarpd.service");
    let steps = unit
        .lines()
        .filter_map(|line| line.strip_prefix("ExecStartPre="));
    for step in steps {
        let run = site.run.to_str().unwrap();
        let may_fail = step.starts_with('-');
        let step = step.trim_start_matches(['-', '+']);
        let step = step.replace("aarp:aarp", "4711:4711");
        let step = step.replace("-g aarp", "-g 4711").replace("/run/aarp", run);
        let mut words = step.split(' ');
        let mut command = std::process::Command::new(words.next().unwrap());
        let output = command.args(words).output().unwrap();
        assert!(may_fail || output.status.success(), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
}

/// The service goes on with what root's daemon has left, which it cannot open before.
fn after_roots(site: &Site, spawn: &dyn Fn() -> Process) {
    use std::os::unix::fs::MetadataExt;
    let owner = |name: &str| std::fs::symlink_metadata(site.run.join(name)).map(|of| of.uid());
    let root = site.start();
    assert_eq!(site.connect().u(A), u(1));
    root.kill();
    root.wait(PATIENCE).unwrap();
    // As though it had been about to make another.
    std::fs::write(site.run.join("table.new"), "").unwrap();
    // systemd has the socket.
    std::fs::remove_file(site.socket()).unwrap();
    let refused = spawn();
    assert_eq!(refused.wait(PATIENCE).unwrap().code(), Some(71));
    let said = refused.stderr().unwrap();
    assert!(said.contains("table.lock: Permission denied"), "{said}");
    let link = site.run.join("table.new");
    prepare(site);
    let daemon = spawn();
    crate::site::serves(&daemon);
    let said = daemon.stderr().unwrap();
    assert!(
        said.contains("goes on with mappings of before: 1"),
        "{said}"
    );
    assert_eq!(site.connect().status()["mappings"]["pinned"], 1);
    for name in ["table", "table.lock"] {
        assert_eq!(owner(name).unwrap(), 4711, "{name}");
    }
    assert!(owner("table.new").is_err());
    assert!(daemon.terminate(PATIENCE).unwrap().success());
    // What else is root's stays so, also where a link leads to it.
    std::os::unix::fs::symlink("agent.bindings", &link).unwrap();
    prepare(site);
    assert_eq!(owner("agent.bindings").unwrap(), 0);
    std::fs::remove_file(link).unwrap();
}

/// Root's daemon comes after the service that was killed.
fn after_its_own_user(site: &Site, spawn: &dyn Fn() -> Process) {
    use std::os::unix::fs::MetadataExt;
    let daemon = spawn();
    crate::site::serves(&daemon);
    assert_eq!(site.connect().u(A), u(1));
    daemon.kill();
    daemon.wait(PATIENCE).unwrap();
    let root = site.start();
    let said = root.stderr().unwrap();
    assert!(
        said.contains("goes on with mappings of before: 1"),
        "{said}"
    );
    assert_eq!(std::fs::metadata(site.table()).unwrap().uid(), 0);
    assert_eq!(site.connect().u(A), u(1));
    assert!(root.terminate(PATIENCE).unwrap().success());
    let left: Vec<_> = std::fs::read_dir(&site.run)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["agent.bindings"]);
}

/// As the service has it: a user of its own, with one capability.
#[test]
fn as_its_own_user_with_one_capability() {
    with_users(|site| {
        use std::os::unix::fs::{MetadataExt, chown};
        assert!(site.without_ping_sockets());
        let config = format!("{PREFIXES}[daemon]\nuser = \"4711\"\n");
        std::fs::write(&site.config, &config).unwrap();
        // Where that user can reach it.
        let program = site.lab.work().join("aarpd");
        std::fs::copy(env!("CARGO_BIN_EXE_aarpd"), &program).unwrap();
        std::fs::create_dir(&site.run).unwrap();
        // With what is root's in it (packaging/systemd/aarpd.service).
        chown(&site.run, Some(0), Some(4711)).unwrap();
        let shared = std::os::unix::fs::PermissionsExt::from_mode(0o1775);
        std::fs::set_permissions(&site.run, shared).unwrap();
        std::fs::write(site.run.join("agent.bindings"), "of root").unwrap();
        let spawn = || {
            let setpriv = site.host().command("setpriv").args([
                "--reuid=4711",
                "--regid=4711",
                "--clear-groups",
                "--no-new-privs",
                "--inh-caps=-all,+net_raw",
                "--ambient-caps=-all,+net_raw",
                "--bounding-set=-all,+net_raw",
                "--",
            ]);
            let daemon = setpriv.arg(&program).args(["run", "--run-dir"]);
            daemon
                .arg(&site.run)
                .arg("--config")
                .arg(&site.config)
                .spawn()
                .unwrap()
        };
        let daemon = spawn();
        crate::site::serves(&daemon);
        let client = site.connect();
        assert_eq!(client.status()["methods"][0], "raw socket");
        assert_eq!(client.u(A), u(1));
        daemon.kill();
        daemon.wait(PATIENCE).unwrap();
        let daemon = spawn();
        crate::site::serves(&daemon);
        assert_eq!(site.connect().status()["mappings"]["pinned"], 1);
        let owner = |path: &std::path::Path| std::fs::metadata(path).unwrap().uid();
        assert_eq!((owner(&site.table()), owner(&site.socket())), (4711, 4711));
        assert!(daemon.terminate(PATIENCE).unwrap().success());
        after_roots(&site, &spawn);
        after_its_own_user(&site, &spawn);
        // Whom a file names that others may write, programs do not trust.
        let writable = |mode| {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(&site.config, mode).unwrap();
        };
        writable(0o664);
        let daemon = spawn();
        assert_eq!(daemon.wait(PATIENCE).unwrap().code(), Some(78));
        let said = daemon.stderr().unwrap();
        assert!(
            said.contains("daemon.user: programs pass it over"),
            "{said}"
        );
        writable(0o644);
        // Nobody would trust its table otherwise.
        std::fs::write(&site.config, PREFIXES).unwrap();
        let daemon = spawn();
        assert_eq!(daemon.wait(PATIENCE).unwrap().code(), Some(78));
        let said = daemon.stderr().unwrap();
        assert!(said.contains("daemon.user"), "{said}");
        // Nor that of those without a number, whoever names it.
        let command = site.host().command(&program).user(65534, 65534);
        let command = command.args(["run", "--user-daemon"]);
        let daemon = command.env("XDG_RUNTIME_DIR", &site.run).spawn().unwrap();
        assert_eq!(daemon.wait(PATIENCE).unwrap().code(), Some(78));
        let said = daemon.stderr().unwrap();
        assert!(said.contains("without a number"), "{said}");
    });
}
