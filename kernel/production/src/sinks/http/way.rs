//! The way to a service: the addresses of its host, and a connection.
//!
//! Invariant: what goes wrong on it, and nothing that goes wrong later, is [`Error::HostNotFound`] or [`Error::ConnectionFailed`]. The
//! system's own words do not say which it was: "no route to host" is what connecting comes to, and also how a connection ends on which a
//! request was sent, if nothing is heard of it for long.

use ureq::{
    Error,
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::{ConnectionDetails, Connector, NextTimeout},
    },
};

/// A resolver or a connector, with words of its own for what goes wrong there.
#[derive(Debug)]
pub(super) struct Way<T>(pub(super) T);

impl<T: Resolver> Resolver for Way<T> {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        self.0.resolve(uri, config, timeout).map_err(|error| match error {
            // No host was asked for.
            Error::BadUri(_) | Error::Http(_) => error,
            _ => Error::HostNotFound,
        })
    }
}

impl<T: Connector> Connector for Way<T> {
    type Out = T::Out;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<()>) -> Result<Option<T::Out>, Error> {
        self.0.connect(details, chained).map_err(|_| Error::ConnectionFailed)
    }
}
