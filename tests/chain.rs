//! Two preload libraries in one process: ours, and one written with redhook. In
//! either order both see the calls, and the program is moved to U all the same.
use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aarp_lab::{HostSpec, Lab, Network, rootless};

/// The anycast address, on the loopback interface of the server.
const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
/// The unicast address of the server.
const U: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2);

fn network() -> Network {
    let answers = format!(
        "table inet answers {{\n\
         chain output {{\n\
         type filter hook output priority mangle; policy accept;\n\
         ip6 saddr {A} icmpv6 type echo-reply @th,64,32 0x41415250 ip6 saddr set {U}\n\
         }}\n}}\n"
    );
    let server = HostSpec::new()
        .address("lo", format!("{A}/128"))
        .route("default via 2001:db8:2::1")
        .firewall(answers);
    Network::new()
        .host("client", HostSpec::new().route("default via 2001:db8:1::1"))
        .host(
            "router",
            HostSpec::router().route(format!("{A}/128 via {U}")),
        )
        .host("server", server)
        .link("client:eth0 2001:db8:1::2/64", "router:c 2001:db8:1::1/64")
        .link(format!("server:eth0 {U}/64"), "router:s 2001:db8:2::1/64")
}

/// The library as it was installed.
fn ours() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let stage = std::env::var_os("AARP_STAGE").map_or(root.join("target/stage"), PathBuf::from);
    let library = stage.join("lib/aarp/libaarp.so");
    assert!(
        library.is_file(),
        "{}: not there; make it with: PREFIX={} ./install.sh",
        library.display(),
        stage.display()
    );
    library
}

/// The peer, built in a folder of its own: the one that this test was built in may
/// be in use.
fn peer() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("redhook-peer");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--locked", "--profile", "preload"])
        .args(["-p", "redhook-peer", "--target-dir"])
        .arg(&folder)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo is there: it has started this test");
    assert!(built.success(), "building redhook-peer: {built}");
    folder.join("preload/libredhook_peer.so")
}

/// What one run of curl came to.
struct Run {
    /// The peer that getpeername shows.
    shown: String,
    /// The address of the server that the connection came in at.
    reached: IpAddr,
    /// What the two libraries counted.
    counted: String,
}

impl Run {
    /// The value behind `name=` in the line of one library.
    fn value(&self, library: &str, name: &str) -> String {
        let line = self.counted.lines().find(|line| line.starts_with(library));
        let line = line.unwrap_or_else(|| panic!("no line of {library}: {}", self.counted));
        let mut words = line.split(' ').filter_map(|word| word.split_once('='));
        let found = words.find(|(key, _)| *key == name);
        let (_, value) = found.unwrap_or_else(|| panic!("no {name} in: {line}"));
        value.to_owned()
    }

    fn count(&self, library: &str, name: &str) -> u64 {
        let value = self.value(library, name);
        value.parse().expect("a number")
    }
}

fn run(lab: &Lab, preload: &[&Path]) -> Run {
    let server = lab.host("server").expect("it is in the network");
    // A port of its own: a program that another thread is just starting has this socket,
    // too, until it begins.
    let listener = server
        .enter(|| TcpListener::bind("[::]:0"))
        .expect("a listening socket");
    let port = listener.local_addr().expect("it is bound").port();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        let mut request = [0; 1024];
        let _ = stream.read(&mut request)?;
        stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        stream.local_addr()
    });
    let preload: Vec<_> = preload
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let client = lab.host("client").expect("it is in the network");
    let output = client
        .command("curl")
        .args(["--silent", "--show-error", "--max-time", "20"])
        .args(["--noproxy", "*", "--write-out", "%{remote_ip}"])
        .arg(format!("http://[{A}]:{port}/"))
        .env("LD_PRELOAD", preload.join(":"))
        .env("AARP_PREFIXES", format!("{A}/128"))
        .env("AARP_BUDGET_NONBLOCKING", "5s")
        .env("AARP_STATS", "1")
        .env("REDHOOK_PEER_STATS", "1")
        .limit(Duration::from_secs(30))
        .run()
        .expect("curl gets its answer");
    let reached = answering
        .join()
        .expect("it does not panic")
        .expect("curl was served");
    Run {
        shown: String::from_utf8_lossy(&output.stdout).into_owned(),
        reached: reached.ip(),
        counted: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn both_libraries_see_the_calls_in_either_order() {
    rootless::test(|| {
        let (ours, peer) = (ours(), peer());
        let lab = Lab::new(&network()).expect("a network");
        // The one in front sees what the program asks for; the one behind what it
        // becomes.
        let orders = [([&*ours, &*peer], U), ([&*peer, &*ours], A)];
        for (preload, seen_by_peer) in orders {
            let run = run(&lab, &preload);
            let all = &run.counted;
            assert_eq!(run.reached, IpAddr::V6(U), "{preload:?}: {all}");
            assert_eq!(run.shown, A.to_string(), "{preload:?}: {all}");
            assert_eq!(run.count("aarp[", "pinned"), 1, "{preload:?}: {all}");
            assert_eq!(run.count("redhook-peer", "connect"), 1, "{preload:?}");
            assert_eq!(run.value("redhook-peer", "last"), seen_by_peer.to_string());
            assert!(run.count("redhook-peer", "getpeername") >= 1, "{preload:?}");
            assert!(run.count("redhook-peer", "close") >= 1, "{preload:?}");
        }
    });
}

#[test]
fn without_ours_the_program_is_not_moved() {
    rootless::test(|| {
        let peer = peer();
        let lab = Lab::new(&network()).expect("a network");
        let run = run(&lab, &[&peer]);
        assert_eq!(run.reached, IpAddr::V6(A));
        assert_eq!(run.value("redhook-peer", "last"), A.to_string());
        assert!(!run.counted.contains("aarp["), "{}", run.counted);
    });
}
