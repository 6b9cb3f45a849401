//! Programs that cannot be pinned, and what helps them.
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use aarp_lab::{Command, Proto};

use crate::base::{A, LIMIT, NAME, Node, Site, now};
use crate::flow::Flows;
use crate::record::Record;
use crate::service::{DNS, ECHO, Mode, PINNED, on_client, script, serve_echo, serve_names};

/// The exit status of aarp-run for a program that cannot be run under a preload.
const CANNOT: i32 = 126;

/// A static program has no dynamic linker to load us: aarp-run says so, and the
/// program by itself goes to A.
pub(crate) fn static_program() {
    let mut site = Site::new(Duration::ZERO, &[A]);
    serve_echo(&mut site);
    let started = now();
    let exchange =
        format!("exec 3<>/dev/udp/{A}/{ECHO} && printf hello >&3 && exec dd bs=4096 count=1 <&3");
    let words = ["-c", &exchange];
    let native = on_client(&site, "bash-static", Mode::Native).args(words);
    let native = native.run().unwrap();
    let said = String::from_utf8_lossy(&native.stdout);
    assert_eq!(said, format!("s1 {A} hello"));
    let flows = Flows::begun(&site, ECHO, started, now());
    flows.assert_unpinned(&site, "bash-static", &[Proto::Udp], Node::S1);

    let reason = assert_refused(&site, on_client(&site, "bash-static", PINNED).args(words));
    assert!(reason.contains("static"), "{reason}");
    Record {
        program: "bash-static, /dev/udp",
        executable: "bash-static",
        calls: "connected, blocks; `write`, `read`",
        tried: "started under `aarp-run`",
        result: "refused",
        reason: "a static program loads no libraries; `aarp-run` says so, exit status 126",
    }
    .write();
}

/// Asserts that aarp-run does not start a program; returns what it said.
fn assert_refused(site: &Site, command: Command<'_>) -> String {
    let started = now();
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(CANNOT), "{said}");
    let mut packets = site.seen_at("c");
    packets.retain(|packet| packet.time > started && packet.ports().is_some());
    assert!(packets.is_empty(), "{packets:?}");
    said
}

/// A folder to be mounted as /etc, with A as the only name server.
fn resolver_settings(site: &Site) -> PathBuf {
    let folder = site.folder("etc");
    std::fs::write(folder.join("resolv.conf"), format!("nameserver {A}\n")).unwrap();
    std::fs::write(folder.join("nsswitch.conf"), "hosts: dns\n").unwrap();
    folder
}

/// The resolver inside the C library calls its own functions, which no preload sees.
pub(crate) fn resolver_of_the_c_library() {
    let mut site = Site::new(Duration::ZERO, &[A]);
    serve_names(&mut site);
    let etc = resolver_settings(&site);
    for mode in [Mode::Native, PINNED] {
        let started = now();
        let asking = "mount --bind \"$0\" /etc && exec \"$@\"";
        let command = site.native("unshare").args(["--mount", "sh", "-c", asking]);
        let command = match mode {
            Mode::Native => command.arg(&etc),
            Mode::Pinned(_) => command
                .env("AARP_CONFIG", site.lab.work().join("empty.toml"))
                .env("AARP_PREFIXES", format!("{A}/128"))
                .arg(&etc)
                .arg(site.stage.join("bin/aarp-run")),
        };
        let command = command.args(["getent", "ahostsv6", "s1.any.test"]);
        let output = command.run().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(&Node::S1.unicast().to_string()), "{said}");
        let flows = Flows::begun(&site, DNS, started, now());
        let what = format!("getent ({mode:?})");
        flows.assert_unpinned(&site, &what, &[Proto::Udp], Node::S1);
    }
    Record {
        program: "getent, as any program that looks up a name",
        executable: "getent",
        calls: "the resolver inside the C library, connected",
        tried: "a lookup with A as the name server",
        result: "unpinned",
        reason: "glibc calls its own functions inside, which no preload sees",
    }
    .write();
}

/// Builds the program with Go; without cgo it is static.
fn build(site: &Site, cgo: bool) -> PathBuf {
    let program = site
        .lab
        .work()
        .join(if cgo { "with-cgo" } else { "without-cgo" });
    let cache = site.lab.work().join("go");
    let mut command = std::process::Command::new("go");
    command
        .args(["build", "-o"])
        .arg(&program)
        .arg(script("dialogue.go"))
        .stdin(Stdio::null())
        .env("CGO_ENABLED", if cgo { "1" } else { "0" })
        .env("GO111MODULE", "off")
        .env("GOTOOLCHAIN", "local")
        .env("GOPROXY", "off")
        .env("GOPATH", cache.join("path"))
        .env("GOCACHE", cache);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    program
}

/// One exchange of the program written in Go; returns who answered, and to which
/// address the question came.
fn go_exchange(site: &Site, program: &Path, proto: &str, settings: &[(&str, &str)]) -> String {
    let program = program.to_string_lossy();
    let mode = if settings.is_empty() {
        Mode::Native
    } else {
        PINNED
    };
    let command = on_client(site, &program, mode).args([proto, NAME, &ECHO.to_string()]);
    let command = command.envs(settings.iter().copied());
    // The C library's names, not those of Go's own resolver.
    let mut client = command
        .env("GODEBUG", "netdns=cgo")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to_client = client.take_stdin().unwrap();
    std::io::Write::write_all(&mut to_client, b"hello\n").unwrap();
    client.wait_stdout("hello", LIMIT).unwrap();
    drop(to_client);
    assert!(client.wait(LIMIT).unwrap().success());
    client.stdout().unwrap().trim_end().to_owned()
}

/// A program written in Go makes its own system calls: with cgo it takes names from
/// the C library, and `getaddrinfo = "rewrite"` helps it.
pub(crate) fn go_program() {
    let mut site = Site::new(Duration::ZERO, &[A]);
    serve_echo(&mut site);
    let alone = build(&site, false);
    let words = ["udp", NAME, &ECHO.to_string()];
    let command = on_client(&site, &alone.to_string_lossy(), PINNED).args(words);
    let reason = assert_refused(&site, command);
    assert!(reason.contains("static"), "{reason}");
    let record = |program, tried, result, reason| {
        let calls = "its own system calls";
        let executable = "go";
        Record {
            program,
            executable,
            calls,
            tried,
            result,
            reason,
        }
        .write();
    };
    record(
        "a Go program without cgo",
        "started under `aarp-run`",
        "refused",
        "a static program loads no libraries; `aarp-run` says so, exit status 126",
    );

    let with_cgo = build(&site, true);
    let u1 = Node::S1.unicast();
    let answer = |shown: Ipv6Addr, seen: Ipv6Addr| format!("{shown} s1 {seen} hello");
    for (name, proto) in [("udp", Proto::Udp), ("tcp", Proto::Tcp)] {
        for mode in [&[][..], &[("AARP_GETADDRINFO", "prefetch")]] {
            let started = now();
            let said = go_exchange(&site, &with_cgo, name, mode);
            assert_eq!(said, answer(A, A), "{mode:?}");
            let flows = Flows::begun(&site, ECHO, started, now());
            flows.assert_unpinned(&site, "go", &[proto], Node::S1);
        }
        // The program is given U, and so it shows U.
        let started = now();
        let said = go_exchange(&site, &with_cgo, name, &[("AARP_GETADDRINFO", "rewrite")]);
        assert_eq!(said, answer(u1, u1));
        let flows = Flows::begun(&site, ECHO, started, now());
        flows.assert_pinned(&site, "go", &[proto], Node::S1);
    }
    record(
        "a Go program with cgo",
        "a dialogue by name, UDP and TCP",
        "unpinned",
        "it makes its own system calls, which no preload sees",
    );
    record(
        "a Go program with cgo, `getaddrinfo = \"rewrite\"`",
        "a dialogue by name, UDP and TCP",
        "rewritten",
        "the program is given U before A, and shows U",
    );
}
