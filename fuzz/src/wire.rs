//! Frames and bodies, from any bytes.

use chronon::{
    types::{Checksum, ClusterId},
    wire::{
        Batch, HEADER_SIZE, Header, batch, codec,
        members::{Greeting, MEMBERS_MAX},
        message, open,
    },
};

/// The cluster that frames are opened for.
pub const CLUSTER: ClusterId = ClusterId(7);

/// A frame decodes to an error or a value, and a value encodes to the same bytes.
pub fn frame(bytes: &[u8]) {
    opened(bytes);
    let mut resealed = bytes.to_vec();
    if reseal_frame(&mut resealed) {
        opened(&resealed);
    }
}

/// A message's body, by the command in the first byte, decodes to an error or a value, and a value encodes to the same
/// bytes.
pub fn bodies(bytes: &[u8]) {
    let Some((kind, body)) = bytes.split_first() else { return };
    body_of(*kind, body);
    let mut resealed = body.to_vec();
    reseal_headers(&mut resealed);
    body_of(*kind, &resealed);
}

/// Puts a frame's checksums right, if there is a header.
pub fn reseal_frame(bytes: &mut [u8]) -> bool {
    let Some((header, body)) = bytes.split_first_chunk_mut::<HEADER_SIZE>() else { return false };
    header[16..32].copy_from_slice(&Checksum::of(body).0.to_le_bytes());
    let checksum = Checksum::of(&header[16..]);
    header[..16].copy_from_slice(&checksum.0.to_le_bytes());
    true
}

fn opened(bytes: &[u8]) {
    let Ok((header, body)) = open(bytes, CLUSTER) else { return };
    assert_eq!(header.size as usize, bytes.len(), "a frame is as long as it says");
    assert_eq!(header.cluster, CLUSTER);
    assert_eq!(header.encode(), bytes[..HEADER_SIZE], "a header encodes to the same bytes");
    assert_eq!(header.sealed(body), header, "a frame that opens is one that would be sealed");
    assert_eq!(header.verify(), Ok(()));
    // Whatever the command: a body is handed to the decoder that the command names, and any may be wrong.
    for kind in 0..4 {
        body_of(kind, body);
    }
}

fn body_of(kind: u8, body: &[u8]) {
    let mut again = Vec::new();
    match kind % 4 {
        0 => {
            let Ok(parsed) = Batch::parse(body) else { return };
            assert_eq!(parsed.iter().count(), parsed.len());
            for entry in parsed {
                batch::push_entry(&mut again, &entry);
            }
        }
        1 => {
            let Ok(headers) = message::decode_headers(body) else { return };
            check_headers(&headers.headers);
            message::encode_headers(&headers.headers, &mut again);
        }
        2 => {
            let Ok(decoded) = message::decode_do_view_change(body) else { return };
            check_headers(&decoded.headers);
            assert!(message::is_contiguous(&decoded.headers));
            message::encode_do_view_change(&decoded, &mut again);
        }
        _ => {
            let Ok(greeting) = Greeting::decode(body) else { return };
            assert!(greeting.incarnations.len() <= MEMBERS_MAX);
            greeting.encode(&mut again);
        }
    }
    assert_eq!(again, body, "a body encodes to the same bytes");
}

fn check_headers(headers: &[Header]) {
    assert!(headers.len() <= message::HEADERS_MAX);
    for header in headers {
        assert_eq!(Header::decode(&header.encode()).as_ref(), Ok(header), "a header in a body is one on the wire");
        assert!(header.is_log_entry());
    }
}

/// Puts right the checksum of each header in a list of headers, as far as they decode.
fn reseal_headers(body: &mut [u8]) {
    const LENGTH_SIZE: usize = 8;
    const ENCODED_SIZE: usize = 122;
    let Some(headers) = body.get_mut(LENGTH_SIZE..) else { return };
    for place in headers.chunks_exact_mut(ENCODED_SIZE) {
        let Ok(mut header) = codec::decode::<Header>(place) else { return };
        header.checksum = Checksum::of(&header.encode()[16..]);
        let mut sealed = Vec::new();
        codec::encode(&header, &mut sealed);
        place.copy_from_slice(&sealed);
    }
}
