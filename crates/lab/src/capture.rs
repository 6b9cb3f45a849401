//! Captures: a thread that writes what an interface carries to a pcap file.
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use aarp_sys::packet::{Ring, RingSize};
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
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.write(data)
    }
    fn flush(&mut self) -> io::Result<()> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.flush()
    }
}

/// A capture under way. It has seen every packet since it was made.
#[derive(Debug)]
pub struct Capture {
    name: String,
    path: PathBuf,
    mac: [u8; 6],
    stop: Arc<std::os::fd::OwnedFd>,
    thread: Option<JoinHandle<Result<u32, io::Error>>>,
}

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
        let stop = Arc::new(
            eventfd(0, EventfdFlags::CLOEXEC)
                .context(|| format!("{name}: make an event descriptor"))?,
        );
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name(format!("capture {name}"))
            .spawn(move || record(ring, writer, sink, &stopped))
            .context(|| format!("{name}: start a thread"))?;
        Ok(Self {
            name,
            path,
            mac,
            stop,
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
    pub fn finish(mut self) -> Result<Vec<Packet>> {
        self.end()?;
        read(&self.path, self.mac)
    }

    /// The IP packets so far.
    pub fn packets(&self) -> Result<Vec<Packet>> {
        read(&self.path, self.mac)
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

    fn end(&mut self) -> Result<()> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        let name = &self.name;
        rustix::io::write(&*self.stop, &1u64.to_ne_bytes())
            .context(|| format!("{name}: stop the capture"))?;
        let dropped = match thread.join() {
            Ok(result) => result.context(|| format!("{name}: capture"))?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        if dropped > 0 {
            return Err(Error::Dropped {
                capture: name.clone(),
                dropped,
            });
        }
        Ok(())
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // A capture nobody asked for its packets is no evidence of anything.
        let _ = self.end();
    }
}

fn pcap_error(error: pcap_file::PcapError) -> io::Error {
    match error {
        pcap_file::PcapError::IoError(error) => error,
        other => io::Error::other(other.to_string()),
    }
}

/// Writes packets until told to stop, then what still waits; returns the losses.
fn record(
    mut ring: Ring,
    mut writer: PcapWriter<Sink>,
    mut sink: Sink,
    stop: &std::os::fd::OwnedFd,
) -> io::Result<u32> {
    loop {
        let mut fds = [
            PollFd::new(&ring, PollFlags::IN),
            PollFd::new(stop, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let failed = fds[0].revents().contains(PollFlags::ERR);
        let stopping = !fds[1].revents().is_empty();
        if failed {
            // The interface went down; it may come up again.
            ring.take_error()?;
        }
        let mut result = Ok(());
        ring.drain(|frame| {
            if result.is_ok() {
                let packet = PcapPacket::new(frame.time, frame.length, frame.data);
                result = writer.write_packet(&packet).map(drop);
            }
        });
        result.map_err(pcap_error)?;
        sink.flush()?;
        if stopping {
            return ring.dropped();
        }
    }
}

fn read(path: &Path, mac: [u8; 6]) -> Result<Vec<Packet>> {
    let what = || format!("read {}", path.display());
    let file = File::open(path).context(what)?;
    let mut reader = PcapReader::new(file).map_err(pcap_error).context(what)?;
    let mut packets = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = match packet {
            Ok(packet) => packet,
            // Its last packet is being written.
            Err(pcap_file::PcapError::IncompleteBuffer) => break,
            Err(error) => return Err(pcap_error(error)).context(what),
        };
        packets.extend(Packet::parse(packet.timestamp, &packet.data, mac));
    }
    Ok(packets)
}
