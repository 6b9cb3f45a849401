//! How many instructions of the library's a hooked call takes: a figure that does not
//! depend on what else the machine does. Counted by callgrind, in the rows where a stub
//! stands behind the library; what is compared is what is kept in a file.
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::Options;
use crate::machine::Machine;
use crate::rows::ROWS;
use crate::server::Server;
use crate::variant::Variant;
use crate::worker::Worker;

/// Calls of each row. A connection is made anew in portions of no more than this.
const COUNT: u64 = 512;

/// Counts the instructions of every row, and compares them with those of a file, or
/// writes it. Prints a line for each row.
pub(crate) fn run(options: &Options, file: &Path, machine: &Machine, scratch: &Path) -> Result<()> {
    let found = count(options, scratch)?;
    let compiler = machine.rustc.as_str();
    let mut out = std::io::stdout().lock();
    if options.write {
        let mut text =
            format!("# Instructions of libaarp.so a call; benches/instructions.sh\n# {compiler}\n");
        for (row, count) in &found {
            text += &format!("{row} {count:.1}\n");
        }
        return fs::write(file, text).with_context(|| format!("write {}", file.display()));
    }
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let kept = kept(&text).with_context(|| file.display().to_string())?;
    // Another compiler makes other code: then only what is much more is wrong.
    let same = text
        .lines()
        .any(|line| line.strip_prefix("# ") == Some(compiler));
    let (part, least) = if same { (0.02, 1.0) } else { (0.25, 4.0) };
    let mut worse = 0;
    for (row, count) in &found {
        let Some(before) = kept.get(row) else {
            writeln!(
                out,
                "not ok - {row}: {count:.1} instructions; not in the file"
            )?;
            worse += 1;
            continue;
        };
        let change = count - before;
        if change > (before * part).max(least) {
            writeln!(
                out,
                "not ok - {row}: {count:.1} instructions, {before:.1} before"
            )?;
            worse += 1;
        } else {
            let less = if -change > (before * part).max(least) {
                format!(", {before:.1} before: write the file anew")
            } else {
                String::new()
            };
            writeln!(out, "ok - {row}: {count:.1} instructions{less}")?;
        }
    }
    for row in kept.keys().filter(|row| !found.contains_key(*row)) {
        writeln!(out, "not ok - {row}: not measured")?;
        worse += 1;
    }
    ensure!(worse == 0, "{worse} rows take more than before");
    Ok(())
}

fn kept(text: &str) -> Result<BTreeMap<String, f64>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (row, count) = line
                .split_once(' ')
                .with_context(|| format!("no count: {line}"))?;
            let count = count
                .parse()
                .with_context(|| format!("no number: {line}"))?;
            Ok((row.to_owned(), count))
        })
        .collect()
}

/// Each row with the instructions of one call.
fn count(options: &Options, scratch: &Path) -> Result<BTreeMap<String, f64>> {
    let calls = options.objects.join("calls");
    let stub = options.objects.join("stub.so");
    let server = Server::start(&calls)?;
    let folder = scratch.join("counted");
    fs::create_dir(&folder).context("a folder for what is counted")?;
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!(
            "--callgrind-out-file={}",
            folder.join("part").display()
        ))
        .arg(&calls);
    let ours = Variant::ours("aarp", &options.library);
    let mut worker = Worker::run(command, &ours, Some(&stub), scratch, &server)?;
    let wanted = |name: &str| {
        options
            .only
            .as_ref()
            .is_none_or(|part| name.contains(part.as_str()))
    };
    let rows = ROWS
        .iter()
        .filter(|row| row.group.has_stub() && wanted(row.name));
    let names: Vec<_> = rows.map(|row| row.name).collect();
    for row in &names {
        worker.measure(row, COUNT, "")?;
    }
    drop(worker);
    let library = fs::canonicalize(&options.library).context("the library")?;
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for number in 1.. {
        let part = folder.join(format!("part.{number}"));
        if !part.is_file() {
            break;
        }
        let text = fs::read_to_string(&part).with_context(|| format!("read {}", part.display()))?;
        match own_instructions(&text, &library)? {
            Some((row, own)) if names.contains(&row.as_str()) => {
                found.entry(row).or_default().push(own);
            }
            // Of what was looked at before the rows.
            _ => {}
        }
    }
    ensure!(!found.is_empty(), "callgrind has written nothing");
    // A connection is that with its socket, less that of the socket alone.
    let each = |(row, parts): (String, Vec<u64>)| {
        let own = match parts[..] {
            [whole] => whole,
            [both, alone, ..] => both.saturating_sub(alone),
            [] => bail!("{row}: nothing was counted"),
        };
        Ok((row, own as f64 / COUNT as f64))
    };
    found.into_iter().map(each).collect()
}

/// The row of a part that callgrind has written down, and the instructions in it that
/// are an object's own: not those that it calls. A part has no row when it was not the
/// program that asked for it.
fn own_instructions(text: &str, object: &Path) -> Result<Option<(String, u64)>> {
    let row = text
        .lines()
        .find_map(|line| line.strip_prefix("desc: Trigger: Client Request: "));
    let Some(row) = row else {
        return Ok(None);
    };
    let (mut names, mut own, mut inside, mut called) = (HashMap::new(), 0, false, false);
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("ob=") {
            inside = named(&mut names, name)? == object.to_string_lossy();
        } else if let Some(name) = line.strip_prefix("cob=") {
            named(&mut names, name)?;
        } else if line.starts_with("calls=") {
            // The next line is what was called.
            called = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            if inside && !called {
                let count = line.split_ascii_whitespace().nth(1);
                own += count
                    .map_or(Ok(0), str::parse::<u64>)
                    .with_context(|| format!("a cost: {line}"))?;
            }
            called = false;
        }
    }
    Ok(Some((row.to_owned(), own)))
}

/// A name that is written out once, and a number in brackets from then on.
fn named<'t>(names: &mut HashMap<&'t str, &'t str>, text: &'t str) -> Result<&'t str> {
    let (number, name) = text
        .split_once(')')
        .with_context(|| format!("a name: {text}"))?;
    let name = name.trim_start();
    if !name.is_empty() {
        names.insert(number, name);
    }
    names
        .get(number)
        .copied()
        .with_context(|| format!("a name: {text}"))
}
