//! Who is spoken with: whom to dial and when, who is accepted, who they say that they are, and who is given up.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use chronon::types::{NodeId, ReplicaId};

use super::{
    TcpNetwork, VISITORS,
    connection::Connection,
    dial::{Dial, PAUSE},
    farewell::Farewell,
    hello::{Hello, Speaker},
    refusals::{Cause, Party, Refused},
    transport::{Accepted, Transport},
};

/// How many connections are taken before those that there are have their turn.
const ACCEPTS_MAX: usize = 64;

/// Until when nothing is due, if nothing is.
const SOME_TIME: Duration = Duration::from_secs(3600);

impl<T: Transport> TcpNetwork<T> {
    fn hello(&self) -> Hello {
        let terms = if matches!(self.config.speaker, Speaker::Replica(_)) { self.config.terms } else { 0 };
        Hello { cluster: self.config.cluster, speaker: self.config.speaker, terms }
    }

    /// Accepts who waits.
    pub(super) fn accept(&mut self) -> io::Result<()> {
        self.accepting = None;
        for _ in 0..ACCEPTS_MAX {
            let number = self.room.may_accept(self.connections.len()).then_some(self.next_number);
            match self.transport.accept(number) {
                Accepted::Taken(from) => {
                    self.begin(None, from);
                    if let Some(earliest) = self.room.too_many(self.connections.len()) {
                        self.give_way(earliest);
                    }
                }
                Accepted::Closed => self.counts.turned_away += 1,
                Accepted::Nobody => break,
                // No descriptor is free, say. Who waits is still there when one is.
                Accepted::Refused(error) => {
                    self.counts.turned_away += 1;
                    self.tell(Party::Visitor, None, Cause::Descriptors(error));
                    // It is if somebody gives way.
                    if let Some(earliest) = self.room.first() {
                        self.give_way(earliest);
                    }
                    let again = Instant::now() + PAUSE;
                    self.accepting = Some(again);
                    self.due = self.due.min(again);
                    return Ok(());
                }
            }
        }
        self.transport.await_accept()
    }

    /// Takes on a new connection, which the transport knows by the next number.
    fn begin(&mut self, dialled: Option<ReplicaId>, address: Option<SocketAddr>) {
        let number = self.next_number;
        self.next_number += 1;
        let mut connection = Connection::new(&self.hello(), self.config.limits, Instant::now());
        (connection.dialled, connection.connecting) = (dialled, dialled.is_some());
        connection.address = address;
        self.connections.insert(number, connection);
        if dialled.is_none() {
            self.room.accepted(number);
        }
        self.is_due(number);
        if dialled.is_none() {
            self.speak(number);
        }
    }

    /// Dials whom it is time to dial, and gives up whom it is time to give up.
    pub(super) fn keep_appointments(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if now < self.due {
            return Ok(());
        }
        let late = |connection: &Connection| self.patience_with(connection).is_some_and(|end| end <= now);
        let late: Vec<u64> =
            self.connections.iter().filter(|(_, known)| late(known)).map(|(number, _)| *number).collect();
        late.into_iter().for_each(|number| self.end(number));
        for place in 0..self.dials.len() {
            let Dial { replica, next, .. } = self.dials[place];
            if next > now || self.is_dialled(replica) {
                continue;
            }
            self.dials[place].begun(now);
            let address = self.config.replicas[usize::from(replica.0)];
            if self.transport.connect(self.next_number, address) {
                self.begin(Some(replica), Some(address));
            }
        }
        if self.accepting.is_some_and(|again| again <= now) {
            self.accept()?;
        }
        let ends = self.connections.values().filter_map(|known| self.patience_with(known));
        let dials = self.dials.iter().filter(|dial| !self.is_dialled(dial.replica)).map(|dial| dial.next);
        self.due = ends.chain(dials).chain(self.accepting).min().unwrap_or(now + SOME_TIME);
        Ok(())
    }

    fn is_dialled(&self, replica: ReplicaId) -> bool {
        self.connections.values().any(|known| known.dialled == Some(replica))
    }

    /// When a connection is given up if nothing more is heard of it.
    fn patience_with(&self, connection: &Connection) -> Option<Instant> {
        match connection.node {
            None => Some(connection.since + self.config.greeting_max),
            // It is answered at once, and has nothing more to ask.
            Some(_) if connection.is_operator => Some(connection.heard + self.config.silence_max),
            Some(node) => {
                let peer = node.0 < VISITORS && self.config.speaker != Speaker::Client;
                peer.then(|| connection.heard + self.config.silence_max)
            }
        }
    }

    /// A connection may have to be given up earlier than anything else is due.
    fn is_due(&mut self, number: u64) {
        let end = self.connections.get(&number).and_then(|connection| self.patience_with(connection));
        self.due = end.map_or(self.due, |end| self.due.min(end));
    }

    /// Somebody has said who it is. Whether that is somebody to speak with here.
    pub(super) fn greet(&mut self, number: u64, hello: &Hello) -> Result<(), Cause> {
        let Some(connection) = self.connections.get_mut(&number) else { return Ok(()) };
        connection.claimed = match hello.speaker {
            Speaker::Replica(replica) if usize::from(replica.0) < self.config.replicas.len() => Some(replica),
            _ => None,
        };
        // What cluster it is comes first: whoever has another one's addresses knows nothing of the order here.
        let (ours, theirs) = (self.config.cluster, hello.cluster);
        if ours != theirs && hello.speaker != Speaker::Operator {
            return Err(Cause::Cluster { theirs, ours });
        }
        if let Some(dialled) = connection.dialled
            && hello.speaker != Speaker::Replica(dialled)
        {
            return Err(Cause::Other { dialled, said: hello.speaker });
        }
        let own = self.config.speaker;
        let may_dial = match (hello.speaker, own) {
            (Speaker::Client, _) => true,
            (Speaker::Operator, own) => matches!(own, Speaker::Replica(_)),
            // Of two replicas the later dials.
            (Speaker::Replica(replica), Speaker::Replica(own)) => connection.claimed.is_some() && own < replica,
            (Speaker::Replica(_), _) => false,
        };
        if connection.dialled.is_none() && !may_dial {
            return Err(Cause::Order { own, replicas: self.config.replicas.len() });
        }
        if matches!((own, hello.speaker), (Speaker::Replica(_), Speaker::Replica(_)))
            && hello.terms != self.config.terms
        {
            return Err(Cause::Terms);
        }
        if hello.speaker == Speaker::Client
            && let Some(clients) = self.room.is_crowded()
        {
            return Err(Cause::Crowd { clients });
        }
        let node = match hello.speaker {
            Speaker::Replica(replica) => replica.node(),
            Speaker::Client | Speaker::Operator => {
                let visitor = NodeId(self.next_visitor);
                self.next_visitor = self.next_visitor.checked_add(1).unwrap_or(VISITORS);
                visitor
            }
        };
        connection.node = Some(node);
        if hello.speaker == Speaker::Operator {
            connection.is_operator = true;
            self.asked.push_back(node);
        }
        self.room.greeted(number, connection);
        self.counts.greeted += 1;
        if let Speaker::Replica(replica) = hello.speaker {
            self.refusals.greeted(replica);
        }
        self.is_due(number);
        // Whoever comes anew has given up the connection that there was.
        if let Some(before) = self.nodes.insert(node, number) {
            self.end(before);
        }
        Ok(())
    }

    /// Ends a connection because of what came over it.
    pub(super) fn refuse(&mut self, number: u64, cause: Cause) {
        if let Cause::Crowd { clients } = cause {
            return self.dismiss(number, clients);
        }
        let Some(connection) = self.connections.get(&number) else { return };
        let party = match (connection.dialled, connection.claimed) {
            (Some(replica), _) => Party::Dialled(replica),
            (None, Some(replica)) => Party::Dialling(replica),
            (None, None) => Party::Visitor,
        };
        let address = connection.address;
        self.tell(party, address, cause);
        self.counts.refused += 1;
        self.end(number);
    }

    /// Ends a connection for which there is no room any more.
    fn give_way(&mut self, number: u64) {
        let is_dismissed = self.connections.get(&number).is_some_and(|connection| connection.is_dismissed);
        if !is_dismissed {
            self.turn_away(number, Cause::Late);
        }
        self.end(number);
    }

    /// Tells a client that it is one too many. It is to hang up, so that it has heard why; until it does it gives way to whoever comes,
    /// and is given no more time than who does not say who it is.
    fn dismiss(&mut self, number: u64, clients: usize) {
        self.turn_away(number, Cause::Crowd { clients });
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.dismiss(Farewell { clients: clients as u64 });
            self.room.dismissed(number);
            self.eager.insert(number);
        }
    }

    /// There is no room for a connection.
    fn turn_away(&mut self, number: u64, cause: Cause) {
        let address = self.connections.get(&number).and_then(|connection| connection.address);
        self.tell(Party::Visitor, address, cause);
        self.counts.turned_away += 1;
    }

    /// Keeps in mind who is not spoken with and why, and logs it if it is to be.
    fn tell(&mut self, party: Party, address: Option<SocketAddr>, cause: Cause) {
        if let Some(line) = self.refusals.note(party, address, cause, Instant::now()) {
            tracing::warn!("{line}");
        }
    }

    /// Who is not spoken with at present, and why.
    pub fn refusals(&self) -> Vec<Refused> {
        self.refusals.current(Instant::now())
    }

    /// The replicas that are spoken with at present.
    pub fn replicas(&self) -> impl Iterator<Item = ReplicaId> {
        self.nodes.keys().take_while(|node| node.0 < VISITORS).map(|node| ReplicaId(node.0 as u8))
    }
}
