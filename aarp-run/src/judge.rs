//! Whether the library would really be loaded into a program.
//!
//! A script is judged by the interpreter that the kernel would start for it, and
//! `env` by the program that it would start in turn. The latter is a best effort:
//! any other launcher (nice, timeout, a shell) is judged for itself alone.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::elf::{self, Architecture, Linkage};
use crate::lookup;
use crate::privilege::{self, Caller, Grants};
use crate::refusal::{Reason, Refusal};
use crate::script::{self, Shebang};

/// How many interpreters of interpreters the kernel follows.
const INTERPRETERS_MAX: usize = 5;
/// How many programs started by one another through `env` are looked at. The
/// kernel has no such limit; past it the program is simply started.
const LAUNCHES_MAX: usize = 16;

/// What a program must fit.
#[derive(Debug)]
pub(crate) struct Target {
    /// Of the library.
    pub(crate) architecture: Architecture,
    /// Of this process.
    pub(crate) caller: Caller,
    /// The value of PATH.
    pub(crate) path: Option<OsString>,
}

/// A program that may be started.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// Scripts, interpreters and programs in the order they come to run; the
    /// first one is what is to be executed.
    pub(crate) steps: Vec<PathBuf>,
    /// A step that may be executed but not read, so that nothing is known of it.
    pub(crate) unreadable: Option<PathBuf>,
}

/// Judges the command `name` with its `arguments`.
pub(crate) fn judge(
    name: &OsStr,
    arguments: &[OsString],
    target: &Target,
) -> Result<Verdict, Refusal> {
    let file = lookup::find(name, target.path.as_deref())?;
    let mut verdict = Verdict {
        steps: Vec::new(),
        unreadable: None,
    };
    let mut launch = Some((file, arguments.to_vec()));
    for _ in 0..LAUNCHES_MAX {
        let Some((file, arguments)) = launch.take() else {
            break;
        };
        launch = verdict.follow(file, arguments, target)?;
    }
    Ok(verdict)
}

impl Verdict {
    /// Judges what execvp() of `file` leads to. Returns what that program, being
    /// `env`, would start next.
    fn follow(
        &mut self,
        mut file: PathBuf,
        mut arguments: Vec<OsString>,
        target: &Target,
    ) -> Result<Option<(PathBuf, Vec<OsString>)>, Refusal> {
        for depth in 0.. {
            if depth > INTERPRETERS_MAX {
                return Err(self.refuse(file, Reason::TooManyInterpreters));
            }
            let contents = match contents(&file) {
                Ok(contents) => contents,
                Err(reason) => return Err(self.refuse(file, reason)),
            };
            match contents {
                Contents::Unreadable => {
                    self.unreadable.get_or_insert_with(|| file.clone());
                    self.steps.push(file);
                    return Ok(None);
                }
                Contents::Elf => {
                    if let Err(reason) = judge_elf(&file, target) {
                        return Err(self.refuse(file, reason));
                    }
                    break;
                }
                Contents::Script(Shebang {
                    interpreter,
                    argument,
                }) => {
                    if let Err(reason) = lookup::executable(&interpreter) {
                        return Err(match reason {
                            Reason::NotFound => {
                                self.refuse(file, Reason::ScriptInterpreterMissing(interpreter))
                            }
                            reason => {
                                self.steps.push(file);
                                self.refuse(interpreter, reason)
                            }
                        });
                    }
                    arguments.insert(0, file.clone().into_os_string());
                    if let Some(argument) = argument {
                        arguments.insert(0, argument);
                    }
                    self.steps.push(file);
                    file = interpreter;
                }
                // ENOEXEC: execvp() hands the file to the shell.
                Contents::Other => {
                    let shell = PathBuf::from("/bin/sh");
                    arguments.insert(0, file.clone().into_os_string());
                    self.steps.push(file);
                    if let Err(reason) = judge_elf(&shell, target) {
                        return Err(self.refuse(shell, reason));
                    }
                    file = shell;
                    break;
                }
            }
        }
        let next = env_target(&file, &arguments, target);
        self.steps.push(file);
        Ok(next)
    }

    fn refuse(&self, path: PathBuf, reason: Reason) -> Refusal {
        Refusal {
            path,
            via: self.steps.clone(),
            reason,
        }
    }
}

/// What `env`, if that is what `file` is, would start. A program that it will not
/// find is left for it to report.
fn env_target(
    file: &Path,
    arguments: &[OsString],
    target: &Target,
) -> Option<(PathBuf, Vec<OsString>)> {
    if file.file_name() != Some(OsStr::new("env")) {
        return None;
    }
    let start = script::env_start(arguments)?;
    let path = start.path.as_deref().or(target.path.as_deref());
    let program = lookup::find(&start.program, path).ok()?;
    Some((program, start.arguments))
}

enum Contents {
    Elf,
    Script(Shebang),
    Other,
    Unreadable,
}

fn contents(path: &Path) -> Result<Contents, Reason> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Ok(Contents::Unreadable);
        }
        Err(error) => return Err(error.into()),
    };
    let mut head = Vec::with_capacity(script::HEAD);
    file.take(script::HEAD as u64).read_to_end(&mut head)?;
    Ok(if head.starts_with(&elf::MAGIC) {
        Contents::Elf
    } else if let Some(shebang) = script::shebang(&head) {
        Contents::Script(shebang)
    } else {
        Contents::Other
    })
}

fn judge_elf(path: &Path, target: &Target) -> Result<(), Reason> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let image = elf::read_file(file)?;
    if image.linkage == Linkage::NotExecutable {
        return Err(Reason::NotProgram);
    }
    if image.architecture != target.architecture {
        return Err(Reason::Architecture {
            program: image.architecture,
            library: target.architecture,
        });
    }
    match image.linkage {
        Linkage::Interpreter(linker) => {
            if !elf::is_glibc_loader(&linker) {
                return Err(Reason::Libc(linker));
            }
            // A relative path is meant from the current folder, as in the kernel.
            if !linker.exists() {
                return Err(Reason::LinkerMissing(linker));
            }
        }
        // `ld.so PROGRAM` honours LD_PRELOAD like the program itself.
        Linkage::SelfContained { dynamic: true } if elf::is_glibc_loader(path) => {}
        Linkage::SelfContained { .. } => {
            return Err(Reason::Static {
                position_independent: true,
            });
        }
        Linkage::Static | Linkage::NotExecutable => {
            return Err(Reason::Static {
                position_independent: false,
            });
        }
    }
    let grants = Grants::of(path, &metadata)?;
    match privilege::elevation(&target.caller, &grants) {
        Some(elevation) => Err(Reason::Elevated(elevation)),
        None => Ok(()),
    }
}

/// A `PATH`-less description of the steps, for people.
pub(crate) fn describe(steps: &[PathBuf]) -> String {
    let mut text = String::new();
    for (index, step) in steps.iter().enumerate() {
        if index > 0 {
            text.push_str(" -> ");
        }
        text.push_str(&String::from_utf8_lossy(step.as_os_str().as_bytes()));
    }
    text
}
