//! Why a text is not a schedule, in one sentence each.

use std::fmt;

use crate::nearest::nearest;

/// Why a text is not a schedule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ScheduleError {
    /// It is not the TOML of one. Says where and why.
    Parse(String),
    /// It is, but its values make no sense together. Says which and what would.
    Invalid(String),
    /// It is one, and TOML has no way to write it. Says what TOML lacks.
    Unwritable(String),
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parse(why) => f.write_str(why),
            Self::Invalid(why) => write!(f, "a schedule that cannot be run: {why}"),
            Self::Unwritable(why) => write!(
                f,
                "TOML lacks a value of this schedule ({why}); its numbers go up to {}, and its lists have no empty places: draw a plan \
                 without such values",
                i64::MAX
            ),
        }
    }
}

impl std::error::Error for ScheduleError {}

/// What is wrong with `text`, in one sentence that begins with the line and the column.
///
/// The parser draws the place over several lines, and says what might stand there as a list of everything.
pub fn toml_sentence(text: &str, error: &toml::de::Error) -> String {
    let why = plain(error.message());
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else { return why };
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}: {why}")
}

/// The parser's message, with the nearest name instead of all of them.
fn plain(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let as_it_is = || message.trim_end().replace('\n', ", ");
    let [name, known @ ..] = quoted.as_slice() else { return as_it_is() };
    let what = if message.starts_with("unknown field ") {
        format!("there is no key `{name}` here")
    } else if message.starts_with("unknown variant ") {
        format!("there is no `{name}` to choose here")
    } else if message.starts_with("missing field ") {
        return format!("the key `{name}` is missing");
    } else if message.starts_with("invalid type: integer ") && message.contains(" as i128") {
        return format!("{name} is out of range: numbers go up to {}", i64::MAX);
    } else {
        return as_it_is();
    };
    match (nearest(name, known), known) {
        (Some(near), _) => format!("{what}; did you mean `{near}`?"),
        (None, []) => what,
        (None, known) => format!("{what}; there is {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parser_s_message_becomes_a_sentence() {
        for (message, sentence) in [
            ("unknown field `sed`, expected one of `seed`, `core`", "there is no key `sed` here; did you mean `seed`?"),
            ("unknown field `fire`, expected `seed` or `core`", "there is no key `fire` here; there is seed, core"),
            ("unknown field `fire`, there are no fields", "there is no key `fire` here"),
            ("unknown variant `kil`, expected `kill`", "there is no `kil` to choose here; did you mean `kill`?"),
            ("missing field `seed`", "the key `seed` is missing"),
            ("invalid type: string \"7\", expected u64", "invalid type: string \"7\", expected u64"),
            (
                "invalid type: integer `9223372036854775808` as i128, expected any valid TOML value",
                "9223372036854775808 is out of range: numbers go up to 9223372036854775807",
            ),
            ("one\ntwo\n", "one, two"),
        ] {
            assert_eq!(plain(message), sentence);
        }
    }

    #[test]
    fn a_sentence_begins_with_the_place() {
        let text = "format = 1\n'ä' = 3 4\n";
        let error = text.parse::<toml::Table>().expect_err("two values");
        assert!(toml_sentence(text, &error).starts_with("line 2, column 7: "), "{}", toml_sentence(text, &error));
    }
}
