//! `aarp-lab` from the outside: what it says, how it ends, and what it leaves.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use aarp_lab::rootless::skipped;
use aarp_lab::{wait_until, write_executable};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(30);

/// A folder of its own for each test: scenarios, states and what hosts write.
struct Bench {
    dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("tmp")).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn tool(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aarp-lab"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("XDG_RUNTIME_DIR", self.dir.path())
            .env("TMPDIR", self.path("tmp"))
            .env_remove("AARP_LAB_STAGE")
            .env_remove("AARP_LAB_KEEP_CAPTURES");
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.tool(args).output().unwrap()
    }

    fn scenario(&self, name: &str, text: &str) -> String {
        let text = text.replace("@", &self.dir.path().display().to_string());
        fs::write(self.path(name), text).unwrap();
        format!("./{name}")
    }

    /// Starts a scenario that goes on until it is ended, and waits until it does.
    fn start_endless(&self) -> (Child, String) {
        let name = self.scenario("endless.toml", ENDLESS);
        let child = self
            .tool(&["run", &name])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let file = self.path("namespace");
        wait_until("the daemon of the scenario runs", LIMIT, || {
            Ok(fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n')))
        })
        .unwrap();
        let namespace = fs::read_to_string(file).unwrap().trim().to_owned();
        assert!(!inhabitants(&namespace).is_empty());
        (child, namespace)
    }

    /// Nothing is left of a lab: no folder of its own, no process in its namespace.
    fn assert_gone(&self, namespace: &str) {
        wait_until("the namespace is empty", LIMIT, || {
            Ok(inhabitants(namespace).is_empty())
        })
        .unwrap();
    }
}

/// A daemon, detached from its starter, that minds no signal, and a wait for what
/// never comes.
const ENDLESS: &str = r#"
description = "goes on until it is ended"
[hosts.a]
[[steps]]
run = { host = "a", background = true, name = "daemon", command = ["sh", "-c", """
    trap '' TERM HUP INT
    setsid sh -c 'readlink /proc/self/ns/net > @/namespace; while :; do sleep 1; done' &
    wait"""] }
[[steps]]
wait = { process = "daemon", until = { stdout = "never" }, within = "300s" }
"#;

/// Processes in a network namespace, as `net:[4026531840]`.
fn inhabitants(namespace: &str) -> Vec<PathBuf> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes
        .map(|entry| entry.path())
        .filter(|path| {
            fs::read_link(path.join("ns/net")).is_ok_and(|ns| ns == Path::new(namespace))
        })
        .collect()
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// Whether this machine lets the tool make networks at all; says so if not.
fn permitted(test: &str) -> bool {
    let bench = Bench::new();
    let name = bench.scenario("probe.toml", "description = ''\n[hosts.a]\n");
    let output = bench.run(&["shell", &name, "a", "--", "true"]);
    let denied = output.status.code() == Some(77);
    if denied {
        skipped(test, &text(&output.stderr));
    }
    !denied
}

fn assert_code(output: &Output, code: i32) {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
}

#[test]
fn list_names_the_scenarios() {
    let output = Bench::new().run(&["list"]);
    assert_code(&output, 0);
    for name in ["basic", "demo", "thesis-5-1", "thesis-5-2", "thesis-arl"] {
        assert!(
            text(&output.stdout)
                .lines()
                .any(|line| line.starts_with(name))
        );
    }
}

#[test]
fn basic_keeps_its_promises_and_its_captures() {
    if !permitted("basic_keeps_its_promises_and_its_captures") {
        return;
    }
    let bench = Bench::new();
    let output = bench.run(&["run", "basic", "--keep-captures", "kept"]);
    assert_code(&output, 0);
    assert!(text(&output.stdout).contains("5 of 5 promises kept"));
    assert_eq!(fs::read_dir(bench.path("tmp")).unwrap().count(), 0);
    let read = Command::new("tcpdump")
        .args(["-nr", "kept/s2.pcap", "icmp6[icmp6type] == icmp6-echo"])
        .current_dir(bench.dir.path())
        .output()
        .expect("tcpdump is there");
    assert_eq!(text(&read.stdout).lines().count(), 3, "{read:?}");
}

#[test]
fn an_unkept_promise_is_1_and_the_rest_is_still_judged() {
    if !permitted("an_unkept_promise_is_1_and_the_rest_is_still_judged") {
        return;
    }
    let bench = Bench::new();
    let name = bench.scenario(
        "unkept.toml",
        r#"
description = "an echo too many is promised"
[hosts.a]
[[captures]]
name = "lo"
host = "a"
interface = "lo"
[[steps]]
run = { host = "a", command = ["ping", "-nc2", "-i0.01", "::1"] }
[[steps]]
promise = "three requests"
expect = { capture = "lo", packets = { icmp6-type = 128 }, count = "== 3" }
[[steps]]
promise = "two requests"
expect = { capture = "lo", packets = { icmp6-type = 128 }, count = "== 2" }
"#,
    );
    let output = bench.run(&["run", &name]);
    assert_code(&output, 1);
    assert!(text(&output.stdout).contains("1 of 2 promises kept"));
}

#[test]
fn after_a_failing_step_nothing_is_left() {
    if !permitted("after_a_failing_step_nothing_is_left") {
        return;
    }
    let bench = Bench::new();
    let name = bench.scenario(
        "failing.toml",
        r#"
description = "a step fails while a daemon runs"
[hosts.a]
[[services]]
name = "daemon"
host = "a"
command = ["sh", "-c", "trap '' TERM; readlink /proc/self/ns/net > @/namespace; echo up; while :; do sleep 1; done"]
ready = { stdout = "up" }
[[steps]]
run = { host = "a", command = ["sh", "-c", "echo no luck >&2; exit 3"] }
[[steps]]
promise = "is never looked at"
expect = { stdout = "daemon", contains = "up" }
"#,
    );
    let output = bench.run(&["run", &name]);
    assert_code(&output, 1);
    assert!(text(&output.stdout).contains("no luck"));
    assert!(text(&output.stdout).contains("0 of 1 promises kept"));
    let namespace = fs::read_to_string(bench.path("namespace")).unwrap();
    // The tool has ended: there is nothing to wait for.
    assert_eq!(inhabitants(namespace.trim()), Vec::<PathBuf>::new());
    assert_eq!(fs::read_dir(bench.path("tmp")).unwrap().count(), 0);
}

#[test]
fn sigkill_of_the_tool_ends_daemons_and_namespaces() {
    if !permitted("sigkill_of_the_tool_ends_daemons_and_namespaces") {
        return;
    }
    let bench = Bench::new();
    let (mut tool, namespace) = bench.start_endless();
    tool.kill().unwrap();
    tool.wait().unwrap();
    bench.assert_gone(&namespace);
    // Its folder goes with the next lab,
    let tmp = bench.path("tmp");
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 1);
    assert_code(&bench.run(&["run", "basic"]), 0);
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
    // and its name is free again.
    let output = bench.run(&["down", "endless.toml"]);
    assert_code(&output, 1);
    assert!(text(&output.stderr).contains("no lab"));
}

#[test]
fn shell_joins_a_running_lab_and_down_ends_it() {
    if !permitted("shell_joins_a_running_lab_and_down_ends_it") {
        return;
    }
    let bench = Bench::new();
    let (mut tool, namespace) = bench.start_endless();
    let inside = [
        "shell",
        "endless.toml",
        "a",
        "--",
        "readlink",
        "/proc/self/ns/net",
    ];
    let mut joined = bench.run(&inside);
    // The scenario began to run a moment before it was made known.
    wait_until("the lab is known", LIMIT, || {
        if !joined.status.success() {
            joined = bench.run(&inside);
        }
        Ok(joined.status.success())
    })
    .unwrap();
    assert_eq!(text(&joined.stdout).trim(), namespace);
    assert_code(&bench.run(&["shell", "endless.toml", "nobody"]), 64);
    assert_code(&bench.run(&["run", "./endless.toml"]), 1);
    assert_code(&bench.run(&["down", "./endless.toml"]), 0);
    assert_eq!(tool.wait().unwrap().code(), Some(130));
    assert_eq!(inhabitants(&namespace), Vec::<PathBuf>::new());
    assert_eq!(fs::read_dir(bench.path("tmp")).unwrap().count(), 0);
}

#[test]
fn shell_makes_a_network_that_ends_with_it() {
    if !permitted("shell_makes_a_network_that_ends_with_it") {
        return;
    }
    let bench = Bench::new();
    let output = bench.run(&[
        "shell",
        "basic",
        "c",
        "--",
        "sh",
        "-c",
        "readlink /proc/self/ns/net; exit 7",
    ]);
    assert_code(&output, 7);
    assert_eq!(
        inhabitants(text(&output.stdout).trim()),
        Vec::<PathBuf>::new()
    );
}

#[test]
fn bad_scenarios_are_78_and_name_the_key_and_the_file() {
    let bench = Bench::new();
    let host = "description = ''\n[hosts.a]\n";
    for (number, (text_of_it, expected)) in [
        ("description = ''\nhots = 1\n".to_owned(), "hots"),
        (format!("{host}forwardin = true\n"), "forwardin"),
        ("[hosts.a]\n".to_owned(), "description"),
        (format!("{host}[[links]]\nends = ['a:e0', 'b:e0']\n"), "\"b\""),
        (format!("{host}[[links]]\nends = ['a:e0', 'a:e1']\ndelay = '40'\n"), "40"),
        (format!("{host}[[steps]]\nrun = {{ host = 'b', command = ['true'] }}\n"), "\"b\""),
        (format!("{host}[[steps]]\nmark = 'x'\nip = {{ host = 'a', command = 'x' }}\n"), "exactly one"),
        (format!("{host}[[steps]]\nfinish = {{ process = 'x' }}\n"), "\"x\""),
        (format!("{host}[[steps]]\nsay = '${{nothing}}'\n"), "${nothing} is not set"),
        (format!("{host}[[steps]]\nwait = {{ until = {{ tcp = 80 }} }}\n"), "host"),
        (format!("{host}[[files]]\npath = 'x'\n"), "either text or size"),
        (
            format!("{host}[[captures]]\nname = 'c'\nhost = 'a'\ninterface = 'lo'\n[[steps]]\npromise = 'x'\nexpect = {{ capture = 'c', count = '= 0' }}\n"),
            "comparison",
        ),
        (
            format!("{host}[[captures]]\nname = 'c'\nhost = 'a'\ninterface = 'lo'\n[[steps]]\npromise = 'x'\nexpect = {{ capture = 'c', count = '== 0', since = 'never' }}\n"),
            "\"never\"",
        ),
        (format!("{host}[[files]]\npath = 'x'\ntext = ''\nmode = '0888'\n"), "permission bits"),
        (
            format!("{host}[[captures]]\nname = 'c'\nhost = 'a'\ninterface = 'lo'\n[[steps]]\npromise = 'x'\nexpect = {{ capture = 'c', order = ['tcp'], count = '== 0' }}\n"),
            "either count or order",
        ),
        (
            format!("{host}[[captures]]\nname = 'c'\nhost = 'a'\ninterface = 'lo'\n[[steps]]\nplot = {{ title = 't', name = 'a/b', capture = 'c', x = 'x', y = 'y', series = [], bars = [] }}\n"),
            "no file's name",
        ),
        (
            format!("{host}[[captures]]\nname = 'c'\nhost = 'a'\ninterface = 'lo'\n[[steps]]\nplot = {{ title = 't', name = 'p', capture = 'c', x = 'x', y = 'y', series = [], bars = [{{ label = 'b', since = 'm', until = 'n' }}] }}\n"),
            "\"m\"",
        ),
        ("description = ".to_owned(), "line 1"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = bench.scenario(&format!("bad-{number}.toml"), &text_of_it);
        let output = bench.run(&["run", &name]);
        if output.status.code() == Some(77) {
            // The networks come first; the same is checked where they are allowed.
            skipped("bad scenarios", &text(&output.stderr));
            return;
        }
        assert_code(&output, 78);
        let said = text(&output.stderr);
        assert!(said.contains(expected), "{text_of_it}: {said}");
        assert!(said.contains(&name), "{text_of_it}: {said}");
    }
}

#[test]
fn usage_and_missing_programs_have_their_codes() {
    let bench = Bench::new();
    assert_code(&bench.run(&[]), 64);
    assert_code(&bench.run(&["run"]), 64);
    assert_code(&bench.run(&["fly"]), 64);
    assert_code(&bench.run(&["--help"]), 0);
    if !permitted("usage_and_missing_programs_have_their_codes") {
        return;
    }
    assert_code(&bench.run(&["run", "no-such-scenario"]), 64);
    let needs = "description = ''\nneeds = ['no-such-program']\n[hosts.a]\n";
    let name = bench.scenario("needs.toml", needs);
    let output = bench.run(&["run", &name]);
    assert_code(&output, 69);
    assert!(text(&output.stderr).contains("no-such-program"));
}

#[test]
fn orders_are_judged_plots_kept_and_devices_needed() {
    if !permitted("orders_are_judged_plots_kept_and_devices_needed") {
        return;
    }
    let bench = Bench::new();
    let name = bench.scenario(
        "evidence.toml",
        r#"
description = "two pings, the second one longer"
[hosts.a]
[[files]]
path = "@/secret"
text = "secret"
mode = "0600"
[[captures]]
name = "lo"
host = "a"
interface = "lo"
whole = true
[[steps]]
mark = "m1"
[[steps]]
run = { host = "a", command = ["ping", "-nc2", "-i0.01", "::1"] }
[[steps]]
mark = "m2"
[[steps]]
run = { host = "a", command = ["ping", "-nc1", "-s99", "::1"] }
[[steps]]
mark = "m3"
[[steps]]
promise = "in order"
expect = { capture = "lo", order = ["icmpv6.type == 128", "icmpv6.type == 129", "icmpv6.type == 128 && ipv6.plen == 107"] }
[[steps]]
promise = "not the other way round"
expect = { capture = "lo", order = ["icmpv6.type == 129 && ipv6.plen == 107", "icmpv6.type == 128"] }
[[steps]]
promise = "falls"
plot = { title = "t", name = "pings", capture = "lo", x = "turn", y = "packets", series = [
    { label = "requests", decoded = "icmpv6.type == 128" },
], bars = [
    { label = "first", since = "m1", until = "m2" },
    { label = "second", since = "m2", until = "m3" },
] }
[[steps]]
promise = "does not rise"
plot = { title = "t", name = "rising", capture = "lo", x = "turn", y = "packets", series = [
    { label = "requests", decoded = "icmpv6.type == 128" },
], bars = [
    { label = "second", since = "m2", until = "m3" },
    { label = "both", since = "m1", until = "m3" },
] }
"#,
    );
    let output = bench.run(&["run", &name, "--keep", "kept"]);
    assert_code(&output, 1);
    let report = text(&output.stdout);
    assert!(report.contains("2 of 4 promises kept"), "{report}");
    assert!(report.contains("number 2 of 2 is missing"), "{report}");
    let first = report.lines().find(|line| line.contains("first █"));
    assert!(first.is_some_and(|line| line.ends_with(" 2")), "{report}");
    for file in ["lo.pcap", "pings.svg", "rising.svg"] {
        assert!(bench.path("kept").join(file).is_file(), "{file}");
    }
    let mode = fs::metadata(bench.path("secret")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o7777, 0o600);
    let needs = "description = ''\nneeds = ['/dev/no-such-device']\n[hosts.a]\n";
    let name = bench.scenario("device.toml", needs);
    let output = bench.run(&["run", &name]);
    assert_code(&output, 69);
    assert!(text(&output.stderr).contains("/dev/no-such-device"));
}

/// Runs the tool as an ordinary user, from where that user can read it.
fn as_ordinary_user(bench: &Bench, prefix: &[&str], args: &[&str]) -> Output {
    let program = bench.path("aarp-lab");
    let octets = fs::read(env!("CARGO_BIN_EXE_aarp-lab")).unwrap();
    write_executable(&program, octets).unwrap();
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(bench.dir.path(), open).unwrap();
    let everybody = fs::Permissions::from_mode(0o1777);
    fs::set_permissions(bench.path("tmp"), everybody).unwrap();
    let mut command = Command::new(prefix[0]);
    command.args(&prefix[1..]).arg(program).args(args);
    command
        .current_dir("/")
        .env_remove("XDG_RUNTIME_DIR")
        .env("TMPDIR", bench.path("tmp"))
        .output()
        .unwrap()
}

#[test]
fn an_ordinary_user_can_run_it() {
    let bench = Bench::new();
    let root = rustix::process::geteuid().is_root();
    let output = if root {
        let user = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--",
        ];
        as_ordinary_user(&bench, &user, &["run", "basic"])
    } else {
        bench.run(&["run", "basic"])
    };
    if output.status.code() == Some(77) {
        skipped("an_ordinary_user_can_run_it", &text(&output.stderr));
        return;
    }
    assert_code(&output, 0);
    assert!(text(&output.stdout).contains("5 of 5 promises kept"));
}

#[test]
fn without_user_namespaces_it_is_77() {
    // In a user namespace that allows no further ones, and without capabilities.
    let bench = Bench::new();
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all -- \"$@\"";
    let prefix = [
        "unshare",
        "--user",
        "--map-root-user",
        "sh",
        "-c",
        script,
        "sh",
    ];
    let probe = Command::new("unshare")
        .args(["--user", "--map-root-user", "true"])
        .output()
        .unwrap();
    if !probe.status.success() {
        skipped(
            "without_user_namespaces_it_is_77",
            "no user namespaces here",
        );
        return;
    }
    let output = as_ordinary_user(&bench, &prefix, &["run", "basic"]);
    assert_code(&output, 77);
    assert!(text(&output.stderr).contains("user namespace"));
}

/// Before anything is made or started.
#[test]
fn what_is_not_there_is_named_with_what_there_is() {
    let bench = Bench::new();
    let output = bench.run(&["shell", "demo", "nobody"]);
    assert_code(&output, 64);
    let said = text(&output.stderr);
    assert!(said.contains("the hosts of demo are c, r0,"), "{said}");
    assert!(said.contains("no host named \"nobody\""), "{said}");
    for arguments in [&["shell", "nothing", "c"][..], &["run", "nothing"]] {
        if arguments[0] == "run" && !permitted("what_is_not_there_is_named_with_what_there_is") {
            return;
        }
        let output = bench.run(arguments);
        assert_code(&output, 64);
        let said = text(&output.stderr);
        assert!(said.contains("aarp-lab list"), "{said}");
    }
    assert!(fs::read_dir(bench.path("tmp")).unwrap().next().is_none());
}
