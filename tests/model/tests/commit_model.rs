//! "The result is that of some sequential order of the runs that reported success": the commit protocol, explored by a model
//! checker. Every interleaving of few actors and few faults is tried; [`support/commit_model.rs`](support/commit_model.rs) says
//! what an actor is. `ETL_MODEL=full` tries more of both, and takes minutes.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "support/commit_model.rs"]
mod commit_model;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Instant,
};

use commit_model::*;
use stateright::{Checker, HasDiscoveries, Model};

/// Two writers of disjoint partitions.
const DISJOINT: [Role; 3] = [Role::Load(&[(A, 2, D0)]), Role::Load(&[(B, 1, D1)]), Role::Reader];
/// One partition in common.
const PARTITION: [Role; 3] = [Role::Load(&[(A, 2, D0), (C, 1, D1)]), Role::Load(&[(B, 1, D1)]), Role::Reader];
/// One partition in common, and one that the second writer puts after it.
const TWO_PARTITIONS: [Role; 2] = [Role::Load(&[(A, 2, D0)]), Role::Load(&[(C, 1, D0), (B, 1, D1)])];
/// One order in common, that both move out of its partition and into different ones.
const ORDER: [Role; 3] = [Role::Load(&[(X, 2, D0)]), Role::Load(&[(X, 3, D1)]), Role::Reader];
/// One order in common, that is new.
const NEW_ORDER: [Role; 3] = [Role::Load(&[(X, 2, D0)]), Role::Load(&[(X, 3, D1)]), Role::Reader];
/// An order that loses, and would have won had the other run been undone before.
const LOSER: [Role; 3] = [Role::Load(&[(X, 3, D0)]), Role::Undo(0), Role::Load(&[(X, 2, D1)])];
/// The bytes before a run come back.
const UNDO: [Role; 3] = [Role::Load(&[(A, 2, D0)]), Role::Undo(0), Role::Reader];
/// The bytes before a run come back as its order moves on.
const MOVED: [Role; 3] = [Role::Load(&[(X, 1, D0)]), Role::Load(&[(X, 2, D1)]), Role::Reader];
/// A partition loses its last row while another run adds one.
const EMPTIED: [Role; 3] = [Role::Load(&[(X, 2, D0)]), Role::Load(&[(B, 1, D2)]), Role::Reader];
/// Three writers.
const THREE: [Role; 3] = [Role::Load(&[(A, 2, D0)]), Role::Undo(0), Role::Load(&[(B, 1, D1)])];

fn model(before: &'static [Row], roles: &[Role], crashes: u8, lost: u8) -> Protocol {
    // A run is undone, or an order that one run brought moves on with the next.
    let moving = roles.iter().filter(|role| matches!(role, Role::Load([(X, ..)]))).count();
    let bytes_return = roles.contains(&Role::Undo(0)) || moving > 1;
    let met = Arc::new(Mutex::new(BTreeSet::new()));
    let (broken, knows_the_dead) = (Broken::Nothing, false);
    Protocol { before, roles: roles.to_vec(), crashes, lost, at_once: 9, broken, knows_the_dead, bytes_return, met }
}

const A_IN_D0: &[Row] = &[(A, 1, D0)];
const X_IN_D2: &[Row] = &[(X, 1, D2)];

/// Explores all of a model, and returns what happened.
fn holds(name: &str, model: Protocol) -> BTreeSet<&'static str> {
    let (began, met) = (Instant::now(), Arc::clone(&model.met));
    let bounds = format!("{} actors, {} crashes, {} lost", model.roles.len(), model.crashes, model.lost);
    let checker = model.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!("{name}: {bounds}: {} states, depth {}, {:.1?}", checker.unique_state_count(), checker.max_depth(), began.elapsed());
    if let Some((property, path)) = checker.discoveries().into_iter().next() {
        panic!("{name}: not true: {property}\n{:?}\n{:?}", path.clone().into_actions(), path.last_state());
    }
    met.lock().unwrap().clone()
}

#[test]
fn the_protocol_keeps_its_promises() {
    let mut met = BTreeSet::new();
    met.extend(holds("disjoint", model(A_IN_D0, &DISJOINT[..2], 1, 1)));
    met.extend(holds("partition", model(A_IN_D0, &PARTITION[..2], 1, 1)));
    met.extend(holds("two partitions", model(A_IN_D0, &TWO_PARTITIONS, 1, 1)));
    met.extend(holds("order", model(X_IN_D2, &ORDER[..2], 1, 1)));
    met.extend(holds("new order", model(A_IN_D0, &NEW_ORDER[..2], 1, 1)));
    met.extend(holds("undo", model(A_IN_D0, &UNDO[..2], 1, 1)));
    met.extend(holds("undo and reader", model(A_IN_D0, &UNDO, 1, 0)));
    let names_leave = Protocol { knows_the_dead: true, ..model(A_IN_D0, &UNDO[..2], 1, 1) };
    met.extend(holds("undo, and names of the dead leave the hint", names_leave));
    met.extend(holds("moved", model(A_IN_D0, &MOVED[..2], 1, 1)));
    met.extend(holds("emptied", model(X_IN_D2, &EMPTIED[..2], 1, 1)));
    met.extend(holds("disjoint and reader", model(A_IN_D0, &DISJOINT, 1, 0)));
    let all = ["another's file installed", "late request done", "merged again", "own commit read back", "result kept"];
    assert_eq!(met.into_iter().collect::<Vec<_>>(), all, "the model meets all that it is about");
}

#[test]
fn more_of_it() {
    if std::env::var("ETL_MODEL").as_deref() != Ok("full") {
        return;
    }
    let mut one_by_one = model(A_IN_D0, &PARTITION[..2], 1, 1);
    one_by_one.at_once = 1;
    holds("partition, files one by one", one_by_one);
    holds("undo", model(A_IN_D0, &UNDO[..2], 2, 2));
    holds("disjoint", model(A_IN_D0, &DISJOINT[..2], 2, 2));
    holds("moved", model(A_IN_D0, &MOVED[..2], 2, 1));
    holds("loser", model(&[], &LOSER, 0, 0));
    holds("three writers", model(A_IN_D0, &THREE, 0, 0));
    holds("partition and reader", model(A_IN_D0, &PARTITION, 1, 0));
    holds("undo and reader", model(A_IN_D0, &UNDO, 1, 1));
    holds("undo and reader, and names of the dead leave the hint", Protocol { knows_the_dead: true, ..model(A_IN_D0, &UNDO, 1, 1) });
}

/// Each way to break the protocol, the bounds within which that shows, and what is then no longer true.
fn broken() -> Vec<(Broken, Protocol, &'static str)> {
    vec![
        (Broken::CommitAlways, model(A_IN_D0, &DISJOINT[..2], 0, 0), NOT_LOST),
        (Broken::NoReadBack, model(A_IN_D0, &DISJOINT[..2], 0, 1), NOT_LOST),
        (Broken::SkipRebase, model(A_IN_D0, &PARTITION[..2], 0, 0), SEQUENTIAL),
        (Broken::OldCatalog, model(A_IN_D0, &DISJOINT[..2], 0, 0), SEQUENTIAL),
        (Broken::OrdersIgnored, model(A_IN_D0, &NEW_ORDER[..2], 0, 0), ONE_ROW),
        (Broken::CommitBeforeData, model(A_IN_D0, &DISJOINT[..2], 0, 0), WHOLE),
        (Broken::SameDataName, model(A_IN_D0, &PARTITION[..2], 0, 1), WHOLE),
        (Broken::InstallBeforeCommit, model(A_IN_D0, &DISJOINT[..2], 0, 0), COMMITTED),
        (Broken::InstallAlways, model(A_IN_D0, &PARTITION[..2], 0, 0), NOT_BACK),
        (Broken::DeleteAlways, model(X_IN_D2, &EMPTIED[..2], 0, 0), NOT_BACK),
        (Broken::HeadBeforeTags, model(A_IN_D0, &PARTITION, 0, 0), NOT_BACK),
        (Broken::LooksCached, model(A_IN_D0, &UNDO, 0, 0), UNAIDED),
        (Broken::OwnKeysOnly, model(A_IN_D0, &DISJOINT[..2], 1, 0), COMPLETE),
        (Broken::SleepersForgotten, model(A_IN_D0, &UNDO[..2], 1, 0), COMPLETE),
        (Broken::HelpersUnnamed, model(A_IN_D0, &UNDO, 1, 0), COMPLETE),
        (Broken::LostAnswerSettled, model(A_IN_D0, &UNDO[..2], 0, 1), COMPLETE),
        (Broken::SleepersGone, model(A_IN_D0, &UNDO[..2], 1, 0), COMPLETE),
        (Broken::GoneAfterRead, Protocol { knows_the_dead: true, ..model(A_IN_D0, &UNDO[..2], 1, 0) }, COMPLETE),
        (Broken::WritersUnnamed, model(A_IN_D0, &DISJOINT[..2], 0, 0), PROVEN),
        (Broken::WritersForgotten, model(A_IN_D0, &DISJOINT[..2], 0, 0), PROVEN),
        (Broken::NewerCounted, model(A_IN_D0, &TWO_PARTITIONS, 1, 0), COMPLETE),
        (Broken::VacuumDeletes, model(A_IN_D0, &THREE, 0, 0), SEQUENTIAL),
    ]
}

#[test]
fn a_broken_protocol_is_found_out() {
    let mut unseen = Vec::new();
    for (broken, model, property) in broken() {
        let checker = Protocol { broken, ..model }.checker().finish_when(HasDiscoveries::AnyOf([property].into())).spawn_bfs().join();
        let found = checker.discovery(property);
        println!(
            "{broken:?}: {property}: {:?} steps, {} states",
            found.as_ref().map(|path| path.clone().into_actions().len()),
            checker.unique_state_count()
        );
        if found.is_none() {
            unseen.push((broken, checker.discoveries().into_keys().collect::<Vec<_>>()));
        }
    }
    assert!(unseen.is_empty(), "broken, and not seen: {unseen:?}");
}
