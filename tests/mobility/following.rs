//! What the sidecar follows: signals, the health of the service, and its host's address.
use aarp_lab::{Capture, Process, Snap, wait_until};

use crate::agreement::Session;
use crate::decode::decoded;
use crate::site::{A, AGENT, LIMIT, Site, U1, networked};

/// The updates that a capture has, as care-of address and lifetime in units.
pub(crate) fn updates(capture: &Capture) -> Vec<(String, u32)> {
    let fields = ["ipv6.src", "mip6.bu.lifetime"];
    let all = decoded(capture, "mip6.mhtype == 5", &fields).into_iter();
    let all = all.map(|packet| {
        let [source, lifetime] = packet.fields.try_into().unwrap();
        let source: String = source.split(',').next().unwrap().to_owned();
        (source, lifetime.parse().unwrap())
    });
    all.collect()
}

pub(crate) fn wait_owner(site: &Site, owner: Option<std::net::Ipv6Addr>, programs: &[&Process]) {
    let what = format!("{owner:?} owns A");
    wait_until(&what, LIMIT, || Ok(site.owner() == owner)).unwrap_or_else(|error| {
        let said: Vec<_> = programs.iter().map(|p| p.stderr().unwrap()).collect();
        panic!("{error}: {said:#?}")
    });
}

/// What a program leaves on its host.
pub(crate) fn traces(site: &Site, host: &str) -> String {
    let mut text = String::new();
    for words in ["-6 address", "-6 rule", "-6 route show table all", "link"] {
        text += &site.lab.ip(host, words).unwrap();
    }
    let nft = site.host(host).command("nft").args(["list", "ruleset"]);
    let ruleset = nft.run().unwrap();
    text + &String::from_utf8(ruleset.stdout).unwrap()
}

/// Of the lines of `traces`, those without the times of routes and neighbours.
pub(crate) fn lasting(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| !line.contains("expires"));
    lines.collect()
}

#[test]
fn sigterm_deregisters_and_leaves_nothing() {
    networked(|| {
        let site = Site::new();
        let before = ["haa", "s1"].map(|host| traces(&site, host));
        let agent = site.keyed_agent();
        let capture = site.lab.capture_with("haa", "eth0", Snap::Whole).unwrap();
        let binding = site.binding("s1", &["--spi", "256"]);
        assert_eq!(site.owner(), Some(U1));
        let status = binding.terminate(LIMIT).unwrap();
        assert_eq!(status.code(), Some(0), "{}", binding.stderr().unwrap());
        assert_eq!(site.owner(), None);
        let sent = updates(&capture);
        assert_eq!(sent.last().unwrap(), &(U1.to_string(), 0), "{sent:?}");
        let accepted = decoded(&capture, "mip6.ba.status == 0", &[]);
        assert_eq!(accepted.len(), 2);
        let status = agent.terminate(LIMIT).unwrap();
        assert_eq!(status.code(), Some(0), "{}", agent.stderr().unwrap());
        for (host, before) in ["haa", "s1"].into_iter().zip(before) {
            let after = traces(&site, host);
            assert_eq!(lasting(&after), lasting(&before), "{host}");
        }
    });
}

/// Without an agent the deregistration is tried a few times, and that is all.
#[test]
fn sigterm_ends_the_sidecar_without_an_agent() {
    networked(|| {
        let site = Site::new();
        let agent = site.open_agent();
        let binding = site.binding("s1", &[]);
        drop(agent);
        let status = binding.terminate(LIMIT).unwrap();
        let said = binding.stderr().unwrap();
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(said.contains("not answered"), "{said}");
    });
}

#[test]
fn a_service_that_is_not_well_is_not_registered() {
    networked(|| {
        let site = Site::new();
        let _agent = site.open_agent();
        let capture = site.lab.capture_with("haa", "eth0", Snap::Whole).unwrap();
        let config = format!(
            "[[binding]]\nanycast = \"{A}\"\nagents = [\"{AGENT}\"]\nchecks = [{{ kind = \"tcp\", \
             port = 80, interval = \"200ms\", rise = 2, fall = 2 }}]\n"
        );
        let file = site.lab.work().join("checked.toml");
        std::fs::write(&file, config).unwrap();
        let binding = site.program("s1", "aarp-binding").args(["run", "--config"]);
        let binding = binding.arg(&file).arg("--state-dir").arg(site.lab.work());
        let binding = binding.spawn().unwrap();
        // Not before it is known to be well.
        binding.wait_stderr("is down", LIMIT).unwrap();
        assert_eq!(updates(&capture), []);
        for turn in 1..=2 {
            let nginx = site.nginx("s1");
            wait_owner(&site, Some(U1), &[&binding]);
            assert_eq!(site.who(), "s1");
            nginx.terminate(LIMIT).unwrap();
            wait_owner(&site, None, &[&binding]);
            let sent = updates(&capture);
            let left = sent.iter().filter(|update| update.1 == 0).count();
            assert_eq!(left, turn, "{sent:?}");
            assert_eq!(sent.last().unwrap().1, 0, "{sent:?}");
        }
        let status = site.status("s1", "aarp-binding");
        assert_eq!(status[1]["service"], "down", "{status:#?}");
    });
}

/// The host gets another address, and a session through the agent goes on.
#[test]
fn another_unicast_address_is_followed() {
    networked(|| {
        let site = Site::new();
        let agent = site.keyed_agent();
        let capture = site.lab.capture_with("haa", "eth0", Snap::Whole).unwrap();
        let nginx = site.nginx("s1");
        let binding = site.binding("s1", &["--spi", "256"]);
        let mut session = Session::open(&site, "s1");
        session.speak();
        let third = "2001:db8:0:4::33";
        // The old one goes first: for a moment there is none.
        site.lab
            .ip("s1", &format!("-6 address del {U1}/64 dev eth0"))
            .unwrap();
        site.lab
            .ip("s1", &format!("-6 address add {third}/64 dev eth0 nodad"))
            .unwrap();
        site.lab
            .ip("s1", "-6 route replace default via 2001:db8:0:4::1")
            .unwrap();
        wait_owner(&site, Some(third.parse().unwrap()), &[&agent, &binding]);
        session.speak();
        assert_eq!(site.who(), "s1");
        let sent = updates(&capture);
        assert_eq!(sent.last().unwrap().0, third, "{sent:?}");
        // And the new one is there before the old one goes.
        site.lab
            .ip("s1", &format!("-6 address add {U1}/64 dev eth0 nodad"))
            .unwrap();
        site.lab
            .ip("s1", &format!("-6 address del {third}/64 dev eth0"))
            .unwrap();
        wait_owner(&site, Some(U1), &[&agent, &binding]);
        session.speak();
        drop((binding, nginx, agent));
    });
}
