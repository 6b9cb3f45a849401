//! Exit codes (sysexits(3) where it has one).

use aarp_core::mapping::Answer;

pub(crate) const PINNED: u8 = 0;
pub(crate) const NO_ANSWER: u8 = 1;
pub(crate) const CANNOT_BE_PINNED: u8 = 2;
pub(crate) const CHANGED: u8 = 3;
pub(crate) const UNTRUSTED: u8 = 4;
pub(crate) const MIXED: u8 = 5;
pub(crate) const USAGE: u8 = 64;
pub(crate) const UNAVAILABLE: u8 = 69;
pub(crate) const SOFTWARE: u8 = 70;
pub(crate) const NOT_WRITTEN: u8 = 73;
pub(crate) const NOT_PERMITTED: u8 = 77;
pub(crate) const CONFIGURATION: u8 = 78;
pub(crate) const INTERRUPTED: u8 = 130;

/// What each code means, for help and manual pages.
pub(crate) const MEANINGS: [(u8, &str); 13] = [
    (PINNED, "pinned; doctor: nothing hinders"),
    (
        NO_ANSWER,
        "no answer, no route, or a name without an address; cache show: nothing is known",
    ),
    (CANNOT_BE_PINNED, "cannot be pinned"),
    (CHANGED, "watch: the responder changed"),
    (UNTRUSTED, "an answer was refused as untrusted"),
    (MIXED, "several addresses, of which not all ended alike"),
    (USAGE, "usage"),
    (
        UNAVAILABLE,
        "cache, top, events, metrics: there is no aarpd, or it does not answer",
    ),
    (SOFTWARE, "something of this host failed"),
    (NOT_WRITTEN, "the file for metrics could not be written"),
    (NOT_PERMITTED, "not permitted"),
    (CONFIGURATION, "bad configuration"),
    (
        INTERRUPTED,
        "ended by Ctrl-C; watch and census end with what they have, and its code; top and events \
         with 0",
    ),
];

/// The code for one answer.
pub(crate) fn of_answer(answer: &Answer) -> u8 {
    match answer {
        Answer::Pinned { .. } => PINNED,
        Answer::Direct { .. } => CANNOT_BE_PINNED,
        Answer::Untrusted { .. } => UNTRUSTED,
        Answer::None { .. } => NO_ANSWER,
    }
}

/// One code for several addresses: their own when they agree.
pub(crate) fn overall(mut codes: impl Iterator<Item = u8>) -> u8 {
    let Some(first) = codes.next() else {
        return USAGE;
    };
    codes.fold(first, |all, code| match code {
        _ if all == code => all,
        // What hinders the asking is not a result to be mixed.
        NOT_PERMITTED | SOFTWARE => code,
        _ if all == NOT_PERMITTED || all == SOFTWARE => all,
        _ => MIXED,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_several_addresses() {
        for (codes, expected) in [
            (vec![0], 0),
            (vec![1, 1], 1),
            (vec![0, 2], MIXED),
            (vec![0, 2, 0], MIXED),
            (vec![0, 77], 77),
            (vec![77, 1], 77),
        ] {
            assert_eq!(overall(codes.into_iter()), expected);
        }
    }
}
