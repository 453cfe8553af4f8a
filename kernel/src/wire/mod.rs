//! The wire: what replicas and clients say to each other, as bytes.
//!
//! A message is a 128-byte [`Header`] followed by a body. Decoding hostile bytes is total: an error or a value, never a
//! panic, never an allocation that the bytes do not pay for. What decodes, encodes to the same bytes.
//!
//! Nothing here keeps state, knows the protocol's rules, or knows who may say what to whom: checksums find damage, they
//! do not authenticate.

pub mod batch;
pub mod codec;
pub mod error;
pub mod header;
pub mod members;
pub mod message;
pub mod seal;
pub mod stored;

pub use batch::{Batch, Entry};
pub use codec::CodecError;
pub use error::WireError;
pub use header::{Command, HEADER_SIZE, Header};
pub use message::{Claim, DoViewChange, HEADERS_MAX, Headers, RejectReason};
pub use seal::{open, seal, seal_with};
pub use stored::Stored;
