//! Which paths of a document lead to which field: compiled once into a trie, which a record's bytes are walked along.

/// Places in a document that are to be captured. `F` is the number of fields that they serve.
pub(super) struct FieldMap<const F: usize> {
    pub(super) root: Node,
    /// How many places are captured.
    pub(super) leaves: usize,
    /// Of each field, the places to try, in order.
    pub(super) candidates: [Vec<usize>; F],
}

/// One object on the way to a place.
#[derive(Default)]
pub(super) struct Node {
    children: Vec<(Box<str>, Child)>,
}

/// What a key of an object leads to.
#[derive(Default)]
pub(super) struct Child {
    /// The place that this value is captured at.
    pub(super) leaf: Option<usize>,
    /// What is captured inside of it.
    pub(super) inner: Node,
}

impl Node {
    /// What a key leads to. The keys are few: comparing lengths first beats a hash.
    pub(super) fn child(&self, key: &str) -> Option<&Child> {
        self.children.iter().find(|(name, _)| **name == *key).map(|(_, child)| child)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    fn child_mut(&mut self, key: &str) -> &mut Child {
        let place = self.children.iter().position(|(name, _)| **name == *key).unwrap_or_else(|| {
            self.children.push((key.into(), Child::default()));
            self.children.len() - 1
        });
        &mut self.children[place].1
    }
}

impl<const F: usize> FieldMap<F> {
    /// Compiles the dotted paths of each field.
    pub(super) fn new(paths: [&[&str]; F]) -> FieldMap<F> {
        let mut map = FieldMap { root: Node::default(), leaves: 0, candidates: std::array::from_fn(|_| Vec::new()) };
        for (field, paths) in paths.into_iter().enumerate() {
            for path in paths {
                let leaf = map.leaf(path);
                map.candidates[field].push(leaf);
            }
        }
        map
    }

    /// The place that a path captures; one place may serve several fields.
    fn leaf(&mut self, path: &str) -> usize {
        let (parents, last) = path.rsplit_once('.').map_or((None, path), |(parents, last)| (Some(parents), last));
        let mut node = &mut self.root;
        for key in parents.into_iter().flat_map(|parents| parents.split('.')) {
            node = &mut node.child_mut(key).inner;
        }
        let leaf = &mut node.child_mut(last).leaf;
        *leaf.get_or_insert_with(|| {
            self.leaves += 1;
            self.leaves - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_serves_every_field_that_names_it() {
        let map = FieldMap::new([&["sku", "product_id"][..], &["product_id", "product.id"][..]]);
        assert_eq!(map.leaves, 3);
        assert_eq!(map.candidates, [vec![0, 1], vec![1, 2]]);
        let product = map.root.child("product").unwrap();
        assert_eq!((product.leaf, product.inner.child("id").unwrap().leaf), (None, Some(2)));
        assert!(map.root.child("other").is_none());
    }
}
