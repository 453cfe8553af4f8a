//! The transitions of a trace as lines: the time, a column for each replica, and what happened.
//!
//! A column shows how its replica stands: `│` up, `·` down, `‖` paused; and `●` where something befalls it, `✕` where it goes
//! down, `○` where it comes up.

use super::{Kind, Told, Transition};
use crate::number;

/// How wide a line may be; what is longer ends with an ellipsis.
const WIDTH: usize = 118;

/// The lines of a table.
pub(crate) struct Table {
    pub(crate) head: String,
    /// One line a transition.
    pub(crate) lines: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Absent,
    Up,
    Paused,
    Down,
}

impl Standing {
    fn mark(self) -> char {
        match self {
            Self::Absent => ' ',
            Self::Up => '│',
            Self::Paused => '‖',
            Self::Down => '·',
        }
    }
}

impl Table {
    pub(crate) fn of(told: &Told) -> Self {
        let widths: Vec<usize> = told.columns.iter().map(|name| name.chars().count().max(2) + 1).collect();
        let names: String = told.columns.iter().zip(&widths).map(|(name, width)| format!("{name:<width$}")).collect();
        let head = format!("{:>14}  {names} what happens", "seconds");
        let mut standings = vec![Standing::Absent; told.columns.len()];
        let mut lines = Vec::new();
        for transition in &told.transitions {
            let mut cells = String::new();
            for ((name, standing), width) in told.columns.iter().zip(&mut standings).zip(&widths) {
                let is_struck = transition.nodes.contains(name);
                let mark = if is_struck { strike(transition.kind, standing) } else { standing.mark() };
                cells.push_str(&format!("{mark:<width$}"));
            }
            lines.push(line(transition, &cells));
        }
        Self { head, lines }
    }
}

/// The mark of a transition on a replica that it befalls, which may stand otherwise after it.
fn strike(kind: Kind, standing: &mut Standing) -> char {
    let (after, mark) = match kind {
        Kind::Start | Kind::Restart => (Standing::Up, '○'),
        Kind::Resume => (Standing::Up, '●'),
        Kind::Crash | Kind::Halt => (Standing::Down, '✕'),
        Kind::Pause => (Standing::Paused, '‖'),
        // Summed up over a while: how it stands says more.
        Kind::Work => (*standing, standing.mark()),
        _ => (*standing, '●'),
    };
    *standing = after;
    mark
}

fn line(transition: &Transition, cells: &str) -> String {
    let line = format!("{:>14}  {cells} {}", number::moment(transition.at_ns), transition.text);
    shortened(&line, WIDTH)
}

/// The text, or its beginning with an ellipsis if it is longer than `width` characters.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let beginning: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{beginning}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transition(kind: Kind, nodes: &[&str], text: &str) -> Transition {
        let nodes = nodes.iter().map(ToString::to_string).collect();
        Transition { at_ns: 1_203_000_000, step: 7, kind, nodes, text: text.to_owned() }
    }

    #[test]
    fn a_table_shows_how_each_replica_stands() {
        let told = Told {
            columns: vec!["r0".into(), "r1".into()],
            transitions: vec![
                transition(Kind::Start, &["r0", "r1", "c0"], "r0, r1, c0 start"),
                transition(Kind::Crash, &["r1"], "r1 is killed"),
                transition(Kind::Probe, &["r0"], "r0 view_left"),
                transition(Kind::Pause, &["r0"], "r0 is paused"),
                transition(Kind::Note, &[], "step 3"),
                transition(Kind::Restart, &["r1"], "r1 is restarted"),
            ],
        };
        let table = Table::of(&told);
        assert_eq!(table.head, "       seconds  r0 r1  what happens");
        let expected = [
            "   1.203000000  ○  ○   r0, r1, c0 start",
            "   1.203000000  │  ✕   r1 is killed",
            "   1.203000000  ●  ·   r0 view_left",
            "   1.203000000  ‖  ·   r0 is paused",
            "   1.203000000  ‖  ·   step 3",
            "   1.203000000  ‖  ○   r1 is restarted",
        ];
        assert_eq!(table.lines, expected);
    }

    #[test]
    fn what_is_too_long_ends_with_an_ellipsis() {
        assert_eq!((shortened("abcdef", 6), shortened("abcdefg", 6)), ("abcdef".to_owned(), "abcde…".to_owned()));
    }
}
