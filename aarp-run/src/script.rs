//! `#!` lines, read as the kernel reads them, and the command lines of `env`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// How much of a file the kernel looks at to find out what it is
/// (BINPRM_BUF_SIZE).
pub(crate) const HEAD: usize = 256;

/// The first line of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shebang {
    /// The program that reads the script.
    pub(crate) interpreter: PathBuf,
    /// All that follows on the line, as one argument.
    pub(crate) argument: Option<OsString>,
}

/// Reads the `#!` line at the start of a file. `None` when the kernel would not
/// take it for one (ENOEXEC).
pub(crate) fn shebang(file: &[u8]) -> Option<Shebang> {
    // The kernel's buffer is filled up with zeroes.
    let mut head = [0u8; HEAD];
    let length = file.len().min(HEAD);
    head[..length].copy_from_slice(&file[..length]);
    let rest = head.strip_prefix(b"#!")?;

    let line = match rest.iter().position(|&octet| octet == b'\n') {
        Some(end) => &rest[..end],
        None => {
            // Without a separator the path may have been cut off. The last octet
            // counts here, and is taken for the end of the line below.
            trim_start(rest)
                .iter()
                .position(|&octet| ends_word(octet))?;
            &rest[..rest.len() - 1]
        }
    };
    let line = trim_start(trim_end(line));
    let end = line
        .iter()
        .position(|&octet| ends_word(octet))
        .unwrap_or(line.len());
    let (interpreter, tail) = line.split_at(end);
    if interpreter.is_empty() {
        return None;
    }
    let tail = match tail.first() {
        Some(0) | None => &[][..],
        Some(_) => trim_start(tail),
    };
    let tail = tail.split(|&octet| octet == 0).next().unwrap_or_default();
    Some(Shebang {
        interpreter: PathBuf::from(OsStr::from_bytes(interpreter)),
        argument: (!tail.is_empty()).then(|| OsStr::from_bytes(tail).to_owned()),
    })
}

fn blank(octet: u8) -> bool {
    octet == b' ' || octet == b'\t'
}

fn ends_word(octet: u8) -> bool {
    blank(octet) || octet == 0
}

fn trim_start(mut line: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = line
        && blank(*first)
    {
        line = rest;
    }
    line
}

fn trim_end(mut line: &[u8]) -> &[u8] {
    while let [rest @ .., last] = line
        && blank(*last)
    {
        line = rest;
    }
    line
}

/// What `env` would start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EnvStart {
    /// The program's name, to be looked up in PATH.
    pub(crate) program: OsString,
    /// Its arguments.
    pub(crate) arguments: Vec<OsString>,
    /// A PATH set on the command line.
    pub(crate) path: Option<OsString>,
}

/// Reads the arguments of `env` (without `env` itself). `None` when it starts
/// nothing, and when it is told something that this reader does not follow: a
/// cleared environment, another directory, escapes within `-S`.
pub(crate) fn env_start(arguments: &[OsString]) -> Option<EnvStart> {
    let mut pending: Vec<OsString> = arguments.iter().rev().cloned().collect();
    let mut path = None;
    let mut options = true;
    while let Some(word) = pending.pop() {
        let octets = word.as_bytes();
        if options && octets.starts_with(b"-") {
            let split = match octets {
                b"--" => {
                    options = false;
                    continue;
                }
                b"-v" | b"--debug" => continue,
                b"-S" | b"--split-string" | b"-vS" => pending.pop()?.into_vec(),
                _ => octets
                    .strip_prefix(b"--split-string=")
                    .or_else(|| octets.strip_prefix(b"-vS"))
                    .or_else(|| octets.strip_prefix(b"-S"))?
                    .to_vec(),
            };
            pending.extend(split_string(&split)?.into_iter().rev());
            continue;
        }
        options = false;
        match octets.iter().position(|&octet| octet == b'=') {
            Some(at) if at > 0 => match &octets[..at] {
                b"PATH" => path = Some(OsStr::from_bytes(&octets[at + 1..]).to_owned()),
                b"LD_PRELOAD" => return None,
                _ => {}
            },
            _ => {
                pending.reverse();
                return Some(EnvStart {
                    program: word,
                    arguments: pending,
                    path,
                });
            }
        }
    }
    None
}

/// Splits the argument of `env -S`: blanks, quotes and comments; `None` for
/// escapes and variables.
fn split_string(text: &[u8]) -> Option<Vec<OsString>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    for &octet in text {
        match (quote, octet) {
            (_, b'\\') => return None,
            (None | Some(b'"'), b'$') => return None,
            (Some(open), _) if octet == open => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(octet),
            (None, b'"' | b'\'') => {
                quote = Some(octet);
                word.get_or_insert_default();
            }
            (None, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c) => words.extend(word.take()),
            (None, b'#') if word.is_none() => break,
            (None, _) => word.get_or_insert_default().push(octet),
        }
    }
    if quote.is_some() {
        return None;
    }
    words.extend(word);
    Some(words.into_iter().map(OsString::from_vec).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &[u8]) -> Option<(String, Option<String>)> {
        shebang(line).map(|found| {
            (
                found.interpreter.to_str().expect("UTF-8").to_owned(),
                found
                    .argument
                    .map(|tail| tail.into_string().expect("UTF-8")),
            )
        })
    }

    fn some(interpreter: &str, argument: Option<&str>) -> Option<(String, Option<String>)> {
        Some((interpreter.to_owned(), argument.map(str::to_owned)))
    }

    #[test]
    fn first_lines() {
        assert_eq!(parsed(b"#!/bin/sh\necho"), some("/bin/sh", None));
        assert_eq!(parsed(b"#! \t/bin/sh \t\n"), some("/bin/sh", None));
        assert_eq!(parsed(b"#!/bin/sh"), some("/bin/sh", None));
        assert_eq!(
            parsed(b"#!/usr/bin/env -S  prog  -x \nbody"),
            some("/usr/bin/env", Some("-S  prog  -x"))
        );
        assert_eq!(parsed(b"#!/bin/sh\r\n"), some("/bin/sh\r", None));
        assert_eq!(parsed(b"#!/bin/a\0rest\n"), some("/bin/a", None));
        for none in [
            &b""[..],
            b"#",
            b"#!",
            b"#!\n",
            b"#! \t \n",
            b"#/bin/sh\n",
            b"\x7fELF",
        ] {
            assert_eq!(parsed(none), None, "{none:?}");
        }
    }

    #[test]
    fn long_first_lines() {
        let mut line = b"#!/".to_vec();
        line.resize(400, b'x');
        assert_eq!(parsed(&line), None, "the path may be cut off");
        line[100] = b' ';
        let (interpreter, argument) = parsed(&line).expect("a whole path");
        assert_eq!(interpreter.len(), 98);
        // 256 octets of the file are read, the last one becomes the end.
        assert_eq!(argument.map(|tail| tail.len()), Some(255 - 101));
        // A path that ends just there is whole.
        line[100] = b'x';
        line[255] = b' ';
        assert_eq!(parsed(&line).map(|found| found.0.len()), Some(253));
        line[255] = b'x';
        line[256] = b' ';
        assert_eq!(parsed(&line), None);
    }

    fn env(words: &[&str]) -> Option<(String, Vec<String>, Option<String>)> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let text = |word: OsString| word.into_string().expect("UTF-8");
        env_start(&words).map(|start| {
            (
                text(start.program),
                start.arguments.into_iter().map(text).collect(),
                start.path.map(text),
            )
        })
    }

    #[test]
    fn env_command_lines() {
        let plain = |program: &str, arguments: &[&str]| {
            let arguments = arguments.iter().map(|&word| word.to_owned()).collect();
            Some((program.to_owned(), arguments, None))
        };
        assert_eq!(env(&["prog", "./s"]), plain("prog", &["./s"]));
        assert_eq!(
            env(&["-S prog -a 'b c' \"d\"", "./s"]),
            plain("prog", &["-a", "b c", "d", "./s"])
        );
        assert_eq!(env(&["-S", "A=1 prog", "./s"]), plain("prog", &["./s"]));
        assert_eq!(env(&["-vS", "prog", "x"]), plain("prog", &["x"]));
        assert_eq!(env(&["--split-string=prog # note"]), plain("prog", &[]));
        assert_eq!(env(&["--", "prog", "-S"]), plain("prog", &["-S"]));
        assert_eq!(
            env(&["PATH=/x", "B=2", "prog", "C=3"]),
            Some(("prog".into(), vec!["C=3".into()], Some("/x".into())))
        );
    }

    #[test]
    fn env_command_lines_not_followed() {
        for words in [
            &[][..],
            &["A=1"],
            &["-i", "prog"],
            &["-u", "LD_PRELOAD", "prog"],
            &["LD_PRELOAD=", "prog"],
            &["-C", "/", "prog"],
            &["-S", "prog\\_x"],
            &["-S", "${X} prog"],
            &["-S", "'open"],
            &["-S"],
        ] {
            assert_eq!(env(words), None, "{words:?}");
        }
    }
}
