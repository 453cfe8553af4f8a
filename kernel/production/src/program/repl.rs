//! `repl`: one request after another to the key-value store.

use std::{
    ffi::OsString,
    io::{self, BufRead, IsTerminal, Read, Write, stderr, stdin},
    os::unix::ffi::OsStringExt,
};

use clap::Parser;

use super::{
    kv::{Request, Store, perform},
    output::{Status, Trouble, remark, say},
};

/// No line with a request is longer, quotes and all.
const LINE_MAX: u64 = 1 << 20;

/// How many characters of what somebody typed are said back to him.
const ECHO_MAX: usize = 80;

const HELP: &str = "get KEY [--stale]   print the value under a key; with --stale, as far as any one replica has come\n\
                    put KEY VALUE       put a value under it\n\
                    cas KEY VALUE [--expected VALUE]\n\
                    \x20                   put a value under it if that is there (nothing, if left out)\n\
                    delete KEY          let nothing be under it\n\
                    append KEY VALUE    put something behind what is there\n\
                    help, quit\n\
                    Words end at spaces, unless they stand in \"quotes\".";

/// Ask the key-value store for one thing after another
///
/// Reads a request from each line, and prints what came of it. `help` lists the requests. Ends with the input, or at `quit`;
/// then the exit status is that of the last request.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    store: Store,
}

/// A line, as if it were a command line.
#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true, disable_help_subcommand = true)]
struct Line {
    #[command(subcommand)]
    request: Request,
}

pub(crate) fn main(arguments: &Arguments) -> Result<Status, Trouble> {
    let kv = arguments.store.connect()?;
    let (people, mut status) = (stdin().is_terminal(), Status::Done);
    if people {
        remark("connected; `help` lists what can be asked");
    }
    loop {
        if people {
            // Where nobody can be asked, nobody is.
            let _ = write!(stderr(), "> ").and_then(|()| stderr().flush());
        }
        let read = read_line(&mut stdin().lock());
        let line = match read.map_err(|error| Trouble::machine(format!("the input cannot be read: {error}")))? {
            None => return Ok(status),
            Some(Input::TooLong) => {
                remark(&format!("a line has at most {LINE_MAX} bytes: this one is not read"));
                status = Status::Usage;
                continue;
            }
            Some(Input::Line(line)) => line,
        };
        match line.trim_ascii() {
            b"" => {}
            b"quit" | b"exit" => return Ok(status),
            b"help" => say(HELP)?,
            text => status = ask(text, |request| perform(&kv, request)),
        }
    }
}

/// What was read of the input.
#[derive(PartialEq, Eq, Debug)]
enum Input {
    Line(Vec<u8>),
    /// It is passed over.
    TooLong,
}

/// The next line; none at the end. Never more of it is held than a line may have.
fn read_line(input: &mut impl BufRead) -> io::Result<Option<Input>> {
    let mut line = Vec::new();
    input.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.len() as u64 == LINE_MAX && line.last() != Some(&b'\n') && !input.fill_buf()?.is_empty() {
        while line.last() != Some(&b'\n') && !line.is_empty() {
            line.clear();
            input.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)?;
        }
        return Ok(Some(Input::TooLong));
    }
    Ok(Some(Input::Line(line)))
}

/// The beginning of a sentence that has in it what somebody typed.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(ECHO_MAX) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text.to_owned(),
    }
}

/// What went wrong with one line is no reason not to read the next.
fn ask(text: &[u8], perform: impl FnOnce(&Request) -> Result<Status, Trouble>) -> Status {
    let asked = words(text).and_then(|words| {
        let told = |error: clap::Error| error.to_string().lines().next().unwrap_or_default().to_owned();
        Line::try_parse_from(words).map_err(told)
    });
    let trouble = match asked {
        Ok(line) => match perform(&line.request) {
            Ok(status) => return status,
            Err(trouble) => trouble,
        },
        Err(why) => {
            Trouble::usage(format!("{}; `help` lists what can be asked", shortened(why.trim_start_matches("error: "))))
        }
    };
    remark(&trouble.sentence);
    trouble.status
}

/// The words of a line: parted by spaces, but not within quotes. A backslash in quotes takes the next byte as it is. Words are
/// bytes, as keys and values are.
fn words(text: &[u8]) -> Result<Vec<OsString>, String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<Vec<u8>>, false);
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            b'\\' if quoted => word.get_or_insert_default().extend(bytes.next()),
            space if space.is_ascii_whitespace() && !quoted => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    if quoted {
        return Err("a quote is not closed".to_owned());
    }
    words.extend(word);
    Ok(words.into_iter().map(OsString::from_vec).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_parted_as_people_expect() {
        let parted = |text: &[u8]| words(text).map(|words| words.join("|".as_ref()).into_vec());
        assert_eq!(parted(b"put a b"), Ok(b"put|a|b".to_vec()));
        assert_eq!(parted(b"  put\t\"a b\"  \"\" "), Ok(b"put|a b|".to_vec()));
        assert_eq!(parted(br#"put "say \"hi\"" x\y"#), Ok(br#"put|say "hi"|x\y"#.to_vec()));
        assert_eq!(parted("put ä \"\\ä\"".as_bytes()), Ok("put|ä|ä".as_bytes().to_vec()));
        assert_eq!(parted(b"put \xff \"\xfe \""), Ok(b"put|\xff|\xfe ".to_vec()), "bytes, whatever they are");
        assert!(parted(b"put \"a b").is_err());
    }

    #[test]
    fn a_line_that_does_not_end_is_passed_over_and_the_next_one_is_read() {
        let most = LINE_MAX as usize;
        let mut input = vec![b'a'; 3 * most];
        input.extend_from_slice(b"\nget k\n");
        input.extend(vec![b'b'; most - 1]);
        input.extend_from_slice(b"\nlast");
        let mut input = &input[..];
        let mut next = || read_line(&mut input).unwrap();
        assert_eq!((next(), next()), (Some(Input::TooLong), Some(Input::Line(b"get k\n".to_vec()))));
        assert!(matches!(next(), Some(Input::Line(line)) if line.len() == most), "as long as a line may be");
        assert_eq!((next(), next()), (Some(Input::Line(b"last".to_vec())), None));
        assert_eq!(
            read_line(&mut &vec![b'a'; 2 * most][..]).unwrap(),
            Some(Input::TooLong),
            "and where the input ends"
        );
    }

    #[test]
    fn not_all_of_what_was_typed_is_said_back() {
        let told = shortened(&"ä".repeat(1000));
        assert_eq!(told, format!("{} ...", "ä".repeat(ECHO_MAX)));
        assert_eq!(shortened("short"), "short");
    }

    #[test]
    fn a_line_is_asked_or_told_why_not() {
        let asked = |text: &str| {
            let mut reached = false;
            let status = ask(text.as_bytes(), |_| {
                reached = true;
                Ok(Status::Found)
            });
            (reached, status)
        };
        assert_eq!(asked("get k"), (true, Status::Found));
        assert_eq!(asked("cas k new --expected old"), (true, Status::Found));
        for wrong in ["fetch k", "get", "put k", "get \"k"] {
            assert_eq!(asked(wrong), (false, Status::Usage), "{wrong}");
        }
    }
}
