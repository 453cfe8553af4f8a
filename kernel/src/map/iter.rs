//! The way through a map, leaf by leaf.
#![expect(
    clippy::disallowed_methods,
    reason = "whether two maps share a node follows from their calls; that they do saves looking into it and decides nothing else"
)]

use alloc::{sync::Arc, vec::Vec};
use core::{borrow::Borrow, ops::Bound, slice};

use super::node::{self, Child, Node};

/// The entries of a [`super::Map`], in the order of their keys.
pub struct Iter<'a, K, V> {
    /// What is still to come of each branch above the leaf.
    above: Vec<slice::Iter<'a, Child<K, V>>>,
    leaf: Option<&'a Arc<Node<K, V>>>,
    entries: slice::Iter<'a, (K, V)>,
}

impl<K, V> Default for Iter<'_, K, V> {
    fn default() -> Self {
        Self { above: Vec::new(), leaf: None, entries: [].iter() }
    }
}

impl<'a, K, V> Iter<'a, K, V> {
    /// Goes on with the first leaf below `node`.
    pub(super) fn descend(&mut self, mut node: &'a Arc<Node<K, V>>) {
        loop {
            match &**node {
                Node::Branch(children) => {
                    let mut children = children.iter();
                    node = &children.next().expect("a branch has children").1;
                    self.above.push(children);
                }
                Node::Leaf(entries) => {
                    (self.leaf, self.entries) = (Some(node), entries.iter());
                    return;
                }
            }
        }
    }

    /// Goes on with the first entry below `node` that is not before `first`.
    pub(super) fn descend_to<Q: Ord + ?Sized>(&mut self, mut node: &'a Arc<Node<K, V>>, first: Bound<&Q>)
    where
        K: Borrow<Q>,
    {
        let (Bound::Included(key) | Bound::Excluded(key)) = first else { return self.descend(node) };
        loop {
            match &**node {
                Node::Branch(children) => {
                    let mut children = children[node::place(children, key)..].iter();
                    node = &children.next().expect("every key belongs to a child").1;
                    self.above.push(children);
                }
                Node::Leaf(entries) => {
                    let at = match (node::find(entries, key), first) {
                        (Ok(at), Bound::Excluded(_)) => at + 1,
                        (Ok(at) | Err(at), _) => at,
                    };
                    (self.leaf, self.entries) = (Some(node), entries[at..].iter());
                    return;
                }
            }
        }
    }

    /// Sees to it that something is left of the leaf, if there is anything at all.
    pub(super) fn settle(&mut self) {
        while self.entries.as_slice().is_empty() {
            let Some(children) = self.above.last_mut() else { return };
            match children.next() {
                Some((_, node)) => self.descend(node),
                None => drop(self.above.pop()),
            }
        }
    }

    /// The next key of the leaf.
    pub(super) fn peek(&self) -> Option<&'a K> {
        self.entries.as_slice().first().map(|(key, _)| key)
    }

    /// If what is left of the leaf is left of the other's as well, and is the same memory: its last key.
    pub(super) fn shared_with(&self, other: &Self) -> Option<&'a K> {
        let is_shared = Arc::ptr_eq(self.leaf?, other.leaf?) && self.entries.len() == other.entries.len();
        self.entries.as_slice().last().filter(|_| is_shared).map(|(key, _)| key)
    }

    /// Leaves out what is left of the leaf.
    pub(super) fn skip_leaf(&mut self) {
        self.entries = [].iter();
    }
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        self.settle();
        self.entries.next().map(|(key, value)| (key, value))
    }
}

impl<K, V> Clone for Iter<'_, K, V> {
    fn clone(&self) -> Self {
        Self { above: self.above.clone(), leaf: self.leaf, entries: self.entries.clone() }
    }
}
