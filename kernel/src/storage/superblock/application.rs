//! The name of an application, as a data file bears it.

use core::fmt;

/// Which application a data file's log is of: a short name, or none. A log that another application replays gives another state, and
/// answers that nobody asked for; who opens a data file compares.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ApplicationName([u8; ApplicationName::SIZE_MAX]);

/// Why a text is no name of an application.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ApplicationNameError;

impl ApplicationName {
    /// The longest, in bytes.
    pub const SIZE_MAX: usize = 16;

    /// Of an application that does not say its name.
    pub const NONE: Self = Self([0; Self::SIZE_MAX]);

    /// The name that this text is; none if it is empty.
    ///
    /// # Errors
    /// If it is longer than [`ApplicationName::SIZE_MAX`], or has other characters than `a` to `z`, `0` to `9` and `-`.
    pub fn new(text: &str) -> Result<Self, ApplicationNameError> {
        let mut bytes = [0; Self::SIZE_MAX];
        bytes.get_mut(..text.len()).ok_or(ApplicationNameError)?.copy_from_slice(text.as_bytes());
        Self::from_bytes(bytes).ok_or(ApplicationNameError)
    }

    /// The name, padded with zeros, if it is one.
    pub(super) fn from_bytes(bytes: [u8; Self::SIZE_MAX]) -> Option<Self> {
        let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(Self::SIZE_MAX);
        let (name, padding) = bytes.split_at(length);
        let is_name = name.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        (is_name && padding.iter().all(|byte| *byte == 0)).then_some(Self(bytes))
    }

    /// As it lies in a file: padded with zeros.
    pub const fn to_bytes(self) -> [u8; Self::SIZE_MAX] {
        self.0
    }

    /// The name; empty if there is none.
    pub fn as_str(&self) -> &str {
        let length = self.0.iter().position(|byte| *byte == 0).unwrap_or(Self::SIZE_MAX);
        core::str::from_utf8(&self.0[..length]).expect("a name is of letters, digits and hyphens")
    }

    /// Whether it is none.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

impl fmt::Debug for ApplicationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl fmt::Display for ApplicationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for ApplicationNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an application's name has at most {} letters a to z, digits and hyphens", ApplicationName::SIZE_MAX)
    }
}

impl core::error::Error for ApplicationNameError {}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_name_survives_its_bytes_and_what_is_none_is_an_error() {
        for text in ["", "kv", "job-queue-2", "sixteen-letters-"] {
            let name = ApplicationName::new(text).unwrap();
            assert_eq!((name.as_str(), name.is_none()), (text, text.is_empty()));
            assert_eq!(ApplicationName::from_bytes(name.to_bytes()), Some(name));
        }
        for text in ["seventeen-letters", "Kv", "k v", "k\0v", "ä"] {
            assert_eq!(ApplicationName::new(text), Err(ApplicationNameError), "{text}");
        }
        assert_eq!(ApplicationName::from_bytes(*b"kv\0x\0\0\0\0\0\0\0\0\0\0\0\0"), None);
        assert!(ApplicationNameError.to_string().contains("16"));
    }
}
