//! The library as an object: what it exports and needs, and the ways to load it.

use std::process::Command;

use aarp_lab::rootless;

use crate::site::{A, U1, now};
use crate::stage::{has, library};
use crate::{NEEDED, silent_site};

/// Every hook, and the version that `aarp-run --check` looks for.
const EXPORTED: [&str; 64] = [
    "_Fork",
    "__close",
    "__connect",
    "__dup2",
    "__fcntl",
    "__fork",
    "__read",
    "__read_chk",
    "__recv_chk",
    "__recvfrom_chk",
    "__send",
    "__write",
    "aarp_version",
    "accept",
    "accept4",
    "bind",
    "chroot",
    "close",
    "close_range",
    "closefrom",
    "connect",
    "dup",
    "dup2",
    "dup3",
    "execl",
    "execle",
    "execlp",
    "execv",
    "execve",
    "execveat",
    "execvp",
    "execvpe",
    "fclose",
    "fcntl",
    "fcntl64",
    "fexecve",
    "fork",
    "getaddrinfo",
    "getpeername",
    "getsockopt",
    "ioctl",
    "popen",
    "posix_spawn",
    "posix_spawnp",
    "prctl",
    "read",
    "readv",
    "recv",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "send",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setns",
    "setsockopt",
    "sigaltstack",
    "socket",
    "syscall",
    "system",
    "unshare",
    "write",
    "writev",
];

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .arg(library())
        .output()
        .expect("binutils, which a C compiler needs too");
    assert!(output.status.success(), "{program} {arguments:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn it_exports_the_hooks_and_nothing_else() {
    if !has(&["nm"]) {
        return;
    }
    let text = output("nm", &["-D", "--defined-only", "--format=posix"]);
    let mut names: Vec<_> = text
        .lines()
        .filter_map(|line| line.split([' ', '@']).next())
        .collect();
    names.sort_unstable();
    assert_eq!(names, EXPORTED);
}

#[test]
fn it_needs_libc_alone_and_has_a_name() {
    if !has(&["readelf"]) {
        return;
    }
    let text = output("readelf", &["-d", "-W"]);
    let values = |tag: &str| -> Vec<&str> {
        let tag = format!("({tag})");
        let lines = text.lines().filter(|line| line.contains(&tag));
        lines
            .filter_map(|line| Some(line.split_once('[')?.1.split_once(']')?.0))
            .collect()
    };
    assert_eq!(values("NEEDED"), ["libc.so.6"]);
    assert_eq!(values("SONAME"), ["libaarp.so"]);
    // Nothing is run before main, and no relocation touches the code.
    for tag in ["INIT", "INIT_ARRAY", "TEXTREL"] {
        assert!(!text.contains(&format!("({tag})")), "{tag}: {text}");
    }
}

/// Its folder at the head of the search path, and its bare name, do as well as its
/// path.
#[test]
fn it_is_found_by_its_name() {
    if !has(&NEEDED) || !has(&["wget"]) {
        return;
    }
    rootless::test(|| {
        let site = silent_site();
        let since = now();
        let folder = library().parent().expect("a folder").to_owned();
        let url = format!("http://[{A}]/who");
        let output = site
            .lab
            .host("client")
            .unwrap()
            .command("wget")
            .args(["-q", "-t1", "-O-", &url])
            .env("LD_LIBRARY_PATH", folder)
            .env("LD_PRELOAD", "libaarp.so")
            .env("AARP_CONFIG", "/dev/null")
            .env("AARP_PREFIXES", format!("{A}/128"))
            .env("AARP_BUDGET", "10s")
            .run()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "s1\n");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let seen = site.seen(since);
        assert_eq!(seen.served("s1", U1).len(), 1);
        assert!(seen.tried("s1", A).is_empty());
    });
}
