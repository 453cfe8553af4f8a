//! Numbers and durations, as people write and read them. Integers only.

use std::time::Duration;

use chronon_sim::schedule::SEED_MAX;

/// Reads a count: digits, which underscores may part.
pub(crate) fn parse_count(text: &str) -> Result<u64, String> {
    digits(text)?.parse().map_err(|_| format!("at most {}", u64::MAX))
}

/// Reads a count of at least one.
pub(crate) fn parse_positive(text: &str) -> Result<u64, String> {
    match parse_count(text)? {
        0 => Err("at least 1".to_owned()),
        count => Ok(count),
    }
}

/// Reads a number of replicas. Which numbers there can be, a scenario says.
pub(crate) fn parse_replicas(text: &str) -> Result<u8, String> {
    u8::try_from(parse_count(text)?).map_err(|_| "more than any cluster has".to_owned())
}

/// Reads a seed.
pub(crate) fn parse_seed(text: &str) -> Result<u64, String> {
    let below = text.strip_prefix('-').is_some_and(is_number);
    let seed = if below { None } else { digits(text)?.parse().ok().filter(|seed| *seed <= SEED_MAX) };
    seed.ok_or_else(|| format!("out of range: seeds go from 0 to {SEED_MAX}"))
}

/// Whether the text is meant to be a number.
pub(crate) fn is_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    text.starts_with(|first: char| first.is_ascii_digit()) && digits(text).is_ok()
}

fn digits(text: &str) -> Result<String, String> {
    let digits = text.replace('_', "");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("not a whole number".to_owned());
    }
    Ok(digits)
}

/// Reads a duration: numbers with units, as in `90s`, `5m` or `1h30m`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a duration is numbers with units, as in 90s, 5m or 1h30m".to_owned();
    let (mut rest, mut total) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '_').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(unit_at);
        let unit_length = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_length);
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let ms = parse_count(number).ok().and_then(|number| number.checked_mul(unit_ms)).ok_or_else(wrong)?;
        total = total.checked_add(Duration::from_millis(ms)).ok_or_else(wrong)?;
        rest = tail;
    }
    match text {
        "" => Err(wrong()),
        _ if total.is_zero() => Err("a duration is more than nothing".to_owned()),
        _ => Ok(total),
    }
}

/// The number with a comma before every three digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `count` things, in words that agree.
pub(crate) fn counted(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(count))
}

/// A duration in its two largest units.
pub(crate) fn duration(ns: u64) -> String {
    let (ms, seconds) = (ns / 1_000_000, ns / 1_000_000_000);
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{seconds}.{:02} s", ms % 1_000 / 10),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} days {} h", grouped(seconds / 86_400), seconds % 86_400 / 3_600),
    }
}

/// A moment of virtual time, in seconds.
pub(crate) fn moment(ns: u64) -> String {
    format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}

/// How many a second, in thousandths; 0 if no time has passed.
pub(crate) fn per_second_milli(count: u64, ns: u64) -> u64 {
    let milli = u128::from(count) * 1_000_000_000_000;
    milli.checked_div(u128::from(ns)).map_or(0, |rate| u64::try_from(rate).unwrap_or(u64::MAX))
}

/// A rate in thousandths, with as many decimals as say something.
pub(crate) fn rate(milli: u64) -> String {
    if milli >= 100_000 { grouped(milli / 1_000) } else { format!("{}.{}", milli / 1_000, milli % 1_000 / 100) }
}

/// A digest in hex.
pub(crate) fn hex(digest: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*digest).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        for (text, ms) in
            [("90s", 90_000), ("5m", 300_000), ("1h30m", 5_400_000), ("250ms", 250), ("1_000s", 1_000_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "s", "5 s", "0s", "5x", "-5s", "18446744073709551615d", "1h30"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn seeds_have_a_range() {
        assert_eq!(parse_seed("1_000"), Ok(1_000));
        assert_eq!(parse_seed("9223372036854775807"), Ok(SEED_MAX));
        for text in ["9223372036854775808", "99999999999999999999999", "", "-1", "7x", "0x10"] {
            assert!(parse_seed(text).is_err(), "{text}");
        }
        assert!(is_number("18446744073709551616") && is_number("-5") && !is_number("_") && !is_number("7.toml"));
        assert!(parse_seed("-5").is_err_and(|why| why.starts_with("out of range: ")));
    }

    #[test]
    fn numbers_are_read_aloud_easily() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((counted(1, "seed"), counted(1_000, "seed")), ("1 seed".to_owned(), "1,000 seeds".to_owned()));
        let durations = [7_000_000, 4_712_000_000, 75_000_000_000, 8_000_000_000_000, 200_000_000_000_000];
        assert_eq!(durations.map(duration), ["7 ms", "4.71 s", "1 min 15 s", "2 h 13 min", "2 days 7 h"]);
        assert_eq!(moment(1_203_000_001), "1.203000001");
    }

    #[test]
    fn rates_come_from_integers() {
        assert_eq!(per_second_milli(1_000, 2_000_000_000), 500_000);
        assert_eq!(per_second_milli(5, 0), 0);
        assert_eq!(per_second_milli(u64::MAX, 1), u64::MAX);
        assert_eq!([213_400, 99_950, 40].map(rate), ["213", "99.9", "0.0"]);
    }
}
