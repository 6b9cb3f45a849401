//! Over a unix socket, and by what programs really do.

use std::fs;
use std::net::Ipv6Addr;

use aarp_lab::{Filter, rootless};

use crate::daemon::{Served, with_daemon};
use crate::handed::{ECHO, echo, told};
use crate::site::{A, PATIENCE, PORT, U1, Variant, now};
use crate::stage::{has, python};

/// What python's programs say that hand sockets on to each other.
fn python_programs(served: &Served, library: bool) -> String {
    let work = served.site.lab.work();
    let path = work.join("taken");
    // The socket of one that has ended is there still.
    let _ = fs::remove_file(&path);
    let command = || match library {
        true => served.command(python()),
        false => served
            .site
            .lab
            .host("client")
            .expect("a host")
            .command(python()),
    };
    for (name, text) in [
        ("pass.py", include_str!("pass.py")),
        ("take.py", include_str!("take.py")),
    ] {
        fs::write(work.join(name), text).expect("a writable folder");
    }
    let taker = command().arg(work.join("take.py")).arg(&path).spawn();
    let taker = taker.expect("python starts");
    taker.wait_stdout("listens", PATIENCE).expect("it listens");
    let words = [A.to_string(), PORT.to_string(), ECHO[0].to_string()];
    let command = command().arg(work.join("pass.py")).args(words).arg(&path);
    let text = told(&command.output().expect("python runs"));
    let status = taker.wait(PATIENCE).expect("it ends");
    assert!(status.success(), "{status}: {:?}", taker.stderr());
    text
}

#[test]
fn python_hands_sockets_on() {
    with_daemon(Variant::default(), "", |served| {
        let _echo = echo(served);
        let native = python_programs(served, false);
        assert_eq!(native.matches(&A.to_string()).count(), 14, "{native}");
        // Without a daemon, as before.
        let alone = python_programs(served, true);
        assert_eq!(native, alone.replace(&U1.to_string(), &A.to_string()));
        assert!(alone.contains(&U1.to_string()), "{alone}");
        let _daemon = served.start();
        assert_eq!(native, python_programs(served, true));
    });
}

/// A program that starts many tells of a connection once.
#[test]
fn a_connection_is_told_of_once() {
    with_daemon(Variant::default(), "", |served| {
        let _daemon = served.start();
        let script = served.site.lab.work().join("often.py");
        fs::write(&script, include_str!("often.py")).expect("a writable folder");
        let socket = served.table().with_file_name("aarpd.sock");
        let words = [A.to_string(), PORT.to_string()];
        let command = served
            .command(python())
            .arg(&script)
            .args(words)
            .arg(socket);
        assert_eq!(told(&command.output().expect("python runs")), "1\n2\n");
    });
}

/// OpenSSH lets another program make its connection, and takes the socket from that
/// (`ProxyUseFdpass`): it says, and looks up in known_hosts, with whom it speaks.
#[test]
fn ssh_takes_its_connection_from_netcat() {
    if !has(&["ssh", "sshd", "ssh-keygen", "nc.openbsd"]) {
        return;
    }
    with_daemon(Variant::default(), "", |served| {
        if rootless::is_inside() {
            let why = "sshd needs more users than a user namespace has";
            return rootless::skipped("ssh_takes_its_connection_from_netcat", why);
        }
        let work = served.site.lab.work().to_owned();
        let s1 = served.site.lab.host("s1").expect("a host");
        for key in ["host-key", "user-key"] {
            let file = work.join(key);
            let made = s1
                .command("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"]);
            made.arg(&file).run().expect("a key");
        }
        let config = format!(
            "Port 22\nAddressFamily inet6\nHostKey {0}/host-key\nPidFile none\nUsePAM no\n\
             PermitRootLogin prohibit-password\nAuthorizedKeysFile {0}/user-key.pub\n\
             StrictModes no\nUseDNS no\n",
            work.display()
        );
        fs::write(work.join("sshd_config"), config).expect("a writable folder");
        let key = fs::read_to_string(work.join("host-key.pub")).expect("a key");
        fs::write(work.join("known_hosts"), format!("* {key}")).expect("a writable folder");
        // It leaves its privileges there; every host has a /run of its own.
        s1.enter(|| fs::create_dir_all("/run/sshd"))
            .expect("a folder");
        let sshd = s1.command("/usr/sbin/sshd").args(["-D", "-e", "-f"]);
        let _sshd = sshd
            .arg(work.join("sshd_config"))
            .spawn()
            .expect("sshd starts");
        s1.wait_tcp(22, PATIENCE).expect("sshd listens");
        // Once without a daemon, as before.
        let who = |shown: Ipv6Addr| {
            let since = now();
            let option = |name: &str, file: &str| format!("{name}={}/{file}", work.display());
            let output = served
                .command("ssh")
                .args(["-v", "-F", "none", "-6", "-o", "BatchMode=yes"])
                .args(["-o", &option("IdentityFile", "user-key")])
                .args(["-o", &option("UserKnownHostsFile", "known_hosts")])
                .args([
                    "-o",
                    "StrictHostKeyChecking=yes",
                    "-o",
                    "ProxyUseFdpass=yes",
                ])
                .args(["-o", "ProxyCommand=nc.openbsd -6 -F %h %p"])
                .args([&format!("root@{A}"), "echo done"])
                .output()
                .expect("ssh runs");
            let log = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(told(&output), "done\n");
            let line = log
                .lines()
                .find(|line| line.starts_with("Authenticated to"));
            let line = line.expect("it says so");
            assert!(line.contains(&format!("([{shown}]:22)")), "{log}");
            // It was to U that it spoke.
            let to_u = Filter::tcp().dst(U1).port(22).flags("Sa");
            assert_eq!(to_u.count(&served.site.seen(since).s1), 1, "{log}");
        };
        who(U1);
        let _daemon = served.start();
        who(A);
    });
}
