//! Which cluster a command asks, and how patiently: flags that are taken before what is asked and after it alike.

use std::{net::SocketAddr, time::Duration};

use chronon_production::client::Options;

use super::output::Trouble;

/// What every command says that asks a cluster for one thing.
#[derive(clap::Args)]
pub(super) struct Addressed {
    /// The replicas' addresses
    // What is taken anywhere cannot be required by the parser.
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', global = true)]
    addresses: Vec<SocketAddr>,

    /// How long to wait for an answer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10_000, global = true)]
    patience_ms: u64,
}

impl Addressed {
    /// The addresses, which must have been given.
    pub(super) fn addresses(&self) -> Result<&[SocketAddr], Trouble> {
        if self.addresses.is_empty() {
            return Err(Trouble::usage("--addresses A,B,C is missing: give the replicas' addresses, in their order"));
        }
        Ok(&self.addresses)
    }

    /// Of a client that asks one thing at a time, of one of these applications.
    pub(super) fn options(&self, applications: &'static [&'static str]) -> Options {
        let patience = Duration::from_millis(self.patience_ms.max(1));
        Options { sessions: 1, patience, applications, ..Options::default() }
    }
}
