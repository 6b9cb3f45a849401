//! The services on both responders, and how programs on c are started.
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::process::{ChildStdin, Stdio};

use aarp_lab::{Command, Process};

use crate::base::{A, LIMIT, Node, Site, system};
use crate::common;

pub(crate) const DNS: u16 = 53;
pub(crate) const NTP: u16 = 123;
pub(crate) const ECHO: u16 = 7777;
pub(crate) const IPERF: u16 = 5201;
pub(crate) const DTLS: u16 = 4433;
pub(crate) const QUIC: u16 = 4435;

/// A name whose answer says which responder gave it, one whose answer is longer
/// than a datagram of 512 octets, and one that has an address.
pub(crate) const WHO: &str = "who.any.test";
pub(crate) const LONG: &str = "long.any.test";

/// How a program is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Without us.
    Native,
    /// Under the ARL, with these in `prefixes`.
    Pinned(&'static [Ipv6Addr]),
}

pub(crate) const PINNED: Mode = Mode::Pinned(&[A]);

/// The file of a script of these tests.
pub(crate) fn script(name: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/datagrams/scripts");
    PathBuf::from(folder).join(name)
}

/// A program of the distribution's on c.
pub(crate) fn on_client<'s>(site: &'s Site, program: &str, mode: Mode) -> Command<'s> {
    let program = &system(program);
    let Mode::Pinned(prefixes) = mode else {
        return site.native(program);
    };
    let prefixes: Vec<_> = prefixes.iter().map(|a| format!("{a}/128")).collect();
    site.under_arl(program)
        .env("AARP_PREFIXES", prefixes.join(","))
        // What a slow machine makes of the budgets is tested with the other programs.
        .env("AARP_BUDGET", "10s")
        .env("AARP_BUDGET_NONBLOCKING", "10s")
}

fn python<'s>(site: &'s Site, node: Node, name: &str) -> Command<'s> {
    let command = site.host(node).command(system("python3"));
    command.arg("-u").arg(script(name))
}

fn keep_udp(site: &mut Site, node: Node, port: u16, service: Process) {
    let bound = site.host(node).wait_udp(port, LIMIT);
    bound.unwrap_or_else(|error| panic!("{error}: {}", service.stderr().unwrap()));
    site.keep(service);
}

/// Name servers; each has its name as the text of `WHO`.
pub(crate) fn serve_names(site: &mut Site) {
    for node in Node::ALL {
        let filler = ["x".repeat(200).as_str(); 8].join(",");
        let name = node.name();
        let dnsmasq = site.host(node).command("dnsmasq").args([
            "--no-daemon",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--user=root",
            "--pid-file=",
            &format!("--txt-record={WHO},{name}"),
            &format!("--txt-record={LONG},{name},{filler}"),
            // All else is said not to be there.
            "--local=/any.test/",
            &format!("--host-record={name}.any.test,{}", node.unicast()),
        ]);
        let dnsmasq = dnsmasq.spawn().unwrap();
        keep_udp(site, node, DNS, dnsmasq);
    }
}

/// Time servers, whose stratum is the number of the responder.
pub(crate) fn serve_time(site: &mut Site) {
    for (node, stratum) in [(Node::S1, "1"), (Node::S2, "2")] {
        let server = python(site, node, "ntp_server.py").arg(stratum);
        let server = server.spawn().unwrap();
        keep_udp(site, node, NTP, server);
    }
}

/// Services that answer every datagram and every line.
pub(crate) fn serve_echo(site: &mut Site) {
    for node in Node::ALL {
        let server = python(site, node, "echo_server.py");
        let server = server.args([node.name(), &ECHO.to_string()]);
        let server = server.spawn().unwrap();
        keep_udp(site, node, ECHO, server);
    }
}

/// Servers of iperf3. One that is bound to no address answers datagrams to A from
/// U: so each responder has one for A and one for U.
pub(crate) fn serve_iperf(site: &mut Site) {
    for node in Node::ALL {
        for address in [A, node.unicast()] {
            let server = site.host(node).command(system("iperf3"));
            // Written out line by line.
            let server = server.args(["-s", "--forceflush", "-B", &address.to_string()]);
            let server = server.spawn().unwrap();
            server.wait_stdout("Server listening on", LIMIT).unwrap();
            site.keep(server);
        }
    }
}

/// Makes a key and a certificate for the servers of DTLS and QUIC.
fn make_key(site: &Site) -> [String; 2] {
    let [key, certificate] = ["key.pem", "certificate.pem"]
        .map(|name| site.lab.work().join(name).to_string_lossy().into_owned());
    let arguments = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=any.test",
        "-days",
        "2",
        "-keyout",
        &key,
        "-out",
        &certificate,
    ];
    common::run("openssl", arguments);
    [key, certificate]
}

/// QUIC servers, which have a file of this content.
pub(crate) fn serve_quic(site: &mut Site, content: &[u8]) {
    let [key, certificate] = make_key(site);
    let folder = site.lab.work().join("quic");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("plain"), content).unwrap();
    for node in Node::ALL {
        let server = site.host(node).command("gtlsserver");
        let server = server.args(["-q", "--timeout=5s", "--htdocs"]).arg(&folder);
        let server = server.args(["*", &QUIC.to_string(), &key, &certificate]);
        let server = server.spawn().unwrap();
        keep_udp(site, node, QUIC, server);
    }
}

/// A server of DTLS, and where it is told what to say.
#[derive(Debug)]
pub(crate) struct DtlsServer {
    pub(crate) node: Node,
    pub(crate) address: Ipv6Addr,
    pub(crate) process: Process,
    pub(crate) stdin: Option<ChildStdin>,
}

/// Servers of DTLS. One that is bound to no address answers from U whatever it was
/// sent to: so each responder has one for A and one for U.
pub(crate) fn serve_dtls(site: &Site) -> Vec<DtlsServer> {
    let [key, certificate] = make_key(site);
    let mut servers = Vec::new();
    for node in Node::ALL {
        for address in [A, node.unicast()] {
            let server = site.host(node).command(system("openssl"));
            let accept = format!("[{address}]:{DTLS}");
            let server = server.args(["s_server", "-dtls", "-6", "-accept", &accept]);
            let server = server.args(["-key", &key, "-cert", &certificate]);
            let mut process = server.stdin(Stdio::piped()).spawn().unwrap();
            process.wait_stdout("ACCEPT", LIMIT).unwrap();
            servers.push(DtlsServer {
                node,
                address,
                stdin: process.take_stdin(),
                process,
            });
        }
    }
    servers
}
