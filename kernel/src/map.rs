//! An ordered map that is cheap to clone: for a state that a checkpoint keeps as it was while it goes on (design rule 11).
//!
//! A B-tree (Bayer and McCreight 1972) with its entries in the leaves, whose nodes are counted references. A clone shares all of them. A
//! change copies what is shared on the way to one leaf, and from then on owns it (path copying: Okasaki 1998, section 2.2); what is not
//! shared is changed in place, so that a map that was never cloned costs about what a `BTreeMap` does. To drop a clone frees what no
//! other has.
//!
//! Invariants: all leaves are as deep; no node but the root is empty, and a branch has two children at the least; what a clone holds
//! never changes. The entries follow from the calls alone, and so does what is shared, and nothing is decided by addresses: that two maps
//! have a node in common is asked only to save looking into it ([`Map::agrees`]).
//!
//! What this deliberately lacks: an entry interface, and iteration that changes values.

mod iter;
mod node;
#[cfg(test)]
mod tests;

use alloc::sync::Arc;
use core::{
    borrow::Borrow,
    fmt,
    ops::{Bound, Index},
};

pub use self::iter::Iter;
use self::node::{Insertion, Node};

/// An ordered map that is cheap to clone. Values are cloned when what is shared is changed: where they are large, keep them behind an
/// `Arc`.
///
/// ```
/// use chronon::map::Map;
///
/// let mut live: Map<u64, &str> = (0..1000).map(|number| (number, "as it was")).collect();
/// let frozen = live.clone();
/// live.insert(7, "changed");
/// assert_eq!((live.get(&7), frozen.get(&7)), (Some(&"changed"), Some(&"as it was")));
/// ```
pub struct Map<K, V> {
    root: Option<Arc<Node<K, V>>>,
    length: usize,
}

impl<K, V> Map<K, V> {
    /// A map without entries, which needs no memory.
    pub const fn new() -> Self {
        Self { root: None, length: 0 }
    }

    /// How many entries there are.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The value under `key`.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let mut node = self.root.as_deref()?;
        loop {
            match node {
                Node::Branch(children) => node = &children[node::place(children, key)].1,
                Node::Leaf(entries) => return node::find(entries, key).ok().map(|at| &entries[at].1),
            }
        }
    }

    /// The entry with the least key.
    pub fn first(&self) -> Option<(&K, &V)> {
        let mut node = self.root.as_deref()?;
        loop {
            match node {
                Node::Branch(children) => node = &children.first()?.1,
                Node::Leaf(entries) => return entries.first().map(|(key, value)| (key, value)),
            }
        }
    }

    /// Whether there is something under `key`.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// Lets go of a part of a map that nothing is asked of any more: so many nodes, and what only they hold. Whether nothing is left;
    /// what is, is good for nothing else. To free much at once would hold up whoever waits.
    pub fn release(&mut self, nodes: u32) -> bool {
        let mut left = nodes as usize;
        self.root = self.root.take().and_then(|root| node::release(root, &mut left));
        self.length = 0;
        self.root.is_none()
    }

    /// All entries, in the order of their keys.
    pub fn iter(&self) -> Iter<'_, K, V> {
        let mut iter = Iter::default();
        if let Some(root) = &self.root {
            iter.descend(root);
        }
        iter
    }

    /// The entries from `first` on, in the order of their keys: where a snapshot that paused goes on.
    pub fn iter_from<Q: Ord + ?Sized>(&self, first: Bound<&Q>) -> Iter<'_, K, V>
    where
        K: Borrow<Q>,
    {
        let mut iter = Iter::default();
        if let Some(root) = &self.root {
            iter.descend_to(root, first);
        }
        iter
    }

    /// Whether both maps have the same entries from `first` to `last`. What they share, as a clone and its origin do where neither
    /// was changed, is not looked into, so that this costs what differs and a step for each leaf in common.
    pub fn agrees<Q: Ord + ?Sized>(&self, other: &Self, first: Bound<&Q>, last: Bound<&Q>) -> bool
    where
        K: Borrow<Q>,
        V: PartialEq,
    {
        let (mut own, mut others) = (self.iter_from(first), other.iter_from(first));
        loop {
            own.settle();
            others.settle();
            if let Some(ahead) = own.shared_with(&others) {
                if !is_before(ahead, last) {
                    return true;
                }
                own.skip_leaf();
                others.skip_leaf();
                continue;
            }
            let next = |iter: &Iter<'_, K, V>| iter.peek().is_some_and(|key| is_within(key, last));
            match (next(&own), next(&others)) {
                (false, false) => return true,
                (true, true) => {}
                _ => return false,
            }
            let (Some((key, value)), Some((other_key, other_value))) = (own.next(), others.next()) else {
                return false;
            };
            if key.borrow() != other_key.borrow() || value != other_value {
                return false;
            }
        }
    }
}

/// Whether something may still lie between `key` and the end.
fn is_before<K: Borrow<Q>, Q: Ord + ?Sized>(key: &K, last: Bound<&Q>) -> bool {
    match last {
        Bound::Included(last) | Bound::Excluded(last) => key.borrow() < last,
        Bound::Unbounded => true,
    }
}

fn is_within<K: Borrow<Q>, Q: Ord + ?Sized>(key: &K, last: Bound<&Q>) -> bool {
    match last {
        Bound::Included(last) => key.borrow() <= last,
        Bound::Excluded(last) => key.borrow() < last,
        Bound::Unbounded => true,
    }
}

impl<K: Ord + Clone, V: Clone> Map<K, V> {
    /// Puts a value under a key. The one that was there before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let grown = match &mut self.root {
            None => Some(Node::single(key, value)),
            Some(root) => match node::insert(root, key, value) {
                Insertion::Replaced(before) => return Some(before),
                Insertion::Fitted => None,
                Insertion::Split(first, right) => Some(Node::over(Arc::clone(root), first, right)),
            },
        };
        if let Some(grown) = grown {
            self.root = Some(Arc::new(grown));
        }
        self.length += 1;
        None
    }

    /// The value under `key`, to be changed. What is shared on the way to it is copied, whether it is found or not.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let mut node = Arc::make_mut(self.root.as_mut()?);
        loop {
            match node {
                Node::Branch(children) => {
                    let place = node::place(children, key);
                    node = Arc::make_mut(&mut children[place].1);
                }
                Node::Leaf(entries) => return node::find(entries, key).ok().map(|at| &mut entries[at].1),
            }
        }
    }

    /// Takes out what is under `key`. Copies nothing if there is nothing.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        if !self.contains_key(key) {
            return None;
        }
        let root = self.root.as_mut()?;
        let removed = node::remove(root, key)?;
        self.length -= 1;
        let next = match &**root {
            Node::Leaf(entries) if entries.is_empty() => Some(None),
            Node::Branch(children) if children.len() == 1 => Some(Some(Arc::clone(&children[0].1))),
            _ => None,
        };
        if let Some(next) = next {
            self.root = next;
        }
        Some(removed)
    }
}

impl<K: Borrow<Q>, V, Q: Ord + ?Sized> Index<&Q> for Map<K, V> {
    type Output = V;

    /// # Panics
    /// If there is nothing under `key`.
    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("there is something under this key")
    }
}

impl<K, V> Clone for Map<K, V> {
    /// Costs the same for every map.
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), length: self.length }
    }
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for Map<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.length == other.length && self.iter().eq(other.iter())
    }
}

impl<K: Eq, V: Eq> Eq for Map<K, V> {}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Map<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for Map<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<K: Ord + Clone, V: Clone> Extend<(K, V)> for Map<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<'a, K, V> IntoIterator for &'a Map<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}
