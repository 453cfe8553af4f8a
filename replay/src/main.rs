//! The `replay` program over Chronon's own scenarios. All of it is in the library, for other applications to have too.

fn main() -> std::process::ExitCode {
    chronon_replay::Program::chronon().main()
}
