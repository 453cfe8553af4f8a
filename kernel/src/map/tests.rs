//! A map is held to what a `BTreeMap` does, call by call, and its clones to what they were.

use std::{
    collections::BTreeMap,
    format,
    ops::Bound::{Excluded, Included, Unbounded},
    vec,
    vec::Vec,
};

use super::{node::Node, *};

/// Numbers that follow from the first.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// How deep the leaves below a node are, after all that a tree owes is seen to hold, with keys from `low` to below `high`.
fn depth(node: &Node<u64, u64>, is_root: bool, low: Option<u64>, high: Option<u64>) -> u32 {
    match node {
        Node::Leaf(entries) => {
            assert!((1..=node::LEAF_MAX).contains(&entries.len()));
            assert!(entries.is_sorted_by(|a, b| a.0 < b.0));
            assert!(entries.iter().all(|(key, _)| low.is_none_or(|low| low <= *key)));
            assert!(entries.iter().all(|(key, _)| high.is_none_or(|high| *key < high)));
            0
        }
        Node::Branch(children) => {
            assert!((2..=node::BRANCH_MAX).contains(&children.len()), "root: {is_root}");
            assert!(
                low.is_none_or(|low| low == children[0].0),
                "a branch's first key is the one that it goes by above"
            );
            let between = children[1..].iter().map(|(key, _)| Some(*key));
            let bounds: Vec<Option<u64>> = [low].into_iter().chain(between).chain([high]).collect();
            let depths = (children.iter().zip(bounds.windows(2)))
                .map(|((_, child), bounds)| depth(child, false, bounds[0], bounds[1]));
            let depths: Vec<u32> = depths.collect();
            assert!(depths.iter().all(|depth| *depth == depths[0]), "all leaves are as deep");
            depths[0] + 1
        }
    }
}

fn check(map: &Map<u64, u64>, model: &BTreeMap<u64, u64>) {
    if let Some(root) = &map.root {
        depth(root, true, None, None);
    }
    assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
    assert!(map.iter().eq(model));
}

/// A map, and what it is to be.
type Pair = (Map<u64, u64>, BTreeMap<u64, u64>);

/// Calls at random over so many keys, of which `removals` of 8 remove; with clones on the way that must stay as they were.
fn run(seed: u64, keys: u64, removals: u64) {
    let mut numbers = Numbers(seed);
    let (mut map, mut model) = (Map::new(), BTreeMap::new());
    let mut frozen = vec![(map.clone(), model.clone())];
    for call in 0..4_000 {
        let key = numbers.below(keys);
        match numbers.below(8) {
            kind if kind < removals => assert_eq!(map.remove(&key), model.remove(&key)),
            6 => {
                let (one, other) = (map.get_mut(&key), model.get_mut(&key));
                assert_eq!(one, other);
                if let (Some(one), Some(other)) = (one, other) {
                    (*one, *other) = (call, call);
                }
            }
            _ => assert_eq!(map.insert(key, call), model.insert(key, call)),
        }
        let asked = numbers.below(keys);
        assert_eq!(map.get(&asked), model.get(&asked));
        assert_eq!(map.contains_key(&asked), model.contains_key(&asked));
        assert_eq!(map.first(), model.first_key_value());
        if numbers.below(40) == 0 {
            for first in [Included(&asked), Excluded(&asked), Unbounded] {
                assert!(map.iter_from(first).eq(model.range((first.cloned(), Unbounded))));
            }
            check(&map, &model);
        }
        match numbers.below(100) {
            0 => frozen.push((map.clone(), model.clone())),
            // A clone goes on, and what was the map is frozen.
            1 => {
                let place = numbers.below(frozen.len() as u64) as usize;
                let (one, other) = frozen[place].clone();
                frozen.push((core::mem::replace(&mut map, one), core::mem::replace(&mut model, other)));
            }
            2 => drop(frozen.swap_remove(numbers.below(frozen.len() as u64) as usize)),
            3 => agrees(&map, &model, &frozen, &mut numbers, keys),
            _ => {}
        }
        if frozen.is_empty() {
            frozen.push((map.clone(), model.clone()));
        }
    }
    for (map, model) in &frozen {
        check(map, model);
    }
}

fn agrees(map: &Map<u64, u64>, model: &BTreeMap<u64, u64>, frozen: &[Pair], numbers: &mut Numbers, keys: u64) {
    let (other, others) = &frozen[numbers.below(frozen.len() as u64) as usize];
    for _ in 0..20 {
        let (from, length) = (numbers.below(keys), numbers.below(40));
        let firsts = [Included(from), Excluded(from), Unbounded];
        let lasts = [Included(from + length), Excluded(from + length + 1), Unbounded];
        for (first, last) in firsts.iter().zip(lasts) {
            let expected = model.range((*first, last)).eq(others.range((*first, last)));
            assert_eq!(map.agrees(other, first.as_ref(), last.as_ref()), expected, "{first:?} to {last:?}");
        }
    }
    assert!(map.agrees::<u64>(map, Unbounded, Unbounded));
}

#[test]
fn a_map_does_what_a_btree_map_does_and_its_clones_stay_as_they_were() {
    for seed in 1..=12 {
        for (keys, removals) in [(5, 4), (60, 3), (400, 2), (100_000, 1), (1_000, 5)] {
            run(seed * 0x9e37_79b9, keys, removals);
        }
    }
}

#[test]
fn a_map_that_is_filled_and_emptied_in_any_order_is_whole_in_between() {
    let orders: [fn(u64) -> u64; 3] = [|n| n, |n| 4_999 - n, |n| n * 1_234_577 % 5_000];
    for fill in orders {
        for empty in orders {
            let (mut map, mut model) = (Map::new(), BTreeMap::new());
            for number in (0..5_000).map(fill) {
                map.insert(number, number);
                model.insert(number, number);
            }
            check(&map, &model);
            for number in 0..5_000 {
                let key = empty(number);
                assert_eq!(map.remove(&key), model.remove(&key));
                if number % 97 == 0 {
                    check(&map, &model);
                }
            }
            assert!(map.is_empty() && map.root.is_none());
        }
    }
}

#[test]
fn who_inserts_in_order_fills_every_leaf() {
    let map: Map<u64, u64> = (0..16_000).map(|number| (number, number)).collect();
    let (mut leaves, mut rest) = (0, vec![map.root.as_ref().unwrap()]);
    while let Some(node) = rest.pop() {
        match &**node {
            Node::Leaf(_) => leaves += 1,
            Node::Branch(children) => rest.extend(children.iter().map(|(_, child)| child)),
        }
    }
    assert!((1_000..=1_067).contains(&leaves), "{leaves}");
}

/// How often a value was cloned since it was made.
struct Generation(u64);

impl Clone for Generation {
    fn clone(&self) -> Self {
        Self(self.0 + 1)
    }
}

#[test]
fn a_change_copies_one_leaf_that_is_shared_and_nothing_that_is_not() {
    let copies = |map: &Map<u64, Generation>| map.iter().map(|(_, value)| value.0).sum::<u64>();
    let mut map: Map<u64, Generation> = (0..100_000).map(|number| (number, Generation(0))).collect();
    assert_eq!(copies(&map), 0, "nothing is shared");
    let frozen = map.clone();
    map.insert(50_000, Generation(0));
    // Filled in order, it holds one less than it could; and one of them is new.
    let leaf = node::LEAF_MAX as u64 - 2;
    assert_eq!((copies(&map), copies(&frozen)), (leaf, 0));
    map.insert(50_000, Generation(0));
    map.get_mut(&50_001).unwrap().0 = 1;
    assert_eq!(copies(&map), leaf, "it is the map's own by now");
    assert!(map.remove(&200_000).is_none());
    assert_eq!(copies(&map), leaf, "there is nothing to remove");
    drop(frozen);
    map.insert(10, Generation(0));
    assert_eq!(copies(&map), leaf, "nobody else has it any more");
}

#[test]
fn a_map_is_let_go_part_by_part_and_what_others_have_of_it_stays() {
    let mut map: Map<u64, u64> = (0..50_000).map(|number| (number, number)).collect();
    let (mut frozen, model) = (map.clone(), map.iter().map(|(key, value)| (*key, *value)).collect());
    for key in (0..50_000).step_by(100) {
        map.insert(key, 0);
    }
    let parts = |map: &mut Map<u64, u64>, nodes| (1..).find(|_| map.release(nodes)).unwrap();
    assert!((6..=20).contains(&parts(&mut map, 200)), "500 leaves, and what leads to them");
    check(&frozen, &model);
    assert_eq!(parts(&mut frozen, u32::MAX), 1);
    assert!(frozen.root.is_none() && Map::<u64, u64>::new().release(1));
}

#[test]
fn maps_print_and_compare_by_their_entries() {
    let (one, mut other): (Map<u64, u64>, _) = ([(2, 20), (1, 10)].into_iter().collect(), Map::new());
    other.extend([(1, 10), (2, 20)]);
    assert_eq!(format!("{one:?}"), "{1: 10, 2: 20}");
    assert_eq!(one, other);
    assert_ne!(one, Map::default());
}
