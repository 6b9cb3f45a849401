//! Congestion marks at the end of a tunnel (RFC 6040).

const ECN: u8 = 0b11;
const NOT_CAPABLE: u8 = 0b00;
const CAPABLE_1: u8 = 0b01;
const CAPABLE_0: u8 = 0b10;
const EXPERIENCED: u8 = 0b11;

/// The traffic class that a packet leaves a tunnel with, from those of the inner and
/// the outer header; none if the packet has to be dropped. The DSCP stays that of the
/// inner header (RFC 2983 §3.1, "pipe").
//= https://www.rfc-editor.org/rfc/rfc6040#section-4.2
#[must_use]
pub const fn decapsulated(inner: u8, outer: u8) -> Option<u8> {
    let mark = match (inner & ECN, outer & ECN) {
        (NOT_CAPABLE, EXPERIENCED) => return None,
        (NOT_CAPABLE, _) => NOT_CAPABLE,
        (CAPABLE_0, EXPERIENCED) | (CAPABLE_1, EXPERIENCED) => EXPERIENCED,
        (CAPABLE_0, CAPABLE_1) => CAPABLE_1,
        (inner, _) => inner,
    };
    Some(inner & !ECN | mark)
}

/// Gives an IPv6 packet another traffic class. Of what is shorter than its field nothing
/// is changed.
//= https://www.rfc-editor.org/rfc/rfc8200#section-3
pub const fn with_traffic_class(octets: &mut [u8], class: u8) {
    // Across two octets, behind the version and before the flow label.
    if let [first, second, ..] = octets {
        *first = *first & 0xf0 | class >> 4;
        *second = class << 4 | *second & 0x0f;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traffic_class_leaves_what_is_around_it() {
        for class in 0..=u8::MAX {
            for around in [0x00, 0xff] {
                let mut octets = [0x60 | around & 0x0f, around, around, around];
                with_traffic_class(&mut octets, class);
                let word = u32::from_be_bytes(octets);
                assert_eq!(word >> 28, 6);
                assert_eq!(word >> 20 & 0xff, u32::from(class));
                assert_eq!(word & 0xf_ffff, if around == 0 { 0 } else { 0xf_ffff });
            }
        }
        let mut short = [0x60];
        with_traffic_class(&mut short, 0xff);
        assert_eq!(short, [0x60]);
    }

    /// Figure 4 of RFC 6040: rows are the inner field, columns the outer.
    #[test]
    fn marks_leave_a_tunnel_as_figure_4_says() {
        const DROP: u8 = 0xff;
        let fields = [NOT_CAPABLE, CAPABLE_0, CAPABLE_1, EXPERIENCED];
        let table = [
            [NOT_CAPABLE, NOT_CAPABLE, NOT_CAPABLE, DROP],
            [CAPABLE_0, CAPABLE_0, CAPABLE_1, EXPERIENCED],
            [CAPABLE_1, CAPABLE_1, CAPABLE_1, EXPERIENCED],
            [EXPERIENCED, EXPERIENCED, EXPERIENCED, EXPERIENCED],
        ];
        for (inner, row) in fields.into_iter().zip(table) {
            for (outer, expected) in fields.into_iter().zip(row) {
                let expected = Some(expected).filter(|mark| *mark != DROP);
                let class = decapsulated(0xb8 | inner, 0x20 | outer);
                assert_eq!(
                    class,
                    expected.map(|mark| 0xb8 | mark),
                    "{inner:02b} {outer:02b}"
                );
            }
        }
    }
}
