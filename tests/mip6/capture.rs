//! Files of captured packets (pcap).

use std::path::Path;

/// A link without a header of its own.
const RAW: u32 = 101;

fn number(octets: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(octets[at..at + 4].try_into().expect("4 octets"))
}

/// The packets of a capture, without the header of their link.
pub(crate) fn read(path: &Path) -> Vec<Vec<u8>> {
    let file = std::fs::read(path).expect("the capture is there");
    assert_eq!(number(&file, 0), 0xa1b2_c3d4, "{}", path.display());
    // Above are bits that say how frames end.
    let link_header = match number(&file, 20) & 0xffff {
        // Ethernet, raw IP, raw IPv6, Linux cooked capture version 2.
        1 => 14,
        RAW | 229 => 0,
        276 => 20,
        other => panic!("{}: link type {other}", path.display()),
    };
    let mut packets = Vec::new();
    let mut at = 24;
    while at < file.len() {
        let len = number(&file, at + 8) as usize;
        packets.push(file[at + 16 + link_header..at + 16 + len].to_vec());
        at += 16 + len;
    }
    packets
}

/// Writes packets that begin with their IPv6 header.
pub(crate) fn write(path: &Path, packets: &[Vec<u8>]) {
    let mut file = Vec::new();
    for field in [0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 65535, RAW] {
        file.extend(u32::to_le_bytes(field));
    }
    for (second, packet) in packets.iter().enumerate() {
        let len = packet.len() as u32;
        for field in [second as u32, 0, len, len] {
            file.extend(field.to_le_bytes());
        }
        file.extend(packet);
    }
    std::fs::write(path, file).expect("the folder is writable");
}
