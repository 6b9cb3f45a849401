//! A program that runs with other privileges than its caller's (`AT_SECURE`).

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::{A, common, stage, with_place};

/// ld.so preloads nothing into it, so that it is linked with the library here. What its
/// caller says in the environment is not heard: neither what to ask about, nor to tell.
#[test]
fn the_environment_means_nothing_to_a_setuid_program() {
    with_place(|place| {
        if !common::has_other_users() {
            return stage::skip("no other users in this user namespace");
        }
        // Where that user may read it, and the file system knows such programs.
        let temporary = tempfile::Builder::new()
            .prefix("aarp-secure")
            .tempdir_in("/var/tmp")
            .unwrap();
        let folder = temporary.path();
        fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
        fs::copy(stage::library(), folder.join("libaarp.so")).unwrap();
        let [search, run] = ["-L", "-Wl,-rpath,"].map(|flag| format!("{flag}{}", folder.display()));
        let flags = ["-Wl,--no-as-needed", &search, &run, "-l:libaarp.so"];
        let compiled = place.compile("secure", include_str!("secure.c"), &flags);
        let program = folder.join("secure");
        fs::copy(&compiled, &program).unwrap();
        let host = place.site.lab.host("s1").unwrap();
        host.sysctl("net.ipv4.ping_group_range", "0 2147483647")
            .unwrap();
        let mut seen = Vec::new();
        for mode in [0o755, 0o4755] {
            fs::set_permissions(&program, Permissions::from_mode(mode)).unwrap();
            let command = place.preloaded(&program, &[]).env("AARP_LOG", "debug");
            let command = command.arg(A.to_string()).user(65534, 65534);
            let output = command.output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let log = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{}: {log}", output.status);
            seen.push((text, log.contains("aarp[")));
        }
        assert_eq!(
            seen,
            [
                ("secure=0 stream=1 datagrams=1\n".to_owned(), true),
                ("secure=1 stream=0 datagrams=0\n".to_owned(), false),
            ]
        );
    });
}
