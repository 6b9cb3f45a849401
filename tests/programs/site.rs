//! The network of these tests, and the services on its responders: both serve the
//! same.
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::time::Duration;

use aarp_lab::Process;

pub(crate) use crate::base::{A, LIMIT, NAME, Node, now, system};
use crate::common;
use crate::upstream::Upstream;

/// The network at work.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) upstream: Upstream,
    /// What every download and repository has to give.
    pub(crate) content: Vec<u8>,
    base: crate::base::Site,
}

impl Deref for Site {
    type Target = crate::base::Site;
    fn deref(&self) -> &Self::Target {
        &self.base
    }
}

impl DerefMut for Site {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.base
    }
}

impl Site {
    /// Makes it, with this round trip between c and the responders, and a content
    /// of so many octets.
    pub(crate) fn new(round_trip: Duration, octets: usize) -> Self {
        let base = crate::base::Site::new(round_trip, &[A]);
        let content = noise(octets);
        let www = base.lab.work().join("www");
        std::fs::create_dir(&www).unwrap();
        std::fs::write(www.join("plain"), &content).unwrap();
        let socket = base.lab.work().join("upstream");
        let upstream = Upstream::start(&socket, content.clone(), base.lab.work()).unwrap();
        Self {
            upstream,
            content,
            base,
        }
    }

    /// Lets no probe through to a responder any more.
    pub(crate) fn silence(&self) {
        let rules = "table ip6 silence { chain forward { type filter hook forward priority 0; \
                     icmpv6 type echo-request drop; }; }";
        self.lab.host("r0").unwrap().nft(rules).unwrap();
    }

    /// Starts a web server on both responders.
    pub(crate) fn serve_http(&mut self) {
        for node in Node::ALL {
            let file = self.lab.work().join(format!("{}.conf", node.name()));
            std::fs::write(&file, nginx(self.lab.work(), node)).unwrap();
            let nginx = self.host(node).command("nginx");
            let nginx = nginx.args(["-e", "stderr", "-c"]).arg(&file);
            self.serve(node, nginx.spawn().unwrap(), 80);
        }
    }

    /// Starts an ssh server on both responders, with one host key: they are one
    /// service.
    pub(crate) fn serve_ssh(&mut self) {
        let work = self.lab.work().to_owned();
        for key in ["host-key", "user-key"] {
            let file = work.join(key).to_string_lossy().into_owned();
            common::run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", &file]);
        }
        let config = format!(
            "Port 22\nAddressFamily inet6\nHostKey {0}/host-key\nPidFile none\nUsePAM no\n\
             PermitRootLogin prohibit-password\nAuthorizedKeysFile {0}/user-key.pub\n\
             StrictModes no\nUseDNS no\n",
            work.display()
        );
        let file = work.join("sshd_config");
        std::fs::write(&file, config).unwrap();
        let key = std::fs::read_to_string(work.join("host-key.pub")).unwrap();
        std::fs::write(work.join("known_hosts"), format!("* {key}")).unwrap();
        for node in Node::ALL {
            // It leaves its privileges there; every host has a /run of its own.
            let made = self.host(node).enter(|| std::fs::create_dir("/run/sshd"));
            made.unwrap();
            let sshd = self.host(node).command("/usr/sbin/sshd");
            let sshd = sshd.args(["-D", "-e", "-f"]).arg(&file);
            self.serve(node, sshd.spawn().unwrap(), 22);
        }
    }

    fn serve(&mut self, node: Node, service: Process, port: u16) {
        let listening = self.host(node).wait_tcp(port, LIMIT);
        listening.unwrap_or_else(|error| panic!("{error}: {}", service.stderr().unwrap()));
        self.keep(service);
    }

    /// Makes a repository that has the content as a file.
    pub(crate) fn make_repository(&self) {
        let work = self.lab.work();
        let tree = work.join("tree").to_string_lossy().into_owned();
        let bare = work.join("repo.git").to_string_lossy().into_owned();
        common::run("git", ["init", "-q", &tree]);
        std::fs::write(work.join("tree/plain"), &self.content).unwrap();
        common::run("git", ["-C", &tree, "add", "plain"]);
        common::run("git", commit(&tree, "Add the file"));
        common::run("git", ["clone", "-q", "--bare", &tree, &bare]);
    }

    /// Makes a repository that is nothing but files of the web servers', with at
    /// least so many objects, each in a file of its own.
    pub(crate) fn make_dumb_repository(&self, objects: usize) {
        let tree = self.lab.work().join("tree");
        for number in 0..objects {
            std::fs::write(tree.join(number.to_string()), number.to_string()).unwrap();
        }
        let bare = self.lab.work().join("www/dumb.git");
        let [tree, bare] = [tree, bare].map(|path| path.to_string_lossy().into_owned());
        common::run("git", ["-C", &tree, "add", "."]);
        common::run("git", commit(&tree, "Add many files"));
        // Copied as they are, not packed.
        common::run("git", ["clone", "-q", "--bare", "--local", &tree, &bare]);
        common::run("git", ["-C", &bare, "update-server-info"]);
    }
}

/// The words with which git commits.
fn commit<'w>(tree: &'w str, message: &'w str) -> [&'w str; 10] {
    let (name, email) = ("user.name=Test", "user.email=test@any.test");
    [
        "-C", tree, "-c", name, "-c", email, "commit", "-q", "-m", message,
    ]
}

fn nginx(work: &Path, node: Node) -> String {
    let work = work.display();
    let node = node.name();
    format!(
        "# As who it is started: there may be no other user in a user namespace.\n\
         user root;\n\
         daemon off;\n\
         master_process off;\n\
         pid {work}/{node}/nginx.pid;\n\
         error_log stderr;\n\
         events {{}}\n\
         http {{\n\
             access_log off;\n\
             client_body_temp_path {work}/{node}/body;\n\
             proxy_temp_path {work}/{node}/proxy;\n\
             fastcgi_temp_path {work}/{node}/fastcgi;\n\
             uwsgi_temp_path {work}/{node}/uwsgi;\n\
             scgi_temp_path {work}/{node}/scgi;\n\
             server {{\n\
                 listen [::]:80;\n\
                 root {work}/www;\n\
                 location ~ ^/(gated|git)/ {{\n\
                     proxy_pass http://unix:{work}/upstream:;\n\
                     proxy_buffering off;\n\
                     proxy_read_timeout 300s;\n\
                 }}\n\
             }}\n\
         }}\n"
    )
}

/// Octets that do not compress, the same at every call (xorshift64).
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    });
    words.take(count / 8).flat_map(u64::to_le_bytes).collect()
}
