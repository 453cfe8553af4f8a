//! `repl`: one request after another to the key-value store.

use std::io::{BufRead, IsTerminal, Write, stderr, stdin};

use clap::Parser;

use super::{
    kv::{Request, Store, perform},
    output::{Status, Trouble, remark, say},
};

const HELP: &str = "get KEY             print the value under a key\n\
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
    let mut line = String::new();
    loop {
        if people {
            // Where nobody can be asked, nobody is.
            let _ = write!(stderr(), "> ").and_then(|()| stderr().flush());
        }
        line.clear();
        let read = stdin().lock().read_line(&mut line);
        if read.map_err(|error| Trouble::machine(format!("the input cannot be read: {error}")))? == 0 {
            return Ok(status);
        }
        match line.trim() {
            "" => {}
            "quit" | "exit" => return Ok(status),
            "help" => say(HELP)?,
            text => status = ask(text, |request| perform(&kv, request)),
        }
    }
}

/// What went wrong with one line is no reason not to read the next.
fn ask(text: &str, perform: impl FnOnce(&Request) -> Result<Status, Trouble>) -> Status {
    let asked = words(text).and_then(|words| {
        let told = |error: clap::Error| error.to_string().lines().next().unwrap_or_default().to_owned();
        Line::try_parse_from(words).map_err(told)
    });
    let trouble = match asked {
        Ok(line) => match perform(&line.request) {
            Ok(status) => return status,
            Err(trouble) => trouble,
        },
        Err(why) => Trouble::usage(format!("{}; `help` lists what can be asked", why.trim_start_matches("error: "))),
    };
    remark(&trouble.sentence);
    trouble.status
}

/// The words of a line: parted by spaces, but not within quotes. A backslash in quotes takes the next character as it is.
fn words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if quoted => word.get_or_insert_default().extend(characters.next()),
            space if space.is_whitespace() && !quoted => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    if quoted {
        return Err("a quote is not closed".to_owned());
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_parted_as_people_expect() {
        let parted = |text: &str| words(text).map(|words| words.join("|"));
        assert_eq!(parted("put a b"), Ok("put|a|b".to_owned()));
        assert_eq!(parted("  put\t\"a b\"  \"\" "), Ok("put|a b|".to_owned()));
        assert_eq!(parted(r#"put "say \"hi\"" x\y"#), Ok(r#"put|say "hi"|x\y"#.to_owned()));
        assert!(parted("put \"a b").is_err());
    }

    #[test]
    fn a_line_is_asked_or_told_why_not() {
        let asked = |text: &str| {
            let mut reached = false;
            let status = ask(text, |_| {
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
