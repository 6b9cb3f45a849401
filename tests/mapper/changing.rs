//! Another responder answers: who connects after that finds it, and it is asked ahead of
//! time about what is used.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aarp_lab::{Filter, Process};

use crate::daemon::{Served, age, kill, with_daemon};
use crate::site::{A, Counters, PATIENCE, PORT, Variant, now};
use crate::stage::tool;

const TTL: Duration = Duration::from_secs(2);

/// The mapping of a program that connects again and again is refreshed before it ends:
/// nobody waits, and the move of the route is found within the TTL.
#[test]
fn what_is_used_is_asked_about_ahead_of_time() {
    let more = format!("ttl = \"{}s\"\n", TTL.as_secs());
    with_daemon(Variant::default(), &more, |served| {
        let _daemon = served.start();
        assert_eq!(served.curl().0, "s1");
        // Longer than the TTL: each finds the mapping in the table.
        let mut since = now();
        let mut begun = vec![since];
        aarp_lab::wait_until("the mapping is refreshed twice", PATIENCE, || {
            begun.push(now());
            let (by, counters) = served.curl();
            assert_eq!(by, "s1");
            if counters.get("hits") == 0 {
                // Two have used it when it was due, and one of them in good time; unless the
                // machine is so slow that they have not.
                let [.., before, _, _] = begun[..] else {
                    panic!("{}", counters.log);
                };
                let gap = now() - before;
                assert!(gap > TTL / 5, "{gap:?}: {}", counters.log);
                since = now();
            }
            Ok(served.site.seen(since).probes() >= 2)
        })
        .expect("it is");
        served.site.move_route();
        let mut last = now();
        aarp_lab::wait_until("the other responder", PATIENCE, || {
            let began = now();
            let (by, counters) = served.curl();
            assert_eq!(counters.get("pinned"), 1, "{}", counters.log);
            if by == "s1" {
                last = began;
            }
            Ok(by == "s2")
        })
        .expect("it serves");
        // Nobody is moved to s1 who begins more than a TTL after it was asked last; and as
        // much again for a daemon that has had to wait for a processor.
        let asked = Filter::icmp6(128).dst(A);
        let seen = served.site.seen(since);
        let asked = seen.s1.iter().filter(|packet| asked.matches(packet));
        let asked = asked.map(|packet| packet.time).max().expect("a probe");
        let after = last.saturating_sub(asked);
        let turns = begun.len();
        println!("{turns} turns; s1 served until {after:?} after its last probe");
        assert!(after < 2 * TTL, "{after:?}");
    });
}

/// Who answers for A belongs to a network: a program in another one sees the daemon's
/// socket and asks for itself.
#[test]
fn a_program_in_another_network_is_not_told() {
    // No answer counts at the router, which has every U on a link of its own.
    let more = "[[prefix]]\nprefix = \"2001:db8:a::53/128\"\nbudget_nonblocking = \"200ms\"\n";
    with_daemon(Variant::default(), more, |served| {
        let _daemon = served.start();
        assert_eq!(served.curl().0, "s1");
        served.site.move_route();
        let (by, counters) = served.curl_on("router");
        let told = (counters.get("told"), counters.get("probes") > 0);
        assert_eq!((by.as_str(), told), ("s2", (0, true)), "{}", counters.log);
    });
}

/// A configuration that does not say where the daemon is.
pub fn default_places(served: &Served) -> PathBuf {
    let config = served.table().with_file_name("default.toml");
    let text = "[resolve]\nprefixes = [\"2001:db8:a::/48\"]\n\
                [times]\nbudget = \"10s\"\nbudget_nonblocking = \"300ms\"\n";
    std::fs::write(&config, text).expect("a writable folder");
    config
}

/// Starts a user's own daemon on the client's host, which serves when this returns.
pub fn start_own(served: &Served, runtime: &Path) -> Process {
    std::fs::create_dir(runtime).expect("a writable folder");
    let host = served.site.lab.host("client").expect("a host");
    let command = host.command(tool("aarpd")).args(["run", "--user-daemon"]);
    let command = command.arg("--config").arg(default_places(served));
    let own = command.env("XDG_RUNTIME_DIR", runtime).spawn();
    let own = own.expect("aarpd starts");
    own.wait_stderr("serves ", PATIENCE).expect("it serves");
    own
}

/// A curl on a host whose network is its own, and which has the folder of the daemon at
/// the place where the system's is.
fn curl_in_container(served: &Served, host: &str, runtime: &Path) -> (String, Counters) {
    let folder = served.table().parent().expect("a folder").to_owned();
    let script = "mount -t tmpfs none /run && mkdir /run/aarp && mount --bind \"$1\" /run/aarp \
                  && exec curl -sS \"$2\"";
    let command = served.command_on(host, "unshare");
    let command = command.args(["-m", "sh", "-c", script, "sh"]).arg(&folder);
    let command = command.arg(format!("http://[{A}]:{PORT}/who"));
    let command = command.env("AARP_CONFIG", default_places(served));
    let command = command.env("XDG_RUNTIME_DIR", runtime);
    served.fetched(command.env("AARP_LOG", "debug"))
}

/// The folder of a daemon, seen through a mount from another network, as containers have
/// it: its table is not read, nor its socket dialled. In its own network both serve there.
#[test]
fn a_folder_that_is_mounted_in_another_network_serves_nobody_there() {
    with_daemon(Variant::default(), "", |served| {
        let _daemon = served.start();
        for (name, other) in [("told", "hits"), ("hits", "told")] {
            let (by, counters) = curl_in_container(served, "client", Path::new(""));
            let seen = [name, other, "probes"].map(|name| counters.get(name));
            assert_eq!((by.as_str(), seen), ("s1", [1, 0, 0]), "{}", counters.log);
        }
        let (_, counters) = curl_in_container(served, "router", Path::new(""));
        let seen = ["told", "hits"].map(|name| counters.get(name));
        assert_eq!(seen, [0, 0], "{}", counters.log);
        assert!(counters.get("probes") > 0, "{}", counters.log);
        for line in [
            "/run/aarp/table: is of another network namespace",
            "/run/aarp/aarpd.sock: aarpd serves another network namespace",
        ] {
            assert_eq!(
                counters.log.matches(line).count(),
                1,
                "{line}: {}",
                counters.log
            );
        }
    });
}

/// The system's daemon was killed, and its table is there still; the user has one of
/// their own, and that is read.
#[test]
fn of_two_tables_the_one_whose_daemon_lives_is_read() {
    with_daemon(Variant::default(), "", |served| {
        kill(&mut served.start());
        age(served, Duration::from_secs(13));
        let runtime = served.site.lab.work().join("runtime");
        let mut own = start_own(served, &runtime);
        for (name, other) in [("told", "hits"), ("hits", "told")] {
            let (by, counters) = curl_in_container(served, "client", &runtime);
            let seen = [name, other, "probes"].map(|name| counters.get(name));
            assert_eq!((by.as_str(), seen), ("s1", [1, 0, 0]), "{}", counters.log);
        }
        kill(&mut own);
    });
}
