//! The name that was probably meant, for whoever mistyped one.

/// The one of `known` that is nearest to `name`, if any is near enough to be meant.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let (distance, near) = known.iter().map(|candidate| (distance(name, candidate), *candidate)).min()?;
    if distance <= name.chars().count().max(3) / 3 {
        return Some(near);
    }
    known.iter().copied().find(|candidate| !name.is_empty() && candidate.starts_with(name))
}

/// How many characters to add, to take away or to change.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in right.iter().enumerate() {
            let change = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!((distance("", "abc"), distance("abc", ""), distance("abc", "abc")), (3, 3, 0));
    }

    #[test]
    fn a_name_is_near_if_it_is_mistyped_or_begun() {
        let known = ["view_left", "view_started", "op_applied"];
        assert_eq!(nearest("view_lefd", &known), Some("view_left"));
        assert_eq!(nearest("view_s", &known), Some("view_started"));
        assert_eq!(nearest("fire", &known), None);
        assert_eq!(nearest("fire", &[]), None);
    }
}
