//! Short strings without allocation.

use core::fmt;

use toml_parser::decoder::StringBuilder;

/// A string of at most `N` octets; what does not fit is cut off at a character.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<const N: usize> {
    octets: [u8; N],
    len: u16,
    cut: bool,
}

impl<const N: usize> Text<N> {
    /// The empty string.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            octets: [0; N],
            len: 0,
            cut: false,
        }
    }

    /// The string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only whole characters are ever appended.
        core::str::from_utf8(&self.octets[..usize::from(self.len)]).unwrap_or("")
    }

    /// Whether something did not fit.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Appends what fits.
    pub fn push(&mut self, text: &str) {
        for character in text.chars() {
            let mut utf8 = [0; 4];
            let encoded = character.encode_utf8(&mut utf8).as_bytes();
            let start = usize::from(self.len);
            match self.octets.get_mut(start..start + encoded.len()) {
                Some(room) if !self.cut && start + encoded.len() <= usize::from(u16::MAX) => {
                    room.copy_from_slice(encoded);
                    self.len += encoded.len() as u16;
                }
                _ => self.cut = true,
            }
        }
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> From<&str> for Text<N> {
    fn from(text: &str) -> Self {
        let mut this = Self::new();
        this.push(text);
        this
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text);
        Ok(())
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        if self.cut { f.write_str("…") } else { Ok(()) }
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<'s, const N: usize> StringBuilder<'s> for Text<N> {
    fn clear(&mut self) {
        *self = Self::new();
    }
    fn push_str(&mut self, append: &'s str) -> bool {
        self.push(append);
        true
    }
    fn push_char(&mut self, append: char) -> bool {
        self.push(append.encode_utf8(&mut [0; 4]));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut_at_a_character() {
        let mut text = Text::<4>::from("aé");
        assert_eq!((text.as_str(), text.is_cut()), ("aé", false));
        text.push("éb");
        assert_eq!((text.as_str(), text.is_cut()), ("aé", true));
        assert_eq!(text.to_string(), "aé…");
    }
}
