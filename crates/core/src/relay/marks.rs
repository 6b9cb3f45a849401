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

#[cfg(test)]
mod tests {
    use super::*;

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
