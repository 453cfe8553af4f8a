//! Who is not spoken with, and why: said once in the log, and kept for whoever asks how this one is.
//!
//! A replica that is set up wrongly dials again and again, for as long as nobody mends it. It is told of once for each reason, until it
//! is greeted; those who are no replica of this cluster, so that nobody knows whether they were seen before, are summed up by reason.
//!
//! Invariant: what is kept and what is logged have bounds, whoever connects: there is one entry for each replica and end, and one for
//! each reason beside, and none is logged twice within [`PAUSE`]. What somebody claims to be costs no more than that.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use chronon::types::{ClusterId, ReplicaId};
use rustix::io::Errno;

use super::{
    connection::End,
    hello::{HelloError, Speaker},
};

/// Between two lines of the log about the same replica, if its reason changes.
const PAUSE: Duration = Duration::from_secs(10);

/// Between two lines about those who are no replicas, by reason.
const SUM: Duration = Duration::from_secs(60);

/// How long what was not repeated is told of: who is set up wrongly dials every second.
const CURRENT: Duration = Duration::from_secs(30);

/// Why somebody is not spoken with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    /// Its first words are no hello, or one of another version.
    Hello(HelloError),
    /// It is of another cluster.
    Cluster { theirs: ClusterId, ours: ClusterId },
    /// It is not the replica that was dialled.
    Other { dialled: ReplicaId, said: Speaker },
    /// It says that it is a replica that does not dial this one.
    Order { own: Speaker, replicas: usize },
    /// Its data file was formatted for another application or with other limits.
    Terms,
    /// It sent what is no frame.
    Frame,
    /// It is one client too many.
    Crowd { clients: usize },
    /// It made room for others before it had said who it is, or had been an operator.
    Late,
    /// The system gives no connection.
    Descriptors(Errno),
}

impl Cause {
    /// Which reason it is, without what differs from one visitor to the next.
    const fn kind(&self) -> u8 {
        match self {
            Self::Hello(HelloError::Foreign) => 0,
            Self::Hello(HelloError::Malformed) => 1,
            Self::Hello(HelloError::Version(_)) => 2,
            Self::Cluster { .. } => 3,
            Self::Other { .. } => 4,
            Self::Order { .. } => 5,
            Self::Terms => 6,
            Self::Frame => 7,
            Self::Crowd { .. } => 8,
            Self::Late => 9,
            Self::Descriptors(_) => 10,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hello(error @ HelloError::Version(_)) => write!(f, "{error}: run the same release everywhere"),
            Self::Hello(error) => write!(f, "{error}: see who that is"),
            Self::Cluster { theirs, ours } => write!(
                f,
                "it is of cluster {theirs}, and this is of cluster {ours}: give each cluster the addresses of its own replicas",
                theirs = theirs.0,
                ours = ours.0
            ),
            Self::Other { dialled, said } => {
                let said = Whom(*said);
                write!(
                    f,
                    "it says that it is {said}, and {} was dialled: give the addresses in the replicas' order",
                    dialled.0
                )
            }
            Self::Order { own: Speaker::Replica(own), replicas } => write!(
                f,
                "it dials replica {} of {replicas}, whom only the later ones dial: give the addresses in the replicas' order, the same \
                 everywhere, and each replica a data file of its own",
                own.0
            ),
            Self::Order { .. } => f.write_str("it dials who is no replica: give the addresses of replicas alone"),
            Self::Terms => f.write_str(
                "its data file was formatted for another application or with other limits: format all replicas with the same \
                 --application, --slots, --message-size-max, --grid-size and --clients-max",
            ),
            Self::Frame => f.write_str("it sent what is no frame of the protocol: see which program that is"),
            Self::Crowd { clients } => write!(
                f,
                "it is a client, and {clients} are connected, which is as many as there may be: have them share connections, end those \
                 that need none, or raise `limits.connections_max` (and `ulimit -n`)"
            ),
            Self::Late => f.write_str(
                "it had not said who it is when there was no room for more connections: see who opens so many",
            ),
            Self::Descriptors(error) => write!(
                f,
                "the system gives no connection ({error}): raise the limit of open files (`ulimit -n`, or LimitNOFILE= of its \
                 service), or see who opens so many connections"
            ),
        }
    }
}

impl From<End> for Cause {
    fn from(end: End) -> Self {
        match end {
            End::Hello(error) => Self::Hello(error),
            End::Length(_) => Self::Frame,
        }
    }
}

/// A speaker, in words.
struct Whom(Speaker);

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Speaker::Replica(replica) => write!(f, "replica {}", replica.0),
            Speaker::Client => f.write_str("a client"),
            Speaker::Operator => f.write_str("an operator"),
        }
    }
}

/// As whom somebody is known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Party {
    /// It was dialled as that replica.
    Dialled(ReplicaId),
    /// It dialled, and says that it is that replica of these.
    Dialling(ReplicaId),
    /// It is none of these.
    Visitor,
}

impl Party {
    const fn replica(self) -> Option<ReplicaId> {
        match self {
            Self::Dialled(replica) | Self::Dialling(replica) => Some(replica),
            Self::Visitor => None,
        }
    }
}

/// Somebody who is not spoken with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Which replica it is or should be, unless it is none of this cluster's.
    pub replica: Option<ReplicaId>,
    /// Its address: the one that was dialled, or that it dialled from.
    pub address: Option<SocketAddr>,
    /// Why, and what to do, in words.
    pub why: String,
    /// How often, since it was last greeted.
    pub times: u64,
    /// How long ago it was the last time.
    pub ago: Duration,
}

struct Entry {
    cause: Cause,
    address: Option<SocketAddr>,
    times: u64,
    last: Instant,
    /// What was last said of it, and when.
    said: Option<(Cause, Instant)>,
    /// How often it was not said since.
    unsaid: u64,
}

/// Who is not spoken with.
#[derive(Default)]
pub(super) struct Refusals {
    /// Of replicas one each; of others one for each kind of cause, which is 0 for replicas.
    entries: BTreeMap<(Party, u8), Entry>,
}

impl Refusals {
    /// Somebody is not spoken with. What the log is to say of it, if anything.
    pub(super) fn note(
        &mut self,
        party: Party,
        address: Option<SocketAddr>,
        cause: Cause,
        now: Instant,
    ) -> Option<String> {
        let key = (party, if party == Party::Visitor { cause.kind() } else { 0 });
        let new = Entry { cause, address, times: 0, last: now, said: None, unsaid: 0 };
        let entry = self.entries.entry(key).or_insert(new);
        (entry.cause, entry.address, entry.last) = (cause, address, now);
        entry.times += 1;
        let is_due = match (party, entry.said) {
            (_, None) => true,
            (Party::Visitor, Some((_, then))) => now.duration_since(then) >= SUM,
            (_, Some((said, then))) => said != cause && now.duration_since(then) >= PAUSE,
        };
        if !is_due {
            entry.unsaid += 1;
            return None;
        }
        entry.said = Some((cause, now));
        let others = match std::mem::take(&mut entry.unsaid) {
            unsaid if party == Party::Visitor && unsaid > 0 => format!(" ({unsaid} more since that was last said)"),
            _ => String::new(),
        };
        Some(format!("{} is not spoken with: {cause}{others}", name(party.replica(), address)))
    }

    /// A replica is spoken with: what was said of it counts no more.
    pub(super) fn greeted(&mut self, replica: ReplicaId) {
        self.entries.retain(|(party, _), _| party.replica() != Some(replica));
    }

    /// Who is not spoken with at present.
    pub(super) fn current(&self, now: Instant) -> Vec<Refused> {
        let of = |((party, _), entry): (&(Party, u8), &Entry)| Refused {
            replica: party.replica(),
            address: entry.address,
            why: entry.cause.to_string(),
            times: entry.times,
            ago: now.duration_since(entry.last),
        };
        self.entries.iter().map(of).filter(|refused| refused.ago < CURRENT).collect()
    }
}

/// Somebody, in words.
fn name(replica: Option<ReplicaId>, address: Option<SocketAddr>) -> String {
    let who = replica.map_or_else(|| "somebody".to_owned(), |replica| format!("replica {}", replica.0));
    address.map_or_else(|| who.clone(), |address| format!("{who} at {address}"))
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::{Ipv6Addr, SocketAddrV6};

    use chronon::vsr::quorum::REPLICAS_MAX;

    use super::*;

    const OTHERS: Cause = Cause::Cluster { theirs: ClusterId(8), ours: ClusterId(7) };

    fn address(port: u16) -> Option<SocketAddr> {
        Some(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// As much as is ever kept, in the longest words.
    pub(crate) fn fullest() -> Vec<Refused> {
        let (most, speaker) = (ReplicaId(u8::MAX), Speaker::Replica(ReplicaId(u8::MAX)));
        let (theirs, ours) = (ClusterId(u64::MAX), ClusterId(u64::MAX));
        let causes = [
            Cause::Hello(HelloError::Foreign),
            Cause::Hello(HelloError::Malformed),
            Cause::Hello(HelloError::Version(u16::MAX)),
            Cause::Cluster { theirs, ours },
            Cause::Other { dialled: most, said: speaker },
            Cause::Order { own: speaker, replicas: usize::MAX },
            Cause::Terms,
            Cause::Frame,
            Cause::Crowd { clients: usize::MAX },
            Cause::Late,
            Cause::Descriptors(Errno::XFULL),
        ];
        let longest = causes.iter().max_by_key(|cause| cause.to_string().len()).expect("there are some");
        let parties = (0..REPLICAS_MAX).map(ReplicaId).flat_map(|it| [Party::Dialled(it), Party::Dialling(it)]);
        let said = parties.map(|party| (party, *longest)).chain(causes.map(|cause| (Party::Visitor, cause)));
        let longest = SocketAddrV6::new(Ipv6Addr::from(u128::MAX), u16::MAX, 0, u32::MAX).into();
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        for (party, cause) in said {
            refusals.note(party, Some(longest), cause, now);
        }
        refusals.current(now)
    }

    #[test]
    fn every_reason_names_who_why_and_what_to_do() {
        let replica = |number| Speaker::Replica(ReplicaId(number));
        for (party, cause, line) in [
            (
                Party::Dialled(ReplicaId(1)),
                Cause::Other { dialled: ReplicaId(1), said: replica(0) },
                "replica 1 at 127.0.0.1:3 is not spoken with: it says that it is replica 0, and 1 was dialled: give the addresses in the \
                 replicas' order",
            ),
            (
                Party::Dialling(ReplicaId(2)),
                OTHERS,
                "replica 2 at 127.0.0.1:3 is not spoken with: it is of cluster 8, and this is of cluster 7: give each cluster the \
                 addresses of its own replicas",
            ),
            (
                Party::Dialled(ReplicaId(0)),
                Cause::Hello(HelloError::Version(2)),
                "replica 0 at 127.0.0.1:3 is not spoken with: it speaks version 2, and this program version 1: run the same release \
                 everywhere",
            ),
            (
                Party::Visitor,
                Cause::Hello(HelloError::Foreign),
                "somebody at 127.0.0.1:3 is not spoken with: it does not speak this protocol: see who that is",
            ),
            (
                Party::Dialling(ReplicaId(0)),
                Cause::Order { own: replica(1), replicas: 3 },
                "replica 0 at 127.0.0.1:3 is not spoken with: it dials replica 1 of 3, whom only the later ones dial: give the addresses \
                 in the replicas' order, the same everywhere, and each replica a data file of its own",
            ),
        ] {
            assert_eq!(
                Refusals::default().note(party, address(3), cause, Instant::now()).as_deref(),
                Some(line),
                "{cause:?}"
            );
        }
    }

    #[test]
    fn a_replica_is_told_of_once_for_each_reason_until_it_is_greeted() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let party = Party::Dialled(ReplicaId(1));
        assert!(refusals.note(party, address(1), OTHERS, now).is_some());
        for second in 1..1000 {
            let later = now + Duration::from_secs(second);
            assert_eq!(refusals.note(party, address(1), OTHERS, later), None, "after {second} s");
        }
        let later = now + Duration::from_secs(1000);
        assert!(refusals.note(party, address(1), Cause::Terms, later).is_some(), "another reason");
        assert_eq!(
            refusals.note(party, address(1), OTHERS, later),
            None,
            "who says one thing and another fills no log"
        );
        assert_eq!(refusals.current(later).iter().map(|refused| refused.times).collect::<Vec<_>>(), [1002]);
        refusals.greeted(ReplicaId(0));
        assert_eq!(refusals.note(party, address(1), OTHERS, later), None, "that was another one");
        refusals.greeted(ReplicaId(1));
        assert_eq!(refusals.current(later), []);
        assert!(refusals.note(party, address(1), OTHERS, later).is_some());
        assert_eq!(refusals.current(later + CURRENT), [], "it comes no more");
    }

    #[test]
    fn a_crowd_of_strangers_costs_a_few_lines_and_a_few_entries() {
        let (mut refusals, now, mut said) = (Refusals::default(), Instant::now(), Vec::new());
        for visit in 0..60_000 {
            let when = now + Duration::from_millis(visit);
            let theirs = ClusterId(visit);
            let cause = Cause::Cluster { theirs, ours: ClusterId(7) };
            said.extend(refusals.note(Party::Visitor, address(visit as u16), cause, when));
            // Each time of another cluster, and each time one of the replicas, if it is to be believed.
            said.extend(refusals.note(
                Party::Dialling(ReplicaId((visit % 3) as u8)),
                address(visit as u16),
                cause,
                when,
            ));
            let version = Cause::Hello(HelloError::Version(visit as u16));
            said.extend(refusals.note(Party::Visitor, None, version, when));
        }
        assert!(said.len() <= 2 + 3 * 6 && refusals.entries.len() == 5, "{said:#?}");
        let later = now + Duration::from_secs(61);
        let line = refusals.note(Party::Visitor, address(1), OTHERS, later).unwrap();
        assert!(line.ends_with("(59999 more since that was last said)"), "{line}");
    }
}
