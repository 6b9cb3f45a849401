//! Starting, ending, crashing and what happens to the host meanwhile.

mod lab;

use lab::{
    A, A2, BINARY, Net, Running, U, clean_environment, echo, eventually, eventually_answers, ip,
    plain_payload, probe_payload, root,
};
use rustix::process::Signal;

#[test]
fn every_ending_signal_puts_everything_back() {
    if !root() {
        return;
    }
    let net = Net::new();
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let mut responder = net.run(&["--anycast", A, "--anycast", A2]);
        // A terminal that is closed ends no daemon.
        responder.signal(Signal::HUP);
        responder.wait_for("goes on after SIGHUP", 1);
        eventually_answers(&net, A, U);
        responder.signal(signal);
        assert_eq!(
            responder.wait(),
            Some(0),
            "{signal:?}: {}",
            responder.said()
        );
        net.assert_clean();
    }
}

/// The kernel enters the local route of a new address in a queue, some time after
/// the address is there. That time is made long here.
#[test]
fn it_owns_nothing_before_the_kernel_delivers() {
    if !root() {
        return;
    }
    let net = Net::new();
    let folder = net.run_dir.join("bin");
    std::fs::create_dir(&folder).expect("a fresh folder");
    let script = format!(
        "#!/bin/sh\n\
         real=$(PATH=/usr/sbin:/sbin:/usr/bin:/bin; command -v ip)\n\
         route='local {A} dev lo table local'\n\
         case \"$*\" in\n\
         '-6 addr add'*)\n\
             $real \"$@\" || exit\n\
             for turn in $(seq 1000); do\n\
                 $real -6 route del $route 2>/dev/null && break\n\
                 sleep 0.01\n\
             done\n\
             (sleep 2; $real -6 route add $route) >/dev/null 2>&1 </dev/null &\n\
             ;;\n\
         *) exec $real \"$@\" ;;\n\
         esac\n"
    );
    let wrapper = folder.join("ip");
    aarp_lab::write_executable(&wrapper, script).unwrap();
    let mut command = net.command(&["run", "--anycast", A]);
    let path = std::env::var("PATH").expect("PATH is text");
    command.env("PATH", format!("{}:{path}", folder.display()));
    let responder = Running::spawn(command);
    responder.wait_for("owns ", 1);
    let local = net.on_responder("ip -6 route show table local");
    assert!(local.contains(A), "owned too early: {local}");
    assert_eq!(echo(&net, A, &plain_payload()), ip(A));
    responder.stop();
    std::fs::remove_dir_all(&folder).expect("the folder is removed");
    net.assert_clean();
}

#[test]
fn a_crash_is_repaired_by_the_next_start() {
    if !root() {
        return;
    }
    let net = Net::new();
    net.run(&["--anycast", A]).kill();
    let left = net.on_responder("ip -6 addr show dev lo");
    assert!(left.contains(A), "kill -9 leaves the address: {left}");
    let second = net.run(&["--anycast", A, "--answer", "all"]);
    assert!(
        second.said().contains("left by an instance that died"),
        "{}",
        second.said()
    );
    assert_eq!(
        echo(&net, A, &plain_payload()),
        ip(U),
        "the new rules, not the old"
    );
    second.stop();
    net.assert_clean();

    // The record and the rules lost as well: the address alone tells.
    net.run(&["--anycast", A]).kill();
    net.on_responder("nft flush ruleset");
    std::fs::remove_dir_all(net.run_dir.join("responder")).expect("the records");
    net.run(&["--anycast", A]).stop();
    net.assert_clean();

    // Whoever starts next tidies up, also for another address.
    net.run(&["--anycast", A]).kill();
    let other = net.run(&["--anycast", A2]);
    assert!(
        !net.on_responder("ip -6 addr show dev lo")
            .contains(&format!("{A}/"))
    );
    other.stop();
    net.assert_clean();

    // A chain of that name that hooks elsewhere is replaced.
    net.on_responder("nft add table inet aarp_responder");
    net.on_responder("nft add chain inet aarp_responder a_20010db8000f00000000000000000001 { type filter hook input priority 0 ; }");
    let fresh = net.run(&["--anycast", A]);
    assert_eq!(echo(&net, A, &probe_payload()), ip(U));
    fresh.stop();
    net.assert_clean();
}

#[test]
fn one_instance_for_each_address() {
    if !root() {
        return;
    }
    let net = Net::new();
    let first = net.run(&["--anycast", A]);
    let (status, said) = net.refused(&["--anycast", A2, "--anycast", A]);
    assert_eq!(status, Some(69), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains(&format!("process {} already", first.pid())),
        "{said}"
    );
    assert!(!net.on_responder("ip -6 addr show dev lo").contains(A2));
    assert_eq!(
        echo(&net, A, &probe_payload()),
        ip(U),
        "the first is not disturbed"
    );

    let second = net.run(&["--anycast", A2]);
    first.stop();
    assert_eq!(
        echo(&net, A2, &probe_payload()),
        ip(U),
        "each has its own chain"
    );
    second.stop();
    net.assert_clean();
}

/// The run directory may be shared; who puts records into it tells root's responder what
/// to remove.
#[test]
fn a_folder_of_records_of_somebody_elses_is_refused() {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    if !root() {
        return;
    }
    let net = Net::new();
    let folder = net.run_dir.join("responder");
    let refused = |why: &str| {
        let (status, said) = net.refused(&["--anycast", A]);
        let line = format!("keep records in {}: {why}\n", folder.display());
        assert_eq!(status, Some(71), "{said}");
        assert!(said.ends_with(&line), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        net.assert_clean();
    };
    let elsewhere = net.run_dir.join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("a fresh folder");
    symlink(&elsewhere, &folder).expect("a link");
    refused("no directory");
    let within = std::fs::read_dir(&elsewhere).expect("the folder");
    assert_eq!(within.count(), 0);
    std::fs::remove_file(&folder).expect("the link");
    std::fs::create_dir(&folder).expect("a fresh folder");
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o777)).expect("its mode");
    refused("others may write to it");
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)).expect("its mode");
    chown(&folder, Some(4711), None).expect("another user");
    refused("belongs to user 4711");
    chown(&folder, Some(0), None).expect("root");
    net.run(&["--anycast", A]).stop();
    net.assert_clean();
}

#[test]
fn of_many_that_start_at_once_one_stays() {
    if !root() {
        return;
    }
    let net = Net::new();
    let mut started: Vec<Running> = (0..4).map(|_| net.spawn(&["--anycast", A])).collect();
    eventually("three are refused and one owns A", || {
        let count = |text| started.iter().filter(|r| r.said().contains(text)).count();
        assert!(count("owns ") <= 1);
        (count("owns "), count("already; stop")) == (1, 3)
    });
    let index = started
        .iter()
        .position(|r| r.said().contains("owns "))
        .expect("one owns A");
    assert_eq!(echo(&net, A, &probe_payload()), ip(U));
    started.swap_remove(index).stop();
    for mut refused in started {
        assert_eq!(refused.wait(), Some(69));
    }
    net.assert_clean();
}

#[test]
fn an_address_of_the_operator_stays() {
    if !root() {
        return;
    }
    let net = Net::new();
    net.on_responder(&format!(
        "ip -6 addr add {A}/128 dev lo preferred_lft 0 nodad"
    ));
    let before = net.on_responder("ip -6 addr show dev lo");
    let responder = net.run(&["--anycast", A]);
    assert_eq!(echo(&net, A, &probe_payload()), ip(U));
    assert_eq!(net.on_responder("ip -6 addr show dev lo"), before);
    responder.kill();
    net.run(&["--anycast", A]).stop();
    assert_eq!(net.on_responder("ip -6 addr show dev lo"), before);
    assert_eq!(net.on_responder("nft list ruleset"), "");

    // Gone while it runs: the operator's decision.
    let responder = net.run(&["--anycast", A]);
    net.on_responder(&format!("ip -6 addr del {A}/128 dev lo"));
    responder.wait_for("so it is not put back", 1);
    responder.stop();
    net.assert_clean();
}

#[test]
fn a_named_u_that_vanishes_is_not_answered_from() {
    if !root() {
        return;
    }
    let net = Net::new();
    net.on_responder("ip -6 addr add 2001:db8:1::20/64 dev eth0 nodad");
    let responder = net.run(&["--anycast", A, "--unicast", "2001:db8:1::20"]);
    assert_eq!(echo(&net, A, &probe_payload()), ip("2001:db8:1::20"));
    net.on_responder("ip -6 addr del 2001:db8:1::20/64 dev eth0");
    responder.wait_for("cannot be used any more and there is no other", 1);
    eventually_answers(&net, A, A);
    net.on_responder("ip -6 addr add 2001:db8:1::20/64 dev eth0 nodad");
    responder.wait_for("from 2001:db8:1::20 again", 1);
    eventually_answers(&net, A, "2001:db8:1::20");
    responder.stop();
    net.assert_clean();
}

#[test]
fn a_chosen_u_that_vanishes_is_replaced() {
    if !root() {
        return;
    }
    let net = Net::new();
    net.on_responder("ip -6 addr add 2001:db8:1::20/64 dev eth0 nodad");
    net.on_responder("ip -6 addr del 2001:db8:1::2/64 dev eth0");
    // Routes with that address as their next hop need a way still.
    net.at(
        &net.client,
        "ip -6 route replace 2001:db8:f::/48 via 2001:db8:1::20",
    );
    net.on_responder("ip -6 addr add 2001:db8:1::21/64 dev eth0 nodad");
    let responder = net.run(&["--anycast", A]);
    let first = echo(&net, A, &probe_payload()).to_string();
    let second = if first.ends_with("20") {
        "2001:db8:1::21"
    } else {
        "2001:db8:1::20"
    };
    net.at(
        &net.client,
        &format!("ip -6 route replace 2001:db8:f::/48 via {second}"),
    );
    net.on_responder(&format!("ip -6 addr del {first}/64 dev eth0"));
    responder.wait_for(&format!("answered from {second} now"), 1);
    eventually_answers(&net, A, second);
    responder.stop();
    net.assert_clean();
}

#[test]
fn what_others_remove_is_put_back() {
    if !root() {
        return;
    }
    let net = Net::new();
    let responder = net.run(&["--anycast", A]);
    net.on_responder("nft flush ruleset");
    responder.wait_for("changed by somebody else; put back", 1);
    eventually_answers(&net, A, U);
    net.on_responder(&format!("ip -6 addr del {A}/128 dev lo"));
    responder.wait_for("was gone from lo; put back", 1);
    net.on_responder("ip link set lo down");
    responder.wait_for("lo is down", 1);
    net.on_responder("ip link set lo up");
    responder.wait_for("was gone from lo; put back", 2);
    eventually_answers(&net, A, U);
    // Rules of others in our table are theirs, and stay.
    net.on_responder("nft add chain inet aarp_responder theirs");
    responder.stop();
    assert!(net.on_responder("nft list ruleset").contains("theirs"));
    net.on_responder("nft flush ruleset");
    net.assert_clean();
}

#[test]
fn a_start_that_fails_leaves_nothing() {
    if !root() {
        return;
    }
    let net = Net::new();
    let other = ["--unicast", "2001:db8:1::99"];
    let link = ["--interface", "eth7"];
    let none = ["--interface", "lo"];
    for (arguments, word) in [
        (&other[..], "no interface has it"),
        (&link, "eth7 does not exist"),
        (&none, "no global unicast address on lo"),
        (&["--recipe", "raw"], "use auto or nft"),
        (&["--recipe", "route"], "not supported yet"),
    ] {
        let (status, said) = net.refused(&[&["--anycast", A], arguments].concat());
        assert_eq!(status, Some(69), "{said}");
        assert!(said.contains(word) && said.lines().count() == 1, "{said}");
        net.assert_clean();
    }
    // The second of two fails: the first is given back.
    let two = ["--anycast", A, "--anycast", "fd00:f::9"];
    let (status, said) = net.refused(&[&two[..], &["--unicast", U]].concat());
    assert_eq!(status, Some(64), "{said}");
    net.on_responder("ip -6 addr del fd00:1::2/64 dev eth0");
    let (status, said) = net.refused(&two);
    assert_eq!(status, Some(69), "{said}");
    assert!(said.contains(&format!("gave {A} back")), "{said}");
    net.assert_clean();
    // After a crash a start that cannot succeed tidies up at least.
    net.run(&["--anycast", A]).kill();
    let (status, said) = net.refused(&["--anycast", A, "--unicast", "2001:db8:1::99"]);
    assert_eq!(status, Some(69), "{said}");
    net.assert_clean();
}

/// `ip netns exec` gives a mount namespace too, in which the tool can be covered.
fn with_nft_covered(net: &Net, cover: &str) -> (Option<i32>, String) {
    let script = format!(
        "for d in /usr/sbin /sbin /usr/bin /bin; do [ -e $d/nft ] && mount --bind {cover} $d/nft; done; exec {BINARY} run --anycast {A}"
    );
    let mut command = std::process::Command::new("ip");
    command.args(["netns", "exec", &net.responder, "sh", "-c", &script]);
    clean_environment(&mut command);
    command.env("AARP_RUN_DIR", &net.run_dir);
    let mut running = Running::spawn(command);
    (running.wait(), running.said())
}

#[test]
fn without_nft_it_refuses_and_says_what_to_install() {
    if !root() {
        return;
    }
    let net = Net::new();
    let (status, said) = with_nft_covered(&net, "/dev/null");
    assert_eq!(
        (status, said.as_str()),
        (
            Some(69),
            "aarp-responder: nft is not installed: apt install nftables\n"
        )
    );
    net.assert_clean();
    let (status, said) = with_nft_covered(&net, "/usr/bin/false");
    assert_eq!(status, Some(69), "{said}");
    assert!(said.contains("nftables does not work here"), "{said}");
    net.assert_clean();
}
