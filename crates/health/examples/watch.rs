//! Runs checks and prints what changes: `watch U CHECK…`, such as
//! `watch 2001:db8:1::2 tcp:80 dns:53/example.test`; ends with its input.

use std::io::stdin;
use std::net::Ipv6Addr;

use aarp_health::{Check, Monitor};
use rustix::event::{PollFd, PollFlags, poll};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let unicast: Ipv6Addr = arguments.next().ok_or("U is missing")?.parse()?;
    let checks: Vec<Check> = arguments
        .map(|text| text.parse())
        .collect::<Result<_, _>>()?;
    let monitor = Monitor::start(checks, unicast)?;
    let input = stdin();
    loop {
        let mut ready = [
            PollFd::new(&monitor, PollFlags::IN),
            PollFd::new(&input, PollFlags::IN),
        ];
        poll(&mut ready, None)?;
        let ends = !ready[1].revents().is_empty();
        for event in monitor.events() {
            let (subject, reason) = (event.subject, event.reason);
            println!(
                "{subject:?} {} -> {}: {reason} ({:?})",
                event.from, event.to, event.latency
            );
        }
        if ends {
            for status in monitor.status() {
                println!("{status:?}");
            }
            return Ok(());
        }
    }
}
