//! The `chronon` server program: makes data files, looks into them, serves from them, and asks those who serve.

mod program;

/// Requests and replies are frames of a few kilobytes by the thousand, which this makes and drops faster than the system's
/// allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    program::main()
}
