//! TUN devices: made, used, refused.
mod network;

use std::net::UdpSocket;
use std::time::Duration;

use aarp_lab::{Lab, rootless};
use aarp_sys::tun::{Tun, TunError};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use network::*;

fn device(lab: &Lab, name: &str) -> Result<Tun, TunError> {
    let name = name.to_owned();
    lab.host("one").unwrap().enter(move || Tun::open(&name))
}

/// For an ordinary user the device node may be out of reach even in a namespace.
fn test(body: impl FnOnce()) {
    rootless::test(|| {
        let node = std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/net/tun");
        match node {
            Ok(_) => body(),
            Err(error) => {
                let thread = std::thread::current();
                let name = thread.name().unwrap_or("a test of TUN devices");
                rootless::skipped(name, &format!("/dev/net/tun: {error}"));
            }
        }
    });
}

#[test]
fn a_device_has_the_name_the_mtu_and_the_state_asked_for() {
    test(|| {
        let lab = joined();
        let one = lab.host("one").unwrap();
        let first = device(&lab, "aarp%d").unwrap();
        let second = device(&lab, "aarp%d").unwrap();
        assert_eq!(first.name().unwrap(), "aarp0");
        assert_eq!(second.name().unwrap(), "aarp1");
        assert_ne!(first.index().unwrap(), second.index().unwrap());
        assert_eq!(first.mtu().unwrap(), 1500);
        first.set_mtu(1420).unwrap();
        assert_eq!(first.mtu().unwrap(), 1420);
        first.up().unwrap();
        let shown = one.ip("addr show dev aarp0").unwrap();
        assert!(
            shown.contains("mtu 1420") && shown.contains("UP"),
            "{shown}"
        );
        // No link-local address, and so nobody who would solicit routers.
        assert!(!shown.contains("inet6"), "{shown}");
        one.ip("link set aarp1 name other1").unwrap();
        assert_eq!(second.name().unwrap(), "other1");
        drop(second);
        assert!(one.ip("link show other1").is_err(), "gone with its queue");
    });
}

#[test]
fn a_device_in_use_is_waited_for() {
    test(|| {
        let lab = joined();
        let one = lab.host("one").unwrap();
        let first = device(&lab, "aarp0").unwrap();
        let within = |limit| one.enter(move || Tun::open_within("aarp0", limit));
        let error = within(Duration::from_millis(30)).unwrap_err();
        assert!(matches!(error, TunError::Busy { .. }), "{error}");
        let second = std::thread::scope(|scope| {
            let second = scope.spawn(|| within(LIMIT));
            // It may have come late: then it was not in use any more.
            drop(first);
            second.join().unwrap()
        });
        assert_eq!(second.unwrap().name().unwrap(), "aarp0");
    });
}

#[test]
fn packets_go_both_ways() {
    test(|| {
        let lab = joined();
        let one = lab.host("one").unwrap();
        let tun = device(&lab, "aarp0").unwrap();
        assert!(tun.send(&udp(OTHER, ONE, b"down")).is_err(), "it is down");
        tun.up().unwrap();
        one.ip("-6 route add 2001:db8:f::/64 dev aarp0").unwrap();
        let mut room = vec![0; 2048];
        assert_eq!(tun.receive(&mut room).unwrap(), None);
        let socket = one.enter(|| UdpSocket::bind((ONE, 5000))).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let far: std::net::Ipv6Addr = "2001:db8:f::7".parse().unwrap();
        socket.send_to(b"out", (far, 4000)).unwrap();
        let mut packet = None;
        eventually("the packet in the device", || {
            packet = tun.receive(&mut room).unwrap().map(<[u8]>::to_vec);
            packet.is_some()
        });
        let packet = packet.unwrap();
        assert_eq!(packet[0] >> 4, 6);
        assert_eq!(packet[24..40], far.octets());
        assert_eq!(packet[48..], *b"out");
        tun.send(&udp(far, ONE, b"in")).unwrap();
        let mut data = [0; 16];
        let (length, from) = socket.recv_from(&mut data).unwrap();
        assert_eq!((&data[..length], from), (&b"in"[..], (far, 4000).into()));
        let refused = tun.send(&[0x10; 40]).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
        one.ip("link delete aarp0").unwrap();
        assert!(tun.receive(&mut room).is_err(), "it is deleted");
        assert!(tun.name().is_err());
    });
}

#[test]
fn every_queue_belongs_to_the_device() {
    test(|| {
        let lab = joined();
        let one = lab.host("one").unwrap();
        let queues = one.enter(|| Tun::open_queues("aarp%d", 2)).unwrap();
        let Ok([first, second]) = <[Tun; 2]>::try_from(queues) else {
            panic!("two were asked for");
        };
        assert_eq!(first.index().unwrap(), second.index().unwrap());
        first.up().unwrap();
        one.ip("-6 route add 2001:db8:f::/64 dev aarp0").unwrap();
        // Flows are spread by a hash: of a hundred, none of two queues gets all.
        for port in 6000..6100 {
            let socket = one.enter(move || UdpSocket::bind((ONE, port))).unwrap();
            socket.send_to(b"x", ("2001:db8:f::7", 4000)).unwrap();
        }
        let mut room = vec![0; 2048];
        let mut counts = [0, 0];
        eventually("all packets from both queues", || {
            for (count, queue) in counts.iter_mut().zip([&first, &second]) {
                while queue.receive(&mut room).unwrap().is_some() {
                    *count += 1;
                }
            }
            counts[0] + counts[1] == 100
        });
        assert!(counts[0] > 0 && counts[1] > 0, "{counts:?}");
        drop(first);
        assert_eq!(second.name().unwrap(), "aarp0");
    });
}

#[test]
fn refusals_say_why() {
    test(|| {
        let lab = joined();
        let taken = device(&lab, "aarp0").unwrap();
        let busy = device(&lab, "aarp0").unwrap_err();
        assert!(matches!(busy, TunError::Busy { .. }), "{busy}");
        assert!(busy.to_string().contains("aarp0"), "{busy}");
        // It is made for one queue, whoever asks.
        let several = lab.host("one").unwrap();
        let several = several.enter(|| Tun::open_queues("aarp0", 2)).unwrap_err();
        assert!(matches!(several, TunError::Failed(_)), "{several}");
        assert_eq!(taken.name().unwrap(), "aarp0");
        for bad in ["eth0", "a-name-that-is-much-too-long", "nul\0"] {
            let error = device(&lab, bad).unwrap_err();
            assert!(matches!(error, TunError::Failed(_)), "{bad}: {error}");
        }
        let denied = lab.host("one").unwrap().enter(|| {
            let own = capabilities(None).unwrap();
            let mut fewer = own;
            fewer.effective -= CapabilitySet::NET_ADMIN;
            set_capabilities(None, fewer).unwrap();
            let result = Tun::open("aarp1");
            set_capabilities(None, own).unwrap();
            result.unwrap_err()
        });
        assert!(matches!(denied, TunError::NotPermitted { .. }), "{denied}");
    });
}
