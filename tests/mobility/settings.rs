//! Keys that are wrong, absent or not private, and configurations that cannot work: the
//! exit code says which, one line says what.
use std::os::unix::fs::PermissionsExt as _;

use aarp_lab::{Command, wait_until};

use crate::site::{A, AGENT, LIMIT, Site, U1, count, networked};

/// Exit codes (sysexits.h).
const USAGE: i32 = 64;
const UNAVAILABLE: i32 = 69;
const NOT_PERMITTED: i32 = 77;
const CONFIGURATION: i32 = 78;

/// Ends with this code, and one line that contains the words.
#[track_caller]
fn fails(command: Command<'_>, code: i32, words: &[&str]) {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} in {said}");
    }
    // What the parser of the command line says has a form of its own.
    if code != USAGE {
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn configurations_that_cannot_work_are_refused() {
    networked(|| {
        let site = Site::new();
        let work = site.lab.work();
        let config = |program: &str, host: &str, text: &str| {
            let file = work.join("bad.toml");
            std::fs::write(&file, text).unwrap();
            site.program(
                match host {
                    "haa" => "haa",
                    _ => "s1",
                },
                program,
            )
            .args(["run", "--config"])
            .arg(file)
        };
        let agent = |rest: &str| {
            let text = format!("[agent]\naddress = \"{AGENT}\"\nhome = [\"{A}\"]\n{rest}");
            config("aarp-agent", "haa", &text)
        };
        let file = work.join("bad.toml");
        let name = file.to_string_lossy();
        fails(
            agent("hom = 1\n"),
            CONFIGURATION,
            &[&name, "agent.hom", "unknown key"],
        );
        fails(
            agent("lifetime_max = \"1s\"\n"),
            CONFIGURATION,
            &["agent.lifetime_max"],
        );
        fails(agent("[agnt]\n"), CONFIGURATION, &["agnt"]);
        fails(agent("= \n"), CONFIGURATION, &["line 4"]);
        fails(
            agent("keys = \"/nonexistent/keys.toml\"\n"),
            CONFIGURATION,
            &["/nonexistent/keys.toml"],
        );
        let empty = config("aarp-agent", "haa", "");
        fails(empty, CONFIGURATION, &["agent.address"]);
        // An address that is not the host's, or an A that is.
        let elsewhere = site.program("haa", "aarp-agent").arg("run");
        let elsewhere = elsewhere.args(["--address", "2001:db8:0:1::99", "--home"]);
        let elsewhere = elsewhere.args([&A.to_string(), "--insecure-unauthenticated"]);
        fails(elsewhere, UNAVAILABLE, &["2001:db8:0:1::99"]);
        site.lab
            .ip("haa", &format!("-6 address add {A}/128 dev lo"))
            .unwrap();
        fails(
            site.agent_command(&["--insecure-unauthenticated"]),
            UNAVAILABLE,
            &[&A.to_string(), "lo"],
        );
        site.lab
            .ip("haa", &format!("-6 address del {A}/128 dev lo"))
            .unwrap();
        site.host("haa")
            .sysctl("net.ipv6.conf.all.forwarding", "0")
            .unwrap();
        fails(
            site.agent_command(&["--insecure-unauthenticated"]),
            UNAVAILABLE,
            &["net.ipv6.conf.all.forwarding"],
        );
        site.host("haa")
            .sysctl("net.ipv6.conf.all.forwarding", "1")
            .unwrap();
        fails(site.agent_command(&["--nonsense"]), USAGE, &["--nonsense"]);
        // The sidecar's.
        let binding = |rest: &str| {
            let text = format!("[[binding]]\nanycast = \"{A}\"\nagents = [\"{AGENT}\"]\n{rest}");
            config("aarp-binding", "s1", &text)
        };
        let key = "binding[0].lifetime";
        fails(binding("lifetime = \"3s\"\n"), CONFIGURATION, &[&name, key]);
        fails(
            binding("cheks = []\n"),
            CONFIGURATION,
            &["binding[0].cheks"],
        );
        fails(
            binding("checks = [\"tcp:0\"]\n"),
            CONFIGURATION,
            &["binding[0]", "checks[0].port"],
        );
        fails(binding("spi = 999\n"), CONFIGURATION, &["keys.toml"]);
        fails(
            site.binding_command("s1", &["--spi", "999"]),
            CONFIGURATION,
            &["spi = 999"],
        );
        fails(
            site.binding_command("s1", &["--check", "tcp:x"]),
            USAGE,
            &["tcp:x"],
        );
        fails(
            site.binding_command("s1", &["--lifetime", "1s"]),
            USAGE,
            &["--lifetime"],
        );
        // Nobody serves the status.
        let status = site.program("haa", "aarp-agent").arg("status");
        fails(status, UNAVAILABLE, &["nobody serves it"]);
        let status = site.program("s1", "aarp-binding").arg("status");
        fails(status, UNAVAILABLE, &["nobody serves it"]);
    });
}

/// A second instance touches nothing of the first.
#[test]
fn a_second_instance_is_refused() {
    networked(|| {
        let site = Site::simple(&[]);
        let nginx = site.nginx("s1");
        fails(
            site.agent_command(&["--insecure-unauthenticated"]),
            UNAVAILABLE,
            &["another process serves it"],
        );
        fails(
            site.binding_command("s1", &[]),
            UNAVAILABLE,
            &["another process serves it"],
        );
        assert_eq!(site.who(), "s1");
        drop(nginx);
    });
}

#[test]
fn without_privileges_they_say_so() {
    networked(|| {
        if !crate::common::has_other_users() {
            return crate::common::skipped("a user namespace has no other users");
        }
        let mut site = Site::new();
        site.run_from_copies();
        let agent = site
            .agent_command(&["--insecure-unauthenticated"])
            .user(65534, 65534);
        fails(agent, NOT_PERMITTED, &["CAP_NET_ADMIN"]);
        let binding = site.binding_command("s1", &[]).user(65534, 65534);
        fails(binding, NOT_PERMITTED, &["CAP_NET_ADMIN"]);
    });
}

#[test]
fn a_file_of_keys_has_to_be_private() {
    networked(|| {
        let site = Site::new();
        let keys = site.lab.work().join("keys.toml");
        let words = keys.to_string_lossy().into_owned();
        for mode in [0o644, 0o640, 0o604, 0o620, 0o602, 0o777] {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&keys, permissions).unwrap();
            let digits = format!("{mode:o}");
            let agent = site.agent_command(&["--keys", &words]);
            fails(agent, CONFIGURATION, &[&words, &digits]);
            let binding = site.binding_command("s1", &["--spi", "256"]);
            fails(binding, CONFIGURATION, &[&words, &digits]);
        }
        site.private(
            "keys.toml",
            "[[key]]\nspi = 256\nkey = \"00\"\npeer = \"a\"\n",
        );
        let agent = site.agent_command(&["--keys", &words]);
        fails(agent, CONFIGURATION, &[&words, "key[0].key"]);
        site.private("keys.toml", "");
        let agent = site.agent_command(&["--keys", &words]);
        fails(agent, CONFIGURATION, &[&words]);
    });
}

/// With a wrong key a responder is refused and told so, with none that the agent knows it
/// is met with silence, and with another's right to another address it is prohibited.
#[test]
fn a_wrong_key_registers_nobody() {
    networked(|| {
        let site = Site::new();
        let agent = site.keyed_agent();
        let secret = "ffeeddccbbaa99887766554433221100";
        let key = |spi: u32, secret: &str, peer: &str| {
            format!("[[key]]\nspi = {spi}\nkey = \"{secret}\"\npeer = \"{peer}\"\n")
        };
        let wrong = site.private("wrong.toml", &key(256, secret, "ar1@example.org"));
        let unknown = site.private("unknown.toml", &key(300, secret, "ar3@example.org"));
        let right = "000102030405060708090a0b0c0d0e0f";
        let stolen = site.private("stolen.toml", &key(256, right, "ar2@example.org"));
        let unknown_to_the_agent = "has an SPI or a peer that the file of keys does not have";
        for (file, spi, counted, said, said_there) in [
            (
                None,
                None,
                "/updates/unanswered/unauthenticated",
                "has no authentication and is not answered",
                Some("no answer to 3 updates"),
            ),
            (
                Some(&wrong),
                Some("256"),
                "/updates/refused/146",
                "refused: 146 (authentication failed)",
                None,
            ),
            (
                Some(&unknown),
                Some("300"),
                "/updates/unanswered/unknown",
                unknown_to_the_agent,
                None,
            ),
            (
                Some(&stolen),
                Some("256"),
                "/updates/unanswered/unknown",
                unknown_to_the_agent,
                None,
            ),
        ] {
            let before = count(&site.agent_record(), counted);
            let command = site.program("s2", "aarp-binding").arg("run");
            let command = command.args(["--anycast", &A.to_string(), "--agent"]);
            let mut command = command.arg(AGENT.to_string());
            command = command
                .arg("--state-dir")
                .arg(site.lab.work().join("state-s2"));
            if let Some(file) = file {
                command = command.arg("--keys").arg(file);
            }
            if let Some(spi) = spi {
                command = command.args(["--spi", spi]);
            }
            let binding = command.spawn().unwrap();
            wait_until(&format!("{spi:?}: {counted}"), LIMIT, || {
                Ok(count(&site.agent_record(), counted) > before)
            })
            .unwrap_or_else(|error| {
                let said = binding.stderr().unwrap();
                panic!("{error}: {said}: {:#}", site.agent_record())
            });
            agent.wait_stderr(said, LIMIT).unwrap();
            if let Some(said) = said_there {
                binding.wait_stderr(said, LIMIT).unwrap();
                let status = site.program("s2", "aarp-binding").arg("status");
                let status = String::from_utf8(status.run().unwrap().stdout).unwrap();
                assert!(
                    status.contains("updates not answered, asks again in"),
                    "{status}"
                );
            }
            assert_eq!(site.owner(), None);
            drop(binding);
        }
        // And with the right one.
        let _binding = site.binding("s1", &["--spi", "256"]);
        assert_eq!(site.owner(), Some(U1));
        // What the host says on the device of its own accord is none of these.
        assert_eq!(count(&site.agent_record(), "/dropped/address"), 0);
        drop(agent);
    });
}

/// A key is good for the addresses that it names.
#[test]
fn a_key_registers_only_its_addresses() {
    networked(|| {
        let site = Site::new();
        let keys = "[[key]]\nspi = 256\nkey = \"000102030405060708090a0b0c0d0e0f\"\n\
             peer = \"ar1@example.org\"\nmay_register = [\"2001:db8:0:1::b\"]\n";
        let keys = site.private("others.toml", keys);
        let _agent = site.agent(&["--keys", &keys.to_string_lossy()]);
        let binding = site
            .binding_command("s1", &["--spi", "256"])
            .spawn()
            .unwrap();
        binding.wait_stderr("refused", LIMIT).unwrap();
        let record = site.agent_record();
        assert_eq!(count(&record, "/updates/refused/129"), 1, "{record:#}");
        assert_eq!(site.owner(), None);
    });
}
