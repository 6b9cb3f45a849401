//! `aarp-probe doctor`: what hinders is found, and what it prints mends it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use aarp_lab::{Host, Lab, LinkSpec, rootless};
use serde_json::Value;

use crate::site::{
    A, Ended, NAME, answers_from, ended, installed, probe, program, responders, silence, stateful,
    u,
};

/// The installed library, or where nothing is installed a shared object that does
/// nothing but be loaded.
fn library(lab: &Lab) -> PathBuf {
    if let Some(installed) = installed() {
        return installed;
    }
    let source = lab.work().join("stand-in.c");
    let output = lab.work().join("libaarp.so");
    std::fs::write(&source, "int aarp_version = 1;\n").unwrap();
    let mut cc = std::process::Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o"])
        .arg(&output)
        .arg(&source);
    assert!(cc.status().unwrap().success());
    output
}

struct Doctor<'l> {
    client: &'l Host,
    library: PathBuf,
}

impl<'l> Doctor<'l> {
    fn new(lab: &'l Lab) -> Self {
        Self {
            client: lab.host("client").unwrap(),
            library: library(lab),
        }
    }

    /// Where an answer is expected.
    fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
        self.run_within("30s", arguments, variables)
    }

    /// Where none is expected that counts: it is awaited to the end.
    fn run_in_vain(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
        self.run_within("3s", arguments, variables)
    }

    fn run_within(&self, timeout: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
        let timeout = ["doctor", "--json", "--timeout", timeout];
        let command = probe(self.client, &[&timeout[..], arguments].concat())
            .env("AARP_LIBRARY", &self.library)
            .envs(variables.iter().copied());
        ended(command)
    }
}

/// The finding of a check.
fn finding<'r>(records: &'r [Value], check: &str) -> &'r Value {
    let found = records.iter().find(|record| record["check"] == check);
    found.unwrap_or_else(|| panic!("{check}: {records:#?}"))
}

fn verdicts(records: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let findings = records
        .iter()
        .filter(|record| record["type"] == "doctor-finding");
    findings
        .map(|record| (text(&record["check"]), text(&record["verdict"])))
        .collect()
}

/// The first command of the first remedy of a finding.
fn command_of(finding: &Value) -> String {
    finding["remedies"][0]["commands"][0]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Does what was printed.
fn obey(host: &Host, command: &str) {
    host.command("sh").args(["-c", command]).run().unwrap();
}

#[test]
fn where_all_is_well_nothing_hinders() {
    rootless::test(|| {
        let lab = Lab::new(&responders(1)).unwrap();
        let doctor = Doctor::new(&lab);
        for arguments in [&[][..], &[NAME]] {
            let run = doctor.run(arguments, &[]);
            let records = run.records();
            assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{records:#?}");
            assert!(
                verdicts(&records)
                    .iter()
                    .all(|(_, verdict)| verdict == "ok"),
                "{records:#?}"
            );
            assert_eq!(records.last().unwrap()["ready"], true);
        }
        let text = ended(probe(doctor.client, &["doctor", A]).env("AARP_LIBRARY", &doctor.library));
        assert!(
            text.stdout.contains(&format!("{} answers for {A}", u(1))),
            "{}",
            text.stdout
        );
        assert!(
            text.stdout.ends_with("\nnothing hinders\n"),
            "{}",
            text.stdout
        );
    });
}

#[test]
fn a_plain_address_on_lo_is_told_and_mended_on_the_responder() {
    rootless::test(|| {
        let lab = Lab::new(&responders(1)).unwrap();
        let doctor = Doctor::new(&lab);
        let server = lab.host("s1").unwrap();
        server
            .nft("delete table inet answers_2001_db8_a__53\n")
            .unwrap();
        let run = doctor.run(&[A], &[]);
        let records = run.records();
        assert_eq!(run.code, 2);
        let found = finding(&records, "answer");
        assert_eq!(found["verdict"], "hindrance");
        assert!(
            found["detail"]
                .as_str()
                .unwrap()
                .contains("ordinary address"),
            "{found}"
        );
        assert_eq!(
            command_of(found),
            format!("aarp-responder run --anycast {A}")
        );
        server.nft(&answers_from(A, &u(1))).unwrap();
        assert_eq!(doctor.run(&[A], &[]).code, 0);
    });
}

#[test]
fn a_stateful_filter_of_this_host_is_found_and_mended() {
    rootless::test(|| {
        let lab = Lab::new(&responders(1)).unwrap();
        let doctor = Doctor::new(&lab);
        doctor.client.nft(&stateful("input")).unwrap();
        let run = doctor.run_in_vain(&[A], &[]);
        let records = run.records();
        assert_eq!(run.code, 1, "{records:#?}");
        let filter = finding(&records, "packet filter");
        assert_eq!(filter["verdict"], "hindrance");
        let answer = finding(&records, "answer");
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains("answers an ordinary ping"), "{detail}");
        assert!(
            detail.contains("conntrack of this host has called it invalid"),
            "{detail}"
        );
        obey(doctor.client, &command_of(filter));
        let records = doctor.run(&[A], &[]).records();
        assert_eq!(records.last().unwrap()["ready"], true, "{records:#?}");
    });
}

#[test]
fn a_filter_of_this_host_that_drops_all_echo_replies_is_named_as_such() {
    rootless::test(|| {
        let lab = Lab::new(&responders(1)).unwrap();
        let doctor = Doctor::new(&lab);
        let rules = "table inet mine { chain in { type filter hook input priority 0
            icmpv6 type echo-reply drop
            }
            }\n";
        doctor.client.nft(rules).unwrap();
        let run = doctor.run_in_vain(&[A], &[]);
        let records = run.records();
        assert_eq!(run.code, 1, "{records:#?}");
        let filter = finding(&records, "packet filter");
        let detail = filter["detail"].as_str().unwrap();
        assert!(
            detail.contains("every echo reply") && !detail.contains("conntrack"),
            "{detail}"
        );
        // It is not looked for elsewhere.
        let answer = finding(&records, "answer");
        assert!(
            answer["detail"]
                .as_str()
                .unwrap()
                .contains("this host's own packet filter"),
            "{answer}"
        );
        assert_eq!(answer["remedies"], serde_json::json!([]));
        obey(doctor.client, &command_of(filter));
        assert_eq!(doctor.run(&[A], &[]).code, 0);
    });
}

#[test]
fn a_stateful_filter_on_the_way_is_found_by_an_ordinary_ping() {
    rootless::test(|| {
        let lab = Lab::new(&responders(1)).unwrap();
        let doctor = Doctor::new(&lab);
        let router = lab.host("router").unwrap();
        router.nft(&stateful("forward")).unwrap();
        let run = doctor.run_in_vain(&[A], &[]);
        let records = run.records();
        assert_eq!(run.code, 1, "{records:#?}");
        assert_eq!(finding(&records, "packet filter")["verdict"], "ok");
        let answer = finding(&records, "answer");
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains("answers an ordinary ping"), "{detail}");
        assert!(!detail.contains("called it invalid"), "{detail}");
        obey(router, &command_of(answer));
        assert_eq!(doctor.run(&[A], &[]).code, 0);
        // Without a filter, and without anybody.
        silence(lab.host("s1").unwrap());
        let records = doctor.run_in_vain(&[A], &[]).records();
        let detail = finding(&records, "answer")["detail"].as_str().unwrap();
        assert!(
            detail.contains("neither our probe nor an ordinary ping"),
            "{detail}"
        );
    });
}

#[test]
fn where_another_method_works_a_filter_is_a_thing_to_know() {
    rootless::test(|| {
        let lab = Lab::new(&responders(1)).unwrap();
        let doctor = Doctor::new(&lab);
        doctor.client.nft(&stateful("input")).unwrap();
        let prefixes = format!("{A}/128");
        let set = [
            ("AARP_PREFIXES", prefixes.as_str()),
            ("AARP_TRUSTED", "2001:db8:51::/64"),
            ("AARP_METHODS", "echo,unreach"),
        ];
        // The answer by echo, which would count for more, is awaited to the end.
        let run = doctor.run_in_vain(&[A], &set);
        let records = run.records();
        assert_eq!(run.code, 0, "{records:#?}");
        assert_eq!(finding(&records, "packet filter")["verdict"], "note");
        let detail = finding(&records, "answer")["detail"].as_str().unwrap();
        assert!(detail.contains("by unreach"), "{detail}");
    });
}

#[test]
fn the_configuration_and_the_library_are_examined() {
    rootless::test(|| {
        let lab = Lab::new(&responders(1)).unwrap();
        let doctor = Doctor::new(&lab);
        let file = lab.work().join("aarp.toml");
        let path = file.to_str().unwrap();
        std::fs::write(&file, "[resolve]\nprefixes = [\"nonsense\"]\n").unwrap();
        let run = doctor.run(&[A], &[("AARP_CONFIG", path)]);
        let records = run.records();
        assert_eq!(run.code, 78);
        let found = finding(&records, "configuration");
        assert!(
            found["detail"].as_str().unwrap().contains("line 2"),
            "{found}"
        );
        // The rest is looked at all the same, and nothing is promised.
        assert_eq!(finding(&records, "policy")["verdict"], "note");
        conditional(&records, "were it not for the configuration");

        std::fs::write(&file, "[resolve]\nexclude = [\n  \"2001:db8:a::/48\"]\n").unwrap();
        let run = doctor.run(&[A], &[("AARP_CONFIG", path)]);
        let records = run.records();
        let found = finding(&records, "policy");
        assert_eq!((run.code, &found["verdict"]), (2, &"hindrance".into()));
        assert!(
            command_of(found).ends_with(&format!("+3 {path}")),
            "{found}"
        );
        conditional(&records, "if the library asked");

        // A variable is not changed by a command that shows it.
        let run = doctor.run(&[A], &[("AARP_EXCLUDE", "2001:db8:a::/48")]);
        let records = run.records();
        conditional(&records, "if the library asked");
        assert_eq!(
            command_of(finding(&records, "policy")),
            "unset AARP_EXCLUDE"
        );

        std::fs::write(&file, "[daemon]\nuse = \"require\"\n").unwrap();
        let run = doctor.run(&[A], &[("AARP_CONFIG", path)]);
        let records = run.records();
        assert_eq!(run.code, 2);
        conditional(&records, "if aarpd could be asked");
        let hindrances = verdicts(&records);
        let hindrances = hindrances.iter().filter(|(_, v)| v == "hindrance");
        assert_eq!(hindrances.count(), 1, "{records:#?}");

        let run = doctor.run(&[], &[("AARP_LIBRARY", "/nowhere/libaarp.so")]);
        assert_eq!(
            (run.code, &finding(&run.records(), "library")["verdict"]),
            (2, &"hindrance".into())
        );
        // There, and no library.
        let run = doctor.run(&[A], &[("AARP_LIBRARY", path)]);
        let records = run.records();
        conditional(&records, "if the library could be loaded");
        let found = finding(&records, "library")["detail"].as_str().unwrap();
        assert!(found.contains("cannot be loaded"), "{found}");
        assert_eq!(run.code, 2);

        let run = doctor.run_in_vain(&[A], &[("AARP_TRUSTED", "2001:db8:99::/48")]);
        assert_eq!(run.code, 4);
        assert_eq!(doctor.run(&["nowhere.invalid"], &[]).code, 1);
        assert_eq!(doctor.run(&["ff02::1"], &[]).code, 2);
    });
}

/// The finding about an answer that counts only under a condition.
fn conditional(records: &[Value], condition: &str) {
    let found = finding(records, "answer");
    let detail = found["detail"].as_str().unwrap();
    assert_eq!(found["verdict"], "note", "{found}");
    assert!(
        detail.contains("would be moved there") && detail.contains(condition),
        "{detail}"
    );
}

#[test]
fn what_is_read_and_written_of_files_is_examined() {
    rootless::test(|| {
        let lab = Lab::new(&responders(1)).unwrap();
        let doctor = Doctor::new(&lab);
        let home = lab.work().join("home");
        let user = home.join("aarp/aarp.toml");
        std::fs::create_dir_all(user.parent().unwrap()).unwrap();
        std::fs::write(&user, "[times]\nttl = \"20s\"\n").unwrap();
        std::fs::set_permissions(&user, Permissions::from_mode(0o000)).unwrap();
        // Without its capabilities, root may not read what nobody may.
        let command = doctor
            .client
            .command("setpriv")
            .args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"])
            .args(["--", program().to_str().unwrap(), "doctor", "--json"])
            .env("AARP_CONFIG", "/dev/null")
            .env("AARP_LIBRARY", &doctor.library)
            .env("XDG_CONFIG_HOME", &home);
        let records = ended(command).records();
        let found = finding(&records, "configuration");
        let detail = found["detail"].as_str().unwrap();
        assert_eq!(found["verdict"], "note");
        assert!(
            detail.contains("home/aarp/aarp.toml may not be read, and is ignored"),
            "{detail}"
        );

        // A file that is named and not there cannot be mended by an editor.
        let run = doctor.run(&[], &[("AARP_CONFIG", "/nowhere/aarp.toml")]);
        let records = run.records();
        let found = finding(&records, "configuration");
        let detail = found["detail"].as_str().unwrap();
        assert_eq!(run.code, 78);
        assert!(detail.contains("No such file or directory"), "{detail}");
        assert_eq!(command_of(found), "unset AARP_CONFIG");

        // Where nothing can be logged, and a variable that is none.
        let set = [
            ("AARP_FILE", "/nowhere/log"),
            ("AARP_LOG", "debug"),
            ("AARP_PREFIX", "2001:db8::/32"),
            ("AARP_PROBE_JSON", "1"),
        ];
        let run = doctor.run(&[], &set);
        let records = run.records();
        assert_eq!(run.code, 0, "{records:#?}");
        let found = finding(&records, "log");
        assert_eq!(found["verdict"], "note");
        assert!(found["detail"].as_str().unwrap().contains("/nowhere/log"));
        let found = finding(&records, "variables");
        let detail = found["detail"].as_str().unwrap();
        assert_eq!(found["verdict"], "note");
        assert!(
            detail.contains("AARP_PREFIX ") && !detail.contains("AARP_PROBE_JSON"),
            "{detail}"
        );
        let log = lab.work().join("log");
        let log = log.to_str().unwrap();
        let records = doctor
            .run(&[], &[("AARP_FILE", log), ("AARP_LOG", "debug")])
            .records();
        assert!(records.iter().all(|record| record["check"] != "log"));
        // It has been looked at, and not made.
        assert!(!std::path::Path::new(log).exists());
    });
}

#[test]
fn an_ordinary_address_beside_a_pinned_one_is_a_thing_to_know() {
    rootless::test(|| {
        let lab = Lab::new(&responders(1).name("mixed.test", A).name("mixed.test", u(1))).unwrap();
        let doctor = Doctor::new(&lab);
        let run = doctor.run(&["mixed.test"], &[]);
        let records = run.records();
        assert_eq!(run.code, 0, "{records:#?}");
        let notes: Vec<&Value> = records
            .iter()
            .filter(|record| record["check"] == "answer" && record["verdict"] == "note")
            .collect();
        assert_eq!(notes.len(), 1, "{records:#?}");
        assert_eq!(notes[0]["remedies"], serde_json::json!([]));
        // Alone it cannot be pinned.
        assert_eq!(doctor.run(&[&u(1)], &[]).code, 2);
    });
}

#[test]
fn an_answer_that_comes_too_late_is_no_good_one() {
    rootless::test(|| {
        let mut network = responders(1);
        let link = network.links.pop().unwrap();
        let [one, other] = link.ends;
        network = network.add_link(LinkSpec::new(one, other).delay(Duration::from_millis(60)));
        let lab = Lab::new(&network).unwrap();
        let doctor = Doctor::new(&lab);
        let run = doctor.run(&[A], &[]);
        let records = run.records();
        assert_eq!(run.code, 2, "{records:#?}");
        assert_eq!(finding(&records, "budget")["verdict"], "hindrance");
        conditional(&records, "if it came in time");
    });
}

#[test]
fn an_address_of_this_host_is_said_once() {
    rootless::test(|| {
        let lab = Lab::new(&responders(1)).unwrap();
        let server = lab.host("s1").unwrap();
        let run = ended(probe(server, &["doctor", "--json", A]).env("AARP_LIBRARY", library(&lab)));
        let records = run.records();
        assert_eq!(run.code, 2, "{records:#?}");
        let found = finding(&records, "policy");
        assert_eq!(found["verdict"], "hindrance");
        let detail = found["detail"].as_str().unwrap();
        assert!(detail.contains("an address of this host"), "{detail}");
        let checks = verdicts(&records);
        assert!(
            checks.iter().all(|(check, _)| check != "answer"),
            "{checks:?}"
        );
    });
}

/// A router that rejects answers `unreach` as a responder does.
#[test]
fn a_router_that_rejects_is_not_to_be_trusted() {
    rootless::test(|| {
        let lab = Lab::new(&responders(1)).unwrap();
        let doctor = Doctor::new(&lab);
        let reject = format!(
            "table inet rejecting {{ chain forward {{ type filter hook forward priority 0
                ip6 daddr {A} udp dport 33999 reject with icmpv6 type port-unreachable
            }}
            }}\n"
        );
        lab.host("router").unwrap().nft(&reject).unwrap();
        let prefixes = format!("{A}/128");
        let set = [
            ("AARP_PREFIXES", prefixes.as_str()),
            ("AARP_TRUSTED", "2001:db8:51::/64"),
            ("AARP_METHODS", "unreach"),
        ];
        let run = doctor.run_in_vain(&[A], &set);
        let records = run.records();
        assert_eq!(run.code, 4, "{records:#?}");
        let found = finding(&records, "answer");
        let detail = found["detail"].as_str().unwrap();
        for word in [
            "2001:db8:1::1",
            "a router or firewall that rejects",
            "own link",
        ] {
            assert!(detail.contains(word), "{word}: {detail}");
        }
        let remedies = found["remedies"].to_string();
        assert!(!remedies.contains("add its prefix"), "{remedies}");
        assert!(remedies.contains("do not trust it"), "{remedies}");
    });
}

#[test]
fn without_a_permission_it_prints_how_to_give_it() {
    rootless::test(|| {
        let lab = Lab::new(&responders(1)).unwrap();
        let doctor = Doctor::new(&lab);
        if let Err(error) = doctor.client.sysctl("net.ipv4.ping_group_range", "1 0") {
            // A user namespace has one group, and no way to write that it has none.
            assert!(rootless::is_inside(), "{error}");
            let name = "without_a_permission_it_prints_how_to_give_it";
            rootless::skipped(name, &error.to_string());
            return;
        }
        let unprivileged = |variables: &[(&str, &str)]| {
            let command = doctor
                .client
                .command("setpriv")
                .args([
                    "--bounding-set=-all",
                    "--inh-caps=-all",
                    "--no-new-privs",
                    "--",
                ])
                .arg(program())
                .args(["doctor", "--json", A])
                .env("AARP_CONFIG", "/dev/null")
                .env("AARP_LIBRARY", &doctor.library)
                .envs(variables.iter().copied());
            ended(command)
        };
        let hindrances = |records: &[Value]| -> Vec<Value> {
            let hinder = |record: &&Value| record["verdict"] == "hindrance";
            records.iter().filter(hinder).cloned().collect()
        };
        // With the defaults it is also told what needs no permission.
        let run = unprivileged(&[]);
        let records = run.records();
        let found = finding(&records, "probe sockets").clone();
        assert_eq!((run.code, &found["verdict"]), (77, &"hindrance".into()));
        assert_eq!(finding(&records, "policy")["verdict"], "note");
        let remedies = found["remedies"].to_string();
        assert!(
            remedies.contains("unreach") && remedies.contains("trusted = ["),
            "{remedies}"
        );
        // What it lacks is one thing.
        let prefixes = format!("{A}/128");
        let unreach = [
            ("AARP_METHODS", "unreach"),
            ("AARP_PREFIXES", prefixes.as_str()),
        ];
        let run = unprivileged(&unreach);
        let records = run.records();
        let lacks = hindrances(&records);
        assert_eq!((run.code, lacks.len()), (2, 1), "{records:#?}");
        let detail = lacks[0]["detail"].as_str().unwrap();
        assert!(detail.contains("`trusted` is not set"), "{detail}");
        assert!(command_of(&lacks[0]).contains("AARP_TRUSTED="), "{lacks:?}");
        // And with it nothing hinders.
        let trusted = ("AARP_TRUSTED", "2001:db8:51::/64");
        let run = unprivileged(&[&unreach[..], &[trusted]].concat());
        let records = run.records();
        assert_eq!(run.code, 0, "{records:#?}");
        assert_eq!(finding(&records, "probe sockets")["verdict"], "ok");
        // Without an address too.
        let set = [("AARP_METHODS", "echo,unreach"), unreach[1], trusted];
        let run = unprivileged(&set);
        let records = run.records();
        assert_eq!(finding(&records, "probe sockets")["verdict"], "note");
        assert!(hindrances(&records).is_empty(), "{records:#?}");

        obey(doctor.client, &command_of(&found));
        let run = unprivileged(&[]);
        assert_eq!(run.code, 0, "{}", run.stdout);
        // With privileges it is a thing to know.
        doctor
            .client
            .sysctl("net.ipv4.ping_group_range", "1 0")
            .unwrap();
        let run = doctor.run(&[], &[]);
        let records = run.records();
        assert_eq!(
            (run.code, &finding(&records, "probe sockets")["verdict"]),
            (0, &"note".into())
        );
    });
}
