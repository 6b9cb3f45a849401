//! The sidecar beside aarp-responder on one host, which says whether the service is well.
use aarp_lab::{Process, Snap};

use crate::following::{updates, wait_owner};
use crate::site::{A, LIMIT, Site, U1, networked, said};

/// aarp-responder on s1, which looks whether port 80 is served.
fn responder(site: &Site) -> Process {
    let config = format!(
        "[[responder]]\nanycast = \"{A}\"\nchecks = [{{ kind = \"tcp\", port = 80, \
         interval = \"200ms\", rise = 2, fall = 2 }}]\n"
    );
    let file = site.lab.work().join("responder.toml");
    std::fs::write(&file, config).unwrap();
    let responder = site
        .program("s1", "aarp-responder")
        .args(["run", "--config"]);
    let responder = responder.arg(&file).spawn().unwrap();
    responder.wait_stderr("owns ", LIMIT).unwrap();
    responder
}

/// Which interfaces of s1 have A.
fn places(site: &Site) -> String {
    site.lab
        .ip("s1", &format!("-6 -o address show to {A}"))
        .unwrap()
}

/// What it says decides, a restart of it is no change, and without it the sidecar goes on.
#[test]
fn the_health_that_the_responder_finds_is_followed() {
    networked(|| {
        let site = Site::new();
        let _agent = site.open_agent();
        let capture = site.lab.capture_with("haa", "eth0", Snap::Whole).unwrap();
        let nginx = site.nginx("s1");
        let binding = site.binding("s1", &[]);
        let first = responder(&site);
        said(&binding, "up by aarp-responder", 1);
        // Another instance of it, after an end and after a crash.
        let status = first.terminate(LIMIT).unwrap();
        assert!(status.success(), "{}", first.stderr().unwrap());
        let gone = "aarp-responder is gone";
        said(&binding, gone, 1);
        assert_eq!(site.who(), "s1");
        let second = responder(&site);
        let found = "aarp-responder runs here";
        said(&binding, found, 2);
        assert!(places(&site).contains(" lo "), "{}", places(&site));
        second.kill();
        said(&binding, gone, 2);
        let third = responder(&site);
        said(&binding, found, 3);
        assert_eq!(site.who(), "s1");
        let sent = updates(&capture);
        assert!(sent.iter().all(|update| update.1 > 0), "{sent:?}");
        // The service is not well: it is not registered, and stays so without it.
        nginx.terminate(LIMIT).unwrap();
        wait_owner(&site, None, &[&third, &binding]);
        assert_eq!(updates(&capture).last().unwrap().1, 0);
        third.kill();
        said(&binding, gone, 3);
        let record = site.status("s1", "aarp-binding").swap_remove(1);
        assert_eq!(record["responder"], "down", "{record:#}");
        assert_eq!(record["state"], "idle", "{record:#}");
        let status = binding.terminate(LIMIT).unwrap();
        assert!(status.success(), "{}", binding.stderr().unwrap());
        // Where it is not well from the start, it is never registered.
        let fourth = responder(&site);
        fourth.wait_stderr("is down", LIMIT).unwrap();
        let before = updates(&capture).len();
        let binding = site.binding_command("s1", &[]).spawn().unwrap();
        said(&binding, "down by aarp-responder: tcp:80", 1);
        let record = site.status("s1", "aarp-binding").swap_remove(1);
        assert_eq!(record["state"], "idle", "{record:#}");
        assert_eq!(record["service"], "down", "{record:#}");
        // It would have registered before anything else.
        assert_eq!(updates(&capture).len(), before);
        let status = binding.terminate(LIMIT).unwrap();
        assert!(status.success(), "{}", binding.stderr().unwrap());
        // Who does not follow it decides alone.
        let alone = site.binding("s1", &["--responder", "off"]);
        assert_eq!(site.owner(), Some(U1));
        drop((alone, fourth));
    });
}
