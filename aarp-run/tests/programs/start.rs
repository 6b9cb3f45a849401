//! Programs that can be started: they are, under the library, as if nothing were
//! between them and whoever started them.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use crate::support::{MAPPED, Prefix, Run};

#[test]
fn the_library_is_loaded() {
    let prefix = Prefix::new();
    let mut words = vec!["grep"];
    words.extend(MAPPED);
    prefix.run(&words).prints("");
    // And is not without us.
    let plain = Command::new("grep").args(MAPPED).output().expect("grep");
    assert_eq!(plain.status.code(), Some(1));
}

#[test]
fn exit_status_and_signals_pass_through() {
    let prefix = Prefix::new();
    for code in [0, 1, 42, 125, 127, 255] {
        let script = format!("exit {code}");
        assert_eq!(prefix.run(&["sh", "-c", &script]).code, Some(code));
    }
    let run = prefix.run(&["sh", "-c", "kill -TERM $$"]);
    assert_eq!(run.output.status.signal(), Some(15), "{run:?}");
}

#[test]
fn the_process_stays_the_same() {
    let prefix = Prefix::new();
    let child = prefix
        .command()
        .args(["sh", "-c", "echo $$ $PPID"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let expected = format!("{} {}\n", child.id(), std::process::id());
    let output = child.wait_with_output().expect("finished");
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

#[test]
fn arguments_arrive_untouched() {
    let prefix = Prefix::new();
    let show = prefix.program("show", "#!/bin/sh\nprintf '<%s>' \"$@\"\n");
    let show = show.to_str().expect("UTF-8");
    for leading in [&[][..], &["--"], &["--stats"], &["--log", "info", "--"]] {
        let mut words = leading.to_vec();
        words.extend([
            show,
            "-h",
            "--version",
            "--",
            "--log=x",
            "",
            "a b",
            "--check",
        ]);
        prefix
            .run(&words)
            .prints("<-h><--version><--><--log=x><><a b><--check>");
    }
}

#[test]
fn argument_zero_is_the_name_that_was_given() {
    let prefix = Prefix::new();
    prefix
        .run(&["sh", "-c", "tr '\\0' '\\n' </proc/$$/cmdline | head -1"])
        .prints("sh\n");
}

#[test]
fn settings_become_variables() {
    let prefix = Prefix::new();
    let script = "echo $AARP_PREFIXES $AARP_EXCLUDE $AARP_TRUSTED $AARP_ON_FAILURE $AARP_LOG $AARP_STATS $AARP_METHODS $AARP_GETADDRINFO";
    prefix
        .run(&[
            "--prefixes=2001:db8::/48,fd00::/8",
            "--exclude",
            "fd01::/16",
            "--trusted=2001:db8::/32",
            "--on-failure=refuse",
            "--log=debug",
            "--stats",
            "--methods=echo,unreach",
            "--getaddrinfo=rewrite",
            "sh",
            "-c",
            script,
        ])
        .prints("2001:db8::/48,fd00::/8 fd01::/16 2001:db8::/32 refuse debug true echo,unreach rewrite\n");
    // The command line wins over the environment, which is handed on otherwise.
    let mut command = prefix.command();
    command
        .env("AARP_LOG", "error")
        .env("AARP_EXCLUDE", "fd02::/16")
        .args(["--log", "warn", "sh", "-c", "echo $AARP_EXCLUDE $AARP_LOG"]);
    Run::of(&mut command).prints("fd02::/16 warn\n");
    // What is excluded grows.
    let mut command = prefix.command();
    command.env("AARP_EXCLUDE", "fd02::/16").args([
        "--exclude=fd03::/16",
        "sh",
        "-c",
        "echo $AARP_EXCLUDE",
    ]);
    Run::of(&mut command).prints("fd02::/16,fd03::/16\n");
}

#[test]
fn what_was_preloaded_is_kept() {
    let prefix = Prefix::new();
    let library = prefix.library();
    let ours = library.to_str().expect("UTF-8");
    prefix.program("other.c", "int other;\n");
    prefix.cc(&["-shared", "-fPIC"], "other.c", "other.so");
    let other = prefix.path("other.so");
    let other = other.to_str().expect("UTF-8");
    let preloaded = |present: &str| {
        let mut command = prefix.command();
        command
            .env("LD_PRELOAD", present)
            .args(["sh", "-c", "echo $LD_PRELOAD"]);
        Run::of(&mut command)
    };
    preloaded("").prints(&format!("{ours}\n"));
    preloaded(other).prints(&format!("{ours}:{other}\n"));
    preloaded(ours).prints(&format!("{ours}\n"));
    preloaded(&format!("{other} {ours}")).prints(&format!("{other}:{ours}\n"));
    // aarp-run aarp-run CMD
    let run = prefix.path("bin/aarp-run");
    let run = run.to_str().expect("UTF-8");
    prefix
        .run(&[run, "sh", "-c", "echo $LD_PRELOAD"])
        .prints(&format!("{ours}\n"));
}

#[test]
fn the_library_may_lie_below_a_folder_with_a_space() {
    let prefix = Prefix::new();
    std::fs::create_dir(prefix.path("my lib")).expect("folder");
    let library = prefix.path("my lib/libaarp.so");
    std::fs::copy(prefix.library(), &library).expect("copy");
    let mut command = prefix.command();
    command.arg("--library").arg(&library).args([
        "grep",
        "-c",
        "my lib/libaarp\\.so",
        "/proc/self/maps",
    ]);
    let run = Run::of(&mut command);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(run.err, "");
}

#[test]
fn the_library_is_found_in_its_places() {
    let prefix = Prefix::new();
    let installed = prefix.library();
    let loads = |from: &std::path::Path| {
        let from = from.canonicalize().expect("a library");
        prefix
            .run(&["sh", "-c", "echo $LD_PRELOAD"])
            .prints(&format!("{}\n", from.display()));
    };
    loads(&installed);
    // Beside the program comes first.
    let beside = prefix.path("bin/libaarp.so");
    std::fs::copy(&installed, &beside).expect("copy");
    loads(&beside);
    std::fs::remove_file(&beside).expect("remove");
    // A link to the program is followed to where it really is.
    let link = prefix.path("aarp-run");
    std::os::unix::fs::symlink(prefix.path("bin/aarp-run"), &link).expect("link");
    let mut command = Command::new(&link);
    command
        .env("AARP_CONFIG", prefix.path("empty.toml"))
        .env_remove("AARP_LIBRARY")
        .args(["true"]);
    Run::of(&mut command).prints("");
    let multiarch = format!("lib/{}-linux-gnu/aarp", std::env::consts::ARCH);
    for folder in ["lib64/aarp", &multiarch] {
        std::fs::create_dir_all(prefix.path(folder)).expect("folder");
        let place = prefix.path(folder).join("libaarp.so");
        std::fs::rename(&installed, &place).expect("move");
        loads(&place);
        std::fs::rename(&place, &installed).expect("move back");
    }
}

#[test]
fn scripts_run_under_their_interpreters() {
    let prefix = Prefix::new();
    let sees = "grep -q '/libaarp\\.so' /proc/self/maps && echo seen $1\n";
    for (name, first_line) in [
        ("plain", "#!/bin/sh\n"),
        ("spaced", "#! /bin/sh -e \n"),
        ("env", "#!/usr/bin/env sh\n"),
        ("split", "#!/usr/bin/env -S sh -e\n"),
        ("none", ""),
    ] {
        let script = prefix.program(name, format!("{first_line}{sees}"));
        prefix
            .run(&[script.to_str().expect("UTF-8"), name])
            .prints(&format!("seen {name}\n"));
    }
    // Interpreters of interpreters: the kernel follows five.
    let mut interpreter = prefix.program("level1", format!("#!/bin/sh\n{sees}"));
    for level in 2..=5 {
        let line = format!("#!{}\n", interpreter.display());
        interpreter = prefix.program(&format!("level{level}"), line);
    }
    let deepest = interpreter.to_str().expect("UTF-8").to_owned();
    let run = prefix.run(&[&deepest]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.out.starts_with("seen "), "{run:?}");
    let line = format!("#!{deepest}\n");
    let sixth = prefix.program("level6", line);
    prefix
        .run(&[sixth.to_str().expect("UTF-8")])
        .fails(126, &["more than five interpreters"]);
    let error = Command::new(&sixth).spawn().expect_err("ELOOP");
    assert_eq!(error.raw_os_error(), Some(40));
}

#[test]
fn an_ignored_signal_stays_ignored() {
    let prefix = Prefix::new();
    let run = prefix.path("bin/aarp-run");
    // A shell tells its children what it ignores; SIGPIPE is 13, SIGHUP 1.
    for ignored in ["PIPE", "HUP", "PIPE HUP"] {
        let script = format!("trap '' {ignored}; \"$@\" grep SigIgn /proc/self/status");
        let shell = |through: &[&std::ffi::OsStr]| {
            let mut command = Command::new("sh");
            command
                .args(["-c", &script, "sh"])
                .args(through)
                .env("AARP_CONFIG", prefix.path("empty.toml"))
                .env_remove("AARP_LIBRARY");
            Run::of(&mut command)
        };
        let plain = shell(&[]);
        assert_eq!(plain.code, Some(0), "{plain:?}");
        shell(&[run.as_os_str()]).prints(&plain.out);
    }
    // And none is ignored that was not.
    let plain = Run::of(Command::new("env").args([
        "--default-signal=PIPE",
        "grep",
        "SigIgn",
        "/proc/self/status",
    ]));
    let mut command = Command::new("env");
    command
        .arg("--default-signal=PIPE")
        .arg(&run)
        .args(["grep", "SigIgn", "/proc/self/status"])
        .env("AARP_CONFIG", prefix.path("empty.toml"))
        .env_remove("AARP_LIBRARY");
    Run::of(&mut command).prints(&plain.out);
}

#[test]
fn a_log_that_cannot_be_written_is_said() {
    let prefix = Prefix::new();
    let run = |level: &str| {
        let mut command = prefix.command();
        command
            .env("AARP_FILE", "/nowhere/log")
            .args(["--log", level, "sh", "-c", "echo started"]);
        Run::of(&mut command)
    };
    let noisy = run("debug");
    assert_eq!((noisy.code, noisy.out.as_str()), (Some(0), "started\n"));
    assert!(
        noisy.err.starts_with("aarp-run: ") && noisy.err.contains("/nowhere/log"),
        "{noisy:?}"
    );
    assert_eq!(noisy.err.lines().count(), 1, "{noisy:?}");
    // Where nothing is logged it does not matter.
    assert_eq!(run("off").err, "");
}

#[test]
fn a_configuration_that_is_not_there_is_said_in_words() {
    let prefix = Prefix::new();
    let run = prefix.run(&["--config=/nowhere/aarp.toml", "true"]);
    assert_eq!(run.code, Some(125), "{run:?}");
    assert!(run.err.contains("No such file or directory"), "{run:?}");
}

#[test]
fn the_manual_page_and_completions_are_made_from_the_options() {
    let prefix = Prefix::new();
    let folder = prefix.path("pages");
    let made = |option: &str| {
        let run = prefix.run(&[option.as_ref(), folder.as_os_str()]);
        assert_eq!(run.code, Some(0), "{run:?}");
        let files = run.out.lines().map(|path| {
            std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
        });
        files.collect::<Vec<_>>()
    };
    let page = made("--generate-man").remove(0);
    for word in [
        "\\-\\-prefixes\\fR \\fILIST\\fR",
        ".SH EXAMPLES",
        ".SH EXIT STATUS",
        "126",
    ] {
        assert!(page.contains(word), "{word}: {page}");
    }
    assert!(!page.contains("check\\-child"), "{page}");
    let completions = made("--generate-completions");
    assert_eq!(completions.len(), 3);
    for text in completions {
        assert!(text.contains("getaddrinfo"), "{text}");
        let offered = text.lines().filter(|line| line.contains("opts="));
        for line in offered {
            assert!(!line.contains("check-child"), "{line}");
        }
    }
}
