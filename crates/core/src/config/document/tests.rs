use core::time::Duration;

use aarp_wire::probe::Method;
use proptest::prelude::*;

use super::*;
use crate::config::read_variable;
use crate::settings::{DaemonUse, GetAddrInfo, LogLevel, OnFailure};

fn read(text: &str) -> Result<Settings, String> {
    let mut settings = Settings::DEFAULT;
    read_document(
        &mut settings,
        Layer::System,
        text,
        &mut [end_token(); TOKENS],
    )
    .map(|()| settings)
    .map_err(|error| error.to_string())
}

#[test]
fn every_key_of_the_resolving_layer() {
    let settings = read(
        r#"
        # a comment
        [resolve]
        prefixes = ["2001:db8:a::/48", '2001:db8:b::1']
        exclude = []
        trusted = ["2001:db8::/32",]
        methods = ["echo", "unreach"]
        on_failure = "refuse"
        getaddrinfo = "off"
        include_local = true
        unreach_port = 40000
        [times]
        ttl = "30s"
        direct = "1m"
        unanswered = "5s"
        unanswered_max = "2h"
        refuted = "7s"
        budget = "2s"
        budget_unconfigured = "50ms"
        budget_nonblocking = "20ms"
        retransmit = ["10ms", "20ms", "40ms"]
        [daemon]
        use = "require"
        entries = 100000
        socket = "/run/aarp/other.sock"
        [log]
        level = "debug"
        file = "/var/log/a\u0061rp.log"
        stats = true
        [[prefix]]
        prefix = "2001:db8:a:1::/64"
        trusted = ["2001:db8:1::/48"]
        methods = ["echo"]
        ttl = "5s"
        [[prefix]]
        prefix = "2001:db8:a::/48"
        budget = "3s"
        [[responder]]
        anycast = "2001:db8:a::53"
        checks = [{ tcp = 443, every = "1s" }, { command = ["/bin/true", "x"] }]
        drain = { period = "5s" }
        [agent]
        home = ["2001:db8:a::53"]
        "#,
    )
    .unwrap();
    let a = "2001:db8:a:1::1".parse().unwrap();
    assert_eq!(
        format!("{:?}", settings.prefixes),
        "[2001:db8:a::/48, 2001:db8:b::1]"
    );
    assert!(settings.exclude.is_empty());
    assert!(settings.trusted.allows("2001:db8:9::1".parse().unwrap()));
    assert!(!settings.trusted.allows("2001:db9::1".parse().unwrap()));
    assert!(settings.methods.contains(Method::Unreach));
    assert_eq!(settings.on_failure, OnFailure::Refuse);
    assert_eq!(settings.getaddrinfo, GetAddrInfo::Off);
    assert!(settings.include_local && settings.stats);
    assert_eq!(settings.unreach_port, 40000);
    assert_eq!(settings.times.ttl, Duration::from_secs(30));
    assert_eq!(settings.times.unanswered_max, Duration::from_secs(7200));
    assert_eq!(settings.times.budget_nonblocking, Duration::from_millis(20));
    assert_eq!(settings.times.retransmit.as_slice().len(), 3);
    assert_eq!(settings.daemon.usage, DaemonUse::Require);
    assert_eq!(settings.log_level, LogLevel::Debug);
    assert_eq!(settings.log_file.as_str(), "/var/log/aarp.log");
    let rule = settings.rules.matching(a).unwrap();
    assert_eq!(rule.times.over(&settings.times).ttl, Duration::from_secs(5));
    assert_eq!(
        rule.times.over(&settings.times).budget,
        Duration::from_secs(2)
    );
    assert_eq!(rule.methods, Some(crate::settings::Methods::ECHO));
    let other = settings
        .rules
        .matching("2001:db8:a:2::1".parse().unwrap())
        .unwrap();
    assert_eq!(
        other.times.over(&settings.times).budget,
        Duration::from_secs(3)
    );
}

#[test]
fn an_empty_file_changes_nothing() {
    assert_eq!(
        format!("{:?}", read("").unwrap()),
        format!("{:?}", Settings::DEFAULT)
    );
    assert_eq!(
        format!("{:?}", read("\n# x\n").unwrap()),
        format!("{:?}", Settings::DEFAULT)
    );
}

#[test]
fn what_is_wrong_is_named_in_one_line() {
    for (text, expected) in [
        (
            "[resolve]\nprefixes = [\"nonsense\"]",
            "line 2: resolve.prefixes: expected an IPv6 prefix",
        ),
        (
            "[resolve]\nprefixes = \"2001:db8::/32\"",
            "line 2: resolve.prefixes: expected a list",
        ),
        (
            "[resolve]\nprefixes = [1]",
            "line 2: resolve.prefixes: expected a list",
        ),
        (
            "[resolve]\nprefixes = [[\"::/0\"]]",
            "line 2: resolve.prefixes: expected a list",
        ),
        (
            "[resolve]\nprefixes = {a=1}",
            "line 2: resolve.prefixes: expected a list",
        ),
        (
            "[resolve]\nprefixs = []",
            "line 2: resolve.prefixs: expected a key",
        ),
        (
            "[resolve]\nprefixes = []\nprefixes = []",
            "line 3: resolve.prefixes: expected each key once",
        ),
        (
            "[resolve]\n[resolve]",
            "line 2: resolve: expected each table once",
        ),
        ("[resolv]", "line 1: resolv: expected [resolve]"),
        ("[[resolve]]", "line 1: resolve: expected [resolve]"),
        ("[prefix]", "line 1: prefix: expected [resolve]"),
        ("[resolve.more]", "line 1: resolve.more: expected [resolve]"),
        (
            "prefixes = []",
            "line 1: prefixes: expected keys inside a table",
        ),
        ("[resolve]\na.b = 1", "line 2: resolve.a.b: expected a key"),
        (
            "[resolve]\nmethods = []",
            "line 2: resolve.methods: expected \"echo\"",
        ),
        (
            "[resolve]\nmethods = [\"ping\"]",
            "line 2: resolve.methods: expected \"echo\"",
        ),
        (
            "[resolve]\non_failure = \"maybe\"",
            "line 2: resolve.on_failure: expected \"pass\"",
        ),
        (
            "[resolve]\ninclude_local = \"true\"",
            "line 2: resolve.include_local: expected true or false",
        ),
        (
            "[resolve]\nunreach_port = 0",
            "line 2: resolve.unreach_port: expected a port",
        ),
        (
            "[resolve]\nunreach_port = 70000",
            "line 2: resolve.unreach_port: expected a port",
        ),
        (
            "[resolve]\nunreach_port = 0x50",
            "line 2: resolve.unreach_port: expected a port",
        ),
        (
            "[times]\nttl = 60",
            "line 2: times.ttl: expected a duration",
        ),
        (
            "[times]\nttl = \"60\"",
            "line 2: times.ttl: expected a duration",
        ),
        (
            "[times]\nretransmit = [\"2s\", \"1s\"]",
            "line 2: times.retransmit: expected at most four",
        ),
        (
            "[[prefix]]\nttl = \"1s\"",
            "prefix.prefix: expected a key `prefix`",
        ),
        (
            "[[prefix]]\nttl = \"1s\"\n[log]",
            "prefix.prefix: expected a key `prefix`",
        ),
        (
            "[[prefix]]\nprefix = \"::/0\"\nexclude = []",
            "line 3: prefix.exclude: expected a key",
        ),
        ("[agent]\nmodle = 1", "line 2: agent.modle: expected a key"),
        ("[resolve", "line 1: expected TOML"),
        ("[resolve]\nprefixes = [\"::/0\"", "expected TOML"),
        ("[resolve]\nprefixes = \"\u{7}\"", "line 2"),
        ("[log]\nfile = \"unfinished", "line 2"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(expected), "{text:?}\n  {error}");
        assert!(!error.contains('\n'), "{error:?}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn too_much_is_refused() {
    let many = |count: usize| {
        let list: Vec<_> = (0..count)
            .map(|n| format!("\"2001:db8:{n:x}::/48\""))
            .collect();
        format!("[resolve]\nexclude = [{}]", list.join(","))
    };
    assert!(read(&many(64)).is_ok());
    assert!(read(&many(65)).unwrap_err().contains("room for 64"));
    let rules = "[[prefix]]\nprefix = \"::/0\"\n";
    assert!(read(&rules.repeat(16)).is_ok());
    assert!(read(&rules.repeat(17)).unwrap_err().contains("at most 16"));
    assert!(
        read(&"#".repeat(SOURCE_MAX + 1))
            .unwrap_err()
            .contains("a shorter file")
    );
    assert!(
        read(&"\n#".repeat(TOKENS))
            .unwrap_err()
            .contains("a shorter file")
    );
    let deep = format!("[agent]\nhome = {}{}", "[".repeat(5000), "]".repeat(3000));
    assert!(read(&deep).is_err());
}

#[test]
fn later_layers_win_but_trust_and_exclusion_only_narrow() {
    let mut settings = Settings::DEFAULT;
    let mut tokens = [end_token(); TOKENS];
    let system = "[resolve]\nprefixes=[\"2001:db8:a::/48\"]\nexclude=[\"2001:db8:a:1::/64\"]\n\
                  trusted=[\"2001:db8::/32\"]";
    let user = "[resolve]\nprefixes=[\"2001:db8:b::/48\"]\nexclude=[\"2001:db8:b:1::/64\"]\n\
                trusted=[\"::/0\"]";
    read_document(&mut settings, Layer::System, system, &mut tokens).unwrap();
    read_document(&mut settings, Layer::User, user, &mut tokens).unwrap();
    let layer = Layer::Environment;
    read_variable(
        &mut settings,
        layer,
        Key::Trusted,
        "2001:db8:1::/48, 2001:db9::/32",
    )
    .unwrap();
    read_variable(&mut settings, layer, Key::Exclude, "2001:db8:b:2::/64").unwrap();
    read_variable(&mut settings, layer, Key::Ttl, "5s").unwrap();
    assert_eq!(format!("{:?}", settings.prefixes), "[2001:db8:b::/48]");
    assert_eq!(settings.exclude.as_slice().len(), 3);
    assert!(settings.trusted.allows("2001:db8:1::1".parse().unwrap()));
    assert!(!settings.trusted.allows("2001:db8:2::1".parse().unwrap()));
    assert!(!settings.trusted.allows("2001:db9::1".parse().unwrap()));
    assert_eq!(settings.times.ttl, Duration::from_secs(5));
}

/// Whom the system's file trusts no other file changes, nor where its daemon is.
#[test]
fn whose_daemon_is_trusted_is_said_in_one_place() {
    use crate::settings::DaemonKeys;
    let text = |name: &str| {
        format!(
            "[daemon]\nuser = \"{name}\"\nsocket = \"/{name}/s\"\ntable = \"/{name}/t\"\n\
             use = \"require\"\n"
        )
    };
    for (layer, keys, places, user) in [
        (Layer::System, DaemonKeys::All, true, true),
        (Layer::System, DaemonKeys::Places, true, false),
        (Layer::User, DaemonKeys::All, true, false),
        (Layer::User, DaemonKeys::Places, true, false),
        (Layer::User, DaemonKeys::None, false, false),
    ] {
        let mut settings = Settings::DEFAULT;
        let mut tokens = [end_token(); TOKENS];
        settings.daemon.keys = keys;
        read_document(&mut settings, layer, &text("x"), &mut tokens).unwrap();
        let daemon = &settings.daemon;
        let read = |is_read: bool, text: &'static str| if is_read { text } else { "" };
        assert_eq!(daemon.user.as_str(), read(user, "x"), "{layer:?} {keys:?}");
        assert_eq!(daemon.socket.as_str(), read(places, "/x/s"));
        assert_eq!(daemon.table.as_str(), read(places, "/x/t"));
        assert_eq!(daemon.usage == DaemonUse::Require, places);
        // What is wrong is wrong everywhere.
        let wrong = "[daemon]\nuser = \"\"";
        assert!(read_document(&mut settings, layer, wrong, &mut tokens).is_err());
    }
}

/// A complaint is one line, whatever the file has in it.
#[test]
fn a_key_with_a_line_break_is_named_in_one_line() {
    let error = read("[resolve]\n\"a\\nb\" = 1\n").unwrap_err().to_string();
    assert!(
        error.starts_with("line 2: resolve.a\\nb: expected "),
        "{error}"
    );
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn no_prefixes_never_widen_some() {
    let mut settings = Settings::DEFAULT;
    let mut tokens = [end_token(); TOKENS];
    let none = "[resolve]\nprefixes=[]";
    read_document(&mut settings, Layer::System, none, &mut tokens).unwrap();
    let some = "[resolve]\nprefixes=[\"2001:db8:a::/48\"]";
    read_document(&mut settings, Layer::System, some, &mut tokens).unwrap();
    assert!(read_document(&mut settings, Layer::User, none, &mut tokens).is_err());
    for text in [",", " ", " , "] {
        assert!(read_variable(&mut settings, Layer::Environment, Key::Prefixes, text).is_err());
    }
    assert_eq!(format!("{:?}", settings.prefixes), "[2001:db8:a::/48]");
}

#[test]
fn a_bad_variable_is_named() {
    let mut settings = Settings::DEFAULT;
    let error = read_variable(&mut settings, Layer::Environment, Key::Prefixes, "::/0,bad");
    assert_eq!(
        error.unwrap_err().to_string(),
        "AARP_PREFIXES: expected an IPv6 prefix such as \"2001:db8::/32\" or an IPv6 address, \
         found \"::/0,bad\""
    );
}

proptest! {
    #[test]
    fn foreign_text_never_panics(text in "[\\[\\]{}=,.\"'#a-z0-9:/\\\\ \n]{0,80}") {
        let _ = read(&text);
        let _ = read(&format!("[resolve]\nprefixes = {text}"));
        let _ = read(&format!("[[prefix]]\n{text}"));
    }
}
