//! Threads and signal handlers with little stack.

use crate::{A, finish, with_place};

const CALLS: [&str; 7] = [
    "connect",
    "connect-datagrams",
    "sendto",
    "messages",
    "many",
    "getaddrinfo",
    "descriptors",
];

/// What a call may take more under the library: it is the first of the process, so that
/// the configuration is read and A asked.
const MORE: u64 = 8 * 1024;

/// What it may take in any case, natively however little: the dynamic linker, which is
/// most of that, keeps more registers on the one processor than on the other. The least
/// stack that there is has 16 KiB.
const ALWAYS: u64 = 15 * 1024;

/// On 64 KiB, and on `PTHREAD_STACK_MIN`.
#[test]
fn every_call_on_the_least_stack_there_is() {
    with_place(|place| {
        let program = place.compile("stack", include_str!("stack.c"), &[]);
        for call in CALLS {
            for size in ["65536", "least"] {
                let arguments = [&A.to_string(), call, size];
                let native = finish(place.native(&program).args(arguments));
                let ours = finish(place.under_library(&program).args(arguments));
                let [native, used] = [&native, &ours].map(|run| run.reply().number("used"));
                println!("{call} on {size}: {native} as it is, {used} under the library");
                let most = ALWAYS.max(native + MORE);
                assert!(used <= most, "{call}: {used}, {native} natively");
                assert_eq!(ours.counters.get("misses"), 1, "{}", ours.counters.log);
            }
        }
    });
}

/// Reason `reentrant`: on the 8 KiB that are usual nobody is asked, and the handler goes
/// to A; what is called elsewhere is pinned.
#[test]
fn a_handler_on_a_stack_of_its_own() {
    with_place(|place| {
        let program = place.compile("alternate", include_str!("alternate.c"), &[]);
        // What the kernel does not show is taken for small.
        let cases = [
            ("8192", "shown", 0),
            ("65536", "shown", 1),
            ("8192", "hidden", 0),
            ("8192", "by-syscall", 0),
        ];
        for (size, how, moved) in cases {
            let arguments = [&A.to_string(), size, how];
            finish(place.native(&program).args(arguments));
            let ours = finish(place.under_library(&program).args(arguments));
            let expected = format!("connect=0 sendto=8 moved={moved} later=1\n");
            assert_eq!(ours.text, expected, "{}", ours.counters.log);
            let reentrant = ours.counters.get("bypass.reentrant");
            assert_eq!(reentrant, 2 * (1 - moved), "{}", ours.counters.log);
        }
    });
}
