//! The command line: what the program can be asked, and which file answers.
//!
//! A command is a file here with its `Arguments` and a `main`, a variant of [`Command`] and an arm of [`answer`]. What it does
//! beside reading flags and printing belongs to the library, where tests can get at it.

mod addressed;
mod bank;
mod bench;
mod dev;
mod effects;
mod format;
mod inspect;
mod jobs;
mod kv;
mod log;
mod number;
mod output;
mod recover;
mod repl;
mod start;
mod status;
mod version;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::output::{Status, Trouble, remark};

/// A replicated state machine: makes data files, serves from them, and asks those who serve
#[derive(Parser)]
#[command(
    name = "chronon",
    version,
    long_about = "Runs one replica of a replicated state machine, and everything around it.\n\n\
                  A cluster is 1 to 6 replicas, each with a data file that is made once, by `format`. As long as a majority of \
                  them runs, every answer that a client was given is kept, whichever of them are killed and whenever. What \
                  runs in them is a key-value store, a bank, or a queue of jobs.",
    after_help = "EXAMPLE\n  \
        A cluster of three on one machine: make the files, start the replicas, each in a terminal, use them.\n\n  \
        chronon format --cluster 7 --replica 0 --replicas 3 --data r0.chronon\n  \
        chronon format --cluster 7 --replica 1 --replicas 3 --data r1.chronon\n  \
        chronon format --cluster 7 --replica 2 --replicas 3 --data r2.chronon\n\n  \
        chronon start --data r0.chronon --addresses 127.0.0.1:4000,127.0.0.1:4001,127.0.0.1:4002\n  \
        chronon start --data r1.chronon --addresses 127.0.0.1:4000,127.0.0.1:4001,127.0.0.1:4002\n  \
        chronon start --data r2.chronon --addresses 127.0.0.1:4000,127.0.0.1:4001,127.0.0.1:4002\n\n  \
        chronon kv --addresses 127.0.0.1:4000,127.0.0.1:4001,127.0.0.1:4002 put greeting hello\n  \
        chronon kv --addresses 127.0.0.1:4000,127.0.0.1:4001,127.0.0.1:4002 get greeting\n\n\
        EXIT STATUS\n  \
        0  done    1  damage was found, or the cluster refused    2  usage    3  the machine failed\n  \
        4  the application panicked: every replica stops before the request that did it, until it is mended\n  \
        130  ended by Ctrl-C"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// One line of help for each: the first line of its `Arguments`.
#[derive(Subcommand)]
enum Command {
    Dev(dev::Arguments),
    Format(format::Arguments),
    Recover(recover::Arguments),
    Start(start::Arguments),
    Status(status::Arguments),
    Effects(effects::Arguments),
    Kv(kv::Arguments),
    Repl(repl::Arguments),
    Bank(bank::Arguments),
    Jobs(jobs::Arguments),
    Bench(bench::Arguments),
    Inspect(inspect::Arguments),
    Version(version::Arguments),
}

/// Does what the command line says.
pub(crate) fn main() -> ExitCode {
    let asked = match Arguments::try_parse() {
        Ok(arguments) => arguments.command,
        Err(error) => {
            // To standard output for help, to standard error otherwise. A closed end is nobody's trouble.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Status::Usage as u8));
        }
    };
    answer(&asked).unwrap_or_else(told).into()
}

fn answer(asked: &Command) -> Result<Status, Trouble> {
    match asked {
        Command::Dev(arguments) => dev::main(arguments),
        Command::Format(arguments) => format::main(arguments),
        Command::Recover(arguments) => recover::main(arguments),
        Command::Start(arguments) => start::main(arguments),
        Command::Status(arguments) => status::main(arguments),
        Command::Effects(arguments) => effects::main(arguments),
        Command::Kv(arguments) => kv::main(arguments),
        Command::Repl(arguments) => repl::main(arguments),
        Command::Bank(arguments) => bank::main(arguments),
        Command::Jobs(arguments) => jobs::main(arguments),
        Command::Bench(arguments) => bench::main(arguments),
        Command::Inspect(arguments) => inspect::main(arguments),
        Command::Version(arguments) => version::main(arguments),
    }
}

/// Says why a command could not be carried out.
fn told(trouble: Trouble) -> Status {
    remark(&format!("chronon: {}", trouble.sentence));
    trouble.status
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_each_command_says_what_it_does() {
        let mut command = Arguments::command();
        command.build();
        command.clone().debug_assert();
        for each in command.get_subcommands() {
            let about = each.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty() && !about.contains('\n'), "{}: {about}", each.get_name());
        }
    }
}
