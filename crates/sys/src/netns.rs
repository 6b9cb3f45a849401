//! Namespaces of the tools: a thread that stands for a host, its init process,
//! and the user namespace that lets an ordinary user have them.
//!
//! A host is one thread with a network and a mount namespace of its own. What it
//! starts lives in a PID namespace whose init dies with the thread, so that the
//! kernel itself ends every process of the host, daemonised ones too, however the
//! tool came to its end.
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn mount(
    source: &CStr,
    target: &CStr,
    kind: &CStr,
    flags: libc::c_ulong,
    data: &CStr,
) -> io::Result<()> {
    // SAFETY: five valid NUL-terminated strings; the kernel copies them.
    check(unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            data.as_ptr().cast(),
        )
    })
    .map(drop)
}

/// Gives the calling thread a network namespace of its own; loopback is down.
pub fn unshare_network() -> io::Result<()> {
    // SAFETY: no memory is concerned; only this thread's namespace changes.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) }).map(drop)
}

/// Gives the calling thread network and mount namespaces of its own, and its
/// future children a PID namespace. The thread can start no thread afterwards.
pub fn unshare_host() -> io::Result<()> {
    // SAFETY: no memory is concerned. CLONE_NEWNS takes this thread's current
    // directory and umask out of the process's shared ones, nothing else.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS | libc::CLONE_NEWPID) })?;
    // Nothing that is mounted here may reach the rest of the machine.
    mount(c"none", c"/", c"none", libc::MS_REC | libc::MS_SLAVE, c"")
}

/// Mounts an empty file system of the thread's own at `target`.
pub fn mount_tmpfs(target: &CStr) -> io::Result<()> {
    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    mount(c"tmpfs", target, c"tmpfs", flags, c"mode=0755")
}

/// Puts the file or folder `source` over `target` in the thread's mount namespace.
pub fn mount_bind(source: &CStr, target: &CStr) -> io::Result<()> {
    mount(source, target, c"none", libc::MS_BIND, c"")
}

/// Makes the process root of a user namespace of its own, so that an ordinary
/// user can have hosts. The process must have a single thread.
pub fn become_root_of_user_namespace() -> io::Result<()> {
    // SAFETY: no arguments, cannot fail.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    // SAFETY: no memory is concerned; the kernel refuses a threaded process.
    check(unsafe { libc::unshare(libc::CLONE_NEWUSER) })?;
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// Starts a program as root of a user namespace of its own; for processes that
/// have threads and so cannot enter one themselves.
pub fn spawn_in_user_namespace(
    command: &mut std::process::Command,
) -> io::Result<std::process::Child> {
    use std::os::unix::process::CommandExt;
    // SAFETY: no arguments, cannot fail.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    let maps = [
        (c"/proc/self/setgroups", "deny".to_owned()),
        (c"/proc/self/uid_map", format!("0 {uid} 1")),
        (c"/proc/self/gid_map", format!("0 {gid} 1")),
    ];
    let enter = move || {
        // SAFETY: the child of a fork has one thread.
        check(unsafe { libc::unshare(libc::CLONE_NEWUSER) })?;
        for (path, text) in &maps {
            // SAFETY: async-signal-safe calls on strings made before the fork.
            unsafe {
                let file = check(libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC))?;
                let written = libc::write(file, text.as_ptr().cast(), text.len());
                if written != text.len().cast_signed() {
                    return Err(io::Error::last_os_error());
                }
                libc::close(file);
            }
        }
        Ok(())
    };
    // SAFETY: `enter` makes async-signal-safe calls only and does not allocate.
    unsafe { command.pre_exec(enter) };
    command.spawn()
}

/// Whether this thread may make namespaces and configure them.
pub fn may_administer() -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/thread-self/status") else {
        return false;
    };
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    const NET_ADMIN: u64 = 1 << 12;
    const NET_RAW: u64 = 1 << 13;
    const SYS_ADMIN: u64 = 1 << 21;
    let needed = NET_ADMIN | NET_RAW | SYS_ADMIN;
    effective & needed == needed
}

/// What the init process of a host could do for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proc {
    /// The host has a /proc of its own.
    Mounted,
    /// The kernel refused one (as inside some containers): the machine's stays.
    Refused,
}

/// Forks the init process of the calling thread's PID namespace. It ends when
/// the thread ends, and with it everything in the namespace.
pub fn fork_init() -> io::Result<(i32, Proc)> {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: just made, owned by nobody else.
    let (reader, writer) =
        unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
    // SAFETY: the child calls async-signal-safe functions only and never returns.
    let pid = check(unsafe { libc::fork() })?;
    if pid == 0 {
        // SAFETY: this is the child of a fork, as `init` asks.
        unsafe { init(writer.as_raw_fd()) }
    }
    drop(writer);
    let mut answer = 0u8;
    loop {
        // SAFETY: one octet of room.
        let n = unsafe { libc::read(reader.as_raw_fd(), (&raw mut answer).cast(), 1) };
        match n {
            1 => break,
            0 => return Err(io::Error::other("the init process ended at its start")),
            _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            _ => return Err(io::Error::last_os_error()),
        }
    }
    let proc = if answer == b'+' {
        Proc::Mounted
    } else {
        Proc::Refused
    };
    Ok((pid, proc))
}

/// Process 1 of a host.
///
/// # Safety
/// Only in the child of a fork; `ready` is the writing end of a pipe.
unsafe fn init(ready: libc::c_int) -> ! {
    // SAFETY: async-signal-safe calls on values of our own stack.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::prctl(libc::PR_SET_NAME, c"aarp-lab-host".as_ptr());
        // Neither a terminal's interrupt nor the handlers of the tool concern it;
        // the kernel reaps what is orphaned in the host.
        let mut all: libc::sigset_t = core::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const all, core::ptr::null_mut());
        libc::signal(libc::SIGCHLD, libc::SIG_IGN);
        libc::setsid();
        libc::chdir(c"/".as_ptr());
        let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        let proc = c"proc".as_ptr();
        let mounted = libc::mount(proc, c"/proc".as_ptr(), proc, flags, core::ptr::null()) == 0;
        let answer = if mounted { b"+" } else { b"-" };
        // A tool that died before PR_SET_PDEATHSIG closed its end of the pipe.
        if libc::write(ready, answer.as_ptr().cast(), 1) != 1 {
            libc::_exit(1);
        }
        // As a number: some libc have no wrapper.
        libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, 0);
        loop {
            libc::pause();
        }
    }
}

/// Moves the calling thread into the namespaces of the process behind `pidfd`:
/// network and mount, the PID namespace for its future children, and the user
/// namespace when `user` says so (single-threaded processes only).
pub fn join(pidfd: impl AsFd, user: bool) -> io::Result<()> {
    let mut kinds = libc::CLONE_NEWNET | libc::CLONE_NEWNS | libc::CLONE_NEWPID;
    if user {
        kinds |= libc::CLONE_NEWUSER;
    }
    // SAFETY: no memory is concerned.
    check(unsafe { libc::setns(pidfd.as_fd().as_raw_fd(), kinds) }).map(drop)
}
