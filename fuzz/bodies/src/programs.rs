//! Programs that aarp-run is asked to start.

use std::ffi::{OsStr, OsString};
use std::io::Cursor;
use std::os::unix::ffi::OsStrExt;

use object::read::ReadCache;

use crate::elf::{self, Linkage};
use crate::privilege::FileCapabilities;
use crate::script::{self, Shebang};

/// ELF files: `elf::read`.
pub fn elf(data: &[u8]) {
    let result = elf::read(data);
    // From a file, piece by piece, it reads the same.
    let cache = ReadCache::new(Cursor::new(data));
    match (&result, elf::read(&cache)) {
        (Ok(image), Ok(again)) => assert_eq!(*image, again),
        (Err(error), Err(_)) => assert!(!error.to_string().is_empty()),
        (result, again) => panic!("{result:?} from memory, {again:?} from a file"),
    }
    let Ok(image) = result else { return };
    assert!(data.starts_with(&elf::MAGIC));
    let number = |at: usize, octets: usize| -> u64 {
        let part = &data[at..at + octets];
        let add = |sum: u64, octet: &u8| sum << 8 | u64::from(*octet);
        match image.architecture.big_endian {
            true => part.iter().fold(0, add),
            false => part.iter().rev().fold(0, add),
        }
    };
    assert_eq!(number(18, 2), u64::from(image.architecture.machine));
    // The program headers by hand: 0xffff of them stands for a number elsewhere.
    let (table, count, size) = match image.architecture.bits {
        32 => (number(28, 4), number(44, 2), 32),
        _ => (number(32, 8), number(56, 2), 56),
    };
    let interpreters = || {
        (0..count).filter(|index| {
            let at = table + index * size;
            number(at as usize, 4) == 3
        })
    };
    match &image.linkage {
        Linkage::Interpreter(path) => {
            let path = path.as_os_str().as_bytes();
            assert!(path.len() < 4096 && !path.contains(&0));
            assert!(path.is_empty() || data.windows(path.len()).any(|part| part == path));
            assert!(count == 0xffff || table == 0 || interpreters().next().is_some());
        }
        Linkage::Static | Linkage::SelfContained { .. } if count != 0xffff && table != 0 => {
            assert_eq!(interpreters().count(), 0);
        }
        _ => {}
    }
}

/// `#!` lines: `script::shebang`.
pub fn shebang(data: &[u8]) {
    assert_eq!(script::shebang(data), kernel_shebang(data), "{data:?}");
}

/// As `load_script` of Linux (fs/binfmt_script.c) reads it, pointer by pointer.
fn kernel_shebang(file: &[u8]) -> Option<Shebang> {
    let mut buf = [0u8; 256];
    let len = file.len().min(256);
    buf[..len].copy_from_slice(&file[..len]);
    let spacetab = |at: usize| buf[at] == b' ' || buf[at] == b'\t';
    let next_non_spacetab = |first: usize, last: usize| (first..=last).find(|&at| !spacetab(at));
    let next_terminator =
        |first: usize, last: usize| (first..=last).find(|&at| spacetab(at) || buf[at] == 0);
    if buf[..2] != *b"#!" {
        return None;
    }
    let buf_end = buf.len() - 1;
    // strnchr() stops at the end of the string.
    let string_end = buf.iter().position(|&octet| octet == 0).unwrap_or(256);
    let newline = buf[..string_end].iter().position(|&octet| octet == b'\n');
    let mut end = match newline {
        Some(end) => end,
        None => {
            let start = next_non_spacetab(2, buf_end)?;
            next_terminator(start, buf_end)?;
            buf_end
        }
    };
    while spacetab(end - 1) {
        end -= 1;
    }
    let name = next_non_spacetab(2, end).filter(|&name| name != end)?;
    let separator = next_terminator(name, end);
    let argument = separator
        .filter(|&at| buf[at] != 0)
        .and_then(|at| next_non_spacetab(at, end));
    // `*i_end = 0`, `*i_sep = 0`, and from there on C strings.
    buf[end] = 0;
    if let (Some(at), Some(_)) = (separator, argument) {
        buf[at] = 0;
    }
    let string = |at: usize| {
        let rest = &buf[at..];
        OsStr::from_bytes(rest.split(|&octet| octet == 0).next().unwrap_or_default()).to_owned()
    };
    // Nothing can be started by an empty name, and an empty argument is none.
    let interpreter = Some(string(name)).filter(|name| !name.is_empty())?;
    Some(Shebang {
        interpreter: interpreter.into(),
        argument: argument.map(string).filter(|argument| !argument.is_empty()),
    })
}

/// Command lines of `env`, a word a line: `script::env_start`.
pub fn env(data: &[u8]) {
    let words: Vec<OsString> = data
        .split(|&octet| octet == b'\n')
        .map(|word| OsStr::from_bytes(word).to_owned())
        .collect();
    let Some(start) = script::env_start(&words) else {
        return;
    };
    let program = start.program.as_bytes();
    // Anything else with a `=` in it is a setting.
    assert!(program.starts_with(b"=") || !program.contains(&b'='));
    // With `--` before it, the same program is started with the same arguments.
    let mut plain = vec![OsString::from("--")];
    if let Some(path) = &start.path {
        let mut setting = OsString::from("PATH=");
        setting.push(path);
        plain.push(setting);
    }
    plain.push(start.program.clone());
    plain.extend(start.arguments.iter().cloned());
    assert_eq!(script::env_start(&plain), Some(start));
}

/// The `security.capability` attribute: `FileCapabilities`.
pub fn capabilities(data: &[u8]) {
    let word = |index: usize| {
        let octets = data.get(4 * index..4 * index + 4)?;
        Some(u32::from_le_bytes(octets.try_into().expect("4 octets")))
    };
    let words = match word(0).map(|magic| magic >> 24) {
        Some(1) => 3,
        Some(2) => 5,
        Some(3) if word(5) == Some(0) => 6,
        _ => usize::MAX,
    };
    let whole = words < usize::MAX && data.len() >= 4 * words;
    let found = FileCapabilities::parse(data);
    assert_eq!(found.is_some(), whole, "{found:?}");
    if let Some(found) = found {
        let [magic, low, _, high] = [0, 1, 2, 3].map(|index| word(index).unwrap_or(0));
        let high = if words == 3 { 0 } else { high };
        let permitted = u64::from(high) << 32 | u64::from(low);
        assert_eq!(found.effective, magic & 1 == 1);
        assert_eq!(found.permitted, permitted);
    }
}
