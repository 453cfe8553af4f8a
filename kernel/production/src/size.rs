//! Sizes in bytes, as people write and read them: `65536`, `64KiB`, `1 GiB`. Integers only.

/// The units, the largest first.
const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Reads a size.
///
/// # Errors
/// In words: what a size looks like, or that this one is too large.
pub fn parse(text: &str) -> Result<u64, String> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    let unit = match unit.trim_start() {
        "" | "B" => Some(1),
        unit => UNITS.iter().find(|(name, _)| *name == unit).map(|(_, bytes)| *bytes),
    };
    let digits = digits.replace('_', "");
    let (Some(unit), false) = (unit, digits.is_empty()) else {
        return Err("a size is a number of bytes, or one of KiB, MiB or GiB, as in 64KiB".to_owned());
    };
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(|| "that is too large".to_owned())
}

/// A size in its largest unit, with one decimal where it is not whole.
pub fn words(bytes: u64) -> String {
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        None => format!("{bytes} bytes"),
        Some((name, unit)) if bytes.is_multiple_of(*unit) => format!("{} {name}", bytes / unit),
        Some((name, unit)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        let read = ["0", "65536", "65_536", "64KiB", "64 KiB", "3MiB", "1GiB", "2TiB", "7B"].map(parse);
        let bytes = [0, 65_536, 65_536, 65_536, 65_536, 3 << 20, 1 << 30, 2 << 40, 7];
        assert_eq!(read, bytes.map(Ok));
        for wrong in ["", "KiB", "64K", "64kb", "-1", "1.5GiB", "64KiBx", "_"] {
            assert!(parse(wrong).is_err_and(|why| why.contains("as in 64KiB")), "{wrong}");
        }
        for large in ["18446744073709551616", "18446744073709551615TiB"] {
            assert_eq!(parse(large), Err("that is too large".to_owned()));
        }
    }

    #[test]
    fn sizes_are_said_in_their_largest_unit() {
        let said = [0, 1023, 1024, 65_536, 1_572_864, 1_075_904_512, 1 << 40].map(words);
        assert_eq!(said, ["0 bytes", "1023 bytes", "1 KiB", "64 KiB", "1.5 MiB", "1.0 GiB", "1 TiB"]);
    }
}
