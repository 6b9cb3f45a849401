//! Gives every target its kept inputs, and some changes of them, without a fuzzer.
use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use aarp_fuzz_bodies::TARGETS;

/// What `fuzz/corpus` may hold altogether.
const OCTETS_MAX: u64 = 300_000;
/// How many changes of each input are tried.
const CHANGES: u32 = 150;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn names(folder: &str) -> BTreeSet<String> {
    fs::read_dir(fuzz().join(folder))
        .expect("the folder is there")
        .map(|entry| entry.expect("readable").path())
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into())
        .collect()
}

fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut inputs: Vec<_> = fs::read_dir(fuzz().join("corpus").join(target))
        .expect("a folder for each target")
        .map(|entry| entry.expect("readable").path())
        .map(|path| {
            let octets = fs::read(&path).expect("readable");
            (path, octets)
        })
        .collect();
    inputs.sort();
    inputs
}

/// Runs a target; on failure says with which input, for `cargo fuzz run`.
fn run(target: &str, body: fn(&[u8]), input: &[u8], origin: &Path) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(input))) {
        let failing = std::env::temp_dir().join(format!("aarp-fuzz-{target}-failing"));
        let kept = fs::write(&failing, input).is_ok();
        eprintln!("{target}: from {}: {input:02x?}", origin.display());
        if kept {
            eprintln!("{target}: kept as {}", failing.display());
        }
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn targets_programs_and_folders_are_the_same() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).into()).collect();
    assert_eq!(targets.len(), TARGETS.len());
    assert_eq!(names("fuzz_targets"), targets);
    assert_eq!(names("corpus"), targets);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).expect("a manifest");
    for name in &targets {
        assert!(
            manifest.contains(&format!("\nname = \"{name}\"\n")),
            "{name}"
        );
    }
}

#[test]
fn the_corpus_is_small() {
    let octets: u64 = TARGETS
        .iter()
        .flat_map(|(target, _)| inputs(target))
        .map(|(_, input)| input.len() as u64)
        .sum();
    assert!(octets <= OCTETS_MAX, "{octets} octets; see docs/fuzzing.md");
}

#[test]
fn kept_inputs() {
    for (target, body) in TARGETS {
        let inputs = inputs(target);
        assert!(inputs.len() >= 3, "{target}: {} inputs", inputs.len());
        for (path, input) in inputs {
            run(target, body, &input, &path);
        }
    }
}

/// The same changes every time: a fuzzer for machines without nightly Rust.
#[test]
fn changes_of_kept_inputs() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for (target, body) in TARGETS {
        for (path, input) in inputs(target) {
            for _ in 0..CHANGES {
                let mut changed = input.clone();
                for _ in 0..=random(3) {
                    let at = random(changed.len() + 1);
                    match random(5) {
                        0 => changed.truncate(at),
                        1 => changed.insert(at, random(256) as u8),
                        _ if at == changed.len() => {}
                        2 => drop(changed.remove(at)),
                        3 => changed[at] ^= 1 << random(8),
                        _ => changed[at] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'\n'][random(7)],
                    }
                }
                run(target, body, &changed, &path);
            }
        }
    }
}
