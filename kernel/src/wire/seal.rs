//! Sealing and opening frames: the only way in and out of the wire.
//!
//! Sealing writes header and body into one pooled buffer, without an allocation between. Opening costs two hashes at
//! most, one when there is no body. A chunk's body is hashed as the chunk that it is, and not once more as a body.

use alloc::vec::Vec;

use crate::{
    frame::Frame,
    process::Actions,
    types::ClusterId,
    wire::{
        error::WireError,
        header::{Command, HEADER_SIZE, Header},
    },
};

/// Builds the frame of `header` over `body`, from the pool. Returns the header as sealed.
pub fn seal(header: Header, body: &[u8], actions: &mut Actions) -> (Header, Frame) {
    seal_with(header, body.len(), actions, |bytes| bytes.extend_from_slice(body))
}

/// Builds the frame of `header` over the body of about `length` bytes that `write` appends, in place. Returns the header as
/// sealed.
///
/// `write` must only append: the bytes before are the header's.
pub fn seal_with(
    header: Header,
    length: usize,
    actions: &mut Actions,
    write: impl FnOnce(&mut Vec<u8>),
) -> (Header, Frame) {
    let mut builder = actions.frame_of(HEADER_SIZE + length);
    let bytes = builder.bytes();
    bytes.extend_from_slice(&[0; HEADER_SIZE]);
    write(bytes);
    let (place, body) = bytes.split_first_chunk_mut::<HEADER_SIZE>().expect("a body is appended to its header");
    let (header, sealed) = header.sealed_bytes(body);
    *place = sealed;
    // A chunk is taken at its word by whoever seals it, and not by whoever opens it.
    let frame = if header.command == Command::Chunk { builder.finish() } else { builder.finish_sealed() };
    (header, frame)
}

/// As [`open`], of a frame. One that was sealed in this program, and that nothing has touched since, is not hashed again: in a
/// simulation that is each that arrives whole.
pub fn open_frame(frame: &Frame, cluster: ClusterId) -> Result<(Header, &[u8]), WireError> {
    if !frame.is_sealed() {
        return open(frame, cluster);
    }
    let header = Header::decode_sealed(frame)?;
    if header.cluster != cluster {
        return Err(WireError::Cluster);
    }
    Ok((header, &frame[HEADER_SIZE..]))
}

/// The header and the body of a frame that arrived: whole, undamaged, of this version and of this cluster.
pub fn open(frame: &[u8], cluster: ClusterId) -> Result<(Header, &[u8]), WireError> {
    let header = Header::decode(frame)?;
    if header.cluster != cluster {
        return Err(WireError::Cluster);
    }
    if header.size as usize != frame.len() {
        return Err(WireError::Size);
    }
    let body = &frame[HEADER_SIZE..];
    if !header.is_over(body) {
        return Err(WireError::BodyChecksum);
    }
    Ok((header, body))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::types::{Checksum, View};

    const CLUSTER: ClusterId = ClusterId(7);

    fn header(command: Command) -> Header {
        Header::new(CLUSTER, command, 1, View(4))
    }

    #[test]
    fn what_is_sealed_opens_to_the_same_header_and_body() {
        let mut actions = Actions::new();
        for command in Command::ALL.into_iter().filter(|command| *command != Command::Chunk) {
            for body in [&b""[..], b"x", &[7; 5000]] {
                let (sealed, frame) = seal(header(command), body, &mut actions);
                assert_eq!(sealed, header(command).sealed(body));
                assert_eq!(open(&frame, CLUSTER), Ok((sealed, body)));
                assert_eq!(open_frame(&frame, CLUSTER), Ok((sealed, body)));
                assert_eq!(open_frame(&Frame::new(frame.to_vec()), CLUSTER), Ok((sealed, body)));
                assert_eq!(frame[..HEADER_SIZE], sealed.encode());
                actions.recycle(frame);
            }
        }
    }

    #[test]
    fn a_body_written_in_place_is_the_same_frame() {
        let mut actions = Actions::new();
        let (_, placed) = seal_with(header(Command::Reply), 4, &mut actions, |bytes| bytes.extend_from_slice(b"body"));
        let (_, copied) = seal(header(Command::Reply), b"body", &mut actions);
        assert_eq!(placed, copied);
    }

    #[test]
    fn every_truncation_and_every_extension_of_a_frame_is_an_error() {
        let (_, frame) = seal(header(Command::Reply), b"a body", &mut Actions::new());
        for length in 0..frame.len() {
            let expected = if length < HEADER_SIZE { WireError::Short } else { WireError::Size };
            assert_eq!(open(&frame[..length], CLUSTER), Err(expected));
        }
        let mut longer = frame.to_vec();
        longer.push(0);
        assert_eq!(open(&longer, CLUSTER), Err(WireError::Size));
    }

    #[test]
    fn every_single_flipped_bit_of_a_frame_is_found() {
        let (_, frame) = seal(header(Command::Reply), b"a body", &mut Actions::new());
        for bit in 0..frame.len() * 8 {
            let mut damaged = frame.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let expected = if bit / 8 < HEADER_SIZE { WireError::HeaderChecksum } else { WireError::BodyChecksum };
            assert_eq!(open(&damaged, CLUSTER), Err(expected), "bit {bit}");
            assert_eq!(open_frame(&Frame::new(damaged), CLUSTER), Err(expected), "bit {bit}");
        }
    }

    #[test]
    fn a_chunk_opens_if_it_is_what_it_says_and_no_bit_of_it_may_differ() {
        let rest = b"kind, length and payload";
        let chunk = [&Checksum::of(rest).0.to_le_bytes()[..], rest].concat();
        let (sealed, frame) = seal(header(Command::Chunk), &chunk, &mut Actions::new());
        assert_eq!(open(&frame, CLUSTER), Ok((sealed, &chunk[..])));
        assert_eq!(sealed.checksum_body, Checksum::of(rest));
        for bit in HEADER_SIZE * 8..frame.len() * 8 {
            let mut damaged = frame.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&damaged, CLUSTER), Err(WireError::BodyChecksum), "bit {bit}");
        }
        // Whatever else a sender seals, is no frame: too short for a name, named zero, of another name, its name alone.
        let other = [&[7; 16][..], rest].concat();
        let name = &Checksum::of(b"").0.to_le_bytes()[..15];
        for body in [&b""[..], b"x", &[0; 100], &other, name] {
            let (_, frame) = seal(header(Command::Chunk), body, &mut Actions::new());
            assert_eq!(open_frame(&frame, CLUSTER), Err(WireError::BodyChecksum), "{body:?}");
        }
    }

    #[test]
    fn a_body_that_was_exchanged_for_none_is_found() {
        let sealed = header(Command::Reply).sealed(b"x");
        let forged = Header { size: HEADER_SIZE as u32, ..sealed };
        let mut bytes = forged.encode();
        let checksum = crate::types::Checksum::of(&bytes[16..]);
        bytes[..16].copy_from_slice(&checksum.0.to_le_bytes());
        assert_eq!(open(&bytes, CLUSTER), Err(WireError::BodyChecksum));
    }

    #[test]
    fn a_frame_of_another_cluster_is_refused() {
        let (_, frame) = seal(header(Command::Ping), &[], &mut Actions::new());
        assert_eq!(open(&frame, ClusterId(8)), Err(WireError::Cluster));
        assert_eq!(open_frame(&frame, ClusterId(8)), Err(WireError::Cluster));
    }

    #[test]
    fn noise_of_any_length_is_an_error() {
        let mut noise = vec![0_u8; 600];
        let mut state = 1_u32;
        for byte in &mut noise {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        }
        for length in 0..noise.len() {
            assert!(open(&noise[..length], CLUSTER).is_err());
            assert!(open(&vec![0; length], CLUSTER).is_err());
        }
    }
}
