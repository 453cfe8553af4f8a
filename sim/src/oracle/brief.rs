//! How a violation names what may be long: by how many bytes it is and the first of them, so that a sentence stays one that can be read
//! aloud.

use std::fmt;

use chronon::effect::EffectResult;

/// How many bytes are shown.
const SHOWN: usize = 8;

/// Some bytes.
#[derive(Clone, Copy)]
pub(super) struct Brief<'a>(pub(super) &'a [u8]);

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = self;
        write!(f, "{} bytes", bytes.len())?;
        if !bytes.is_empty() {
            f.write_str(" ")?;
        }
        for byte in bytes.iter().take(SHOWN) {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(if bytes.len() > SHOWN { ".." } else { "" })
    }
}

/// What an attempt came to.
#[derive(Clone, Copy)]
pub(super) struct BriefResult<'a>(pub(super) &'a EffectResult);

impl fmt::Display for BriefResult<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            EffectResult::Done { response } => write!(f, "Done with {}", Brief(response)),
            other => write!(f, "{other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_long_it_is_its_name_is_short() {
        assert_eq!(Brief(&[]).to_string(), "0 bytes");
        assert_eq!(Brief(&[7, 0xab]).to_string(), "2 bytes 07ab");
        assert_eq!(Brief(&[1; 8]).to_string(), "8 bytes 0101010101010101");
        let response = vec![1; 40_000];
        assert_eq!(
            BriefResult(&EffectResult::Done { response }).to_string(),
            "Done with 40000 bytes 0101010101010101.."
        );
        assert_eq!(BriefResult(&EffectResult::Failed { code: 503 }).to_string(), "Failed { code: 503 }");
    }
}
