//! The key that was probably meant, for whoever mistyped one or left its section away.

/// The one of `known` that is nearest to `key`, if any is near enough to be meant.
pub(super) fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (edits, name) = known.map(|name| (edits(key, name).min(edits(last(key), last(name))), name)).min()?;
    (edits <= last(key).chars().count().max(3) / 3).then_some(name)
}

/// The table of `known` that was probably meant: the nearest, or one whose name is the beginning of `name` or the other way round.
pub(super) fn nearest_table<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let mut longer_or_shorter = known.clone().filter(|known| name.starts_with(known) || known.starts_with(name));
    nearest(name, known).or_else(|| longer_or_shorter.next())
}

/// The key without its section.
fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// How many characters to add, to take away or to change.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, had) in (1..).zip(from.chars()) {
        let mut edits = row;
        let mut here = vec![edits];
        for (column, wanted) in to.iter().enumerate() {
            let changed = above[column] + usize::from(had != *wanted);
            edits = changed.min(above[column + 1] + 1).min(edits + 1);
            here.push(edits);
        }
        above = here;
    }
    above[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!((edits("", "abc"), edits("abc", ""), edits("abc", "abc")), (3, 3, 0));
    }

    #[test]
    fn a_key_is_near_if_it_is_mistyped_or_lacks_its_section() {
        let near = |key| nearest(key, ["data", "limits.pipeline", "timeouts.ping_ms"].into_iter());
        assert_eq!(near("dta"), Some("data"));
        assert_eq!(near("limits.pipelin"), Some("limits.pipeline"));
        assert_eq!(near("limit.pipeline"), Some("limits.pipeline"));
        assert_eq!(near("ping"), None);
        assert_eq!(near("ping_m"), Some("timeouts.ping_ms"));
        assert_eq!(nearest("data", [].into_iter()), None);
    }

    #[test]
    fn a_table_is_near_if_its_name_goes_on_or_breaks_off() {
        let near = |name| nearest_table(name, ["limits", "log", "timeouts"].into_iter());
        assert_eq!(
            ["logging", "logger", "limit", "time", "timeouts_ms"].map(near),
            ["log", "log", "limits", "timeouts", "timeouts"].map(Some)
        );
        assert_eq!(["network", "blog"].map(near), [None, Some("log")]);
    }
}
