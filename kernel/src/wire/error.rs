//! Why bytes are not a message. Every variant is counted and the frame dropped; none is fatal.

use core::fmt;

use crate::wire::codec::CodecError;

/// Why bytes are not a message of this cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WireError {
    /// There are fewer bytes than a header.
    Short,
    /// The header's size is not the frame's, or is less than a header.
    Size,
    /// The header does not match its checksum.
    HeaderChecksum,
    /// The body does not match its checksum.
    BodyChecksum,
    /// The frame speaks another version of the protocol.
    Version(u16),
    /// The command is not one of this version.
    Command(u8),
    /// A reserved byte is not zero.
    Reserved,
    /// The frame belongs to another cluster.
    Cluster,
    /// A list of headers holds one that is not a prepare's.
    NotAPrepare,
    /// A log's headers do not name consecutive ops.
    Gap,
    /// A log does not come with one claim for each header.
    Claims,
    /// A batch's entries do not fill its body exactly.
    Batch,
    /// The body is not an encoding of what the command carries.
    Body(CodecError),
}

impl From<CodecError> for WireError {
    fn from(error: CodecError) -> Self {
        Self::Body(error)
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => write!(f, "the frame is shorter than a header: send whole frames"),
            Self::Size => {
                write!(f, "the frame's length is not the size in its header: send whole frames, one at a time")
            }
            Self::HeaderChecksum => write!(f, "the header does not match its checksum: it was damaged, send it again"),
            Self::BodyChecksum => write!(f, "the body does not match its checksum: it was damaged, send it again"),
            Self::Version(found) => write!(
                f,
                "the frame speaks protocol version {found} and this program version {}: run the same release on both ends",
                super::header::VERSION
            ),
            Self::Command(found) => {
                write!(f, "command {found} is unknown to this program: run the same release on both ends")
            }
            Self::Reserved => write!(f, "a reserved byte is not zero: run the same release on both ends"),
            Self::Cluster => write!(f, "the frame belongs to another cluster: check the addresses"),
            Self::NotAPrepare => write!(f, "a list of headers holds one that is no prepare's: the sender has a defect"),
            Self::Gap => write!(f, "the headers of a log do not name consecutive ops: the sender has a defect"),
            Self::Claims => write!(f, "a log comes without one claim for each header: the sender has a defect"),
            Self::Batch => write!(f, "the entries of a batch do not fill its body: the sender has a defect"),
            Self::Body(error) => write!(f, "the body does not decode: {error}"),
        }
    }
}

impl core::error::Error for WireError {}
