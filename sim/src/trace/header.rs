//! What a trace says of itself before the first record. The digest does not cover it.

use super::{TraceError, cursor::Cursor, encode::Page, seal::Seal};

/// The first bytes of every trace.
const MAGIC: [u8; 8] = *b"CHRTRACE";

/// The version of everything in a trace, header and records.
const FORMAT_VERSION: u16 = 3;

/// What was run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceHeader {
    /// The build that wrote the trace. Another build may truthfully differ.
    pub code_version: String,
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// The schedule of faults, as TOML; empty where there was none.
    pub schedule: String,
}

impl TraceHeader {
    /// A whole trace: magic, version, each field, the checksums of all that, then the records.
    pub fn over(&self, records: &[u8]) -> Vec<u8> {
        let mut page = Page::default();
        page.bytes(&MAGIC);
        page.bytes(&FORMAT_VERSION.to_le_bytes());
        page.bytes(&self.seed.to_le_bytes());
        for field in [&self.code_version, &self.scenario, &self.schedule] {
            page.text(field);
        }
        Seal::write(&mut page, records);
        [page.written(), records].concat()
    }

    pub(super) fn decode<'a>(cursor: &mut Cursor<'a>) -> Result<(Self, Seal<'a>), TraceError> {
        if cursor.rest().get(..MAGIC.len()).is_none_or(|magic| magic != MAGIC) {
            return Err(TraceError::Foreign);
        }
        cursor.bytes(MAGIC.len() as u64)?;
        let version = u16::from_le_bytes(cursor.array()?);
        if version != FORMAT_VERSION {
            return Err(TraceError::Version { found: version, known: FORMAT_VERSION });
        }
        let seed = u64::from_le_bytes(cursor.array()?);
        let code_version = cursor.text()?.to_owned();
        let scenario = cursor.text()?.to_owned();
        let schedule = cursor.text()?.to_owned();
        Ok((Self { code_version, scenario, seed, schedule }, Seal::decode(cursor)?))
    }
}
