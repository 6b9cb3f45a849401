//! What the configuration forbids stays forbidden, wherever it says so and whatever
//! the program does.

use std::path::Path;

use aarp_lab::Command;

use crate::site::{A, Site, Variant};
use crate::stage::{has, tool};
use crate::{command, finish, with_site};

/// A system's configuration that pins to nothing that is at this site.
const NARROW: &str = "[resolve]\nprefixes = [\"2001:db8:a::/48\"]\n\
                      [[prefix]]\nprefix = \"2001:db8:a::/48\"\n\
                      trusted = [\"2001:db8:99::/48\"]\n";

/// One that pins to the site's.
const WIDE: &str = "[resolve]\nprefixes = [\"2001:db8:a::/48\"]\n";

/// Answers that are not trusted are heard until the budget is used up.
fn budget(trusted: bool) -> &'static str {
    if trusted { "10s" } else { "2s" }
}

/// Writes a file, and the folders above it.
fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// The exit status of aarp-probe resolve for A.
fn probe(command: Command<'_>) -> Option<i32> {
    let output = command.output().unwrap();
    output.status.code()
}

fn prober(site: &Site) -> Command<'_> {
    let client = site.lab.host("client").unwrap();
    let command = client.command(tool("aarp-probe"));
    command
        .args(["resolve", &A.to_string()])
        .env("AARP_BUDGET", "10s")
}

/// A user's file may say more about a prefix, but never trust more.
#[test]
fn no_file_widens_what_another_trusts() {
    with_site(Variant::default(), |site| {
        let system = site.lab.work().join("system.toml");
        let home = site.lab.work().join("settings");
        let user = home.join("aarp/aarp.toml");
        for (system_text, user_text, trusted) in [
            (WIDE, "", true),
            (NARROW, "", false),
            (
                NARROW,
                "[[prefix]]\nprefix = \"2001:db8:a::/48\"\nttl = \"60s\"\n",
                false,
            ),
            (
                NARROW,
                "[[prefix]]\nprefix = \"2001:db8:a::/64\"\nttl = \"60s\"\n",
                false,
            ),
            (
                NARROW,
                "[[prefix]]\nprefix = \"2001:db8:a::53/128\"\ntrusted = [\"2001:db8:51::/48\"]\n",
                false,
            ),
        ] {
            write(&system, system_text);
            write(&user, user_text);
            let code = probe(
                prober(site)
                    .env("AARP_CONFIG", &system)
                    .env("XDG_CONFIG_HOME", &home)
                    .env("AARP_BUDGET", budget(trusted)),
            );
            assert_eq!(code, Some(if trusted { 0 } else { 4 }), "{user_text}");
            let run = finish(
                site,
                without_prefixes(site, "plain", "")
                    .env("AARP_CONFIG", &system)
                    .env("XDG_CONFIG_HOME", &home)
                    .env("AARP_BUDGET", budget(trusted)),
            );
            if trusted {
                run.assert_pinned();
            } else {
                run.assert_unpinned();
                assert_eq!(run.counters.get("bypass.untrusted"), 1, "{user_text}");
            }
        }
    });
}

/// The program under the library, with the configuration of files alone.
fn without_prefixes<'s>(site: &'s Site, what: &str, word: &str) -> Command<'s> {
    let program = site.lab.work().join("edges-program");
    let client = site.lab.host("client").unwrap();
    configured(client.command(program).args([&A.to_string(), what, word]))
}

/// Under the library, with patience.
fn configured(command: Command<'_>) -> Command<'_> {
    command
        .env("LD_PRELOAD", crate::stage::library())
        .env("AARP_BUDGET", "10s")
        .env("AARP_STATS", "1")
        .env("AARP_LOG", "debug")
}

/// Where the configuration cannot be seen any more it holds all the same.
#[test]
fn a_changed_root_does_not_lift_the_configuration() {
    with_site(Variant::default(), |site| {
        let system = site.lab.work().join("system.toml");
        let empty = site.lab.work().join("empty");
        std::fs::create_dir(&empty).unwrap();
        for what in ["chroot", "syscall_chroot"] {
            for (text, trusted) in [(WIDE, true), (NARROW, false)] {
                write(&system, text);
                let command = without_prefixes(site, what, empty.to_str().unwrap())
                    .env("AARP_CONFIG", &system)
                    .env("AARP_BUDGET", budget(trusted));
                let run = finish(site, command);
                if trusted {
                    run.assert_pinned();
                } else {
                    run.assert_unpinned();
                    assert_eq!(run.counters.get("bypass.untrusted"), 1, "{what}");
                }
            }
        }
    });
}

/// None of several threads that come first goes on without the configuration.
#[test]
fn threads_that_connect_first_at_once_are_all_pinned() {
    with_site(Variant::default(), |site| {
        for _ in 0..20 {
            let command = command(site, true, "together", "").env("AARP_ON_FAILURE", "refuse");
            let run = finish(site, command);
            assert_eq!(run.replies.len(), 8);
            run.assert_pinned();
        }
    });
}

/// A list that says nothing, and a path that cannot be one, are errors: nothing is
/// pinned.
#[test]
fn a_setting_without_meaning_is_an_error() {
    with_site(Variant::default(), |site| {
        let long = "x".repeat(5000);
        let system = site.lab.work().join("system.toml");
        write(&system, WIDE);
        for (name, value) in [
            ("AARP_PREFIXES", ","),
            ("XDG_CONFIG_HOME", &*format!("/{long}")),
        ] {
            let code = probe(prober(site).env("AARP_CONFIG", &system).env(name, value));
            assert_eq!(code, Some(78), "{name}");
            let program = command(site, true, "plain", "");
            let run = finish(site, program.env("AARP_CONFIG", &system).env(name, value));
            run.assert_unpinned();
            assert_eq!(run.seen.probes(), 0, "{name}");
        }
        let program = command(site, true, "plain", "");
        finish(site, program.env("AARP_CONFIG", &system)).assert_pinned();
    });
}

/// Where the user's own folder may not be looked into there is no file of the user's.
#[test]
fn a_folder_without_permission_holds_no_file() {
    if !has(&["setpriv"]) {
        return;
    }
    with_site(Variant::default(), |site| {
        use std::os::unix::fs::PermissionsExt;
        let closed = site.lab.work().join("closed");
        write(&closed.join("aarp/aarp.toml"), "this is no TOML");
        let set = |mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&closed, mode).unwrap();
        };
        let client = site.lab.host("client").unwrap();
        // Root's power over files is given up.
        let with = |words: &[&str]| {
            let command = client
                .command("setpriv")
                .args(["--bounding-set", "-dac_override,-dac_read_search"]);
            configured(command.args(words))
                .env("AARP_CONFIG", "/dev/null")
                .env("AARP_PREFIXES", format!("{A}/128"))
                .env("XDG_CONFIG_HOME", &closed)
        };
        let (a, prober) = (A.to_string(), tool("aarp-probe"));
        let code = || probe(with(&[prober.to_str().unwrap(), "resolve", &a]));
        let program = site.lab.work().join("edges-program");
        let plain = || finish(site, with(&[program.to_str().unwrap(), &a, "plain", ""]));
        assert_eq!(code(), Some(78));
        plain().assert_unpinned();
        set(0o000);
        let without_permission = (code(), plain());
        set(0o700);
        assert_eq!(without_permission.0, Some(0));
        without_permission.1.assert_pinned();
    });
}
