//! As much of protobuf as three of etcd's calls need: fields of bytes are written, fields of bytes and numbers are read.

/// The header of every answer, which names the member that gave it.
const HEADER: u64 = 1;
const HEADER_MEMBER: u64 = 2;
/// Who the member that was asked takes for the leader.
const STATUS_LEADER: u64 = 4;
/// A key with its value.
const RANGE_VALUES: u64 = 2;

/// What a field holds.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// One field of bytes.
pub(crate) fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        field.push(length as u8 | 0x80);
        length >>= 7;
    }
    field.push(length as u8);
    field.extend_from_slice(content);
    field
}

/// Whether the member that gave this status leads.
pub(crate) fn leads(status: &[u8]) -> Result<bool, String> {
    let (mut member, mut leader) = (0, 0);
    for field in fields(status)? {
        match field {
            (HEADER, Field::Bytes(header)) => member = number(header, HEADER_MEMBER)?,
            (STATUS_LEADER, Field::Number(id)) => leader = id,
            _ => {}
        }
    }
    // Zero where there is no leader.
    Ok(leader != 0 && member == leader)
}

/// Whether a range that was asked for had a value in it.
pub(crate) fn has_value(range: &[u8]) -> Result<bool, String> {
    Ok(fields(range)?.iter().any(|(number, _)| *number == RANGE_VALUES))
}

/// The number in that field; zero is never written.
fn number(message: &[u8], wanted: u64) -> Result<u64, String> {
    let found = |(number, field): &(u64, Field<'_>)| match field {
        Field::Number(value) if *number == wanted => Some(*value),
        _ => None,
    };
    Ok(fields(message)?.iter().find_map(found).unwrap_or_default())
}

fn fields(message: &[u8]) -> Result<Vec<(u64, Field<'_>)>, String> {
    read(message).ok_or_else(|| format!("etcd answered {} bytes that are no protobuf", message.len()))
}

fn read(mut message: &[u8]) -> Option<Vec<(u64, Field<'_>)>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut message)?),
            1 => Field::Bytes(take(&mut message, 8)?),
            2 => {
                let length = varint(&mut message)?;
                Field::Bytes(take(&mut message, usize::try_from(length).ok()?)?)
            }
            5 => Field::Bytes(take(&mut message, 4)?),
            _ => return None,
        };
        fields.push((tag >> 3, field));
    }
    Some(fields)
}

fn take<'a>(message: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(taken)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of cluster 300 and this member, and the leader.
    fn status(member: u8, leader: u8) -> Vec<u8> {
        [bytes(1, &[0x08, 0xac, 0x02, 0x10, member]), bytes(2, b"3.4.23"), vec![0x20, leader]].concat()
    }

    #[test]
    fn a_field_of_bytes_has_its_length_before_it() {
        assert_eq!(bytes(1, b"key"), b"\x0a\x03key");
        assert_eq!(bytes(2, &[b'v'; 256])[..3], [0x12, 0x80, 0x02]);
        assert_eq!(bytes(2, &[b'v'; 256]).len(), 259);
    }

    #[test]
    fn a_member_leads_if_it_says_that_it_is_the_leader() {
        assert_eq!(leads(&status(7, 7)), Ok(true));
        assert_eq!(leads(&status(7, 8)), Ok(false));
        assert_eq!(leads(&status(0, 0)), Ok(false), "nobody leads");
    }

    #[test]
    fn numbers_and_lengths_of_several_bytes_are_read() {
        assert_eq!(number(&[0x08, 0xac, 0x02], 1), Ok(300));
        assert_eq!(number(&[bytes(2, &[b'v'; 300]), vec![0x08, 0x07]].concat(), 1), Ok(7));
    }

    #[test]
    fn a_range_without_a_value_is_told_from_one_with_it() {
        let header = bytes(1, &[0x08, 0x01]);
        assert_eq!(has_value(&header), Ok(false));
        assert_eq!(has_value(&[header, bytes(2, b"a pair")].concat()), Ok(true));
    }

    #[test]
    fn what_is_cut_short_is_an_error() {
        let whole = status(7, 7);
        for length in 1..whole.len() {
            let is_between_fields = [7, 15].contains(&length);
            assert_eq!(leads(&whole[..length]).is_ok(), is_between_fields, "{length} bytes");
        }
        assert!(
            leads(&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).is_err(),
            "an endless number"
        );
    }
}
