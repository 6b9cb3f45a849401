//! Clients that try several addresses at a time ("happy eyeballs", RFC 8305): where U is
//! silent they go on to the next address when they would have, and what they give up
//! refutes that U.

use aarp_lab::{Process, rootless};

use crate::NEEDED;
use crate::site::{A, Counters, Failure, PATIENCE, PORT, Site, U1, Variant, now};
use crate::stage::{has, python};

/// Another address of the same service: of IPv4, and near.
const HOME: &str = "127.0.0.1";

/// Serves there, as the responders do.
const SERVER: &str = "\
import http.server\n\
class Who(http.server.BaseHTTPRequestHandler):\n\
\x20   def do_GET(self):\n\
\x20       self.send_response(200)\n\
\x20       self.end_headers()\n\
\x20       self.wfile.write(b'home\\n')\n\
http.server.HTTPServer(('127.0.0.1', 80), Who).serve_forever()\n";

/// Asks twice, by the happy eyeballs of asyncio.
const ASYNCIO: &str = "\
import asyncio, socket, sys\n\
async def main():\n\
\x20   async def both(host, port, **hints):\n\
\x20       return [(socket.AF_INET6, socket.SOCK_STREAM, 6, '', (sys.argv[1], port, 0, 0)),\n\
\x20               (socket.AF_INET, socket.SOCK_STREAM, 6, '', ('127.0.0.1', port))]\n\
\x20   asyncio.get_running_loop().getaddrinfo = both\n\
\x20   for _ in range(2):\n\
\x20       opened = asyncio.open_connection('www.any.test', 80, happy_eyeballs_delay=0.25)\n\
\x20       reader, writer = await opened\n\
\x20       writer.write(b'GET /who HTTP/1.0\\r\\n\\r\\n')\n\
\x20       said = (await reader.read()).split(b'\\r\\n\\r\\n')[1].decode().strip()\n\
\x20       print(said, writer.get_extra_info('peername')[0])\n\
\x20       writer.close()\n\
asyncio.run(main())\n";

fn serve_at_home(site: &Site) -> Process {
    let client = site.lab.host("client").unwrap();
    let server = client.command(python()).args(["-I", "-c", SERVER]);
    let server = server.spawn().unwrap();
    client.wait_tcp(PORT, PATIENCE).unwrap();
    server
}

/// The program has asked twice: the second time U is not tried any more, and A is there.
fn goes_on(program: &str, words: &[&str]) {
    if !has(&NEEDED) {
        return;
    }
    rootless::test(|| {
        let site = Site::new(Variant::default());
        let _server = serve_at_home(&site);
        site.break_u("s1", Failure::Silence);
        let since = now();
        let output = site.under_library(program).args(words).run().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let counters = Counters::parse(&String::from_utf8_lossy(&output.stderr));
        let log = &counters.log;
        assert_eq!(said, format!("home {HOME}\ns1 {A}\n"), "{log}");
        let seen = site.seen(since);
        assert_eq!(seen.tried("s1", U1).len(), 1, "{log}");
        assert_eq!(seen.served("s1", A).len(), 1, "{log}");
        assert_eq!(counters.get("refuted"), 1, "{log}");
    });
}

#[test]
fn curl_goes_on_to_ipv4_and_then_to_a() {
    let both = format!("www.any.test:80:[{A}],{HOME}");
    // Each by a connection of its own; the body ends with the line.
    let words = [
        "-sS",
        "-H",
        "Connection: close",
        "--resolve",
        &both,
        "-w",
        "%{remote_ip}\n",
        "http://www.any.test/who",
        "http://www.any.test/who",
    ];
    goes_on(
        "sh",
        &["-c", "curl \"$@\" | paste -d' ' - -", "sh"]
            .iter()
            .copied()
            .chain(words)
            .collect::<Vec<_>>(),
    );
}

#[test]
fn asyncio_goes_on_to_ipv4_and_then_to_a() {
    goes_on(python(), &["-I", "-c", ASYNCIO, &A.to_string()]);
}
