//! Programs in C, compiled against what is installed, on lab networks with the real aarpd.
#![allow(unreachable_pub)]

mod order;
mod site;
#[path = "../../../../tests/availability/stage.rs"]
mod stage;

use std::path::{Path, PathBuf};
use std::process::Command as Plain;
use std::time::Duration;

use aarp_lab::{Filter, Signal, rootless, wait_until};

use site::{A, Linked, PATIENCE, SILENT, Site, output_of, stage, u};

/// A budget that nobody needs, in milliseconds.
const WHOLE: u32 = 10_000;

/// The example, as it is installed.
fn example() -> PathBuf {
    stage().join("share/doc/aarp/examples/connect.c")
}

fn results() -> PathBuf {
    source("results.c")
}

/// A program of this folder.
fn source(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c");
    folder.join(name)
}

#[test]
fn a_program_in_c_connects_by_the_daemon_and_then_by_its_table() {
    rootless::test(|| {
        let site = Site::new("");
        let example = site.compile(&example(), Linked::Shared);
        site.serve(1, "::");
        let daemon = site.start();
        let capture = site.lab.capture("client", "eth0").unwrap();
        let to = |source: u32| format!("connect: to {}, source {source}\n", u(1));
        assert_eq!(site.connect(&example), ("s1\n".to_owned(), to(3)));
        assert_eq!(site.connect(&example), ("s1\n".to_owned(), to(1)));
        let packets = capture.finish().unwrap();
        assert_eq!(Filter::icmp6(128).count(&packets), 1, "{packets:?}");
        // What it retires is not read any more, and it is not missed.
        assert!(daemon.terminate(PATIENCE).unwrap().success());
        assert_eq!(site.connect(&example), ("s1\n".to_owned(), to(4)));
    });
}

#[test]
fn a_unicast_address_that_refuses_is_told_and_gone_round() {
    rootless::test(|| {
        let site = Site::new("");
        let example = site.compile(&example(), Linked::Shared);
        site.serve(1, A);
        let _daemon = site.start();
        let capture = site.lab.capture("client", "eth0").unwrap();
        let (said, error) = site.connect(&example);
        assert_eq!(said, "s1\n");
        assert!(error.contains("Connection refused"), "{error}");
        // The daemon asks again because it was told.
        capture.wait_for(&Filter::icmp6(128), 2, PATIENCE).unwrap();
    });
}

#[test]
fn every_result_says_where_to_go() {
    rootless::test(|| {
        let site = Site::new("");
        let results = site.compile(&results(), Linked::Static);
        let u = u(1);
        let silent = |result: &str| format!("{result}, {SILENT}, 0, fine");
        let asked = [
            (A, WHOLE),
            (A, 0),
            (SILENT, 20),
            (SILENT, u32::MAX),
            (SILENT, WHOLE),
        ];
        let expected = [
            format!("0, {u}, 4, fine"),
            format!("0, {u}, 2, fine"),
            silent("ETIMEDOUT"),
            silent("EHOSTUNREACH"),
            silent("EHOSTUNREACH"),
        ];
        assert_eq!(site.results("client", &results, &asked), expected);
        let never = [
            ("EINVAL", "::ffff:192.0.2.1"),
            ("EINVAL", "::1"),
            ("EINVAL", "fe80::1"),
            ("EINVAL", "ff02::1"),
            ("EPERM", "2001:db8:c::1"),
        ];
        let asked = never.map(|(_, a)| (a, WHOLE));
        let expected = never.map(|(result, a)| format!("{result}, {a}, 0, fine"));
        assert_eq!(site.results("client", &results, &asked), expected);
        let _daemon = site.start();
        let asked = [(A, WHOLE), (A, 0), (SILENT, 20)];
        let expected = [
            format!("0, {u}, 3, fine"),
            format!("0, {u}, 1, fine"),
            silent("ETIMEDOUT"),
        ];
        assert_eq!(site.results("client", &results, &asked), expected);
        wait_until("the daemon has waited to the end", PATIENCE, || {
            let said = site.results("client", &results, &[(SILENT, WHOLE)]);
            Ok(said == [silent("EHOSTUNREACH")])
        })
        .unwrap();
    });
}

#[test]
fn who_could_not_wait_finds_it_at_the_next_call() {
    rootless::test(|| {
        let site = Site::new("");
        let results = site.compile(&results(), Linked::Shared);
        let _daemon = site.start();
        let first = site.results("client", &results, &[(A, 0)]);
        assert_eq!(first, [format!("ETIMEDOUT, {A}, 0, fine")]);
        wait_until("it stands in the table", PATIENCE, || {
            let said = site.results("client", &results, &[(A, 0)]);
            Ok(said == [format!("0, {}, 1, fine", u(1))])
        })
        .unwrap();
    });
}

#[test]
fn the_daemon_of_another_network_is_not_believed() {
    rootless::test(|| {
        let site = Site::new("");
        let results = site.compile(&results(), Linked::Shared);
        let _daemon = site.start();
        let asked = [(A, WHOLE)];
        let told = |n: usize, source: u32| [format!("0, {}, {source}, fine", u(n))];
        assert_eq!(site.results("client", &results, &asked), told(1, 3));
        site.move_to(2);
        assert_eq!(site.results("client", &results, &asked), told(1, 1));
        // The same files, seen from another network.
        assert_eq!(site.results("other", &results, &asked), told(2, 4));
        // A thread that has left for a network without routes finds nobody.
        let moves = [(A, 0), ("leave", 0), (A, WHOLE), ("return", 0), (A, 0)];
        let [here] = told(1, 1);
        let there = format!("EHOSTUNREACH, {A}, 0, fine");
        let said = site.results("client", &results, &moves);
        assert_eq!(said, [here.clone(), there, here]);
    });
}

/// The folder of a daemon, seen through a mount from another network, where a user has a
/// daemon of their own or none. Who listens there answers whoever asks, as a daemon does
/// whose kernel does not tell where they are from (before Linux 5.14).
#[test]
fn a_folder_that_is_mounted_in_another_network_tells_nobody_there() {
    rootless::test(|| {
        let site = Site::new("");
        let results = site.compile(&results(), Linked::Shared);
        let _daemon = site.start();
        let _stranger = site.listen("answers");
        let runtime = site.lab.work().join("runtime");
        std::fs::create_dir(&runtime).unwrap();
        let said = || site.results_in_container("other", &results, &runtime, A);
        let told = |source: u32| format!("0, {}, {source}, fine\n", u(1));
        assert_eq!(said(), told(4));
        let _own = site.start_own("other", &runtime);
        assert_eq!([said(), said()], [told(3), told(1)]);
        // Where it belongs, it is believed: it answers in the right way.
        let here = site.results_in_container("client", &results, &runtime, "2001:db8:a::54");
        assert_eq!(here, format!("0, {}, 3, fine\n", u(2)));
    });
}

/// Its table says that nobody is there: the network is asked, and has all of the time.
#[test]
fn a_daemon_without_a_sign_of_life_is_not_waited_for() {
    rootless::test(|| {
        let site = Site::new("");
        let results = site.compile(&results(), Linked::Shared);
        let daemon = site.start();
        daemon.signal(Signal::STOP).unwrap();
        site.age(Duration::from_secs(13));
        let said = site.results("client", &results, &[(A, WHOLE), (A, 0)]);
        let [asked, known] = [4, 2].map(|source| format!("0, {}, {source}, fine", u(1)));
        assert_eq!(said, [asked, known]);
        daemon.signal(Signal::KILL).unwrap();
    });
}

#[test]
fn a_daemon_that_is_required_is_missed() {
    rootless::test(|| {
        let site = Site::new("use = \"require\"\n");
        let results = site.compile(&results(), Linked::Shared);
        let asked = [(A, WHOLE)];
        let missed = [format!("ECONNREFUSED, {A}, 0, fine")];
        assert_eq!(site.results("client", &results, &asked), missed);
        let _daemon = site.start();
        let told = [format!("0, {}, 3, fine", u(1))];
        assert_eq!(site.results("client", &results, &asked), told);
        // Of another network, it is as if it were not there.
        assert_eq!(site.results("other", &results, &asked), missed);
    });
}

#[test]
fn a_wrong_configuration_is_named() {
    rootless::test(|| {
        let site = Site::new("no-such-key = 1\n");
        let results = site.compile(&results(), Linked::Shared);
        let said = site.results("client", &results, &[(A, WHOLE)]);
        assert_eq!(said, [format!("ENOTRECOVERABLE, {A}, 0, fine")]);
    });
}

#[test]
fn the_library_has_a_version_and_its_functions_alone() {
    let library = stage().join("lib/libaarp-resolve.so.0");
    let symbols = output_of(
        Plain::new("nm")
            .args(["-D", "--defined-only"])
            .arg(&library),
    );
    let mut names: Vec<&str> = symbols
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2))
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["aarp_failed", "aarp_resolve", "aarp_strerror"]);
    let dynamic = output_of(Plain::new("readelf").arg("-d").arg(&library));
    assert!(
        dynamic.contains("Library soname: [libaarp-resolve.so.0]"),
        "{dynamic}"
    );
}
