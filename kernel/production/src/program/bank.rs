//! `bank`: a demonstration. Money goes to and fro, and none is lost or made.

use std::{net::SocketAddr, time::Duration};

use chronon::{
    app::bank::{Refusal, Request, Response},
    env::Clock,
};
use chronon_production::{
    SystemClock,
    client::{Answer, Freshness, Options, RequestError, Sessions},
    runner::random,
};
use serde::Serialize;

use super::{
    number::{counted, grouped},
    output::{Status, Trouble, say, say_json},
};

/// What each account is opened with.
const DEPOSIT: u64 = 1_000;

/// How long a request may take.
const PATIENCE_NS: u64 = 30_000_000_000;

/// Open accounts, move money between them from many clients at once, and count it
///
/// Each run opens accounts of its own, so that runs do not disturb each other. The cluster must run the bank: `chronon dev
/// --application bank`. Kill replicas meanwhile; the exit status is 1 if money was lost or made.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The replicas' addresses
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', required = true)]
    addresses: Vec<SocketAddr>,

    /// Accounts to open
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(2..))]
    accounts: u64,

    /// Transfers between them
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    transfers: u64,

    /// Clients, each with one request in flight
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    clients: u32,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What came of it.
#[derive(Default, Serialize)]
struct Tally {
    accounts: u64,
    transferred: u64,
    /// There was not so much in the account.
    refused: u64,
    /// The client does not know whether the money was moved. It was, once, or not at all.
    unknown: u64,
    deposited: u64,
    found: u64,
    conserved: bool,
}

pub(crate) fn main(arguments: &Arguments) -> Result<Status, Trouble> {
    // A branch is a bank that writes letters.
    let options = Options { sessions: arguments.clients, applications: &["bank", "branch"], ..Options::default() };
    let sessions = Sessions::connect(&arguments.addresses, &options)?;
    // As good as nobody else's: accounts are numbered from a number at random.
    let first = random().map_err(Trouble::machine)? as u64 >> 1;
    let mut demonstration = Demonstration { sessions, first, accounts: arguments.accounts, tally: Tally::default() };
    demonstration.open()?;
    demonstration.transfer(arguments.transfers)?;
    demonstration.count()?;
    let tally = demonstration.tally;
    if arguments.json {
        say_json(&tally)?
    } else {
        say(&words(&tally))?
    }
    Ok(if tally.conserved { Status::Done } else { Status::Found })
}

struct Demonstration {
    sessions: Sessions<Request>,
    /// The first account.
    first: u64,
    accounts: u64,
    tally: Tally,
}

impl Demonstration {
    fn open(&mut self) -> Result<(), Trouble> {
        let open = |account| Request::Open { account, deposit: DEPOSIT };
        let requests: Vec<Request> = (self.first..self.first + self.accounts).map(open).collect();
        self.tally.accounts = self.accounts;
        self.tally.deposited = self.accounts * DEPOSIT;
        self.ask_all(requests.into_iter(), |_, request, outcome| match outcome {
            Ok(Response::Opened) => Ok(()),
            Ok(_) | Err(_) => Err(unexpected(request, &outcome)),
        })
    }

    fn transfer(&mut self, transfers: u64) -> Result<(), Trouble> {
        let (first, accounts) = (self.first, self.accounts);
        // Any two accounts and any amount, the same each time.
        let spread = |number: u64, salt: u64| (number ^ salt << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        let transfer = move |number| {
            let from = spread(number, 1) % accounts;
            let to = (from + 1 + spread(number, 2) % (accounts - 1)) % accounts;
            Request::Transfer { from: first + from, to: first + to, amount: spread(number, 3) % (DEPOSIT / 2) }
        };
        self.ask_all((0..transfers).map(transfer), |tally, request, outcome| {
            match outcome {
                Ok(Response::Transferred { .. }) => tally.transferred += 1,
                Err(Failure::Refused(Refusal::Funds)) => tally.refused += 1,
                Err(Failure::Request(ref error)) if error.is_outcome_unknown() => tally.unknown += 1,
                Ok(_) | Err(_) => return Err(unexpected(request, &outcome)),
            }
            Ok(())
        })
    }

    fn count(&mut self) -> Result<(), Trouble> {
        let balance = |account| Request::Balance { account };
        let requests: Vec<Request> = (self.first..self.first + self.accounts).map(balance).collect();
        self.ask_all(requests.into_iter(), |tally, request, outcome| match outcome {
            Ok(Response::Balance(balance)) => {
                tally.found += balance;
                Ok(())
            }
            Ok(_) | Err(_) => Err(unexpected(request, &outcome)),
        })?;
        self.tally.conserved = self.tally.found == self.tally.deposited;
        Ok(())
    }

    /// Asks everything, as much at once as there are sessions.
    fn ask_all(
        &mut self,
        mut requests: impl Iterator<Item = Request>,
        mut hear: impl FnMut(&mut Tally, Request, Result<Response, Failure>) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let mut open = true;
        loop {
            while open && self.sessions.has_room() {
                match requests.next() {
                    None => open = false,
                    Some(request) => self.ask(request),
                }
            }
            if self.sessions.occupied() == 0 && !open {
                return Ok(());
            }
            self.sessions.turn(Duration::from_millis(100)).map_err(Trouble::machine)?;
            while let Some((request, result)) = self.sessions.next() {
                hear(&mut self.tally, request, judged(result))?;
            }
        }
    }

    fn ask(&mut self, request: Request) {
        let mut payload = Vec::new();
        request.encode(&mut payload);
        let expiry = SystemClock.monotonic().after(PATIENCE_NS);
        match request {
            Request::Balance { .. } | Request::Audit => {
                self.sessions.query(Freshness::Linearizable, request, payload, expiry)
            }
            Request::Open { .. } | Request::Transfer { .. } => self.sessions.submit(request, payload, expiry),
        }
    }
}

/// Why a request did not do what it was for.
#[derive(Debug)]
enum Failure {
    Request(RequestError),
    Refused(Refusal),
    /// What the bank does not say.
    Foreign,
}

fn judged(result: Result<Answer, RequestError>) -> Result<Response, Failure> {
    match result.map_err(Failure::Request)?.result {
        Ok(response) => Response::decode(&response).ok_or(Failure::Foreign),
        Err(rejection) => Err(Refusal::from_code(rejection.code).map_or(Failure::Foreign, Failure::Refused)),
    }
}

fn unexpected(request: Request, outcome: &Result<Response, Failure>) -> Trouble {
    match outcome {
        Err(Failure::Request(error)) => error.clone().into(),
        Err(Failure::Refused(Refusal::Malformed) | Failure::Foreign) => {
            Trouble::usage("the cluster does not run the bank: start it with --application bank")
        }
        other => Trouble::machine(format!("{request:?} came to {other:?}, which cannot be: please report it")),
    }
}

fn words(tally: &Tally) -> String {
    let Tally { accounts, transferred, refused, unknown, deposited, found, conserved } = tally;
    let verdict = if *conserved { "not a coin was lost or made" } else { "MONEY WAS LOST OR MADE" };
    format!(
        "{} with {} in all; {} moved money, {} found too little, the outcome of {} is unknown\n{} counted: {verdict}",
        counted(*accounts, "account"),
        grouped(*deposited),
        counted(*transferred, "transfer"),
        grouped(*refused),
        grouped(*unknown),
        grouped(*found)
    )
}
