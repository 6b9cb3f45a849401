//! The record of changes, in a folder where other users may make files.
use std::net::Ipv6Addr;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use aarp_host::changes::{Change, Changes, Done};
use aarp_host::tool::Tool;
use aarp_lab::{Host, HostSpec, Lab, Network, rootless};

const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 1);

fn address() -> Change {
    Change::Address {
        address: A,
        prefix_length: 128,
        interface: "lo".into(),
        deprecated: true,
    }
}

fn lab() -> Lab {
    Lab::new(&Network::new().host("agent", HostSpec::new())).unwrap()
}

fn has_address(host: &Host) -> bool {
    let shown = host.ip("-o -6 addr show dev lo").unwrap();
    shown.contains(&format!("{A}/128"))
}

/// Begins with the record in `file`, and makes the change.
fn begin(host: &Host, file: &Path) -> Result<Changes, String> {
    let file = file.to_owned();
    host.enter(move || {
        let ip = Tool::ip().map_err(|error| error.to_string())?;
        let (mut changes, errors) =
            Changes::recorded(ip, &file).map_err(|error| error.to_string())?;
        assert!(errors.is_empty(), "{errors:?}");
        let made = changes.make(address()).map_err(|error| error.to_string())?;
        assert!(made);
        Ok(changes)
    })
}

/// What somebody has put in its place is not what this program has changed.
#[test]
fn a_record_of_somebody_elses_undoes_nothing() {
    rootless::test(|| {
        let lab = lab();
        let agent = lab.host("agent").unwrap();
        agent
            .ip(&format!("-6 addr add {A}/128 dev lo nodad"))
            .unwrap();
        let done = Done {
            change: address(),
            replaced: Vec::new(),
            before: None,
        };
        let text = serde_json::to_string(&[done]).unwrap();
        let refused = |name: &str, said: &str, make: fn(&Path, &str)| {
            let file = lab.work().join(name);
            make(&file, &text);
            let error = begin(agent, &file).unwrap_err();
            let line = format!("undo what {} names: {said}", file.display());
            assert_eq!(error, line);
            assert!(has_address(agent), "{name}");
            // It stays, for whoever wants to know where it is from.
            assert!(file.symlink_metadata().is_ok(), "{name}");
        };
        refused("open.changes", "others may write it", |file, text| {
            std::fs::write(file, text).unwrap();
            std::fs::set_permissions(file, PermissionsExt::from_mode(0o620)).unwrap();
        });
        refused("link.changes", "a symbolic link", |file, text| {
            let other = file.with_extension("other");
            std::fs::write(&other, text).unwrap();
            symlink(&other, file).unwrap();
        });
        refused("pipe.changes", "no regular file", |file, _| {
            let made = std::process::Command::new("mkfifo").arg(file).status();
            assert!(made.unwrap().success());
        });
        // In a user namespace there may be no other user.
        let probe = lab.work().join("probe");
        std::fs::write(&probe, "").unwrap();
        match chown(&probe, Some(4711), None) {
            Err(error) => rootless::skipped(
                "a_record_of_somebody_elses_undoes_nothing",
                &format!("another user's: {error}"),
            ),
            Ok(()) => refused("foreign.changes", "belongs to user 4711", |file, text| {
                std::fs::write(file, text).unwrap();
                chown(file, Some(4711), None).unwrap();
            }),
        }
        // The same is believed where nobody else can have written it.
        let file = lab.work().join("own.changes");
        std::fs::write(&file, &text).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        let mut changes = begin(agent, &file).unwrap();
        agent.enter(move || assert!(changes.undo().is_empty()));
        assert!(!has_address(agent));
    });
}

/// A link at the place of the file in the making is not written through.
#[test]
fn a_record_is_written_through_no_link() {
    rootless::test(|| {
        let lab = lab();
        let agent = lab.host("agent").unwrap();
        let within = |name: &str| -> PathBuf { lab.work().join(name) };
        std::fs::write(within("victim"), "as it was").unwrap();
        for target in ["victim", "missing"] {
            symlink(within(target), within("agent.new")).unwrap();
            let file = within("agent.changes");
            let mut changes = begin(agent, &file).unwrap();
            assert_eq!(
                std::fs::read_to_string(within("victim")).unwrap(),
                "as it was"
            );
            assert!(!within("missing").exists());
            assert!(within("agent.new").symlink_metadata().is_err());
            let of = file.symlink_metadata().unwrap();
            assert!(of.is_file());
            assert_eq!(of.mode() & 0o7777, 0o600);
            let text = std::fs::read_to_string(&file).unwrap();
            let record: Vec<Done> = serde_json::from_str(&text).unwrap();
            assert_eq!(record, changes.record());
            agent.enter(move || assert!(changes.undo().is_empty()));
            assert!(file.symlink_metadata().is_err());
        }
        // What somebody holds open there is not what is written to.
        let planted = within("agent.new");
        std::fs::write(&planted, "").unwrap();
        std::fs::set_permissions(&planted, PermissionsExt::from_mode(0o666)).unwrap();
        let open = std::fs::File::open(&planted).unwrap();
        let mut changes = begin(agent, &within("agent.changes")).unwrap();
        assert_eq!(open.metadata().unwrap().len(), 0);
        agent.enter(move || assert!(changes.undo().is_empty()));
    });
}
