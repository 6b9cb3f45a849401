//! An installed aarp-run with a stand-in for the library, and programs to run.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A prefix as install.sh makes it, readable by every user.
pub(crate) struct Prefix {
    folder: TempDir,
}

impl Prefix {
    /// `bin/aarp-run`, `lib/aarp/libaarp.so` (which does nothing but be loaded), and
    /// an empty configuration, so that the machine's own does not matter.
    pub(crate) fn new() -> Self {
        let prefix = Self {
            folder: tempfile::Builder::new()
                .permissions(Permissions::from_mode(0o755))
                .tempdir()
                .expect("a temporary folder"),
        };
        fs::create_dir_all(prefix.path("bin")).expect("bin");
        fs::create_dir_all(prefix.path("lib/aarp")).expect("lib");
        let aarp_run = fs::read(env!("CARGO_BIN_EXE_aarp-run")).expect("aarp-run");
        prefix.program("bin/aarp-run", aarp_run);
        fs::write(prefix.path("empty.toml"), "").expect("configuration");
        fs::write(prefix.path("stand-in.c"), "int aarp_version = 1;\n").expect("source");
        prefix.cc(
            &["-shared", "-fPIC", "-Wl,-soname,libaarp.so"],
            "stand-in.c",
            "lib/aarp/libaarp.so",
        );
        prefix
    }

    /// A path within the prefix.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The library.
    pub(crate) fn library(&self) -> PathBuf {
        self.path("lib/aarp/libaarp.so")
    }

    /// Compiles `source`; every test needs a C compiler, as Rust itself does.
    pub(crate) fn cc(&self, flags: &[&str], source: &str, output: &str) {
        let result = Command::new("cc")
            .args(flags)
            .arg("-o")
            .arg(self.path(output))
            .arg(self.path(source))
            .output()
            .expect("a C compiler");
        assert!(result.status.success(), "{}", text(&result.stderr));
    }

    /// Writes an executable file.
    pub(crate) fn program(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        aarp_lab::write_executable(&path, contents).unwrap();
        path
    }

    /// A copy of grep, with which a process can look into its own memory map.
    pub(crate) fn grep(&self, name: &str) -> PathBuf {
        self.program(name, fs::read("/bin/grep").expect("grep"))
    }

    /// `aarp-run` in a clean environment.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(self.path("bin/aarp-run"));
        self.clean(&mut command);
        command
    }

    /// `program` as the user nobody, in a clean environment. Root only.
    pub(crate) fn as_nobody(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.arg(program);
        self.clean(&mut command);
        command
    }

    fn clean(&self, command: &mut Command) {
        for key in ["LD_PRELOAD", "LD_LIBRARY_PATH", "AARP_LIBRARY", "HOME"] {
            command.env_remove(key);
        }
        command
            .env("AARP_CONFIG", self.path("empty.toml"))
            .env("XDG_CONFIG_HOME", self.path("none"))
            .env("LC_ALL", "C");
    }

    /// Runs aarp-run with these words.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, words: &[S]) -> Run {
        Run::of(self.command().args(words))
    }
}

/// What a process did.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) output: Output,
}

impl Run {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().expect("started");
        Self {
            code: output.status.code(),
            out: text(&output.stdout),
            err: text(&output.stderr),
            output,
        }
    }

    /// Asserts the exit status and that stderr has each of the `words`.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.err.starts_with("aarp-run: "), "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "no {word:?} in {self:?}");
        }
    }

    /// Asserts success and what was printed.
    #[track_caller]
    pub(crate) fn prints(&self, out: &str) {
        assert_eq!((self.code, self.out.as_str()), (Some(0), out), "{self:?}");
        assert_eq!(self.err, "", "{self:?}");
    }
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// The C string in `image` that is the dynamic linker's path.
pub(crate) fn interpreter(image: &[u8]) -> std::ops::Range<usize> {
    (0..image.len())
        .filter(|&at| image[at..].starts_with(b"/lib"))
        .find_map(|at| {
            let length = image[at..].iter().position(|&octet| octet == 0)?;
            let path = &image[at..at + length];
            path.windows(3)
                .any(|part| part == b"/ld")
                .then_some(at..at + length)
        })
        .expect("a dynamically linked program")
}

/// Whether this is root; if not, says that `test` was not run.
pub(crate) fn root_or_skip(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip(test, "needs root");
    }
    root
}

/// Says, past the test harness's capture, that something was not tested.
pub(crate) fn skip(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {why}");
}

/// The library's line in a memory map, as a regular expression for grep.
pub(crate) const MAPPED: &[&str] = &["-q", "/libaarp\\.so", "/proc/self/maps"];

/// Whether ld.so itself loads `library` into `program`, run as nobody.
pub(crate) fn control(prefix: &Prefix, program: &Path) -> bool {
    let mut command = prefix.as_nobody(program);
    command.args(MAPPED).env("LD_PRELOAD", prefix.library());
    // setpriv is under the preload as well, which does no harm.
    match command.output().expect("started").status.code() {
        Some(0) => true,
        Some(1) => false,
        other => panic!("{}: {other:?}", program.display()),
    }
}
