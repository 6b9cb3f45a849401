//! Clients that mean harm, or know no better.

use std::time::Instant;

use aarp_lab::{Process, Signal, rootless, wait_until};
use aarp_wire::mapper::{Asked, Code, Message, Peer};

use crate::site::{A, PATIENCE, PREFIXES, Site, u};
use crate::talk::{Client, Told};

/// Anonymous memory that is there, in KiB.
fn memory(daemon: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.unwrap().trim().trim_end_matches(" kB");
    number.parse().unwrap()
}

/// Stops a daemon: what is sent to it now is there at once when it goes on.
fn stop(daemon: &Process) {
    daemon.signal(Signal::STOP).unwrap();
    wait_until("it is stopped", PATIENCE, || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
        Ok(status.contains("\nState:\tT"))
    })
    .unwrap();
}

#[test]
fn garbage_is_answered_and_then_not_heard() {
    rootless::test(|| {
        let site = Site::new(PREFIXES);
        let daemon = site.start();
        let other = site.connect();
        let mut long = b"AARP\x01\x01".to_vec();
        long.resize(5000, 0);
        let mut half = b"AARP\x01\x01\x24\x00\x09\x00\x00\x00".to_vec();
        half.resize(20, 0);
        let later = b"AARP\x01\xc8\x0c\x00\x09\x00\x00\x00".to_vec();
        let kinds = [(b"?".to_vec(), 0), (long, 0), (half, 0), (later, 9)];
        let began = Instant::now();
        for (garbage, id) in kinds.iter().cycle().take(8) {
            let client = site.connect();
            for _ in 0..15 {
                client.send_octets(garbage).unwrap();
                match client.next() {
                    (told, Told::Error(Code::MALFORMED, _)) => assert_eq!(told, *id),
                    other => panic!("{other:?}"),
                }
            }
            // What is right is answered in between.
            assert_eq!(client.u(A), u(1));
            client.send_octets(garbage).unwrap();
            assert!(matches!(client.next().1, Told::Error(Code::MALFORMED, _)));
            assert_eq!(client.next().1, Told::End);
        }
        // Answers are no questions.
        let client = site.connect();
        client.send(3, &Message::Done(1));
        assert!(matches!(
            client.next(),
            (3, Told::Error(Code::MALFORMED, _))
        ));
        assert_eq!(other.u(A), u(1));
        assert_eq!(other.status()["served"]["malformed"], 8 * 16 + 1);
        // Each of the eight is worth a line: five at once, and one more every ten seconds.
        let said = daemon.stderr().unwrap();
        let lines = said.matches("means nothing").count() as u64;
        let most = 5 + began.elapsed().as_secs() / 10;
        assert!((5..=most).contains(&lines), "{most}: {said}");
    });
}

#[test]
#[ignore = "long: in tests/run.sh --full"]
fn who_never_reads_costs_a_bounded_amount() {
    rootless::test(|| {
        let site = Site::new(PREFIXES);
        let daemon = site.start();
        assert_eq!(site.connect().u(A), u(1));
        let before = memory(&daemon);
        let deaf: Vec<Client> = (0..20).map(|_| site.connect()).collect();
        // Questions whose answers nobody takes: it is not heard any more until it reads.
        let mut buffer = [0; 64];
        let question = Message::Metrics.emit(1, &mut buffer).unwrap().to_vec();
        for client in &deaf {
            let mut sent = 0;
            while sent < 2000 && client.try_send(&question) {
                sent += 1;
            }
        }
        // Who reads again is heard again.
        let again = site.connect();
        let mut sent = 0;
        while again.try_send(&question) {
            sent += 1;
        }
        for _ in 0..sent {
            while !matches!(again.next().1, Told::Done(_)) {}
        }
        assert_eq!(again.u(A), u(1));
        // Those who follow what happens, and do not read it, are let go.
        let followers: Vec<Client> = (0..20).map(|_| site.connect()).collect();
        for follower in &followers {
            follower.send(1, &Message::Events);
        }
        let client = site.connect();
        wait_until("all of them follow", PATIENCE, || {
            Ok(client.status()["followers"] == 20)
        })
        .unwrap();
        wait_until("they are let go", PATIENCE, || {
            for _ in 0..100 {
                client.send(2, &Message::Flush(A.parse().unwrap(), 128));
                assert!(matches!(client.next(), (2, Told::Done(_))));
            }
            Ok(client.status()["followers"] == 0)
        })
        .unwrap();
        let deaf_now = || client.status()["served"]["deaf"].as_u64().unwrap();
        assert!(deaf_now() >= 20);
        let more = memory(&daemon).saturating_sub(before);
        assert!(more < 20_000, "{more} KiB more");
        // The others after a while.
        wait_until("all are let go", PATIENCE, || Ok(deaf_now() == 40)).unwrap();
        assert_eq!(client.status()["clients"], 2);
    });
}

/// More is asked than is answered: the questions of many connections, of which each stays
/// below its limit. Who closes them when all are read, and opens others, goes on with it.
#[test]
fn who_asks_faster_than_is_answered_costs_a_bounded_amount() {
    rootless::test(|| {
        let refused = "2001:db8:a::bad";
        let site = Site::new(&format!("{PREFIXES}exclude = [\"{refused}\"]\n"));
        let daemon = site.start();
        let other = site.connect();
        assert_eq!(other.u(A), u(1));
        let question = Message::Resolve(Asked {
            a: refused.parse().unwrap(),
            budget: 1000,
            flags: 0,
        });
        let mut buffer = [0; 64];
        let question = question.emit(1, &mut buffer).unwrap();
        let question: String = question
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect();
        let before = memory(&daemon);
        // All of it at once, however fast this machine is.
        stop(&daemon);
        let asker = r#"
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (2000, 2000))
question = bytes.fromhex(sys.argv[2])
held = []
for n in range(1000):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect(sys.argv[1])
    for n in range(63):
        s.send(question, socket.MSG_DONTWAIT)
    held.append(s)
print('asked', flush=True)
sys.stdin.read()
"#;
        let command = site.host().command("python3").args(["-c", asker]);
        let command = command.arg(site.socket()).arg(question);
        let mut asker = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
        asker.wait_stdout("asked", PATIENCE).unwrap();
        other.ask(7, A.parse().unwrap(), 0);
        daemon.signal(Signal::CONT).unwrap();
        assert!(matches!(other.next(), (7, Told::Mapping(_))));
        let answered = || other.status()["requests"]["refused"]["policy"].as_u64();
        wait_until("all questions are heard", PATIENCE, || {
            Ok(answered() == Some(63 * 1000))
        })
        .unwrap();
        // Memory that has held what was to be told stays with the daemon.
        let more = memory(&daemon).saturating_sub(before);
        assert!(more < 3_000, "{more} KiB more");
        drop(asker.take_stdin());
    });
}

/// Lists take long to make: after one of them others have their turn.
#[test]
fn who_reads_much_at_once_does_not_go_before_others() {
    rootless::test(|| {
        let site = Site::new(PREFIXES);
        let daemon = site.start();
        let (first, second) = (site.connect(), site.connect());
        // Who was served last may be the first that is looked at again.
        assert_eq!((second.u(A), first.u(A)), (u(1), u(1)));
        let a = A.parse().unwrap();
        stop(&daemon);
        for id in 0..10 {
            first.send(id, &Message::List(a));
        }
        first.send(10, &Message::Flush(a, 128));
        second.send(9, &Message::List(a));
        daemon.signal(Signal::CONT).unwrap();
        // It came before the mapping was forgotten.
        assert!(matches!(second.next(), (9, Told::Text(_))));
        assert_eq!(second.next(), (9, Told::Done(1)));
        for id in 0..10 {
            assert!(matches!(first.next(), (told, Told::Text(_)) if told == id));
            assert_eq!(first.next(), (id, Told::Done(1)));
        }
        assert_eq!(first.next(), (10, Told::Done(1)));
    });
}

#[test]
fn ten_thousand_connections_keep_nobody_out() {
    rootless::test(|| {
        let site = Site::new(PREFIXES);
        let daemon = site.start();
        assert_eq!(site.connect().u(A), u(1));
        let before = memory(&daemon);
        // More than are let in are open all the time.
        let holder = r#"
import collections, resource, socket, sys
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (3100, most))
held = collections.deque(maxlen=3000)
for n in range(1, 10001):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect(sys.argv[1])
    held.append(s)
    if n % 1000 == 0:
        print('held', n, flush=True)
sys.stdin.read()
"#;
        let command = site.host().command("python3").args(["-c", holder]);
        let command = command.arg(site.socket());
        let mut holder = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
        for thousands in 1..=10 {
            let held = format!("held {thousands}000\n");
            holder.wait_stdout(&held, PATIENCE).unwrap();
            assert_eq!(site.connect().u(A), u(1));
        }
        let client = site.connect();
        assert_eq!(client.u(A), u(1));
        let status = client.status();
        assert!(status["clients"].as_u64() <= Some(2048), "{status}");
        let displaced = status["served"]["displaced"].as_u64();
        assert!(displaced >= Some(3000 - 2048), "{status}");
        let more = memory(&daemon).saturating_sub(before);
        assert!(more < 10_000, "{more} KiB more");
        drop(holder.take_stdin());
    });
}

#[test]
fn whose_a_socket_is_who_told_it_is_told() {
    rootless::test(|| {
        let site = Site::new(PREFIXES);
        let _daemon = site.start();
        let (teller, asker) = (site.connect(), site.connect());
        asker.send(1, &Message::Whose(4711));
        assert!(matches!(asker.next(), (1, Told::Error(Code::UNKNOWN, _))));
        let peer = Peer {
            cookie: 4711,
            a: A.parse().unwrap(),
            u: u(1).parse().unwrap(),
            port: 443,
            protocol: 6,
        };
        teller.send(2, &Message::Socket(peer));
        assert_eq!(teller.next(), (2, Told::Done(1)));
        asker.send(3, &Message::Whose(4711));
        assert_eq!(asker.next(), (3, Told::Peer(peer)));
    });
}

/// Another network namespace sees the file system of this one, and its sockets.
#[test]
fn another_network_namespace_is_told_nothing() {
    rootless::test(|| {
        let site = Site::new(PREFIXES);
        let _daemon = site.start();
        let own = site.connect();
        assert_eq!(own.u(A), u(1));
        let a = A.parse().unwrap();
        let asked = aarp_wire::mapper::Asked {
            a,
            budget: 1000,
            flags: 0,
        };
        let messages = [
            Message::Resolve(asked),
            Message::Status,
            Message::Metrics,
            Message::List(a),
            Message::Flush("::".parse().unwrap(), 0),
            Message::Events,
            Message::Whose(1),
        ];
        for message in &messages {
            // This thread is in none of the lab's hosts.
            let foreign = Client::connect(&site.socket()).unwrap();
            foreign.send(3, message);
            match foreign.next() {
                (3, Told::Error(Code::NOT_PERMITTED, why)) => {
                    assert!(why.contains("another network namespace"), "{why}");
                }
                other => panic!("{message:?}: {other:?}"),
            }
            assert_eq!(foreign.next().1, Told::End);
        }
        // Root of elsewhere has none of root's places.
        let idle = Client::connect(&site.socket()).unwrap();
        wait_until("it was let in", PATIENCE, || {
            let users = own.status()["users"].clone();
            Ok(users[0]["uid"] == 0 && users[0]["connections"] == 1)
        })
        .unwrap();
        drop(idle);
        // A program that has the folder at another place, as in a container.
        let mut room = [0; 64];
        let octets = Message::Resolve(asked).emit(1, &mut room).unwrap();
        let question: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        let ask = "import socket, sys\n\
                   s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n\
                   s.connect(sys.argv[1])\ns.send(bytes.fromhex(sys.argv[2]))\n\
                   a = s.recv(4096)\nprint(a[5], a[12])";
        let place = site.lab.work().join("elsewhere");
        std::fs::create_dir(&place).unwrap();
        let script =
            "mount --bind \"$1\" \"$2\" && exec python3 -c \"$3\" \"$2/aarpd.sock\" \"$4\"";
        for (host, told) in [("router", "12 2\n"), ("client", "2 32\n")] {
            let shell = site.lab.host(host).unwrap().command("unshare");
            let shell = shell.args(["-m", "sh", "-c", script, "sh"]).arg(&site.run);
            let output = shell.arg(&place).args([ask, &question]).run().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), told, "{host}");
        }
        assert_eq!(site.found(A), Some(u(1)));
        let status = own.status();
        assert_eq!(status["served"]["foreign"], messages.len() + 1);
        assert_eq!(status["requests"]["hits"], 1);
    });
}

/// Messages that are nearly right: a field, a length or an octet is not.
#[test]
fn thousands_of_odd_messages_hurt_nobody() {
    rootless::test(|| {
        let site = Site::new(PREFIXES);
        let daemon = site.start();
        let other = site.connect();
        let a = A.parse().unwrap();
        let asked = aarp_wire::mapper::Asked {
            a,
            budget: 1,
            flags: 0,
        };
        let failure = aarp_wire::mapper::Failure {
            a,
            u: u(1).parse().unwrap(),
            port: 1,
            protocol: 6,
            errno: u32::MAX,
        };
        let peer = Peer {
            cookie: 1,
            a,
            u: a,
            port: 1,
            protocol: 6,
        };
        let messages = [
            Message::Resolve(asked),
            Message::Failed(failure),
            Message::Used(a),
            Message::Status,
            Message::List(a),
            Message::List("::".parse().unwrap()),
            Message::Flush(a, 128),
            Message::Events,
            Message::Metrics,
            Message::Socket(peer),
            Message::Whose(1),
            Message::Peer(peer),
            Message::Done(u32::MAX),
        ];
        // xorshift64, the same at every run.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let mut buffer = [0; 64];
        let last = Message::Whose(1).emit(77, &mut buffer).unwrap().to_vec();
        let mut client = site.connect();
        for _ in 0..1000 {
            let mut buffer = [0; 64];
            let message = &messages[random(messages.len())];
            let mut octets = message
                .emit(random(9) as u32, &mut buffer)
                .unwrap()
                .to_vec();
            for _ in 0..random(3) {
                let at = random(octets.len());
                octets[at] = [0, 1, 0xff, random(256) as u8][random(4)];
            }
            if random(8) == 0 {
                octets.truncate(1 + random(octets.len()));
            }
            // It reads now and then, and comes again when it is let go, or not heard.
            let mut heard = client.try_send(&octets);
            if heard && random(20) == 0 {
                client.send_octets(&last).unwrap_or_default();
                heard = loop {
                    match client.within(PATIENCE) {
                        Some((77, _)) => break true,
                        Some((_, Told::End)) | None => break false,
                        Some(_) => {}
                    }
                };
            }
            if !heard {
                client = site.connect();
            }
        }
        assert_eq!(other.u(A), u(1));
        drop(client);
        wait_until("they are gone", PATIENCE, || {
            Ok(other.status()["clients"] == 1)
        })
        .unwrap();
        let status = other.status();
        assert!(
            status["served"]["malformed"].as_u64() > Some(50),
            "{status}"
        );
        assert!(daemon.try_wait().unwrap().is_none());
    });
}

#[test]
fn an_asker_that_leaves_changes_nothing_for_the_others() {
    rootless::test(|| {
        // Nobody answers, so that there is time to leave.
        let site = Site::new(PREFIXES);
        let _daemon = site.start();
        site.lab.ip("s1", "link set eth0 down").unwrap();
        let (stays, leaves) = (site.connect(), site.connect());
        leaves.ask(1, A.parse().unwrap(), 0);
        stays.ask(2, A.parse().unwrap(), 0);
        drop(leaves);
        assert!(matches!(stays.next(), (2, Told::Mapping(_))));
        let status = stays.status();
        assert_eq!(
            (&status["clients"], &status["waiters"]),
            (&1.into(), &0.into())
        );
    });
}
