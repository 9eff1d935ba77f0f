//! What fuzzing has found, or is good at: the inputs that are kept in `fuzz/fixed/`, held against the same invariants.

use crate::invariants;

fn each(target: &str, invariant: fn(&[u8])) {
    let folder = format!("{}/fuzz/fixed/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut held = 0;
    for entry in std::path::Path::new(&folder).read_dir().unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        invariant(&std::fs::read(path).unwrap());
        held += 1;
    }
    assert!(held >= 5, "{folder} holds {held} inputs");
}

#[test]
fn records() {
    each("record", invariants::record);
}

#[test]
fn stored_partitions() {
    each("stored_partition", invariants::stored_partition);
}

#[test]
fn whens_amounts_and_instants() {
    each("when", invariants::when);
}
