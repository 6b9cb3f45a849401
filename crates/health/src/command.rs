//! A check by a program of the operator's.

use std::io::{PipeReader, Read, pipe};
use std::net::Ipv6Addr;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::patience::{Halt, Patience};
use crate::reason;
use crate::settings::{Check, Command};

/// So much of what a program says is kept; the rest is read and thrown away, so that
/// it need not wait for a reader.
const OUTPUT_KEPT: usize = 1024;

/// How long a killed program may take to be gone: for ever where it waits for a disk
/// or a network filesystem.
const BURIAL: Duration = Duration::from_millis(500);

/// A killed program that would not go; there is at most one for each check.
#[derive(Debug, Default)]
pub(crate) struct Undead(Option<Child>);

impl Undead {
    /// Whether it is gone by now.
    fn is_gone(&mut self) -> bool {
        match self.0.as_mut().map(Child::try_wait) {
            Some(Ok(None)) => false,
            // Gone; or somebody else has waited for it.
            None | Some(Ok(Some(_)) | Err(_)) => {
                self.0 = None;
                true
            }
        }
    }
}

/// A running program, in a process group of its own, which ends with it.
struct Running<'a> {
    child: Option<Child>,
    group: Option<Pid>,
    undead: &'a mut Undead,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        // It was not waited for, so its id is still its own.
        let Some(pidfd) = self.group.and_then(|group| {
            // It may have ended, and all of its group.
            let _ = kill_process_group(group, Signal::KILL);
            pidfd_open(group, PidfdFlags::empty()).ok()
        }) else {
            return;
        };
        // Whether it went in time is seen below.
        let _ = Patience::new(BURIAL, None).wait(pidfd.as_fd(), PollFlags::IN);
        if matches!(child.try_wait(), Ok(None)) {
            self.undead.0 = Some(child);
        }
    }
}

/// A program exits with 0. What it leaves behind in its process group is killed then,
/// and when the time is over, all of it.
pub(crate) fn run(
    check: &Check,
    command: &Command,
    address: Ipv6Addr,
    patience: &Patience<'_>,
    undead: &mut Undead,
) -> Result<(), Halt> {
    if !undead.is_gone() {
        return Err(Halt::failed("killed before, it is still not gone"));
    }
    let (mut reader, writer) = pipe().map_err(|error| cannot_start(&error))?;
    let also = writer.try_clone().map_err(|error| cannot_start(&error))?;
    ioctl_fionbio(&reader, true)?;
    let child = std::process::Command::new(&command.program)
        .args(&command.arguments)
        .env("AARP_CHECK", check.to_string())
        .env("AARP_CHECK_ADDRESS", address.to_string())
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(also)
        .process_group(0)
        .spawn()
        .map_err(|error| cannot_start(&error))?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let mut running = Running {
        child: Some(child),
        group,
        undead,
    };
    let pidfd = pidfd_open(group.ok_or(Errno::SRCH)?, PidfdFlags::empty())?;
    let mut said = Vec::new();
    let mut open = true;
    loop {
        let mut descriptors = vec![PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
        if open {
            descriptors.push(PollFd::from_borrowed_fd(reader.as_fd(), PollFlags::IN));
        }
        patience
            .poll(&mut descriptors)
            .map_err(|halt| halt.while_waiting(|| format!("no end {}", patience.within())))?;
        let ended = !descriptors[0].revents().is_empty();
        open = open && listen(&mut reader, &mut said);
        if ended {
            break;
        }
    }
    // All of the group, before its id is free.
    if let Some(group) = group {
        match kill_process_group(group, Signal::KILL) {
            // Members that are other users' by now are theirs.
            Ok(()) | Err(Errno::SRCH | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let status = running.child.take().map(|mut child| child.wait());
    match status {
        Some(Ok(status)) if status.success() => Ok(()),
        Some(Ok(status)) => Err(Halt::failed(ending(status, &said))),
        Some(Err(error)) => Err(Halt::failed(format!("its exit status is lost: {error}"))),
        None => Err(Errno::CHILD.into()),
    }
}

fn cannot_start(error: &std::io::Error) -> Halt {
    Halt::failed(format!("cannot be started: {error}"))
}

fn ending(status: ExitStatus, said: &[u8]) -> String {
    let mut reason = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    };
    if let Some(line) = reason::first_line(said) {
        reason.push_str(": ");
        reason.push_str(&line);
    }
    reason
}

/// Takes in what there is, bounded, so that one who prints without end is looked at in
/// between; whether more may come.
fn listen(reader: &mut PipeReader, said: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    for _ in 0..16 {
        match reader.read(&mut buffer) {
            Ok(0) => return false,
            Ok(count) => {
                let room = OUTPUT_KEPT.saturating_sub(said.len());
                said.extend_from_slice(&buffer[..count.min(room)]);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return true,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_one_is_not_gone_no_other_is_started() {
        let sleep = std::process::Command::new("/bin/sleep").arg("900").spawn();
        let mut undead = Undead(Some(sleep.expect("sleep")));
        let check: Check = "command:/bin/true".parse().expect("a check");
        let command = Command {
            program: "/bin/true".into(),
            arguments: Vec::new(),
        };
        let patience = Patience::new(Duration::from_secs(60), None);
        let attempt =
            |undead: &mut Undead| run(&check, &command, Ipv6Addr::LOCALHOST, &patience, undead);
        let reason = "killed before, it is still not gone";
        assert_eq!(attempt(&mut undead), Err(Halt::failed(reason)));
        // Without taking its status: that is for the next attempt.
        let pid = undead.0.as_ref().map(|child| child.id().cast_signed());
        let pid = pid.and_then(Pid::from_raw).expect("it is there");
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("it is there");
        rustix::process::kill_process(pid, Signal::KILL).expect("it is ours");
        let gone = patience.wait(pidfd.as_fd(), PollFlags::IN);
        assert_eq!(gone, Ok(()));
        assert_eq!(attempt(&mut undead), Ok(()));
        assert!(undead.0.is_none());
    }
}
