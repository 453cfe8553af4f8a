//! An application of one's own, served: counters that are added to. The application is the file beside this one, which
//! `replay/examples/simulated_counter.rs` puts under the simulator.
//!
//!     chronon format --cluster 1 --replica 0 --replicas 1 --data counter.chronon
//!     cargo run --release -p chronon-production --example counter -- counter.chronon 127.0.0.1:4000

mod application;

use chronon_production::serve::{Options, Server};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let data = arguments.next().ok_or("name a data file, and the replicas' addresses in their order")?;
    let addresses = arguments.map(|address| address.parse()).collect::<Result<_, _>>()?;
    Ok(Server::open(application::Counters, &Options::new(data, addresses))?.run()?)
}
