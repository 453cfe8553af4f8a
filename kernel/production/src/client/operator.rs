//! A client for operators: effects that are parked or dead letters, listed, run again, resolved, dropped.
//!
//! Each call is a request in the log, executed once, and accepted however full the outbox is. Deliberately absent: any say in effects that
//! are under way; what comes of them is waited for.

use std::{fmt, net::SocketAddr};

use chronon::{
    app::operator::{Held, OperatorRefusal, OperatorRequest, Page},
    effect::EffectId,
    frame::Frame,
};

use super::{Client, ConnectError, Options, RequestError};

/// A client of the outbox, and not of the application.
#[derive(Clone, Debug)]
pub struct Operator {
    client: Client,
}

/// Why an operator's request changed nothing, or has no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OperatorError {
    /// There is no answer.
    Request(RequestError),
    /// It changed nothing.
    Refused(OperatorRefusal),
    /// The answer is none: the replicas are of another version.
    Foreign,
}

impl fmt::Display for OperatorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(error) => error.fmt(f),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Foreign => f.write_str("the answer makes no sense: the replicas are of another version"),
        }
    }
}

impl std::error::Error for OperatorError {}

impl Operator {
    /// An operator of the cluster whose replicas have these addresses, in their order.
    ///
    /// # Errors
    /// If there is no such cluster, or if the system refuses.
    pub fn connect(addresses: &[SocketAddr], options: &Options) -> Result<Self, ConnectError> {
        Ok(Self { client: Client::operator(addresses, options)? })
    }

    /// The effects that wait for an operator, in the order of their ids: all of them, page by page. What changes between two pages
    /// may be missing or there.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn list(&self) -> Result<Vec<Held>, OperatorError> {
        let mut all: Vec<Held> = Vec::new();
        loop {
            let after = all.last().map(|held| held.id);
            let answer = self.ask(&OperatorRequest::List { after })?;
            let page = Page::decode(&answer).map_err(|_| OperatorError::Foreign)?;
            let more = page.more && !page.effects.is_empty();
            all.extend(page.effects);
            if !more {
                return Ok(all);
            }
        }
    }

    /// Has an effect tried again from the beginning, behind whatever its channel holds by now. Whoever does this for one that is never run
    /// twice says that it was not run.
    ///
    /// # Errors
    /// If it changed nothing, or if nobody knows.
    pub fn redrive(&self, id: EffectId) -> Result<(), OperatorError> {
        self.ask(&OperatorRequest::Redrive { id }).map(|_| ())
    }

    /// Says that an effect was done, and what came back of a fetch: the application is told so.
    ///
    /// # Errors
    /// As [`Operator::redrive`].
    pub fn resolve(&self, id: EffectId, response: Vec<u8>) -> Result<(), OperatorError> {
        self.ask(&OperatorRequest::Resolve { id, response }).map(|_| ())
    }

    /// Gives an effect up for good: the application is told that it failed.
    ///
    /// # Errors
    /// As [`Operator::redrive`].
    pub fn discard(&self, id: EffectId) -> Result<(), OperatorError> {
        self.ask(&OperatorRequest::Drop { id }).map(|_| ())
    }

    fn ask(&self, request: &OperatorRequest) -> Result<Frame, OperatorError> {
        let mut payload = Vec::new();
        request.encode(&mut payload);
        let answer = self.client.request(payload).map_err(OperatorError::Request)?;
        answer.result.map_err(|rejection| {
            OperatorRefusal::from_code(rejection.code).map_or(OperatorError::Foreign, OperatorError::Refused)
        })
    }
}
