use super::*;

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    checks: Checks,
}

/// The checks of a file, or the last line of the error: what there is under the
/// excerpt that the TOML reader shows.
fn read_toml(checks: &str) -> Result<Vec<Check>, String> {
    let parsed: Result<File, toml::de::Error> = toml::from_str(&format!("checks = [{checks}]"));
    parsed
        .map(|file| file.checks.0)
        .map_err(|error| error.message().to_owned())
}

fn one(check: &str) -> Check {
    let mut checks = read_toml(check).unwrap();
    assert_eq!(checks.len(), 1);
    checks.remove(0)
}

fn port(number: u16) -> std::num::NonZeroU16 {
    number.try_into().unwrap()
}

#[test]
fn everything_has_a_default_but_what_is_asked() {
    let check = one(r#"{ kind = "tcp", port = 80 }"#);
    assert_eq!(check, Check::new(Kind::Tcp { port: port(80) }));
    assert_eq!(check.address, None);
    assert_eq!(check.interval, Duration::from_secs(2));
    assert_eq!(check.timeout, Duration::from_secs(1));
    assert_eq!((check.rise.get(), check.fall.get()), (2, 3));
    let Kind::Http(http) = one(r#"{ kind = "http", port = 80 }"#).kind else {
        panic!("no http");
    };
    assert_eq!((http.path.as_str(), http.host), ("/", None));
    assert_eq!(http.statuses[0].to_string(), "200-399");
}

#[test]
fn every_key_is_read() {
    let check = one(
        r#"{ kind = "http", port = 8080, address = "2001:db8::1", interval = "500ms",
        timeout = "250ms", rise = 1, fall = 5, path = "/a?b", host = "www.test",
        status = ["200-299", 401], body = "well" }"#,
    );
    let (first, last) = (200, 299);
    let http = Http {
        port: port(8080),
        path: "/a?b".into(),
        host: Some("www.test".into()),
        statuses: vec![
            StatusRange { first, last },
            StatusRange {
                first: 401,
                last: 401,
            },
        ],
        body: Some("well".into()),
    };
    let expected = Check {
        kind: Kind::Http(http),
        address: Some("2001:db8::1".parse().unwrap()),
        interval: Duration::from_millis(500),
        timeout: Duration::from_millis(250),
        rise: NonZeroU32::new(1).unwrap(),
        fall: NonZeroU32::new(5).unwrap(),
    };
    assert_eq!(check, expected);
    assert!(!check.follows_unicast());

    let check =
        one(r#"{ kind = "udp", port = "7", send = "hex:00Ff", expect_prefix = "a\u0000" }"#);
    let udp = Udp {
        port: port(7),
        send: vec![0, 255],
        expect: UdpAnswer::Prefix(b"a\0".to_vec()),
    };
    assert_eq!(check.kind, Kind::Udp(udp));

    let check = one(
        r#"{ kind = "dns", port = 53, name = "example.test.", type = "SOA",
        rcode = ["NOERROR", 3] }"#,
    );
    let dns = Dns {
        port: port(53),
        name: short::name("example.test").unwrap(),
        record_type: RecordType::SOA,
        rcodes: vec![Rcode::NOERROR, Rcode::NXDOMAIN],
    };
    assert_eq!(check.kind, Kind::Dns(dns));

    let check = one(r#"{ kind = "command", command = ["/usr/lib/x", "--y", "a b"] }"#);
    let command = Command {
        program: "/usr/lib/x".into(),
        arguments: vec!["--y".into(), "a b".into()],
    };
    assert_eq!(check.kind, Kind::Command(command));
}

#[test]
fn short_forms_are_tables_with_defaults() {
    for (short, table) in [
        ("tcp:80", r#"{ kind = "tcp", port = 80 }"#),
        ("http:80", r#"{ kind = "http", port = 80 }"#),
        (
            "http:80/health?deep",
            r#"{ kind = "http", port = 80, path = "/health?deep" }"#,
        ),
        ("udp:7", r#"{ kind = "udp", port = 7, send = "" }"#),
        (
            "dns:53/example.test",
            r#"{ kind = "dns", port = 53, name = "example.test", type = "AAAA", rcode = "NOERROR" }"#,
        ),
        ("dns:53/.", r#"{ kind = "dns", port = 53, name = "." }"#),
        (
            "command:/usr/lib/x --y z",
            r#"{ kind = "command", command = ["/usr/lib/x", "--y", "z"] }"#,
        ),
        (
            "command:/usr/lib/x",
            r#"{ kind = "command", command = "/usr/lib/x" }"#,
        ),
    ] {
        assert_eq!(one(&format!("{short:?}")), one(table), "{short}");
        // And back; "http:80" asks for "/".
        let again: Check = one(table).to_string().parse().unwrap();
        assert_eq!(again, one(table), "{short}");
    }
}

#[test]
fn a_wrong_value_is_one_line_with_its_key_and_what_was_expected() {
    for (check, expected) in [
        ("7", "checks[0]: expected a check such as \"tcp:80\","),
        ("\"tcp\"", "checks[0]: expected a check such as"),
        ("\"smtp:25\"", "checks[0]: expected a check such as"),
        (
            "\"tcp:80\", \"tcp:x\"",
            "checks[1].port: expected a port from 1 to 65535, found \"x\"",
        ),
        ("\"tcp:80/\"", "checks[0].port: expected a port"),
        ("\"tcp:+80\"", "checks[0].port: expected a port"),
        (
            "\"http:/x\"",
            "checks[0].port: expected a port from 1 to 65535",
        ),
        (
            "\"http:80/a b\"",
            "checks[0].path: expected a path such as \"/health\"",
        ),
        ("\"http:80/a\\r\\nX: y\"", "checks[0].path: expected a path"),
        ("\"dns:53\"", "checks[0].name: expected a domain name"),
        ("\"dns:53/a..b\"", "checks[0].name: expected a domain name"),
        (
            "\"command:x\"",
            "checks[0].command: expected the absolute path of a program",
        ),
        (
            "\"command:\"",
            "checks[0].command: expected the absolute path",
        ),
        (
            "{ port = 80 }",
            "checks[0].kind: expected \"tcp\", \"http\"",
        ),
        ("{ kind = 4 }", "checks[0].kind: expected \"tcp\", \"http\""),
        (
            "{ kind = \"smtp\" }",
            "checks[0].kind: expected \"tcp\", \"http\"",
        ),
        (
            "{ kind = \"tcp\" }",
            "checks[0].port: expected a port from 1 to 65535",
        ),
        (
            "{ kind = \"tcp\", port = 0 }",
            "checks[0].port: expected a port from 1 to 65535, found \"0\"",
        ),
        (
            "{ kind = \"tcp\", port = -1 }",
            "checks[0].port: expected a port",
        ),
        (
            "{ kind = \"tcp\", port = 65536 }",
            "checks[0].port: expected a port",
        ),
        (
            "{ kind = \"tcp\", port = true }",
            "checks[0].port: expected a port from 1 to 65535, found \"true\"",
        ),
        (
            "{ kind = \"tcp\", port = 1979-05-27 }",
            "checks[0].port: expected a port",
        ),
        (
            "{ kind = \"tcp\", port = 80, prot = 1 }",
            "checks[0]: expected only the keys of kind \"tcp\", which are kind, address, port, interval, timeout, rise, fall, found \"prot\"",
        ),
        (
            "{ kind = \"tcp\", port = 80, path = \"/\" }",
            "checks[0]: expected only the keys of kind \"tcp\"",
        ),
        (
            "{ kind = \"command\", command = \"/x\", port = 1 }",
            "checks[0]: expected only the keys of kind \"command\"",
        ),
        (
            "{ kind = \"tcp\", port = 80, address = \"::\" }",
            "checks[0].address: expected an IPv6 address",
        ),
        (
            "{ kind = \"tcp\", port = 80, address = \"ff02::1\" }",
            "checks[0].address: expected an IPv6 address",
        ),
        (
            "{ kind = \"tcp\", port = 80, address = \"fe80::1\" }",
            "checks[0].address: expected an IPv6 address",
        ),
        (
            "{ kind = \"tcp\", port = 80, address = \"192.0.2.1\" }",
            "checks[0].address: expected an IPv6 address",
        ),
        (
            "{ kind = \"tcp\", port = 80, address = [] }",
            "checks[0].address: expected an IPv6 address",
        ),
        (
            "{ kind = \"tcp\", port = 80, interval = 2 }",
            "checks[0].interval: expected a duration above zero and up to 30 days, such as \"60s\"",
        ),
        (
            "{ kind = \"tcp\", port = 80, interval = \"2\" }",
            "checks[0].interval: expected a duration above zero",
        ),
        (
            "{ kind = \"tcp\", port = 80, interval = \"1ms\" }",
            "checks[0].interval: expected a duration from 10 ms to 3600 s, found \"1ms\"",
        ),
        (
            "{ kind = \"tcp\", port = 80, timeout = \"61s\" }",
            "checks[0].timeout: expected a duration from 10 ms to 60 s",
        ),
        (
            "{ kind = \"tcp\", port = 80, rise = 0 }",
            "checks[0].rise: expected a number from 1 to 100, found \"0\"",
        ),
        (
            "{ kind = \"tcp\", port = 80, fall = \"3\" }",
            "checks[0].fall: expected a number from 1 to 100",
        ),
        (
            "{ kind = \"tcp\", port = 80, fall = 101 }",
            "checks[0].fall: expected a number",
        ),
        (
            "{ kind = \"http\", port = 80, path = \"x\" }",
            "checks[0].path: expected a path",
        ),
        (
            "{ kind = \"http\", port = 80, host = \"a\\nb\" }",
            "checks[0].host: expected the value of a Host field",
        ),
        (
            "{ kind = \"http\", port = 80, status = 99 }",
            "checks[0].status: expected statuses from 100 to 599",
        ),
        (
            "{ kind = \"http\", port = 80, status = \"399-200\" }",
            "checks[0].status: expected statuses",
        ),
        (
            "{ kind = \"http\", port = 80, status = [] }",
            "checks[0].status: expected statuses",
        ),
        (
            "{ kind = \"http\", port = 80, status = [[200]] }",
            "checks[0].status: expected statuses",
        ),
        (
            "{ kind = \"http\", port = 80, body = \"\" }",
            "checks[0].body: expected text that stands in the body",
        ),
        (
            "{ kind = \"udp\", port = 80, send = \"hex:0\" }",
            "checks[0].send: expected text of at most 1200 octets, or \"hex:\"",
        ),
        (
            "{ kind = \"udp\", port = 80, send = \"hex:0g\" }",
            "checks[0].send: expected text",
        ),
        (
            "{ kind = \"udp\", port = 80, send = 1 }",
            "checks[0].send: expected a string, found \"1\"",
        ),
        (
            "{ kind = \"udp\", port = 80, expect = \"a\", expect_prefix = \"a\" }",
            "checks[0].expect_prefix: expected either",
        ),
        (
            "{ kind = \"dns\", port = 53 }",
            "checks[0].name: expected a domain name",
        ),
        (
            "{ kind = \"dns\", port = 53, name = \"a\", type = \"aaaa\" }",
            "checks[0].type: expected a type such as",
        ),
        (
            "{ kind = \"dns\", port = 53, name = \"a\", rcode = 16 }",
            "checks[0].rcode: expected response codes",
        ),
        (
            "{ kind = \"command\" }",
            "checks[0].command: expected the absolute path of a program",
        ),
        (
            "{ kind = \"command\", command = [\"/x\", 1] }",
            "checks[0].command: expected a list of strings",
        ),
        (
            "{ kind = \"command\", command = 1 }",
            "checks[0].command: expected a list of strings",
        ),
        (
            "{ kind = \"command\", command = [\"/x\\u0000\"] }",
            "checks[0].command: expected the absolute path",
        ),
    ] {
        let error = read_toml(check).unwrap_err();
        assert!(error.starts_with(expected), "{check}:\n{error}\n{expected}");
        assert!(!error.contains(char::is_control), "{check}: {error}");
    }
}

#[test]
fn checks_are_a_list() {
    let error = toml::from_str::<File>("checks = \"tcp:80\"").unwrap_err();
    assert!(
        error
            .message()
            .starts_with("checks: expected a list, each a check")
    );
    let error = toml::from_str::<File>("checks.tcp = 80").unwrap_err();
    assert!(error.message().starts_with("checks: expected a list"));
    assert_eq!(read_toml("").unwrap(), []);
}

#[test]
fn the_line_of_a_wrong_check_is_known() {
    let text = "\n\nchecks = [\n \"tcp:80\",\n \"tcp:0\" ]";
    let error = toml::from_str::<File>(text).unwrap_err();
    let line = error
        .span()
        .map(|span| text[..span.start].matches('\n').count() + 1);
    assert_eq!(line, Some(3), "{error}");
}

#[test]
fn long_values_are_shown_in_part_and_never_as_they_are() {
    let error = "x\n".repeat(100).parse::<Check>().unwrap_err().to_string();
    assert!(error.ends_with("found \"x\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\n\"…"), "{error}");
}

#[test]
fn one_check_may_be_read_by_itself() {
    let check: Check = serde_json::from_str(r#"{"kind": "tcp", "port": 80}"#).unwrap();
    assert_eq!(check, "tcp:80".parse().unwrap());
    let error = serde_json::from_str::<Check>("null")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("expected a check such as") && error.contains("found \"nothing\""),
        "{error}"
    );
}

#[test]
fn the_documentation_shows_what_is_read() {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/health.md"));
    let example = text
        .split("```toml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let checks = toml::from_str::<File>(example.unwrap()).unwrap().checks.0;
    let kinds: Vec<_> = checks.iter().map(|check| check.kind.name()).collect();
    assert_eq!(kinds, ["tcp", "http", "dns", "http", "udp", "command"]);
    // And the error that it shows.
    let error = read_toml("\"tcp:80\", \"tcp:0\"").unwrap_err();
    assert!(text.contains(&format!("\n{error}\n")), "{error}");
    for check in [Check::INTERVAL, Check::TIMEOUT] {
        let shown = crate::reason::duration(check).replace(' ', "");
        assert!(text.contains(&format!("| `{shown}` |")), "{shown}");
    }
    for keys in [
        "path, host, status, body",
        "send, expect, expect_prefix",
        "name, type, rcode",
    ] {
        for key in keys.split(", ") {
            assert!(text.contains(&format!("| `{key}` |")), "{key}");
        }
    }
}
