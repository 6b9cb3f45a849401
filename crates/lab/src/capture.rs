//! Captures: a thread that writes what an interface carries to a pcap file.
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use aarp_sys::packet::{Ring, RingSize};
use parking_lot::{Condvar, Mutex};
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use pcap_file::{DataLink, TsResolution};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::error::Context;
use crate::host::Host;
use crate::packet::{Filter, Packet};
use crate::wait::wait_until;
use crate::{Error, Result};

/// How much of each packet a capture keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Snap {
    /// The first 184 octets or more.
    #[default]
    Headers,
    /// All.
    Whole,
}

/// The file of a capture, written by its thread and flushed for its readers.
#[derive(Clone, Debug)]
struct Sink(Arc<Mutex<BufWriter<File>>>);

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut file = self.0.lock();
        file.write(data)
    }
    fn flush(&mut self) -> io::Result<()> {
        let mut file = self.0.lock();
        file.flush()
    }
}

/// A capture under way. It has seen every packet since it was made.
#[derive(Debug)]
pub struct Capture {
    name: String,
    path: PathBuf,
    mac: [u8; 6],
    control: Arc<Control>,
    thread: Option<JoinHandle<()>>,
}

/// How a capture's thread is asked, and answers.
#[derive(Debug)]
struct Control {
    wake: OwnedFd,
    /// Number of the last request to write out all that has been received.
    asked: AtomicU64,
    stop: AtomicBool,
    progress: Mutex<Progress>,
    advanced: Condvar,
}

#[derive(Debug, Default)]
struct Progress {
    answered: u64,
    dropped: u32,
    failed: Option<String>,
}

/// How long a capture's thread may take to write out what it has.
const ANSWER: Duration = Duration::from_secs(30);

impl Capture {
    /// Starts capturing on an interface of `host`, into a pcap file at `path`.
    pub(crate) fn start(host: &Host, interface: &str, snap: Snap, path: PathBuf) -> Result<Self> {
        let name = format!("{}:{interface}", host.name());
        let size = match snap {
            Snap::Headers => RingSize::HEADERS,
            Snap::Whole => RingSize::WHOLE,
        };
        let (device, incoming) = (interface.to_owned(), interface == "lo");
        let ring = host
            .enter(move || Ring::open(&device, size, incoming))
            .context(|| format!("capture on {name}"))?;
        let mac = ring
            .hardware_address()
            .context(|| format!("{name}: read its hardware address"))?;
        let file = File::create(&path).context(|| format!("create {}", path.display()))?;
        let sink = Sink(Arc::new(Mutex::new(BufWriter::new(file))));
        let header = PcapHeader {
            snaplen: 1 << 18,
            datalink: DataLink::ETHERNET,
            ts_resolution: TsResolution::NanoSecond,
            ..PcapHeader::default()
        };
        let writer = PcapWriter::with_header(sink.clone(), header)
            .map_err(pcap_error)
            .context(|| format!("write {}", path.display()))?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC)
            .context(|| format!("{name}: make an event descriptor"))?;
        let control = Arc::new(Control {
            wake,
            asked: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            progress: Mutex::default(),
            advanced: Condvar::new(),
        });
        let shared = Arc::clone(&control);
        let thread = std::thread::Builder::new()
            .name(format!("capture {name}"))
            .spawn(move || {
                if let Err(error) = record(ring, writer, sink, &shared) {
                    shared.update(|progress| progress.failed = Some(error.to_string()));
                }
            })
            .context(|| format!("{name}: start a thread"))?;
        Ok(Self {
            name,
            path,
            mac,
            control,
            thread: Some(thread),
        })
    }

    /// `host:interface`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its pcap file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ends it and returns its IP packets; an error if any packet was lost.
    pub fn finish(self) -> Result<Vec<Packet>> {
        self.packets()
    }

    /// Every IP packet up to now; an error if any was lost.
    pub fn packets(&self) -> Result<Vec<Packet>> {
        self.settle()?;
        read(&self.path, self.mac)
    }

    /// Has all that was received up to now written to the file.
    fn settle(&self) -> Result<()> {
        let name = &self.name;
        let request = self.control.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.control
            .wake()
            .context(|| format!("{name}: wake the capture"))?;
        let mut progress = self.control.progress.lock();
        let unanswered =
            |progress: &mut Progress| progress.answered < request && progress.failed.is_none();
        let advanced = &self.control.advanced;
        let waited = advanced.wait_while_for(&mut progress, unanswered, ANSWER);
        if let Some(failed) = &progress.failed {
            return Err(io::Error::other(failed.clone())).context(|| format!("{name}: capture"));
        }
        if waited.timed_out() {
            return Err(Error::Timeout {
                what: format!("{name}: the capture is written out"),
                after: ANSWER,
            });
        }
        if progress.dropped > 0 {
            return Err(Error::Dropped {
                capture: name.clone(),
                dropped: progress.dropped,
            });
        }
        Ok(())
    }

    /// Waits until at least `count` packets of a kind have been seen.
    pub fn wait_for(&self, filter: &Filter, count: usize, within: Duration) -> Result<()> {
        let what = format!("{}: {count} packets like {filter:?}", self.name);
        wait_until(
            &what,
            within,
            || Ok(filter.count(&self.packets()?) >= count),
        )
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.control.stop.store(true, Ordering::SeqCst);
        // Fails for no reason but a descriptor that is not ours.
        let _ = self.control.wake();
        if let Some(thread) = self.thread.take() {
            // What failed in it is told to whoever asks for the packets.
            let _ = thread.join();
        }
    }
}

impl Control {
    fn wake(&self) -> io::Result<()> {
        rustix::io::write(&self.wake, &1u64.to_ne_bytes())?;
        Ok(())
    }

    fn update(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress.lock());
        self.advanced.notify_all();
    }
}

fn pcap_error(error: pcap_file::PcapError) -> io::Error {
    match error {
        pcap_file::PcapError::IoError(error) => error,
        other => io::Error::other(other.to_string()),
    }
}

/// Writes packets until told to stop, and then what still waits.
fn record(
    mut ring: Ring,
    mut writer: PcapWriter<Sink>,
    mut sink: Sink,
    control: &Control,
) -> io::Result<()> {
    loop {
        let mut fds = [
            PollFd::new(&ring, PollFlags::IN),
            PollFd::new(&control.wake, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let failed = fds[0].revents().contains(PollFlags::ERR);
        if !fds[1].revents().is_empty() {
            rustix::io::read(&control.wake, &mut [0; 8])?;
        }
        if failed {
            // The interface went down; it may come up again.
            ring.take_error()?;
        }
        // Both read before the ring: what came before them is written below.
        let stopping = control.stop.load(Ordering::SeqCst);
        let asked = control.asked.load(Ordering::SeqCst);
        let mut result = Ok(());
        ring.drain(|frame| {
            if result.is_ok() {
                let packet = PcapPacket::new(frame.time, frame.length, frame.data);
                result = writer.write_packet(&packet).map(drop);
            }
        });
        result.map_err(pcap_error)?;
        sink.flush()?;
        let dropped = ring.dropped()?;
        control.update(|progress| {
            progress.answered = asked;
            progress.dropped += dropped;
        });
        if stopping {
            return Ok(());
        }
    }
}

fn read(path: &Path, mac: [u8; 6]) -> Result<Vec<Packet>> {
    let what = || format!("read {}", path.display());
    let file = File::open(path).context(what)?;
    read_packets(file, mac).context(what)
}

/// Reads the IP packets of a pcap file, such as `--keep-captures` leaves; `mac` is
/// the address of the interface, by which what was sent is told from the rest.
///
/// # Errors
/// When it is no pcap file, or becomes none; a last packet that is cut off is left
/// out.
pub fn read_packets(pcap: impl Read, mac: [u8; 6]) -> io::Result<Vec<Packet>> {
    let mut reader = PcapReader::new(pcap).map_err(pcap_error)?;
    let mut packets = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = match packet {
            Ok(packet) => packet,
            Err(pcap_file::PcapError::IoError(error))
                if error.kind() == io::ErrorKind::UnexpectedEof =>
            {
                // Its last packet is being written.
                break;
            }
            Err(error) => return Err(pcap_error(error)),
        };
        packets.extend(Packet::parse(packet.timestamp, &packet.data, mac));
    }
    Ok(packets)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a thread finds the file that another is writing.
    #[test]
    fn a_last_packet_that_is_cut_off_is_left_out() {
        let mut frame = [0; 54];
        frame[12..14].copy_from_slice(&[0x86, 0xdd]);
        // A header without a next one.
        frame[14..22].copy_from_slice(&[0x60, 0, 0, 0, 0, 0, 59, 64]);
        let header = PcapHeader {
            datalink: DataLink::ETHERNET,
            ..PcapHeader::default()
        };
        let mut writer = PcapWriter::with_header(Vec::new(), header).unwrap();
        for _ in 0..2 {
            let packet = PcapPacket::new(Duration::ZERO, 54, &frame);
            writer.write_packet(&packet).unwrap();
        }
        let file = writer.into_writer();
        let (head, packet) = (24, 16 + 54);
        assert_eq!(file.len(), head + 2 * packet);
        for length in head..=file.len() {
            let packets = read_packets(&file[..length], [0; 6]).expect("a capture");
            assert_eq!(packets.len(), (length - head) / packet, "{length} octets");
        }
    }
}
