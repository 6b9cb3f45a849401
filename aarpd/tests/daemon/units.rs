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
