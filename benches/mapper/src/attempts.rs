//! Programs that connect again and again, in several ways at once: each time a new curl, or
//! always the same program, which waits for as long as the kernel does.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aarp_lab::Process;
use anyhow::{Context, Result, ensure};

use crate::routed::{A, LIMIT, PORT, Routed, unicast, until};

/// How a client gets to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To A by curl, and routing does the rest.
    Anycast,
    /// To a name with both U, as a DNS server gives them in turns.
    Names,
    /// To A by curl, under the library, with aarpd.
    Library,
    /// To A by a program that does not block and has no limit of its own.
    PatientAnycast,
    /// The same under the library, with aarpd.
    PatientLibrary,
}

impl Way {
    pub(crate) const ALL: [Self; 5] = [
        Self::Anycast,
        Self::Names,
        Self::Library,
        Self::PatientAnycast,
        Self::PatientLibrary,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Anycast => "plain anycast",
            Self::Names => "two AAAA, in turns",
            Self::Library => "library and aarpd",
            Self::PatientAnycast => "plain anycast, patient",
            Self::PatientLibrary => "library and aarpd, patient",
        }
    }

    fn is_under_library(self) -> bool {
        matches!(self, Self::Library | Self::PatientLibrary)
    }

    fn is_patient(self) -> bool {
        matches!(self, Self::PatientAnycast | Self::PatientLibrary)
    }
}

/// One connection.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) began: Duration,
    pub(crate) ended: Duration,
    /// Who has served it; none when it failed.
    pub(crate) by: Option<String>,
}

/// Clients of one way at work.
pub(crate) struct Clients {
    pub(crate) way: Way,
    process: Process,
}

/// This moment, by the clock of the clients.
pub(crate) fn now() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

impl Clients {
    /// Starts them, one connection each `pace`; curl has a limit for it.
    pub(crate) fn start(
        routed: &Routed,
        stage: &Path,
        way: Way,
        (pace, limit): (Duration, Duration),
    ) -> Result<Self> {
        let host = routed.host("client")?;
        let mut command = match way.is_patient() {
            true => host.command("python3").args([
                "-c",
                include_str!("../patient.py"),
                &A.to_string(),
                &PORT.to_string(),
                &pace.as_secs_f64().to_string(),
            ]),
            false => host.command("bash").args(["-c", &curls(way, pace, limit)]),
        };
        command = command.stdin(Stdio::piped());
        if way.is_under_library() {
            command = command
                .env("LD_PRELOAD", stage.join("lib/aarp/libaarp.so"))
                .env("AARP_CONFIG", host.dir().join("aarp.toml"));
        }
        let process = command.spawn()?;
        Ok(Self { way, process })
    }

    /// What became of those that have ended, in the order in which they began; and how
    /// many have not.
    pub(crate) fn attempts(&self) -> Result<(Vec<Attempt>, usize)> {
        let text = self.process.stdout()?;
        // A line that is being written has no end.
        let text = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut began = std::collections::BTreeMap::new();
        let mut ended = Vec::new();
        for line in text.lines() {
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                ["began", n, at] => drop(began.insert(n, time(at)?)),
                ["ended", n, status, at, by] => {
                    let began = began.remove(n).with_context(|| line.to_owned())?;
                    let by = (status == "0").then(|| by.to_owned());
                    let ended_at = time(at)?;
                    ended.push(Attempt {
                        began,
                        ended: ended_at,
                        by,
                    });
                }
                _ => anyhow::bail!("{line:?}"),
            }
        }
        ended.sort_by_key(|attempt| attempt.began);
        Ok((ended, began.len()))
    }

    /// Waits until so many attempts in a row, begun after a moment, were all served, by
    /// this one if it is said.
    pub(crate) fn wait_served(&self, since: Duration, by: Option<&str>) -> Result<()> {
        const ENOUGH: usize = 10;
        let what = format!("{} is served", self.way.name());
        let mut last = Vec::new();
        let waited = until(&what, || {
            let (attempts, _) = self.attempts()?;
            let after = attempts.into_iter().filter(|attempt| attempt.began > since);
            last = after.collect();
            let is_good = |attempt: &Attempt| match (&attempt.by, by) {
                (Some(who), Some(by)) => who == by,
                (who, None) => who.is_some(),
                (None, _) => false,
            };
            Ok(last.len() >= ENOUGH && last[last.len() - ENOUGH..].iter().all(is_good))
        });
        let stderr = self.process.stderr()?;
        waited.with_context(|| format!("{:?} {stderr}", last.last()))
    }

    /// Ends them, when the last has ended.
    pub(crate) fn end(mut self) -> Result<Vec<Attempt>> {
        drop(self.process.take_stdin());
        let status = self.process.wait(LIMIT)?;
        ensure!(status.success(), "{status}: {}", self.process.stderr()?);
        let (attempts, left) = self.attempts()?;
        ensure!(left == 0, "{left} have not ended");
        Ok(attempts)
    }
}

/// A script that starts a curl each `pace`.
fn curls(way: Way, pace: Duration, limit: Duration) -> String {
    let [one, other] = [1, 2].map(unicast);
    let (options, host) = match way {
        Way::Names => ("--resolve \"${turns[n % 2]}\"", "www.any.test".to_owned()),
        _ => ("", format!("[{A}]")),
    };
    format!(
        "turns=('www.any.test:{PORT}:[{one}],[{other}]' \
         'www.any.test:{PORT}:[{other}],[{one}]'); n=0\n\
         while read -r -t {pace}; [ $? -gt 128 ]; do n=$((n + 1))\n\
         ( b=$EPOCHREALTIME; echo \"began $n $b\"\n\
         by=$(curl -sS --connect-timeout {limit} --max-time {most} {options} http://{host}:{PORT}/who)\n\
         echo \"ended $n $? $EPOCHREALTIME $by\" ) &\n\
         done; wait",
        pace = pace.as_secs_f64(),
        limit = limit.as_secs_f64(),
        // A connection that was made just before the death would wait for an answer.
        most = 2.0 * limit.as_secs_f64(),
    )
}

fn time(text: &str) -> Result<Duration> {
    let (seconds, micros) = text.split_once(['.', ',']).context("a time")?;
    Ok(Duration::from_secs(seconds.parse()?) + Duration::from_micros(micros.parse()?))
}
