//! Metrics in the text format of Prometheus, for the textfile collector of
//! node_exporter.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// A file that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{}", .path.display())]
pub(crate) struct NotWritten {
    path: PathBuf,
    #[source]
    error: std::io::Error,
}

/// Metrics, each with its help and its samples together, as the format wants it.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    families: Vec<Family>,
}

#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    samples: String,
}

impl Metrics {
    /// Adds a sample of the gauge `name`.
    pub(crate) fn gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
        value: f64,
    ) {
        let place = match self.families.iter().position(|family| family.name == name) {
            Some(place) => place,
            None => {
                self.families.push(Family {
                    name,
                    help,
                    samples: String::new(),
                });
                self.families.len() - 1
            }
        };
        let samples = &mut self.families[place].samples;
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
            .collect();
        // Writing to a String cannot fail.
        let _ = writeln!(samples, "{name}{{{}}} {value}", labels.join(","));
    }

    /// The text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for family in &self.families {
            let (name, help, samples) = (family.name, family.help, &family.samples);
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{samples}");
        }
        text
    }

    /// Replaces the file at `path` by the text: a reader sees the old one or the new
    /// one, whole.
    ///
    /// # Errors
    /// What could not be written, with its path.
    pub(crate) fn write(&self, path: &Path) -> Result<(), NotWritten> {
        let failed = |error| NotWritten {
            path: path.to_owned(),
            error,
        };
        let name = path
            .file_name()
            .ok_or_else(|| failed(std::io::ErrorKind::InvalidInput.into()))?;
        // The collector reads names that end in .prom alone.
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}", std::process::id()));
        let temporary = path.with_file_name(temporary);
        let written = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            .open(&temporary)
            .and_then(|mut file| {
                file.write_all(self.text().as_bytes())?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&temporary, path));
        written.map_err(|error| {
            // It may not be there; what went wrong first is what is said.
            let _ = fs::remove_file(&temporary);
            failed(error)
        })
    }
}

fn escaped(value: &str) -> String {
    let mut text = String::new();
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
    text
}

/// When it was written: without it nobody sees that it is no longer.
pub(crate) fn timestamp(metrics: &mut Metrics, command: &str) {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    metrics.gauge(
        "aarp_probe_timestamp_seconds",
        "When this file was written.",
        &[("command", command)],
        now.as_secs_f64().round(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_metric_stand_together() {
        let mut metrics = Metrics::default();
        for (n, a) in ["a", "b"].iter().enumerate() {
            metrics.gauge("up", "Up.", &[("a", a)], n as f64);
            metrics.gauge("down", "Down.", &[("a", a), ("q", "\"\\\n")], 0.5);
        }
        assert_eq!(
            metrics.text(),
            "# HELP up Up.\n# TYPE up gauge\nup{a=\"a\"} 0\nup{a=\"b\"} 1\n\
             # HELP down Down.\n# TYPE down gauge\n\
             down{a=\"a\",q=\"\\\"\\\\\\n\"} 0.5\ndown{a=\"b\",q=\"\\\"\\\\\\n\"} 0.5\n"
        );
    }

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("aarp.prom");
        fs::write(&path, "old").unwrap();
        let mut metrics = Metrics::default();
        metrics.gauge("up", "Up.", &[], 1.0);
        metrics.write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), metrics.text());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let error = metrics
            .write(&folder.path().join("no/aarp.prom"))
            .unwrap_err();
        assert!(error.to_string().contains("no/aarp.prom"), "{error}");
    }
}
