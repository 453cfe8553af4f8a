//! A node of the tree, and what a change does to the nodes on its way.

use alloc::{sync::Arc, vec::Vec};
use core::{borrow::Borrow, mem};

/// The most entries of a leaf. Copied when a shared one is changed, and so not many.
pub(super) const LEAF_MAX: usize = 16;

/// The most children of a branch.
pub(super) const BRANCH_MAX: usize = 32;

/// Either has items in order, each under a key, side by side in one piece of memory: what lies elsewhere is most of what a search costs.
pub(super) enum Node<K, V> {
    Leaf(Vec<(K, V)>),
    /// No key below a child lies before the child's own, and none reaches the next one's; the first child's own is not looked at.
    Branch(Vec<Child<K, V>>),
}

pub(super) type Child<K, V> = (K, Arc<Node<K, V>>);

/// What came of an insertion.
pub(super) enum Insertion<K, V> {
    /// There was a value under that key.
    Replaced(V),
    /// There is one more entry.
    Fitted,
    /// There is one more, and the node has become two: the second one.
    Split(K, Arc<Node<K, V>>),
}

impl<K: Clone, V: Clone> Clone for Node<K, V> {
    fn clone(&self) -> Self {
        match self {
            Self::Leaf(entries) => Self::Leaf(copied(entries, LEAF_MAX)),
            Self::Branch(children) => Self::Branch(copied(children, BRANCH_MAX)),
        }
    }
}

impl<K, V> Node<K, V> {
    /// A leaf with one entry.
    pub(super) fn single(key: K, value: V) -> Self {
        let mut entries = Vec::with_capacity(LEAF_MAX);
        entries.push((key, value));
        Self::Leaf(entries)
    }

    /// Whether a removal has left so few items that the node is to be mended, with a neighbour of it.
    fn is_small(&self) -> bool {
        match self {
            Self::Leaf(entries) => entries.len() < LEAF_MAX / 4,
            Self::Branch(children) => children.len() < BRANCH_MAX / 4,
        }
    }
}

impl<K: Clone, V> Node<K, V> {
    /// A branch over two nodes.
    pub(super) fn over(left: Arc<Self>, first: K, right: Arc<Self>) -> Self {
        let mut children = Vec::with_capacity(BRANCH_MAX);
        children.extend([(first.clone(), left), (first, right)]);
        Self::Branch(children)
    }
}

/// A copy that has room for as many as a node has.
fn copied<T: Clone>(items: &[T], most: usize) -> Vec<T> {
    let mut copy = Vec::with_capacity(most);
    copy.extend_from_slice(items);
    copy
}

/// What lies from `at` on, with room for as many as a node has.
fn split_off<T>(items: &mut Vec<T>, at: usize, most: usize) -> Vec<T> {
    let mut rest = Vec::with_capacity(most);
    rest.extend(items.drain(at..));
    rest
}

/// Where an entry is, or where it belongs.
pub(super) fn find<K: Borrow<Q>, V, Q: Ord + ?Sized>(entries: &[(K, V)], key: &Q) -> Result<usize, usize> {
    entries.binary_search_by(|(other, _)| other.borrow().cmp(key))
}

/// The child that a key belongs to.
pub(super) fn place<K: Borrow<Q>, V, Q: Ord + ?Sized>(children: &[(K, V)], key: &Q) -> usize {
    children[1..].partition_point(|(first, _)| first.borrow() <= key)
}

/// Puts an item where it belongs. What the node had to part with, if it was full.
fn put<K, T>(items: &mut Vec<(K, T)>, at: usize, item: (K, T), most: usize) -> Option<Vec<(K, T)>> {
    if items.len() < most {
        items.insert(at, item);
        return None;
    }
    // Who inserts in order fills every node; but each keeps two items.
    let middle = if at == most { most - 1 } else { most / 2 };
    let mut right = split_off(items, middle, most);
    if at > middle {
        right.insert(at - middle, item)
    } else {
        items.insert(at, item)
    }
    Some(right)
}

/// Puts an entry below `node`.
pub(super) fn insert<K: Ord + Clone, V: Clone>(node: &mut Arc<Node<K, V>>, key: K, value: V) -> Insertion<K, V> {
    let right = match Arc::make_mut(node) {
        Node::Leaf(entries) => match find(entries, &key) {
            Ok(at) => return Insertion::Replaced(mem::replace(&mut entries[at].1, value)),
            Err(at) => put(entries, at, (key, value), LEAF_MAX).map(|right| (right[0].0.clone(), Node::Leaf(right))),
        },
        Node::Branch(children) => {
            let place = place(children, &key);
            match insert(&mut children[place].1, key, value) {
                Insertion::Split(first, child) => put(children, place + 1, (first, child), BRANCH_MAX)
                    .map(|right| (right[0].0.clone(), Node::Branch(right))),
                done => return done,
            }
        }
    };
    right.map_or(Insertion::Fitted, |(first, right)| Insertion::Split(first, Arc::new(right)))
}

/// Takes an entry out of what is below `node`.
pub(super) fn remove<K, V, Q>(node: &mut Arc<Node<K, V>>, key: &Q) -> Option<V>
where
    K: Borrow<Q> + Clone,
    V: Clone,
    Q: Ord + ?Sized,
{
    match Arc::make_mut(node) {
        Node::Leaf(entries) => find(entries, key).ok().map(|at| entries.remove(at).1),
        Node::Branch(children) => {
            let place = place(children, key);
            let removed = remove(&mut children[place].1, key)?;
            if children[place].1.is_small() {
                mend(children, place);
            }
            Some(removed)
        }
    }
}

/// The child at `place` has become small: it and a neighbour become one, or two of one size.
fn mend<K: Clone, V: Clone>(children: &mut Vec<Child<K, V>>, place: usize) {
    let left = place.saturating_sub(1);
    let (first, right) = children.remove(left + 1);
    let split = match (Arc::make_mut(&mut children[left].1), Arc::unwrap_or_clone(right)) {
        (Node::Leaf(left), Node::Leaf(right)) => {
            join(left, right, LEAF_MAX).map(|right| (right[0].0.clone(), Node::Leaf(right)))
        }
        (Node::Branch(left), Node::Branch(mut right)) => {
            right[0].0 = first;
            join(left, right, BRANCH_MAX).map(|right| (right[0].0.clone(), Node::Branch(right)))
        }
        _ => unreachable!("all leaves are as deep"),
    };
    if let Some((first, right)) = split {
        children.insert(left + 1, (first, Arc::new(right)));
    }
}

/// Makes one of two; if that is too much for one, the second half of it.
fn join<T>(left: &mut Vec<T>, mut right: Vec<T>, most: usize) -> Option<Vec<T>> {
    left.append(&mut right);
    (left.len() > most).then(|| split_off(left, left.len() / 2, most))
}

/// Lets go of a node, as far as so many go. What is left of it.
pub(super) fn release<K, V>(node: Arc<Node<K, V>>, nodes: &mut usize) -> Option<Arc<Node<K, V>>> {
    *nodes = nodes.saturating_sub(1);
    // What another has is its own to free.
    let Node::Branch(mut children) = Arc::into_inner(node)? else { return None };
    while let Some((first, child)) = children.pop() {
        let rest = if *nodes == 0 { Some(child) } else { release(child, nodes) };
        if let Some(rest) = rest {
            children.push((first, rest));
            return Some(Arc::new(Node::Branch(children)));
        }
    }
    None
}
