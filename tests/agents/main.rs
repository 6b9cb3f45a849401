//! docs/mobile-ipv6.md as it stands: its files are written, its programs run in the
//! thesis's network, and what they print as JSON is held to the schemas.

#[path = "../common/mod.rs"]
#[allow(dead_code)]
mod common;
#[path = "../../aarp-probe/tests/networks/schema.rs"]
#[allow(unreachable_pub)]
mod schema;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aarp_lab::{Host, HostSpec, Lab, Network, Process, rootless, wait_until};
use serde_json::Value;

const A: &str = "2001:db8:0:1::a";
/// How long anything that must happen may take, on a machine however slow.
const LIMIT: Duration = Duration::from_secs(60);
/// A service that says which host it is on.
const SERVICE: &str = "
import http.server, socket, sys
class Server(http.server.HTTPServer):
    address_family = socket.AF_INET6
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(sys.argv[1].encode())
Server(('::', 80), Handler).serve_forever()
";

/// The block of the document that begins with this comment.
fn block(comment: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/mobile-ipv6.md")).expect("the document");
    let begin = format!("```toml\n# {comment}\n");
    let (_, rest) = text.split_once(&begin).expect(comment);
    let (block, _) = rest.split_once("```").expect("an end");
    block.to_owned()
}

/// Figure 11 of the thesis, without its second initiator.
fn network() -> Network {
    let end = |n: u8| HostSpec::new().route(format!("default via 2001:db8:0:{n}::1"));
    let agent = HostSpec::router().route("default via 2001:db8:0:1::1");
    Network::new()
        .host("RT", HostSpec::router())
        .host("HAA", agent)
        .host("AI1", end(2))
        .host("AR1", end(4))
        .host("AR2", end(5))
        .link("HAA:eth0 2001:db8:0:1::2/64", "RT:haa 2001:db8:0:1::1/64")
        .link("AI1:eth0 2001:db8:0:2::2/64", "RT:ai1 2001:db8:0:2::1/64")
        .link("AR1:eth0 2001:db8:0:4::2/64", "RT:ar1 2001:db8:0:4::1/64")
        .link("AR2:eth0 2001:db8:0:5::2/64", "RT:ar2 2001:db8:0:5::1/64")
}

/// One of the two programs with files of its own.
struct Program<'l> {
    host: &'l Host,
    path: PathBuf,
    folder: PathBuf,
}

impl<'l> Program<'l> {
    fn new(lab: &'l Lab, host: &str, name: &str, settings: &str, keys: &str) -> Self {
        let folder = lab.work().join(format!("{host}-files"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("aarp.toml"), settings).unwrap();
        let path = folder.join("keys.toml");
        fs::write(&path, keys).unwrap();
        fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
        Self {
            host: lab.host(host).unwrap(),
            path: common::stage().join("bin").join(name),
            folder,
        }
    }

    fn run(&self) -> Process {
        let command = self.host.command(&self.path).arg("run");
        let command = command.env("AARP_RUN_DIR", &self.folder);
        let command = command.env("AARP_STATE_DIR", &self.folder);
        let command = command.arg("--config").arg(self.folder.join("aarp.toml"));
        let keys = self.folder.join("keys.toml");
        command.arg("--keys").arg(keys).spawn().unwrap()
    }

    /// The records, each as its schema says.
    fn status(&self) -> Vec<Value> {
        let command = self.host.command(&self.path).args(["status", "--json"]);
        let output = command.env("AARP_RUN_DIR", &self.folder).run().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let records: Vec<Value> = lines.collect();
        schema::validate(&records);
        records
    }

    fn state(&self) -> Value {
        let records = self.status();
        assert_eq!(records[0]["type"], "tunnel");
        records[1]["state"].clone()
    }
}

#[test]
fn the_document_as_it_stands() {
    rootless::test(|| {
        let lab = Lab::new(&network()).unwrap();
        let settings = format!("{}lifetime = \"4s\"\n", block("responder: aarp.toml"));
        let keys = block("responder: keys.toml");
        let agent_keys = block("agent: keys.toml");
        // The second entry of the agent's file is the second responder's.
        let second = agent_keys.rfind("[[key]]").expect("two keys");
        let agent = block("agent: aarp.toml");
        let agent = Program::new(&lab, "HAA", "aarp-agent", &agent, &agent_keys);
        let first = Program::new(&lab, "AR1", "aarp-binding", &settings, &keys);
        let settings = settings.replace("256", "257");
        let keys = &agent_keys[second..];
        let other = Program::new(&lab, "AR2", "aarp-binding", &settings, keys);

        let mut running = Vec::new();
        for program in [&first, &other] {
            let name = program.host.name();
            let service = program.host.command("/usr/bin/python3");
            let service = service.args(["-c", SERVICE, name]);
            running.push(service.spawn().unwrap());
            program.host.wait_tcp(80, LIMIT).unwrap();
        }
        running.push(agent.run());
        running[2].wait_stderr("serves", LIMIT).unwrap();
        let who = || {
            let curl = lab.host("AI1").unwrap().command("curl");
            let curl = curl.args(["-sS", "-m", "20", &format!("http://[{A}]/")]);
            String::from_utf8(curl.run().unwrap().stdout).unwrap()
        };

        running.push(first.run());
        running[3].wait_stderr("registered with", LIMIT).unwrap();
        assert_eq!(who(), "AR1");
        let records = agent.status();
        assert_eq!(records[0]["authenticated"], true);
        assert_eq!(records[1]["responder"], "ar1@example.org");
        assert_eq!(records[1]["care_of"], "2001:db8:0:4::2");

        // Whoever starts takes it over; the one that had it stands by.
        running.push(other.run());
        running[4].wait_stderr("registered with", LIMIT).unwrap();
        wait_until("the first stands by", LIMIT, || {
            Ok(first.state() == "standby")
        })
        .unwrap();
        assert_eq!(other.state(), "registered");
        assert_eq!(who(), "AR2");
        let records = agent.status();
        assert_eq!(records[1]["responder"], "ar2@example.org");
        let refused = &records[0]["updates"]["refused"]["135"];
        assert!(refused.as_u64() >= Some(1), "{records:?}");

        // And has it again when the other is gone.
        running[4].terminate(LIMIT).unwrap();
        wait_until("the first has it", LIMIT, || {
            Ok(first.state() == "registered")
        })
        .unwrap();
        assert_eq!(who(), "AR1");
    });
}
