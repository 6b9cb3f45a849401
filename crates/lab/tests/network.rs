//! Networks do what their description says, and leave nothing behind.
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use aarp_lab::{Direction, Error, Filter, HostSpec, Lab, LinkSpec, Network, rootless};

const CLIENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
const SERVER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2);
const LIMIT: Duration = Duration::from_secs(20);

fn routed() -> Network {
    Network::new()
        .host("client", HostSpec::new().route("default via 2001:db8:1::1"))
        .host("router", HostSpec::router())
        .host("server", HostSpec::new().route("default via 2001:db8:2::1"))
        .link("client:eth0 2001:db8:1::2/64", "router:c 2001:db8:1::1/64")
        .link("server:eth0 2001:db8:2::2/64", "router:s 2001:db8:2::1/64")
        .name("www.any.test", SERVER.to_string())
}

/// Whether a process has its namespaces still.
fn alive(pid: u32) -> bool {
    // A zombie has no namespaces any more.
    std::fs::read_link(format!("/proc/{pid}/ns/net")).is_ok()
}

#[test]
fn pings_are_routed_and_counted() {
    rootless::test(|| {
        let start = Instant::now();
        let lab = Lab::new(&routed()).unwrap();
        println!("made in {:?}", start.elapsed());
        let at_client = lab.capture("client", "eth0").unwrap();
        let at_server = lab.capture("server", "eth0").unwrap();
        let client = lab.host("client").unwrap();
        let ping = client
            .command("ping")
            .args(["-nc3", "-i0.01", "-W5", "www.any.test"]);
        let output = ping.run().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains("3 received"));
        for (capture, out) in [(at_client, Direction::Out), (at_server, Direction::In)] {
            let packets = capture.finish().unwrap();
            let requests = Filter::icmp6(128).src(CLIENT).dst(SERVER);
            assert_eq!(requests.count(&packets), 3);
            assert_eq!(requests.direction(out).count(&packets), 3);
            assert_eq!(Filter::icmp6(129).src(SERVER).count(&packets), 3);
            assert_eq!(Filter::tcp().count(&packets), 0);
            let reply = packets
                .iter()
                .find(|p| Filter::icmp6(129).matches(p))
                .unwrap();
            assert_eq!(reply.payload_len, 56);
        }
    });
}

#[test]
fn sockets_opened_in_a_host_belong_to_it() {
    rootless::test(|| {
        let lab = Lab::new(&routed()).unwrap();
        let capture = lab.capture("client", "eth0").unwrap();
        let (client, server) = (lab.host("client").unwrap(), lab.host("server").unwrap());
        let listener = server.enter(|| TcpListener::bind("[::]:80")).unwrap();
        server.wait_tcp(80, LIMIT).unwrap();
        let address = SocketAddr::from((SERVER, 80));
        let stream = client
            .enter(move || TcpStream::connect_timeout(&address, LIMIT))
            .unwrap();
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip(), CLIENT);
        drop(stream);
        let fin = Filter::tcp().flags("F").src(CLIENT);
        capture.wait_for(&fin, 1, LIMIT).unwrap();
        let packets = capture.finish().unwrap();
        assert_eq!(Filter::tcp().flags("Sa").count(&packets), 1);
        assert_eq!(Filter::tcp().flags("SA").count(&packets), 1);
        assert_eq!(Filter::tcp().flags("R").count(&packets), 0);
        // Nobody listens there: the control of the two lines above.
        let other = SocketAddr::from((SERVER, 81));
        let refused = client.enter(move || TcpStream::connect_timeout(&other, LIMIT));
        assert_eq!(
            refused.unwrap_err().kind(),
            std::io::ErrorKind::ConnectionRefused
        );
    });
}

#[test]
fn dropping_a_lab_ends_daemons_too() {
    rootless::test(|| {
        let lab = Lab::new(&routed()).unwrap();
        let client = lab.host("client").unwrap();
        // A daemon, detached from its starter, which has ended.
        let shell = client.command("sh").args([
            "-c",
            "setsid sh -c 'trap \"\" TERM HUP; echo up; while :; do sleep 1; done' & wait",
        ]);
        let shell = shell.spawn().unwrap();
        shell.wait_stdout("up", LIMIT).unwrap();
        shell.kill();
        let init = client.init_pid();
        let children = format!("/proc/{init}/task/{init}/children");
        let daemon: u32 = {
            let text = std::fs::read_to_string(children).unwrap();
            text.split_whitespace()
                .next()
                .expect("an orphan")
                .parse()
                .unwrap()
        };
        assert!(alive(daemon) && alive(init));
        let work = lab.work().to_owned();
        drop(shell);
        drop(lab);
        assert!(!alive(daemon) && !alive(init));
        assert!(!work.exists());
    });
}

#[test]
fn power_off_ends_a_host_alone() {
    rootless::test(|| {
        let lab = Lab::new(&routed()).unwrap();
        let sleeper = |host: &str| lab.host(host).unwrap().command("sleep").arg("600").spawn();
        let (one, other) = (sleeper("client").unwrap(), sleeper("server").unwrap());
        lab.host("server").unwrap().power_off().unwrap();
        assert!(!other.wait(LIMIT).unwrap().success());
        assert!(one.try_wait().unwrap().is_none());
    });
}

#[test]
fn waits_are_bounded_and_failures_have_names() {
    rootless::test(|| {
        let lab = Lab::new(&routed()).unwrap();
        let client = lab.host("client").unwrap();
        let sleep = client
            .command("sleep")
            .arg("600")
            .limit(Duration::from_millis(50));
        assert!(matches!(sleep.output(), Err(Error::Timeout { .. })));
        let error = client.command("false").run().unwrap_err().to_string();
        assert!(error.contains("client: `false`"), "{error}");
        let error = client.ip("route add nonsense").unwrap_err().to_string();
        assert!(error.contains("nonsense"), "{error}");
        let error = client.command("no-such-program").run().unwrap_err();
        assert!(matches!(error, Error::Missing { .. }), "{error}");
        assert!(matches!(lab.host("nobody"), Err(Error::Unknown { .. })));
        assert!(client.wait_tcp(80, Duration::ZERO).is_err());
    });
}

#[test]
fn a_wrong_network_is_refused_by_name() {
    let host = HostSpec::new;
    let two = || Network::new().host("a", host()).host("b", host());
    for (network, expected) in [
        (two().link("a:eth0", "c:eth0"), "\"c\""),
        (two().link("a:eth0", "b"), "\"b\""),
        (
            two().link("a:eth0", "b:eth0").link("a:eth0", "b:eth1"),
            "a:eth0 twice",
        ),
        (two().link("a:sixteen-letters-", "b:eth0"), "sixteen"),
        (
            Network::new().host("a", host().address("eth0", "2001:db8::1/64")),
            "no link ends at a:eth0",
        ),
    ] {
        let error = Lab::new(&network).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_link_that_went_down_and_up_carries_and_is_captured() {
    rootless::test(|| {
        let network = Network::new()
            .host("a", HostSpec::new())
            .host("b", HostSpec::new())
            .add_link(
                LinkSpec::new("a:eth0 2001:db8::1/64", "b:eth0 2001:db8::2/64")
                    .delay(Duration::from_millis(2)),
            );
        let lab = Lab::new(&network).unwrap();
        let capture = lab.capture("b", "eth0").unwrap();
        let ping = |lab: &Lab| {
            let a = lab.host("a").unwrap();
            let ping = a.command("ping").args(["-nc1", "-W5", "2001:db8::2"]);
            ping.output().unwrap().status.success()
        };
        assert!(ping(&lab));
        // Keeps its address: the default is to lose it.
        lab.host("b")
            .unwrap()
            .sysctl("net.ipv6.conf.eth0.keep_addr_on_down", "1")
            .unwrap();
        lab.ip("b", "link set eth0 down").unwrap();
        lab.ip("b", "link set eth0 up").unwrap();
        let mut carried = false;
        for _ in 0..10 {
            carried = carried || ping(&lab);
        }
        assert!(carried);
        let packets = capture.finish().unwrap();
        assert!(Filter::icmp6(128).count(&packets) >= 2);
    });
}

#[test]
fn a_ring_without_room_says_how_many_frames_it_lost() {
    use aarp_sys::packet::{Ring, RingSize};
    const SLOTS: usize = 256;
    rootless::test(|| {
        let network = Network::new().host("a", HostSpec::new());
        let lab = Lab::new(&network).unwrap();
        let host = lab.host("a").unwrap();
        let size = RingSize {
            slot: 256,
            slots: SLOTS,
        };
        let mut ring = host.enter(move || Ring::open("lo", size, true)).unwrap();
        let socket = host.enter(|| std::net::UdpSocket::bind("[::1]:9")).unwrap();
        let to = SocketAddr::from((Ipv6Addr::LOCALHOST, 9));
        for _ in 0..SLOTS + 10 {
            socket.send_to(b"x", to).unwrap();
        }
        let kept = ring.drain(|frame| assert_eq!(frame.length, 14 + 40 + 8 + 1));
        let lost = ring.dropped().unwrap() as usize;
        assert!(lost > 0);
        assert_eq!(kept + lost, SLOTS + 10);
        // With room again it goes on, and counts anew.
        socket.send_to(b"x", to).unwrap();
        assert_eq!(ring.drain(|_| {}), 1);
        assert_eq!(ring.dropped().unwrap(), 0);
    });
}

#[test]
fn ordinary_users_may_ping_in_a_host() {
    rootless::test(|| {
        let lab = Lab::new(&routed()).unwrap();
        let range = lab.host("client").unwrap().command("cat");
        let range = range
            .arg("/proc/sys/net/ipv4/ping_group_range")
            .run()
            .unwrap();
        let range = String::from_utf8(range.stdout).unwrap();
        assert!(range.starts_with('0'), "{range}");
    });
}

#[test]
fn hosts_and_links_are_as_described() {
    rootless::test(|| {
        let rules = "table inet filter { chain input { type filter hook input priority 0; tcp dport 81 reject with icmpv6 admin-prohibited; }; }";
        let server = HostSpec::new()
            .address("lo", "2001:db8:a::53/128 preferred_lft 0")
            .sysctl("net.ipv6.conf.eth0.hop_limit", "9")
            .firewall(rules);
        let network = Network::new()
            .host(
                "client",
                HostSpec::new().route("2001:db8:a::53 via 2001:db8:2::2"),
            )
            .host("server", server)
            .add_link(
                LinkSpec::new(
                    "client:eth0 2001:db8:2::1/64",
                    "server:eth0 2001:db8:2::2/64",
                )
                .mtu(1300)
                .offloads(false),
            );
        let lab = Lab::new(&network).unwrap();
        let (client, server) = (lab.host("client").unwrap(), lab.host("server").unwrap());
        for host in [client, server] {
            assert!(host.ip("link show eth0").unwrap().contains("mtu 1300"));
        }
        let listener = server.enter(|| TcpListener::bind("[::]:81")).unwrap();
        let connect = |to: &str| {
            let to: SocketAddr = to.parse().unwrap();
            client.enter(move || TcpStream::connect_timeout(&to, LIMIT))
        };
        let filtered = connect("[2001:db8:a::53]:81").unwrap_err();
        assert_eq!(filtered.kind(), std::io::ErrorKind::PermissionDenied);
        server.nft("flush ruleset").unwrap();
        let stream = connect("[2001:db8:a::53]:81").unwrap();
        assert_eq!(
            stream.peer_addr().unwrap().ip(),
            "2001:db8:a::53".parse::<Ipv6Addr>().unwrap()
        );
        drop(listener);
        let ping = client
            .command("ping")
            .args(["-nc1", "-W5", "2001:db8:2::2"])
            .run()
            .unwrap();
        let said = String::from_utf8(ping.stdout).unwrap();
        assert!(said.contains("ttl=9"), "{said}");
        let said = server.ip("-6 address show dev lo").unwrap();
        assert!(
            said.contains("2001:db8:a::53/128") && said.contains("deprecated"),
            "{said}"
        );
    });
}

#[test]
fn each_host_has_a_run_folder_and_processes_of_its_own() {
    rootless::test(|| {
        let lab = Lab::new(&routed()).unwrap();
        let (client, server) = (lab.host("client").unwrap(), lab.host("server").unwrap());
        client.command("touch").arg("/run/only-here").run().unwrap();
        assert!(!std::path::Path::new("/run/only-here").exists());
        let there = server.command("ls").arg("/run/only-here").output().unwrap();
        assert!(!there.status.success());
        let sleep = server.command("sleep").arg("600").spawn().unwrap();
        let list = |host: &aarp_lab::Host| {
            let output = host.command("ps").args(["-eo", "args"]).run().unwrap();
            String::from_utf8(output.stdout)
                .unwrap()
                .contains("sleep 600")
        };
        assert!(list(server));
        assert!(!list(client));
        sleep.kill();
    });
}
