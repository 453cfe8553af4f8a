//! Numbers, as people write and read them. Integers only.

use chronon::types::ClusterId;
use chronon_production::size;

/// Reads a cluster's identity: decimal, or hex behind `0x`.
pub(crate) fn parse_cluster(text: &str) -> Result<ClusterId, String> {
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    let signed = text.starts_with('+') || text.contains("x+");
    let number = number.ok().filter(|_| !signed);
    number.map(ClusterId).ok_or_else(|| format!("a cluster is a number up to {} or 0x{:x}", u64::MAX, u64::MAX))
}

/// Reads a size that fits the data file's format.
pub(crate) fn parse_size(text: &str) -> Result<u32, String> {
    u32::try_from(size::parse(text)?).map_err(|_| "that is too large".to_owned())
}

/// The number with a comma before every three digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string().into_bytes();
    let groups: Vec<String> =
        digits.rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned()).collect();
    groups.join(",")
}

/// `count` things, in words that agree.
pub(crate) fn counted(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_decimal_or_hex() {
        assert_eq!(["7", "0x7", "0Xff"].map(parse_cluster), [7, 7, 255].map(|id| Ok(ClusterId(id))));
        assert_eq!(parse_cluster("0xffffffffffffffff"), Ok(ClusterId(u64::MAX)));
        for wrong in ["", "-1", "+7", "0x", "0x+7", "7x", "ff", "18446744073709551616"] {
            assert!(parse_cluster(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_are_read_aloud_easily() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((counted(1, "slot"), counted(1_000, "slot")), ("1 slot".to_owned(), "1,000 slots".to_owned()));
    }
}
