//! Chunks on their way: read from the grid, asked of others, given to others.

use alloc::{format, vec::Vec};

use super::{
    ASKED_OF_ONE, Asked, CHUNK_READS_MAX, DOUBLED_MAX, FLOWING, Fetching, Purpose, ROUNDS_MAX, Readers, SILENT_ROUNDS,
    WALK_WINDOW, Walk,
};
use crate::{
    frame::{Frame, SECTOR_SIZE},
    process::Actions,
    storage::chunk::Chunk,
    types::{Checksum, NodeId, ReplicaId},
    vsr::{ReadResult, Vsr, checkpoint::Checkpoints, probe::Probe, timer::Timer, token::Kind},
    wire::{
        header::{Command, Header},
        seal::seal,
    },
};

impl Vsr {
    /// Asks another replica for a chunk: one that was asked for `before` in vain, if it was.
    pub(super) fn ask_for_chunk(&mut self, address: Checksum, before: Option<Asked>, actions: &mut Actions) -> Asked {
        let at = self.now.monotonic;
        if self.config.replica_count == 1 {
            actions.halt(
                "the checkpoint is damaged, and a single replica has nobody to repair it from: start again if the disk could \
                 not be read, or else restore the data file"
                    .into(),
            );
        } else {
            let mut header = self.header(Command::RequestChunk);
            header.view = self.promised().view;
            header.context = address.0;
            let Fetching { next_peer, run, .. } = self.checkpoints.fetching;
            // Neighbours of one replica, which lie side by side on its disk as a rule.
            let goes_on = before.is_none() && run % ASKED_OF_ONE != 0;
            let peer = if goes_on { next_peer } else { self.peer_after(next_peer) };
            self.checkpoints.fetching.next_peer = peer;
            self.checkpoints.fetching.run = if goes_on { run + 1 } else { 1 };
            self.send(ReplicaId(peer), header, &[], actions);
            let due = self.after(self.config.timeouts.repair_ns);
            self.timers.ensure(Timer::Chunk, due);
        }
        Asked {
            first: before.map_or(at, |before| before.first),
            at,
            times: before.map_or(0, |before| before.times + 1),
        }
    }

    /// Asks again for what did not come, of the next one. Where nobody seems to have it, a later checkpoint is tried.
    pub(in crate::vsr) fn on_chunk_timer(&mut self, actions: &mut Actions) {
        let Some(mut walk) = self.checkpoints.fetching.walk.take() else { return };
        let overdue = self.config.timeouts.repair_ns;
        let flows = walk.heard.is_some_and(|heard| self.now.monotonic.since(heard) < overdue);
        let patience = if flows { FLOWING * overdue } else { overdue };
        for index in walk.missing.keys().copied().collect::<Vec<_>>() {
            let Some(asked) = walk.missing[&index] else { continue };
            if self.now.monotonic.since(asked.at) >= patience << asked.times.min(DOUBLED_MAX) {
                actions.probe(Probe::ChunkAskedAgain.into());
                let again = self.ask_for_chunk(walk.list[index], Some(asked), actions);
                walk.missing.insert(index, Some(again));
            }
        }
        if walk.is_lacking() {
            let due = self.after(overdue);
            self.timers.ensure(Timer::Chunk, due);
        }
        let vouched = self.checkpoints.vouched;
        if vouched.op > walk.target.op && self.is_hopeless(&walk) {
            actions.probe(Probe::SyncRetargeted.into());
            self.checkpoints.fetching.given_up += 1;
            if walk.purpose == Purpose::Load {
                // This replica's own cannot be had whole any more: what of it is known serves the next.
                let before = core::mem::replace(&mut self.checkpoints.reached, core::mem::take(&mut walk.reached));
                self.checkpoints.let_go.push(before);
                self.finish_survey();
            }
            let given_up = core::mem::replace(&mut walk, Walk::new(Purpose::Gather, vouched, self.config.clients_max));
            walk.spared = given_up.reached;
            walk.spared.extend(given_up.spared);
            // As many as there are blocks, however often this comes about.
            walk.spared.retain(|address| self.checkpoints.grid.find(*address).is_some());
        }
        self.checkpoints.fetching.walk = Some(walk);
    }

    /// Whether it seems that nobody has a chunk that a walk waits for. If that was so of the walk before, it is the others that are slow,
    /// maybe, and not gone on: this one is given twice the time, or no walk would ever come to its end.
    fn is_hopeless(&self, walk: &Walk) -> bool {
        let others = u32::from(self.config.replica_count) - 1;
        let doubled = self.checkpoints.fetching.given_up.min(DOUBLED_MAX);
        let silence = (SILENT_ROUNDS * self.config.timeouts.repair_ns) << doubled;
        let is_long_ago = |instant| self.now.monotonic.since(instant) >= silence;
        let in_vain = |asked: &Asked| asked.times >= others * ROUNDS_MAX && is_long_ago(asked.first);
        walk.heard.is_none_or(is_long_ago) && walk.missing.values().flatten().any(in_vain)
    }

    /// Another replica lacks a chunk.
    pub(in crate::vsr) fn on_request_chunk(&mut self, peer: ReplicaId, request: &Header, actions: &mut Actions) {
        let address = Checksum(request.context);
        // One that nothing here needs any more may be what another replica needs; what it is, is checked when it is read.
        let grid = &self.checkpoints.grid;
        let Some(block) = grid.find(address).or_else(|| grid.find_stray(address)) else { return };
        if !self.checkpoints.writing.contains_key(&block) {
            self.checkpoints.note_asked(peer, address, self.now.monotonic);
            self.read_block(block, address, Some(peer.node()), actions);
        }
    }

    /// A chunk from another replica: whatever it is, it is what its address says, as was found when its frame was opened.
    pub(in crate::vsr) fn on_chunk(&mut self, header: &Header, frame: &Frame, body: &[u8], actions: &mut Actions) {
        let address = Checksum(header.context);
        if !self.checkpoints.fetching.wants(address) {
            return;
        }
        let fits = body.len() <= self.config.layout.block_size as usize;
        if Chunk::known(body).is_none_or(|chunk| !fits || chunk.size != body.len() || chunk.address != address) {
            return actions.probe(Probe::BadFrame.into());
        }
        actions.probe(Probe::ChunkFetched.into());
        if let Some(walk) = &mut self.checkpoints.fetching.walk {
            walk.heard = Some(self.now.monotonic);
        }
        self.arrive(address, &frame.slice(frame.len() - body.len(), frame.len()), actions);
    }

    /// A chunk that the walk may want is in memory, and its address was found to be true: it goes to the grid, unless it lies there, and to the walk.
    fn arrive(&mut self, address: Checksum, chunk: &Frame, actions: &mut Actions) {
        let Some(walk) = &mut self.checkpoints.fetching.walk else { return };
        if !walk.arrive(address, chunk) || self.checkpoints.grid.find(address).is_some() {
            return;
        }
        if self.write_chunk(address, chunk.clone(), actions) {
            return;
        }
        if self.checkpoints.is_syncing() {
            // A checkpoint of its own, which this one takes the place of, is in the way.
            self.drop_taking();
            if self.write_chunk(address, chunk.clone(), actions) {
                return;
            }
        }
        self.keep_unwritten(address, chunk.clone(), actions);
    }

    /// A chunk has no block to go to, and is kept in memory until it has.
    fn keep_unwritten(&mut self, address: Checksum, chunk: Frame, actions: &mut Actions) {
        let has_place = self.checkpoints.fetching.unwritten.len() < WALK_WINDOW;
        if self.room_may_come(actions) && has_place {
            self.checkpoints.fetching.unwritten.push((address, chunk));
        } else {
            self.say_that_it_does_not_fit(actions);
        }
    }

    /// Whether a block may come free. Before the grid is surveyed, it is not known which are. After that, those do that a checkpoint of
    /// its own was being written to or takes the place of.
    fn room_may_come(&mut self, actions: &mut Actions) -> bool {
        let waits = self.want_room(actions);
        let Checkpoints { writing, next, is_surveyed, .. } = &self.checkpoints;
        waits || !is_surveyed || !writing.is_empty() || next.is_some()
    }

    /// No block will come free. A checkpoint of the others' cannot be had then; of the durable one, the next start fetches again what has
    /// found no block.
    fn say_that_it_does_not_fit(&self, actions: &mut Actions) {
        if self.checkpoints.is_syncing() {
            actions.halt(format!(
                "a checkpoint of the others and this replica's own do not fit the {} blocks of its grid together: the state has grown too \
                 large for --grid-size, which all replicas are formatted with",
                self.config.layout.block_count
            ));
        }
    }

    /// Writes what had no block to go to, as far as there are any by now: before the grid is surveyed, none comes free.
    pub(in crate::vsr) fn write_unwritten(&mut self, actions: &mut Actions) {
        if !self.checkpoints.is_surveyed || self.checkpoints.fetching.unwritten.is_empty() {
            return;
        }
        let Checkpoints { grid, reached, fetching, .. } = &mut self.checkpoints;
        let mut unwritten = core::mem::take(&mut fetching.unwritten);
        let is_needed = |address| reached.contains(&address) || fetching.wants(address);
        unwritten.retain(|(address, _)| is_needed(*address) && grid.find(*address).is_none());
        let mut is_waiting = self.write_all(&mut unwritten, actions) || self.room_may_come(actions);
        if !is_waiting && self.checkpoints.is_syncing() && self.checkpoints.is_taking() {
            // One that was begun meanwhile is in the way, as in `arrive`.
            self.drop_taking();
            is_waiting = self.write_all(&mut unwritten, actions) || self.room_may_come(actions);
        }
        if is_waiting {
            self.checkpoints.fetching.unwritten = unwritten;
        } else {
            self.say_that_it_does_not_fit(actions);
        }
    }

    /// Writes these chunks, as far as there are blocks, and leaves the others. Whether there were enough.
    fn write_all(&mut self, chunks: &mut Vec<(Checksum, Frame)>, actions: &mut Actions) -> bool {
        // Where there is no room for one, there is none for the next.
        let lacks_room = |(address, chunk): &(Checksum, Frame)| {
            let is_there = self.checkpoints.grid.find(*address).is_some();
            !is_there && !self.write_chunk(*address, chunk.clone(), actions)
        };
        let written = chunks.iter().position(lacks_room).unwrap_or(chunks.len());
        chunks.drain(..written);
        chunks.is_empty()
    }

    /// Reads a block, for the walk or for `to`. Whether it is being read.
    pub(super) fn read_block(
        &mut self,
        block: u32,
        address: Checksum,
        to: Option<NodeId>,
        actions: &mut Actions,
    ) -> bool {
        let reads = &mut self.checkpoints.fetching.reads;
        let in_flight = reads.contains_key(&block);
        if !in_flight && reads.len() >= CHUNK_READS_MAX {
            return false;
        }
        let readers = reads.entry(block).or_insert(Readers { address, walk: false, send_to: Vec::new(), attempts: 0 });
        if readers.address != address {
            // The block came to hold another chunk while it was being read: later.
            return false;
        }
        match to {
            Some(node) if !readers.send_to.contains(&node) => readers.send_to.push(node),
            Some(_) => {}
            None => readers.walk = true,
        }
        if !in_flight {
            self.submit_read(block, actions);
        }
        true
    }

    fn submit_read(&self, block: u32, actions: &mut Actions) {
        let length = (self.config.layout.chunk_size_max() as usize).next_multiple_of(SECTOR_SIZE) as u32;
        actions.read(Kind::ChunkRead.token(block.into()), self.config.layout.block_offset(block), length);
    }

    pub(in crate::vsr) fn on_chunk_read(&mut self, block: u32, result: ReadResult<'_>, actions: &mut Actions) {
        let Some(mut readers) = self.checkpoints.fetching.reads.remove(&block) else { return };
        let address = readers.address;
        let chunk = result.ok().and_then(|bytes| {
            let chunk = Chunk::parse(bytes).filter(|chunk| chunk.address == address)?;
            Some(bytes.slice(0, chunk.size))
        });
        let Some(chunk) = chunk else {
            let grid = &self.checkpoints.grid;
            let lies_there = grid.find(address).or_else(|| grid.find_stray(address)) == Some(block);
            // What is being written there may not have been there yet when it was read.
            let still = lies_there && !self.checkpoints.writing.contains_key(&block);
            if still && readers.attempts < Self::READ_ATTEMPTS_MAX && result.is_err() {
                actions.probe(Probe::ReadRetried.into());
                readers.attempts += 1;
                self.checkpoints.fetching.reads.insert(block, readers);
                return self.submit_read(block, actions);
            }
            if still {
                self.lose_chunk(address, block, actions);
            }
            return self.ask_for_lost(address, actions);
        };
        for node in readers.send_to {
            let mut header = self.header(Command::Chunk);
            header.view = self.promised().view;
            header.context = address.0;
            let (_, frame) = seal(header, &chunk, actions);
            actions.send(node, frame);
        }
        if readers.walk {
            self.arrive(address, &chunk, actions);
        }
    }

    /// A block does not hold what it should.
    fn lose_chunk(&mut self, address: Checksum, block: u32, actions: &mut Actions) {
        if self.checkpoints.grid.find(address) == Some(block) {
            actions.probe(Probe::ChunkLost.into());
        }
        self.checkpoints.grid.lose(address);
    }

    /// The walk waited for a block that did not hold its chunk: others may.
    fn ask_for_lost(&mut self, address: Checksum, actions: &mut Actions) {
        let Some(mut walk) = self.checkpoints.fetching.walk.take() else { return };
        for index in walk.missing.keys().copied().collect::<Vec<_>>() {
            if walk.list[index] != address || walk.missing[&index].is_some() {
                continue;
            }
            // Another block may hold it.
            let block = self.checkpoints.grid.find(address);
            if block.is_none_or(|block| !self.read_block(block, address, None, actions)) {
                let asked = self.ask_for_chunk(address, None, actions);
                walk.missing.insert(index, Some(asked));
            }
        }
        self.checkpoints.fetching.walk = Some(walk);
    }
}

#[cfg(test)]
mod tests;
