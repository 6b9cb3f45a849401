//! Programs that are not started, with the reason and the right exit status.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::{MAPPED, Prefix, Run, control, interpreter, root_or_skip, skip};

fn run(prefix: &Prefix, program: &Path) -> Run {
    prefix.run(&[program])
}

#[test]
fn what_is_not_there() {
    let prefix = Prefix::new();
    prefix
        .run(&["no-such-command-anywhere"])
        .fails(127, &["no-such-command-anywhere", "command not found"]);
    prefix
        .run(&["/nowhere/x"])
        .fails(127, &["/nowhere/x", "no such file"]);
    prefix.run(&[""]).fails(127, &["command not found"]);
    let script = prefix.program("script", "#!/nowhere/interpreter -x\n");
    run(&prefix, &script).fails(127, &["script", "interpreter /nowhere/interpreter"]);
    let dos = prefix.program("dos", "#!/bin/sh\r\necho\r\n");
    run(&prefix, &dos).fails(127, &["carriage return"]);
}

#[test]
fn what_is_there_and_cannot_be_executed() {
    let prefix = Prefix::new();
    let file = prefix.path("plain");
    fs::write(&file, "#!/bin/sh\n").expect("write");
    run(&prefix, &file).fails(126, &["plain", "not executable"]);
    fs::create_dir(prefix.path("folder")).expect("folder");
    run(&prefix, &prefix.path("folder")).fails(126, &["is a directory"]);
    run(&prefix, Path::new("/dev/null")).fails(126, &["not a regular file"]);
    // Found in PATH only as something that cannot be executed.
    let mut command = prefix.command();
    command.env("PATH", prefix.path("")).arg("plain");
    Run::of(&mut command).fails(126, &["plain", "not executable"]);
    // And passed over for the one that can.
    fs::create_dir(prefix.path("later")).expect("folder");
    prefix.program("later/plain", "#!/bin/sh\necho later\n");
    let mut command = prefix.command();
    let path = format!(
        "{}:{}",
        prefix.path("").display(),
        prefix.path("later").display()
    );
    command.env("PATH", path).arg("plain");
    Run::of(&mut command).prints("later\n");
}

#[test]
fn a_folder_that_may_not_be_searched_has_no_command() {
    if !root_or_skip("a_folder_that_may_not_be_searched_has_no_command") {
        return;
    }
    let prefix = Prefix::new();
    fs::create_dir(prefix.path("closed")).expect("folder");
    prefix.program("closed/hidden", "#!/bin/sh\n");
    fs::set_permissions(prefix.path("closed"), Permissions::from_mode(0o000)).expect("chmod");
    let mut command = prefix.as_nobody(prefix.path("bin/aarp-run"));
    let path = format!("{}:/bin", prefix.path("closed").display());
    let run = Run::of(command.env("PATH", path).arg("hidden"));
    run.fails(127, &["hidden", "command not found"]);
}

#[test]
fn static_programs() {
    let prefix = Prefix::new();
    prefix.program("start.c", "void _start(void) { for (;;) ; }\n");
    prefix.cc(&["-static", "-nostdlib", "-no-pie"], "start.c", "static");
    run(&prefix, &prefix.path("static")).fails(126, &["statically linked", "dynamically linked"]);
    prefix.cc(
        &["-static-pie", "-nostdlib", "-fPIE"],
        "start.c",
        "static-pie",
    );
    run(&prefix, &prefix.path("static-pie")).fails(126, &["statically linked (static-pie)"]);
    // As an interpreter, too, and behind env.
    let line = format!("#!{}\n", prefix.path("static").display());
    let script = prefix.program("script", line);
    run(&prefix, &script).fails(126, &["script -> ", "/static: ", "statically linked"]);
    let line = format!("#!/usr/bin/env -S {} -x\n", prefix.path("static").display());
    let script = prefix.program("env-script", line);
    run(&prefix, &script).fails(126, &["env-script -> /usr/bin/env -> ", "statically"]);
    let mut command = prefix.command();
    command.arg("env").arg("A=1").arg(prefix.path("static"));
    Run::of(&mut command).fails(126, &["statically"]);
}

#[test]
fn another_architecture_and_another_libc() {
    let prefix = Prefix::new();
    // An ELF header for a 32-bit machine that nobody has (e_machine 0xfefe).
    let mut header = vec![0u8; 52];
    header[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
    header[16..18].copy_from_slice(&2u16.to_le_bytes());
    header[18..20].copy_from_slice(&0xfefeu16.to_le_bytes());
    header[20..24].copy_from_slice(&1u32.to_le_bytes());
    header[40..42].copy_from_slice(&52u16.to_le_bytes());
    let odd = prefix.program("odd", &header);
    run(&prefix, &odd).fails(126, &["32-bit machine 65278", "the library"]);
    header[18..20].copy_from_slice(&3u16.to_le_bytes());
    let i386 = prefix.program("i386", &header);
    run(&prefix, &i386).fails(126, &["32-bit i386"]);

    let genuine = fs::read("/bin/true").expect("true");
    let at = interpreter(&genuine);
    let mut musl = genuine.clone();
    musl[at.clone()].fill(0);
    let name = b"/lib/ld-musl.so.1";
    musl[at.start..at.start + name.len()].copy_from_slice(name);
    let musl = prefix.program("musl", musl);
    run(&prefix, &musl).fails(126, &["not a program of glibc", "ld-musl"]);

    let mut orphan = genuine;
    orphan[at.end - 1] = b'9';
    let orphan = prefix.program("orphan", orphan);
    run(&prefix, &orphan).fails(127, &["dynamic linker", "is not"]);

    let damaged = prefix.program("damaged", b"\x7fELF\x02\x01\x01");
    run(&prefix, &damaged).fails(126, &["damaged ELF file"]);
}

#[test]
fn programs_that_change_user_or_group() {
    if !root_or_skip("programs_that_change_user_or_group") {
        return;
    }
    let prefix = Prefix::new();
    let aarp_run = prefix.path("bin/aarp-run");
    let nobody = |program: &Path| {
        let mut command = prefix.as_nobody(&aarp_run);
        Run::of(command.arg(program).args(MAPPED))
    };
    let ordinary = prefix.grep("ordinary");
    assert!(control(&prefix, &ordinary), "the control");
    nobody(&ordinary).prints("");

    let user = prefix.grep("setuid");
    fs::set_permissions(&user, Permissions::from_mode(0o4755)).expect("chmod");
    if control(&prefix, &user) {
        skip("programs_that_change_user_or_group", "a nosuid file system");
        return;
    }
    nobody(&user).fails(126, &["setuid to user 0", "sudo aarp-run"]);
    // Root gains nothing by it, and is not refused.
    let mut words = vec![user.to_str().expect("UTF-8")];
    words.extend(MAPPED);
    prefix.run(&words).prints("");
    // no_new_privs makes the bit void.
    let mut command = prefix.as_nobody("setpriv");
    command
        .arg("--no-new-privs")
        .arg(&aarp_run)
        .arg(&user)
        .args(MAPPED);
    Run::of(&mut command).prints("");
    // A script's bits count for nothing, its interpreter's do.
    let script = prefix.program("script", format!("#!{} -q\n", user.display()));
    nobody(&script).fails(126, &["script -> ", "setuid to user 0"]);
    let script = prefix.program("setuid-script", "#!/bin/sh\n");
    fs::set_permissions(&script, Permissions::from_mode(0o4755)).expect("chmod");
    nobody(&script).prints("");

    let group = prefix.grep("setgid");
    fs::set_permissions(&group, Permissions::from_mode(0o2755)).expect("chmod");
    assert!(!control(&prefix, &group), "the control");
    nobody(&group).fails(126, &["setgid to group 0"]);

    let other = prefix.grep("setuid-nobody");
    std::os::unix::fs::chown(&other, Some(65534), Some(65534)).expect("chown");
    fs::set_permissions(&other, Permissions::from_mode(0o4755)).expect("chmod");
    run(&prefix, &other).fails(126, &["setuid to user 65534"]);
    assert!(control(&prefix, &other), "its own user gains nothing");
    nobody(&other).prints("");
}

#[test]
fn file_capabilities() {
    if !root_or_skip("file_capabilities") {
        return;
    }
    let prefix = Prefix::new();
    let program = prefix.grep("capable");
    match Command::new("setcap")
        .arg("cap_net_raw+ep")
        .arg(&program)
        .output()
    {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            return skip(
                "file_capabilities",
                &String::from_utf8_lossy(&output.stderr),
            );
        }
        Err(error) => return skip("file_capabilities", &format!("setcap: {error}")),
    }
    if control(&prefix, &program) {
        return skip("file_capabilities", "a nosuid file system");
    }
    let mut command = prefix.as_nobody(prefix.path("bin/aarp-run"));
    Run::of(command.arg(&program).args(MAPPED)).fails(126, &["file capabilities", "setpriv"]);
    let mut words = vec![program.to_str().expect("UTF-8")];
    words.extend(MAPPED);
    prefix.run(&words).prints("");
}

#[test]
fn what_may_be_run_but_not_read() {
    if !root_or_skip("what_may_be_run_but_not_read") {
        return;
    }
    let prefix = Prefix::new();
    let program = prefix.grep("unreadable");
    fs::set_permissions(&program, Permissions::from_mode(0o711)).expect("chmod");
    let mut command = prefix.as_nobody(prefix.path("bin/aarp-run"));
    let run = Run::of(command.arg(&program).arg("--version"));
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.err.contains("may be run but not read"), "{run:?}");
}

#[test]
fn our_own_failures() {
    let prefix = Prefix::new();
    prefix
        .run(&["--library", "/nowhere/libaarp.so", "true"])
        .fails(125, &["/nowhere/libaarp.so"]);
    prefix
        .run(&["--library", "/bin/true", "true"])
        .fails(125, &["not a shared library"]);
    prefix
        .run(&["--library", "/etc/passwd", "true"])
        .fails(125, &["/etc/passwd"]);
    prefix
        .run(&["--library", "/", "true"])
        .fails(125, &["not a shared library"]);
    prefix
        .run(&["--config", "/nowhere.toml", "true"])
        .fails(125, &["/nowhere.toml"]);
    fs::create_dir(prefix.path("a:b")).expect("folder");
    let colon = prefix.path("a:b/libaarp.so");
    fs::copy(prefix.library(), &colon).expect("copy");
    prefix
        .run(&["--library".as_ref(), colon.as_os_str(), "true".as_ref()])
        .fails(125, &["colon"]);
    fs::remove_file(prefix.library()).expect("remove");
    prefix
        .run(&["true"])
        .fails(125, &["cannot find libaarp.so", "lib64/aarp", "--library"]);

    for usage in [
        &[][..],
        &["--bogus", "true"],
        &["--on-failure", "maybe", "true"],
    ] {
        let run = prefix.run(usage);
        assert_eq!(run.code, Some(125), "{run:?}");
        assert_eq!(run.out, "");
    }
    for asked in ["--help", "--version"] {
        let run = prefix.run(&[asked]);
        assert_eq!(run.code, Some(0));
        assert!(run.out.contains("aarp-run"), "{run:?}");
    }
}
