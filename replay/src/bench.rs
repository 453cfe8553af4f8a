//! `bench`: how fast the simulator is, by CPU time.
//!
//! The workloads are the simulator's; this measures them. Each is run five times after a warm-up, one after the other on one
//! thread, and the run with the median time counts.

mod cluster;

use chronon_sim::bench;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use std::convert::identity;

use crate::{
    measure::{Stopwatch, peak_memory_bytes},
    number::{grouped, hex, per_second_milli},
    output::{Status, Trouble, remark, say, say_json},
};

/// How often each workload is run.
const RUNS: usize = 5;

/// How many worlds one run of the start-up workload builds.
const SIMULATIONS: u64 = 20_000;

/// Measure the simulator, by CPU time
///
/// engine: five processes ping each other until 1,000,000 messages are delivered, and three do until 100 are, in a world built
/// anew each time. Message bytes are in the trace and the digest is on.
///
/// cluster: three replicas without faults and eight clients that put 256 bytes each, all checksums and all oracles on.
///
/// Each figure is the median of five runs on one thread.
#[derive(Args)]
pub(crate) struct Arguments {
    /// What to measure; everything if left out
    workload: Option<Workload>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Workload {
    /// The world, the queue, the network, the trace
    Engine,
    /// The whole of it
    Cluster,
}

pub(crate) fn main(arguments: &Arguments) -> Result<Status, Trouble> {
    let mut figures = Map::new();
    if arguments.workload != Some(Workload::Cluster) {
        engine(&mut figures);
        startup(&mut figures);
        figures.insert("engine_peak_memory_bytes".into(), json!(peak_memory_bytes()));
    }
    if arguments.workload != Some(Workload::Engine) {
        cluster(&mut figures);
    }
    figures.insert("peak_memory_bytes".into(), json!(peak_memory_bytes()));
    figures.insert("runs".into(), json!(RUNS));
    if arguments.json {
        say_json(&Value::Object(figures))?;
    } else {
        say(&as_text(&figures))?;
    }
    Ok(Status::Clean)
}

fn engine(figures: &mut Map<String, Value>) {
    let (cpu_ns, run) = median("engine messages", identity, bench::engine_messages);
    figures.insert("messages_per_cpu_second".into(), json!(per_second_milli(run.delivered, cpu_ns) / 1_000));
    let details = json!({
        "cpu_ns": cpu_ns,
        "messages": run.delivered,
        "events": run.events,
        "events_per_cpu_second": per_second_milli(run.events, cpu_ns) / 1_000,
        "ns_per_message": cpu_ns / run.delivered.max(1),
        "lost": run.lost,
        "answered": run.answered,
        "replaced": run.replaced,
        "virtual_ns": run.virtual_ns,
        "digest": hex(&run.digest),
    });
    figures.insert("engine_messages".into(), details);
}

fn startup(figures: &mut Map<String, Value>) {
    let (cpu_ns, (events, messages)) = median("engine start-up", identity, |seed| {
        let runs =
            (0..SIMULATIONS).map(|number| bench::engine_startup(seed.wrapping_mul(SIMULATIONS).wrapping_add(number)));
        runs.fold((0, 0), |(events, messages), run| (events + run.events, messages + run.delivered))
    });
    figures.insert("simulations_per_cpu_second".into(), json!(per_second_milli(SIMULATIONS, cpu_ns) / 1_000));
    let details = json!({
        "cpu_ns": cpu_ns,
        "simulations": SIMULATIONS,
        "events": events,
        "messages": messages,
        "ns_per_simulation": cpu_ns / SIMULATIONS,
    });
    figures.insert("engine_startup".into(), details);
}

fn cluster(figures: &mut Map<String, Value>) {
    let (cpu_ns, run) = median("cluster", cluster::prepare, cluster::run);
    figures.insert("requests_per_cpu_second".into(), json!(per_second_milli(run.requests, cpu_ns) / 1_000));
    let details = json!({
        "cpu_ns": cpu_ns,
        "requests": run.requests,
        "ops": run.ops,
        "requests_per_op_thousandths": run.requests * 1_000 / run.ops.max(1),
        "events": run.events,
        "events_per_cpu_second": per_second_milli(run.events, cpu_ns) / 1_000,
        "messages": run.messages,
        "disk_writes": run.writes,
        "ns_per_request": cpu_ns / run.requests.max(1),
        "ns_per_event": cpu_ns / run.events.max(1),
        "virtual_ns": run.virtual_ns,
        "digest": hex(&run.digest),
    });
    figures.insert("cluster".into(), details);
}

/// Runs a workload and gives the run whose CPU time is the median one, with that time. What is prepared is not measured.
fn median<P, T>(name: &str, prepare: impl Fn(u64) -> P, workload: impl Fn(P) -> T) -> (u64, T) {
    remark(&format!("{name}: {RUNS} runs and a warm-up"));
    let _ = workload(prepare(0));
    let mut runs: Vec<(u64, T)> = (1..=RUNS as u64)
        .map(|seed| {
            let prepared = prepare(seed);
            let stopwatch = Stopwatch::start();
            let run = workload(prepared);
            (stopwatch.cpu_ns(), run)
        })
        .collect();
    runs.sort_by_key(|(cpu_ns, _)| *cpu_ns);
    runs.swap_remove(RUNS / 2)
}

/// The rates first, then what explains them.
fn as_text(figures: &Map<String, Value>) -> String {
    let row = |(name, value): (&String, &Value), indent: &str| {
        let value = value.as_u64().map_or_else(|| value.as_str().unwrap_or("unknown").to_owned(), grouped);
        format!("{indent}{:<28} {value:>16}", words(name))
    };
    let (details, rates): (Vec<_>, Vec<_>) = figures.iter().partition(|(_, value)| value.is_object());
    let mut lines: Vec<String> = rates.into_iter().map(|rate| row(rate, "")).collect();
    for (name, value) in details {
        lines.push(format!("\n{}", words(name)));
        lines.extend(value.as_object().into_iter().flatten().map(|detail| row(detail, "  ")));
    }
    lines.join("\n")
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}
