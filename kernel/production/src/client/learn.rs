//! What a client learns of a cluster before it asks anything: which one it is, and what runs in it.
//!
//! All addresses are asked at once, and most of those that answer are believed: a replica of another cluster among them, or one that hangs,
//! keeps nobody from a cluster that serves.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use chronon::{
    types::{ClusterId, ReplicaId, View},
    vsr::quorum::REPLICAS_MAX,
};

use super::{
    error::{ConnectError, Stranger},
    options::Cluster,
};
use crate::status::{self, AskError, Questions};

/// What was learned.
pub(super) struct Learned {
    pub(super) cluster: Cluster,
    /// The latest that was heard of.
    pub(super) view: View,
    /// How many sessions there may be, of all clients together.
    pub(super) clients_max: u32,
}

/// What a replica said that matters here.
#[derive(Clone, Debug)]
struct Voice {
    cluster: ClusterId,
    replica: ReplicaId,
    replicas: u8,
    view: View,
    message_size_max: u32,
    clients_max: u32,
    application: String,
}

impl From<status::Status> for Voice {
    fn from(said: status::Status) -> Self {
        Self {
            cluster: ClusterId(said.cluster),
            replica: ReplicaId(said.replica),
            replicas: said.replicas,
            view: View(said.view),
            message_size_max: said.message_size_max,
            clients_max: said.clients_max,
            application: said.application,
        }
    }
}

/// Asks the replicas how they are, until most of the addresses are known to be those of one cluster, or nobody else will answer.
/// `applications` are those that may run there; any, if there are none.
pub(super) fn learn(
    addresses: &[SocketAddr],
    patience: Duration,
    applications: &'static [&'static str],
) -> Result<Learned, ConnectError> {
    if !(1..=usize::from(REPLICAS_MAX)).contains(&addresses.len()) {
        return Err(ConnectError::Addresses(addresses.len()));
    }
    // What is not answered by the time that it is decided is not waited for, and asked no longer.
    let mut questions = Questions::ask(addresses);
    let (began, mut limit) = (Instant::now(), patience);
    let mut heard = Heard { addresses, voices: BTreeMap::new(), error: None };
    while !heard.is_decided() {
        let Some((place, answer)) = questions.next(limit.saturating_sub(began.elapsed())) else { break };
        match answer {
            Ok(said) => {
                heard.voices.insert(place, said.into());
                // A machine that is gone does not cost all of the patience where another answers.
                limit = limit.min(began.elapsed() + patience / 4);
            }
            Err(error) => heard.error = Some(error),
        }
    }
    heard.learned(applications)
}

/// Who has answered so far.
struct Heard<'a> {
    addresses: &'a [SocketAddr],
    /// By the places of their addresses.
    voices: BTreeMap<usize, Voice>,
    /// Of the last that did not answer.
    error: Option<AskError>,
}

impl Heard<'_> {
    /// The cluster that most of those that answered are of, and of how many replicas that is: more than any other, or nothing.
    fn elected(&self) -> Option<(ClusterId, u8)> {
        let mut votes: BTreeMap<(ClusterId, u8), usize> = BTreeMap::new();
        self.voices.values().for_each(|voice| *votes.entry((voice.cluster, voice.replicas)).or_default() += 1);
        let most = votes.values().copied().max()?;
        let mut first = votes.into_iter().filter(|(_, count)| *count == most);
        let (elected, _) = first.next()?;
        first.next().is_none().then_some(elected)
    }

    /// Those of a cluster that stand in the places of their addresses, where there is an address for each of its replicas.
    fn fitting(&self, cluster: (ClusterId, u8)) -> impl Iterator<Item = &Voice> {
        let fits = move |place: usize, voice: &Voice| {
            (voice.cluster, voice.replicas) == cluster
                && usize::from(voice.replicas) == self.addresses.len()
                && usize::from(voice.replica.0) == place
        };
        self.voices.iter().filter(move |(place, voice)| fits(**place, voice)).map(|(_, voice)| voice)
    }

    /// Whether nothing that the others may say changes anything.
    fn is_decided(&self) -> bool {
        self.elected().is_some_and(|elected| self.fitting(elected).count() > self.addresses.len() / 2)
    }

    /// What follows of it. An address that is not what it should be is told unless the others are a majority without it.
    fn learned(mut self, applications: &'static [&'static str]) -> Result<Learned, ConnectError> {
        if self.voices.is_empty() {
            return Err(self.error.take().map_or(ConnectError::Addresses(self.addresses.len()), ConnectError::Unknown));
        }
        let Some(elected) = self.elected() else { return Err(self.divided()) };
        if !self.is_decided()
            && let Some(misfit) = self.misfit(elected)
        {
            return Err(misfit);
        }
        let fitting: Vec<&Voice> = self.fitting(elected).collect();
        // One that was elected and has no misfit has somebody in his place.
        let (Some(voice), Some(view)) = (fitting.first(), fitting.iter().map(|voice| voice.view).max()) else {
            return Err(self.divided());
        };
        let runs = fitting.iter().map(|voice| &voice.application).find(|name| !name.is_empty());
        if let Some(runs) = runs.filter(|name| !applications.is_empty() && !applications.contains(&name.as_str())) {
            return Err(ConnectError::Application { runs: runs.clone(), wanted: applications });
        }
        let cluster = Cluster { id: voice.cluster, message_size_max: voice.message_size_max };
        Ok(Learned { cluster, view, clients_max: voice.clients_max })
    }

    /// The first address that is not that of the replica in its place.
    fn misfit(&self, (cluster, replicas): (ClusterId, u8)) -> Option<ConnectError> {
        if usize::from(replicas) != self.addresses.len() {
            return Some(ConnectError::Count { addresses: self.addresses.len(), replicas });
        }
        self.voices.iter().find_map(|(place, voice)| {
            if (voice.cluster, voice.replicas) != (cluster, replicas) {
                return Some(self.divided());
            }
            let address = self.addresses[*place];
            let astray = usize::from(voice.replica.0) != *place;
            astray.then_some(ConnectError::Order { address, replica: voice.replica })
        })
    }

    /// One of the first's cluster, and one of another.
    fn divided(&self) -> ConnectError {
        let stranger = |(place, voice): (&usize, &Voice)| {
            let Voice { cluster, replicas, .. } = *voice;
            Stranger { address: self.addresses[*place], cluster, replicas }
        };
        let all: Vec<Stranger> = self.voices.iter().map(stranger).collect();
        let first = all[0];
        let other = all.iter().find(|other| (other.cluster, other.replicas) != (first.cluster, first.replicas));
        ConnectError::Clusters([first, *other.unwrap_or(&first)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voice(cluster: u64, replica: u8, replicas: u8) -> Option<Voice> {
        Some(Voice {
            cluster: ClusterId(cluster),
            replica: ReplicaId(replica),
            replicas,
            view: View(u64::from(replica)),
            message_size_max: 4096,
            clients_max: 64,
            application: "kv".to_owned(),
        })
    }

    /// What is learned of those that answered, by their places: the cluster, or the error's words.
    fn learned(voices: &[Option<Voice>]) -> Result<u64, String> {
        let addresses: Vec<SocketAddr> = (1..).map(|port| ([127, 0, 0, 1], port).into()).take(voices.len()).collect();
        let voices = voices.iter().cloned().enumerate().filter_map(|(place, voice)| Some((place, voice?))).collect();
        let heard = Heard { addresses: &addresses, voices, error: None };
        heard.learned(&["kv"]).map(|learned| learned.cluster.id.0).map_err(|error| error.to_string())
    }

    #[test]
    fn most_of_those_that_answered_are_believed() {
        assert_eq!(learned(&[voice(7, 0, 3), voice(7, 1, 3), voice(7, 2, 3)]), Ok(7));
        assert_eq!(learned(&[voice(8, 0, 1), voice(7, 1, 3), voice(7, 2, 3)]), Ok(7), "a stranger is outvoted");
        assert_eq!(learned(&[None, None, voice(7, 2, 3)]), Ok(7), "and who is alone speaks for all");
        assert_eq!(learned(&[voice(7, 0, 3), voice(7, 0, 3), voice(7, 2, 3)]), Ok(7), "one is named twice");
    }

    #[test]
    fn who_is_not_what_his_place_says_is_named_where_the_others_are_too_few() {
        let told = |voices: &[Option<Voice>]| learned(voices).unwrap_err();
        let strangers = "127.0.0.1:1 is one of 1 in cluster 8, and 127.0.0.1:3 is one of 3 in cluster 7: name the replicas of one cluster";
        assert_eq!(told(&[voice(8, 0, 1), None, voice(7, 2, 3)]), strangers);
        let order = "127.0.0.1:1 is replica 1: give the addresses in the replicas' order, from 0";
        assert_eq!(told(&[voice(7, 1, 3), voice(7, 0, 3), voice(7, 2, 3)]), order);
        assert_eq!(told(&[voice(7, 1, 3), None, None]), order);
        let count = "2 addresses for 3 replicas: give one for each, in their order";
        assert_eq!(told(&[voice(7, 0, 3), voice(7, 1, 3)]), count);
        assert!(told(&[voice(7, 0, 3), voice(7, 0, 2)]).contains("127.0.0.1:2 is one of 2 in cluster 7"));
    }

    #[test]
    fn another_application_is_refused_and_who_does_not_say_is_believed() {
        let names = |name: &str| {
            let voices = [0, 1, 2].map(|replica| voice(7, replica, 3));
            learned(&voices.map(|voice| voice.map(|voice| Voice { application: name.to_owned(), ..voice })))
        };
        assert_eq!((names("kv"), names("")), (Ok(7), Ok(7)));
        let told = names("jobs").unwrap_err();
        assert!(told.starts_with("the cluster runs jobs, which `chronon jobs` asks, and not kv"), "{told}");
        assert!(names("mine").unwrap_err().starts_with("the cluster runs mine, and not kv"));
    }
}
