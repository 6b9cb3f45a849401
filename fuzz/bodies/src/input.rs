//! Parts of an input. What is not there is zero, so that every input has a meaning.

/// Octets that are taken from the front.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let count = N.min(self.0.len());
        let (front, rest) = self.0.split_at(count);
        array[..count].copy_from_slice(front);
        self.0 = rest;
        array
    }

    pub(crate) fn octet(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.array())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }
}

/// The text, if it is UTF-8.
pub(crate) fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// Asserts that what is meant to be one line for people is one.
#[track_caller]
pub(crate) fn assert_one_line(message: &impl std::fmt::Display) {
    let message = message.to_string();
    assert!(!message.is_empty());
    assert!(
        !message.contains(|c: char| c.is_control()),
        "not one line of text: {message:?}"
    );
}
