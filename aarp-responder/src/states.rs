//! The states of the services, for aarp-binding: `RUN_DIR/responder.sock`.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use aarp_health::feed::Feed;

use crate::ownership::Ownership;
use crate::say;

/// Where they are told. A responder that cannot tell them serves all the same.
pub(crate) struct States {
    path: PathBuf,
    feed: Option<Feed>,
    complaint: String,
}

impl States {
    /// Nobody is told so far.
    pub(crate) fn new(run_dir: &Path) -> Self {
        Self {
            path: run_dir.join("responder.sock"),
            feed: None,
            complaint: String::new(),
        }
    }

    /// Serves the socket, unless that is done already. Where another responder serves
    /// it, with other addresses, it is tried again when that one's are given back.
    pub(crate) fn serve(&mut self) {
        if self.feed.is_some() {
            return;
        }
        match Feed::bind(&self.path) {
            Ok(feed) => self.feed = Some(feed),
            Err(error) => self.complain(&format!("aarp-binding is told nothing: {error}")),
        }
    }

    /// Tells who follows how each address stands, and who has come how all of them do.
    pub(crate) fn tell(&mut self, owned: &[Ownership]) {
        let Some(feed) = &mut self.feed else { return };
        for one in owned {
            feed.tell(one.anycast(), one.statement());
        }
        if let Err(error) = feed.admit() {
            self.complain(&format!("tell how the services stand: {error}"));
        }
    }

    /// Says something once.
    fn complain(&mut self, now: &str) {
        if now != self.complaint {
            say(now);
            now.clone_into(&mut self.complaint);
        }
    }

    /// Readable when somebody has come.
    pub(crate) fn source(&self) -> Option<BorrowedFd<'_>> {
        self.feed.as_ref().map(AsFd::as_fd)
    }
}
