//! An application of one's own, served: counters that are added to.
//!
//!     chronon format --cluster 1 --replica 0 --replicas 1 --data counter.chronon
//!     cargo run --release -p chronon-production --example counter -- counter.chronon 127.0.0.1:4000
//!
//! A request is a counter's name; the response is its new value, in decimal.

use std::{collections::BTreeMap, error::Error};

use chronon::app::application::{Application, ApplyContext, Event, Outcome, Rejection};
use chronon_production::serve::{Options, Server};

/// The longest name.
const NAME_MAX: usize = 64;

#[derive(Clone)]
struct Counters;

impl Application for Counters {
    type State = BTreeMap<Vec<u8>, u64>;

    fn genesis(&self) -> Self::State {
        BTreeMap::new()
    }

    fn apply(
        &self,
        state: &mut Self::State,
        Event::Request { payload: name }: Event<'_>,
        _: &ApplyContext,
        outcome: &mut Outcome,
    ) -> Result<(), Rejection> {
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(Rejection::new(1));
        }
        let count = state.entry(name.to_vec()).or_default();
        *count = count.saturating_add(1);
        outcome.response.extend_from_slice(count.to_string().as_bytes());
        Ok(())
    }

    fn query(&self, state: &Self::State, name: &[u8], response: &mut Vec<u8>) -> Result<(), Rejection> {
        response.extend_from_slice(state.get(name).unwrap_or(&0).to_string().as_bytes());
        Ok(())
    }

    fn response_size_max(&self) -> u32 {
        20
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let data = arguments.next().ok_or("name a data file, and the replicas' addresses in their order")?;
    let addresses = arguments.map(|address| address.parse()).collect::<Result<_, _>>()?;
    Ok(Server::open(Counters, &Options::new(data, addresses))?.run()?)
}
