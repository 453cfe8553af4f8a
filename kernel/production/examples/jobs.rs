//! The job queue, served and used: three replicas in this process, somebody who has dishes washed, and three workers, one of whom falls silent
//! with a dish in his hands. His lease ends, another washes it, and what he says of it at last does not count.
//!
//!     cargo run --release -p chronon-production --example jobs

use std::{error::Error, fmt::Write, time::Duration};

use chronon::{
    app::jobs::{Jobs, Refusal, Request, Response},
    storage::layout::Layout,
};
use chronon_production::{
    client::{Client, Options},
    local::LocalCluster,
};

const LAYOUT: Layout = Layout { slot_count: 256, message_size_max: 64 * 1024, block_count: 256, block_size: 64 * 1024 };

const LEASE: Duration = Duration::from_millis(500);

/// The queue's answer, or its refusal.
fn ask(client: &Client, request: Request<'_>) -> Result<Result<Response, Refusal>, Box<dyn Error + Send + Sync>> {
    let mut payload = Vec::new();
    request.encode(&mut payload);
    Ok(match client.request(payload)?.result {
        Ok(response) => Ok(Response::decode(&response).ok_or("no response of the job queue")?),
        Err(rejection) => Err(Refusal::from_code(rejection.code).ok_or("no refusal of the job queue")?),
    })
}

/// Does jobs until all are done, and tells what it did.
fn work(name: &str, client: &Client, is_silent: bool) -> Result<String, Box<dyn Error + Send + Sync>> {
    let (lease, mut silent) = (Request::Lease { duration_ns: LEASE.as_nanos() as u64 }, is_silent);
    let mut told = String::new();
    loop {
        match ask(client, lease)? {
            Ok(Response::Leased { job, token, what, .. }) => {
                if std::mem::take(&mut silent) {
                    std::thread::sleep(3 * LEASE);
                }
                let what = String::from_utf8_lossy(&what).into_owned();
                match ask(client, Request::Complete { job, token })? {
                    Ok(_) => writeln!(told, "{name} washed {what} under token {token}")?,
                    Err(refusal) => writeln!(told, "{name} has {what} under token {token}: {refusal}")?,
                }
            }
            Err(Refusal::Nothing) => match ask(client, Request::Count)? {
                Ok(Response::Counts(counts)) if counts.leased + counts.waiting == 0 => return Ok(told),
                _ => std::thread::sleep(LEASE / 10),
            },
            other => return Err(format!("no lease, but {other:?}").into()),
        }
    }
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let folder = std::env::temp_dir().join(format!("chronon-jobs-{}", std::process::id()));
    let cluster = LocalCluster::start(&Jobs::default(), &folder, 3, LAYOUT, |_| {})?;
    let client = Client::connect(cluster.addresses(), Options::default())?;
    for dish in 1..=12 {
        let what = format!("dish {dish}");
        ask(&client, Request::Enqueue { what: what.as_bytes() })??;
    }
    let workers = ["Ada", "Ben", "Cyd"].map(|name| {
        let client = client.clone();
        std::thread::spawn(move || work(name, &client, name == "Ben"))
    });
    for worker in workers {
        print!("{}", worker.join().map_err(|_| "a worker panicked")??);
    }
    println!("{:?}", ask(&client, Request::Count)??);
    drop((client, cluster));
    Ok(std::fs::remove_dir_all(folder)?)
}
