//! The checkpoint grid: which block holds which chunk.
//!
//! Nothing of this is stored. A block's chunk names itself, so that recovery finds all of them by reading the beginning of each
//! block, and what the superblock's checkpoint does not reach is free. No block that a durable checkpoint reaches is ever
//! written: a crash at any sector leaves that checkpoint whole.
//!
//! A *stray* is a block that recovery found to claim a chunk that the checkpoint does not reach: what a checkpoint, or a state sync,
//! that was not finished has left. It may serve again once it is read, found whole and written again (design rule 6), and is
//! overwritten like a free one. What the checkpoint reaches is known only when its tables are read: until then all that was found
//! may be of it.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use crate::types::Checksum;

/// The blocks of a grid, by what they hold.
#[derive(Clone, Default, Debug)]
pub struct Grid {
    blocks: BTreeMap<Checksum, u32>,
    /// More blocks that recovery found to claim the same. One of them all is durable; another may be what a write that a crash tore or
    /// undid has left of older times, and read whole today. Which is which cannot be told, so that all are kept as long as the chunk is.
    doubles: BTreeSet<(Checksum, u32)>,
    strays: BTreeMap<Checksum, u32>,
    /// The others.
    free: BTreeSet<u32>,
}

impl Grid {
    /// A grid of so many free blocks.
    pub fn new(block_count: u32) -> Self {
        Self {
            blocks: BTreeMap::new(),
            doubles: BTreeSet::new(),
            strays: BTreeMap::new(),
            free: (0..block_count).collect(),
        }
    }

    /// The block of a chunk that may be relied on.
    pub fn find(&self, address: Checksum) -> Option<u32> {
        self.blocks.get(&address).copied()
    }

    /// The block that claims to hold a chunk that nothing rests on.
    pub fn find_stray(&self, address: Checksum) -> Option<u32> {
        self.strays.get(&address).copied()
    }

    /// Recovery found a block that claims to hold this chunk. Until it is known what the checkpoint reaches, it may be that.
    pub fn found(&mut self, address: Checksum, block: u32) {
        if self.free.remove(&block) && *self.blocks.entry(address).or_insert(block) != block {
            self.doubles.insert((address, block));
        }
    }

    /// Recovery knows which chunks are to be relied on, by them and their blocks: all others are strays.
    pub fn demote(&mut self, keep: impl Fn(Checksum, u32) -> bool) {
        for (address, block) in core::mem::take(&mut self.blocks) {
            if keep(address, block) {
                self.blocks.insert(address, block);
            } else {
                self.strays.insert(address, block);
            }
        }
        self.free_doubles(keep);
    }

    fn free_doubles(&mut self, keep: impl Fn(Checksum, u32) -> bool) {
        let free = &mut self.free;
        self.doubles.retain(|(address, block)| {
            let kept = keep(*address, *block);
            if !kept {
                free.insert(*block);
            }
            kept
        });
    }

    /// Whether [`Grid::allocate`] would give a block.
    pub fn has_room(&self) -> bool {
        !self.free.is_empty() || !self.strays.is_empty()
    }

    /// A block for a chunk that is not here, to be written; none if the grid is full. Strays go last.
    ///
    /// # Panics
    /// If the chunk is here already.
    pub fn allocate(&mut self, address: Checksum) -> Option<u32> {
        assert!(!self.blocks.contains_key(&address), "a chunk is written once");
        let own = self.strays.remove(&address).or_else(|| self.free.pop_first());
        let block = own.or_else(|| self.strays.pop_first().map(|(_, block)| block))?;
        self.blocks.insert(address, block);
        Some(block)
    }

    /// The block of this chunk was found not to hold it; another one may, which [`Grid::find`] then gives.
    pub fn lose(&mut self, address: Checksum) {
        if let Some(block) = self.blocks.remove(&address).or_else(|| self.strays.remove(&address)) {
            self.free.insert(block);
        }
        let double = self.doubles.iter().find(|(double, _)| *double == address).copied();
        if let Some((_, block)) = double {
            self.doubles.remove(&(address, block));
            self.blocks.insert(address, block);
        }
    }

    /// Frees every block of a chunk.
    pub fn release(&mut self, address: Checksum) {
        self.free.extend(self.blocks.remove(&address));
        let doubles: Vec<_> = self.doubles.range((address, 0)..=(address, u32::MAX)).copied().collect();
        for double in doubles {
            self.doubles.remove(&double);
            self.free.insert(double.1);
        }
    }

    /// Frees every block that is not one to `keep`, by its chunk and itself.
    pub fn retain(&mut self, keep: impl Fn(Checksum, u32) -> bool) {
        let free = &mut self.free;
        self.blocks.retain(|address, block| {
            let kept = keep(*address, *block);
            if !kept {
                free.insert(*block);
            }
            kept
        });
        self.free_doubles(keep);
    }

    /// Every block that claims to hold a chunk that may be relied on.
    pub fn all(&self, address: Checksum) -> impl Iterator<Item = u32> {
        let doubles = self.doubles.range((address, 0)..=(address, u32::MAX)).map(|(_, block)| *block);
        self.find(address).into_iter().chain(doubles)
    }

    /// How many blocks hold a chunk that may be relied on.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether no block does.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn address(number: u128) -> Checksum {
        Checksum(number)
    }

    #[test]
    fn a_block_serves_one_chunk_until_it_is_freed() {
        let mut grid = Grid::new(3);
        assert_eq!((grid.allocate(address(1)), grid.allocate(address(2))), (Some(0), Some(1)));
        assert_eq!((grid.find(address(1)), grid.find(address(3))), (Some(0), None));
        assert_eq!((grid.allocate(address(3)), grid.allocate(address(4))), (Some(2), None));
        grid.retain(|kept, _| kept != address(2));
        assert_eq!((grid.len(), grid.allocate(address(4))), (2, Some(1)));
        grid.lose(address(1));
        assert_eq!((grid.find(address(1)), grid.allocate(address(1))), (None, Some(0)));
    }

    #[test]
    fn what_the_checkpoint_does_not_reach_is_a_stray_and_is_overwritten_last() {
        let mut grid = Grid::new(3);
        grid.found(address(1), 0);
        grid.found(address(2), 2);
        grid.demote(|reached, _| reached == address(1));
        assert_eq!(
            (grid.find(address(1)), grid.find(address(2)), grid.find_stray(address(2))),
            (Some(0), None, Some(2))
        );
        assert_eq!(grid.allocate(address(3)), Some(1));
        assert_eq!(grid.allocate(address(4)), Some(2), "the stray's");
        assert_eq!((grid.find_stray(address(2)), grid.allocate(address(5))), (None, None));
    }

    #[test]
    fn a_stray_is_written_again_where_it_lies() {
        let mut grid = Grid::new(3);
        grid.found(address(1), 2);
        grid.demote(|_, _| false);
        assert_eq!(grid.allocate(address(1)), Some(2));
        assert_eq!(grid.find(address(1)), Some(2));
    }

    #[test]
    fn of_two_blocks_that_claim_a_chunk_the_second_is_tried_when_the_first_lied() {
        let mut grid = Grid::new(3);
        grid.found(address(1), 0);
        grid.found(address(1), 2);
        assert_eq!(grid.allocate(address(7)), Some(1));
        grid.lose(address(1));
        assert_eq!(grid.find(address(1)), Some(2));
        grid.lose(address(1));
        assert_eq!(grid.find(address(1)), None);
        let mut grid = Grid::new(2);
        grid.found(address(1), 0);
        grid.found(address(1), 1);
        grid.demote(|_, _| true);
        assert!(grid.all(address(1)).eq([0, 1]), "either may be the one that lasts");
        assert_eq!(grid.allocate(address(2)), None);
        grid.retain(|_, _| false);
        assert_eq!((grid.allocate(address(2)), grid.allocate(address(3))), (Some(0), Some(1)));
    }
}
