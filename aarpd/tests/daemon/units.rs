//! The units of systemd, as its own tools judge them.

use std::path::Path;
use std::process::Command;

use aarp_lab::rootless::skipped;

/// What systemd-analyze says; `None` where there is none.
fn analyze(test: &str, arguments: &[&str]) -> Option<(bool, String)> {
    let output = match Command::new("systemd-analyze").args(arguments).output() {
        Ok(output) => output,
        Err(error) => {
            skipped(test, &format!("systemd-analyze: {error}"));
            return None;
        }
    };
    let said = [output.stdout, output.stderr].concat();
    Some((
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    ))
}

fn unit(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd");
    folder.join(name).to_str().unwrap().to_owned()
}

#[test]
fn the_service_is_hardened() {
    // Exposure in tenths: 0 is nothing and 100 everything.
    let service = unit("aarpd.service");
    let arguments = ["security", "--offline=true", "--threshold=20", &service];
    if let Some((fine, said)) = analyze("the_service_is_hardened", &arguments) {
        assert!(fine, "{said}");
    }
}

#[test]
fn the_units_are_understood() {
    let folder = std::env::temp_dir().join(format!("aarpd-units-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    // The program is not installed where the unit has it.
    for name in ["aarpd.service", "aarpd.socket"] {
        let text = std::fs::read_to_string(unit(name)).unwrap();
        let text = text.replace("/usr/bin/aarpd", env!("CARGO_BIN_EXE_aarpd"));
        std::fs::write(folder.join(name), text).unwrap();
    }
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (service, socket) = (path("aarpd.service"), path("aarpd.socket"));
    let verified = analyze(
        "the_units_are_understood",
        &["verify", "--man=no", &service, &socket],
    );
    std::fs::remove_dir_all(&folder).unwrap();
    if let Some((fine, said)) = verified {
        assert!(fine && said.is_empty(), "{said}");
    }
}

/// Agents and responders of root have their files in the folder of the table.
#[test]
fn the_service_takes_nothing_of_roots() {
    let text = std::fs::read_to_string(unit("aarpd.service")).unwrap();
    let set = |name: &str| -> Vec<&str> {
        let lines = text.lines().filter_map(|line| line.split_once('='));
        lines
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| value)
            .collect()
    };
    // systemd.exec(5): of another user before, it changes hands with what is in it.
    assert_eq!(set("RuntimeDirectory"), [""; 0]);
    assert_eq!(set("ReadWritePaths"), ["/run/aarp"]);
    // For its group to make files in, and for nobody to remove others'.
    let [folder, files] = set("ExecStartPre")[..] else {
        panic!("{text}");
    };
    let words: Vec<&str> = folder.split(' ').collect();
    let options = ["-d", "-o", "root", "-g", "aarp", "-m", "1775", "/run/aarp"];
    assert_eq!((words[0], &words[1..]), ("+/usr/bin/install", &options[..]));
    // But the table of root's aarpd that was killed, by no link: these names alone, of
    // which some may be missing.
    let words: Vec<&str> = files.split(' ').collect();
    let options = ["-fh", "aarp:aarp"];
    assert_eq!((words[0], &words[1..3]), ("-+/usr/bin/chown", &options[..]));
    let names = ["table", "table.lock", "table.new"].map(|name| format!("/run/aarp/{name}"));
    assert_eq!(words[3..], names);
}
