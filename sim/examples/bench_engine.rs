//! Runs the engine workloads and prints their rates: a quick look, for whoever tunes the engine.
//!
//! By CPU time where the system tells it (Linux), by the wall clock elsewhere. `replay bench engine` is the real thing.

use std::time::Instant;

use chronon_sim::bench;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let rounds: u64 = arguments.next().and_then(|rounds| rounds.parse().ok()).unwrap_or(5);
    let worlds: u64 = arguments.next().and_then(|worlds| worlds.parse().ok()).unwrap_or(20_000);
    let began = Instant::now();
    let (mut best_messages, mut best_worlds) = (0, 0);
    for round in 0..rounds {
        let start_ns = now_ns(began);
        let run = bench::engine_messages(round);
        let middle_ns = now_ns(began);
        let digests = (0..worlds).map(|seed| u64::from(bench::engine_startup(seed).digest[0])).sum::<u64>();
        let end_ns = now_ns(began);
        let messages = run.delivered * 1000 / ((middle_ns - start_ns) / 1_000_000).max(1);
        let simulations = worlds * 1000 / ((end_ns - middle_ns) / 1_000_000).max(1);
        println!("{messages} messages/s, {simulations} simulations/s ({digests})");
        best_messages = best_messages.max(messages);
        best_worlds = best_worlds.max(simulations);
    }
    println!("best: {best_messages} messages/s, {best_worlds} simulations/s");
}

/// Nanoseconds that this thread has been on a CPU.
fn now_ns(began: Instant) -> u64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let cpu_ns = told.as_deref().and_then(|told| told.split_whitespace().next()?.parse().ok());
    cpu_ns.unwrap_or(began.elapsed().as_nanos() as u64)
}
