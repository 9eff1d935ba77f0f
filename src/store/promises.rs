//! What [`Store`] promises, as one suite for every store: a folder, memory, and real servers.
//!
//! It knows only what its parent names, so that a test of the whole program can take this file up, and run it over a real bucket:
//! `use orders_etl::store::*; #[path = "../src/store/promises.rs"] mod promises;`.

use std::{fs, sync::Barrier, thread};

use super::{Condition, Content, Key, PutError, Store, StoreError, Tag};

/// Writers that put the same name at once.
const WRITERS: usize = 8;

/// Tries every promise beneath `prefix`, where nothing may be yet.
pub(super) fn store_promises(store: &dyn Store, prefix: &str) {
    let room = |name: &str| Key::new(format!("{prefix}/{name}"));
    assert!(!store.location().is_empty());
    what_is_missing_is_no_error(store, &room("missing"));
    an_object_is_read_as_it_was_put(store, &room("whole"));
    a_name_is_taken_once(store, &room("absent"));
    a_version_is_replaced_once(store, &room("versions"));
    ranges_come_in_their_order(store, &room("ranges"));
    lists_are_sorted_and_end_at_the_slash(store, &room("lists"));
    a_deleted_object_is_gone(store, &room("deleted"));
    large_objects_are_whole(store, &room("large"));
    one_of_many_writers_wins(store, &room("writers"));
    one_of_many_replacements_wins(store, &room("replacements"));
}

fn put(store: &dyn Store, key: &Key, bytes: &[u8], condition: &Condition) -> Result<Tag, PutError> {
    store.put(key, Content::Bytes(bytes), condition)
}

fn read(store: &dyn Store, key: &Key) -> Option<Vec<u8>> {
    store.get(key).unwrap().map(|object| object.bytes.to_vec())
}

fn is_conflict(put: &Result<Tag, PutError>) -> bool {
    matches!(put, Err(PutError::Conflict))
}

fn what_is_missing_is_no_error(store: &dyn Store, room: &Key) {
    let key = room.join("no/such");
    assert_eq!(store.get(&key).unwrap(), None);
    assert_eq!(store.ranges(&key, std::slice::from_ref(&(0..1))).unwrap(), None);
    assert_eq!(store.list(&key).unwrap(), []);
    assert_eq!(store.names(&key).unwrap(), super::Names::default());
    store.delete(&key, &Condition::Always).unwrap();
    let wrong = put(store, &key, b"x", &Condition::Is(Tag("\"0123456789abcdef\"".into())));
    assert!(is_conflict(&wrong), "no version is there to be replaced: {wrong:?}");
    assert_eq!(store.get(&key).unwrap(), None);
}

fn an_object_is_read_as_it_was_put(store: &dyn Store, room: &Key) {
    let (bytes, empty, file) = (room.join("bytes.csv"), room.join("empty"), room.join("file with a space=1"));
    let tag = put(store, &bytes, b"a,b\n", &Condition::Always).unwrap();
    let object = store.get(&bytes).unwrap().unwrap();
    assert_eq!((&object.bytes[..], &object.tag), (&b"a,b\n"[..], &tag), "the tag of a put is that of the next read");
    assert_eq!(store.get(&bytes).unwrap().unwrap(), object, "reading changes nothing");
    put(store, &empty, b"", &Condition::Absent).unwrap();
    assert_eq!(read(store, &empty), Some(Vec::new()), "an empty object is there");
    assert!(is_conflict(&put(store, &empty, b"x", &Condition::Absent)));
    let local = tempfile::NamedTempFile::new().unwrap();
    fs::write(local.path(), "from a file").unwrap();
    store.put(&file, Content::File(local.path()), &Condition::Absent).unwrap();
    assert_eq!(read(store, &file), Some(b"from a file".to_vec()));
    assert!(local.path().exists(), "the local file stays");
    let gone = store.put(&room.join("gone"), Content::File(&local.path().with_extension("gone")), &Condition::Always);
    assert!(matches!(gone, Err(PutError::Io(_))), "{gone:?}");
    assert_eq!(store.get(&room.join("gone")).unwrap(), None);
}

fn a_name_is_taken_once(store: &dyn Store, room: &Key) {
    let key = room.join("1.json");
    put(store, &key, b"first", &Condition::Absent).unwrap();
    for again in [&b"first"[..], b"second"] {
        let taken = put(store, &key, again, &Condition::Absent);
        assert!(is_conflict(&taken), "{taken:?}");
    }
    assert_eq!(read(store, &key), Some(b"first".to_vec()));
}

fn a_version_is_replaced_once(store: &dyn Store, room: &Key) {
    let key = room.join("latest.json");
    let first = put(store, &key, b"1", &Condition::Absent).unwrap();
    let second = put(store, &key, b"2", &Condition::Is(first.clone())).unwrap();
    assert_ne!(first, second, "another content has another tag");
    let late = put(store, &key, b"3", &Condition::Is(first));
    assert!(is_conflict(&late), "{late:?}");
    assert_eq!(read(store, &key), Some(b"2".to_vec()));
    let third = put(store, &key, b"3", &Condition::Always).unwrap();
    assert_ne!(second, third);
    assert!(is_conflict(&put(store, &key, b"4", &Condition::Is(second))));
    put(store, &key, b"4", &Condition::Is(third)).unwrap();
    assert_eq!(read(store, &key), Some(b"4".to_vec()));
    let longer = put(store, &key, b"44", &Condition::Always).unwrap();
    assert_eq!(store.get(&key).unwrap().map(|object| object.tag), Some(longer));
}

fn ranges_come_in_their_order(store: &dyn Store, room: &Key) {
    let key = room.join("digits");
    put(store, &key, b"0123456789", &Condition::Always).unwrap();
    let ranges = store.ranges(&key, &[8..10, 0..3, 5..5, 2..4]).unwrap().unwrap();
    assert_eq!(ranges, [&b"89"[..], b"012", b"", b"23"]);
    assert_eq!(store.ranges(&key, &[]).unwrap().unwrap_or_default(), Vec::<bytes::Bytes>::new());
    for beyond in [0..11, 9..12, 10..11, 20..30] {
        assert!(store.ranges(&key, &[0..1, beyond.clone()]).is_err(), "{beyond:?}");
    }
}

fn lists_are_sorted_and_end_at_the_slash(store: &dyn Store, room: &Key) {
    let names = ["a/b/2", "a/b/10", "a/b/c/deep/3", "a/bc", "a/b-c", "a/b.csv", "ab/x", "z"];
    for (place, name) in names.iter().enumerate() {
        put(store, &room.join(name), &vec![b'x'; place], &Condition::Always).unwrap();
    }
    let list = |folder: &Key| -> Vec<(String, u64)> {
        let listed = store.list(folder).unwrap();
        let relative = |key: &Key| key.as_str().strip_prefix(room.as_str()).unwrap().trim_start_matches('/').to_owned();
        listed.iter().map(|listed| (relative(&listed.key), listed.bytes)).collect()
    };
    let of = |entries: &[(&str, u64)]| -> Vec<(String, u64)> { entries.iter().map(|&(name, bytes)| (name.to_owned(), bytes)).collect() };
    assert_eq!(list(&room.join("a/b")), of(&[("a/b/10", 1), ("a/b/2", 0), ("a/b/c/deep/3", 2)]));
    assert_eq!(list(room).len(), names.len());
    assert!(store.list(room).unwrap().is_sorted_by_key(|listed| listed.key.clone()));
    let beneath = |folder: &str| {
        let names = store.names(&room.join(folder)).unwrap();
        (names.folders, names.objects)
    };
    let owned = |names: &[&str]| -> Vec<String> { names.iter().map(|&name| name.to_owned()).collect() };
    assert_eq!(beneath("a"), (owned(&["b"]), owned(&["b-c", "b.csv", "bc"])));
    assert_eq!(beneath("a/b"), (owned(&["c"]), owned(&["10", "2"])));
    assert_eq!(beneath("a/b/c"), (owned(&["deep"]), Vec::new()));
    let of_part = store.list(&room.join("a/b/c/de")).unwrap();
    assert_eq!(of_part, [], "a part of a name is no folder");
    let modified: Vec<_> = store.list(room).unwrap().into_iter().map(|listed| listed.modified.micros()).collect();
    assert!(modified.iter().all(|&micros| micros > 1_600_000_000_000_000), "{modified:?}");
}

fn a_deleted_object_is_gone(store: &dyn Store, room: &Key) {
    let (key, other) = (room.join("one"), room.join("one-more"));
    let tag = put(store, &key, b"1", &Condition::Absent).unwrap();
    put(store, &other, b"2", &Condition::Absent).unwrap();
    match store.delete(&key, &Condition::Is(Tag("\"another\"".into()))) {
        Err(PutError::Conflict | PutError::Io(StoreError::Unsupported { .. })) => {}
        refused => panic!("{refused:?}"),
    }
    assert_eq!(read(store, &key), Some(b"1".to_vec()));
    store.delete(&key, &Condition::Always).unwrap();
    store.delete(&key, &Condition::Always).unwrap();
    assert_eq!((read(store, &key), read(store, &other)), (None, Some(b"2".to_vec())));
    assert_eq!(store.names(room).unwrap().objects, ["one-more"]);
    assert!(is_conflict(&put(store, &key, b"x", &Condition::Is(tag))), "its version is gone");
    put(store, &key, b"3", &Condition::Absent).unwrap();
}

fn large_objects_are_whole(store: &dyn Store, room: &Key) {
    let key = room.join("3 MiB");
    let bytes: Vec<u8> = (0..3 << 20).map(|place: u32| u8::try_from(place.wrapping_mul(2_654_435_761) >> 24).unwrap()).collect();
    put(store, &key, &bytes, &Condition::Absent).unwrap();
    assert!(read(store, &key) == Some(bytes.clone()), "another content");
    let end = bytes.len() as u64;
    let parts = store.ranges(&key, &[end - 5..end, 0..1, 1 << 20..(1 << 20) + 7]).unwrap().unwrap();
    assert_eq!(parts, [&bytes[bytes.len() - 5..], &bytes[..1], &bytes[1 << 20..(1 << 20) + 7]]);
}

/// Puts from several threads at once. Returns which of them were done.
fn race(store: &dyn Store, key: &Key, condition: &Condition) -> Vec<usize> {
    let start = Barrier::new(WRITERS);
    let write = |writer: usize| {
        start.wait();
        match put(store, key, writer.to_string().as_bytes(), condition) {
            Ok(_) => true,
            Err(PutError::Conflict) => false,
            Err(error) => panic!("{error}"),
        }
    };
    thread::scope(|scope| {
        let write = &write;
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
        let done: Vec<bool> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        (0..WRITERS).filter(|&writer| done[writer]).collect()
    })
}

fn one_of_many_writers_wins(store: &dyn Store, room: &Key) {
    for round in 0..8 {
        let key = room.join(round.to_string());
        let winners = race(store, &key, &Condition::Absent);
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_eq!(read(store, &key), Some(winners[0].to_string().into_bytes()), "what is there is the winner's");
    }
}

fn one_of_many_replacements_wins(store: &dyn Store, room: &Key) {
    let key = room.join("one");
    for round in 0..8 {
        let tag = put(store, &key, format!("round {round}").as_bytes(), &Condition::Always).unwrap();
        let winners = race(store, &key, &Condition::Is(tag));
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_eq!(read(store, &key), Some(winners[0].to_string().into_bytes()), "what is there is the winner's");
    }
}
