//! The command line: what the program can be asked, and which file answers.

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{bench, diff, list, mutants, output::Trouble, program::Program, run, seed, verify};

/// Runs seeded simulations by the thousand, reports, and replays any of them byte for byte
#[derive(Parser)]
#[command(
    long_about = "Runs seeded simulations of whole clusters by the thousand, reports what they did, and replays any of \
                  them byte for byte.\n\nA seed is a number from which everything in a simulation follows: the cluster, \
                  its work, the faults that befall it and when. So a failure is a seed, and whoever has the same code \
                  can see it again.",
    after_help = "EXAMPLES\n  \
        {name}                                  1,000 seeds of the default scenario, on all cores\n  \
        {name} run --seeds 20000 --start 5000   more of them\n  \
        {name} run --for 10m --report it.json   for ten minutes, with a report for programs\n  \
        {name} seed 42                          what happens in seed 42\n  \
        {name} seed 42 --schedule it.toml       its faults as a file, to be edited\n  \
        {name} seed it.toml                     what happens with those\n  \
        {name} seed 42 --trace it.trace         every event and every action, as bytes\n  \
        {name} verify it.trace                  does this build do the same again?\n\n\
        EXIT STATUS\n  \
        0  clean    1  a failure was found    2  usage    3  infrastructure, or a damaged file\n  \
        75  stopped before the end    130  ended at once, by a second Ctrl-C",
    subcommand_required = false,
    arg_required_else_help = false
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Arguments),
    List(list::Arguments),
    Seed(seed::Arguments),
    Verify(verify::Arguments),
    Diff(diff::Arguments),
    Bench(bench::Arguments),
    Mutants(mutants::Arguments),
}

/// Reads the command line and does what it says.
pub(crate) fn main(program: &Program) -> Result<ExitCode, Trouble> {
    let parsed = parse(program, std::env::args_os());
    let asked = match parsed {
        Ok(arguments) => arguments.command,
        Err(error) => {
            // To standard output for help, to standard error otherwise. A closed end is nobody's trouble.
            let _ = error.print();
            return Ok(ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)));
        }
    };
    let status = match asked {
        Command::Run(arguments) => run::main(program, &arguments),
        Command::List(arguments) => list::main(program, &arguments),
        Command::Seed(arguments) => seed::main(program, &arguments),
        Command::Verify(arguments) => verify::main(program, &arguments),
        Command::Diff(arguments) => diff::main(&arguments),
        Command::Bench(arguments) => bench::main(&arguments),
        Command::Mutants(arguments) => mutants::main(program, &arguments),
    };
    status.map(ExitCode::from)
}

fn parse<T: Into<OsString> + Clone>(
    program: &Program,
    arguments: impl IntoIterator<Item = T>,
) -> Result<Arguments, clap::Error> {
    let mut command = Arguments::command().name(program.name).bin_name(program.name).version(program.version_line());
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    command = command.after_help(help.replace("{name}", program.name));
    if program.target.is_none() {
        command = command.mut_subcommand("mutants", |mutants| mutants.hide(true));
    }
    let mut matches = command.try_get_matches_from_mut(arguments)?;
    if matches.subcommand().is_none() {
        // Nothing asked for is a campaign asked for.
        matches = command.try_get_matches_from_mut([program.name, "run"])?;
    }
    Arguments::from_arg_matches(&matches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_without_arguments_runs_a_campaign() {
        let program = Program::chronon();
        assert!(matches!(parse(&program, ["replay"]), Ok(Arguments { command: Command::Run(_) })));
        assert!(matches!(parse(&program, ["replay", "list"]), Ok(Arguments { command: Command::List(_) })));
        assert!(parse(&program, ["replay", "nonsense"]).is_err());
    }
}
