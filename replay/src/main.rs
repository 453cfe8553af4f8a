//! The `replay` program over Chronon's own scenarios. All of it is in the library, for other applications to have too.

/// Simulations make and drop frames of a few kilobytes by the thousand, which this does faster than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    chronon_replay::Program::chronon().main()
}
