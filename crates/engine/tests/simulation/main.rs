//! The dispatch engine in a seeded world with virtual time: endpoints that fail, a store that is slow or refuses, nodes
//! that die between any two steps and whose last writes arrive after the next has begun, clocks that jump.
//!
//! `SIMULATION_SEED=17 cargo test -p chathook-engine --test simulation nothing_is` replays one seed, told step by step
//! with `SIMULATION_TOLD=1` and `--nocapture`; `SIMULATION_SEEDS=20000..40000` tries these instead of the usual ones.

mod clock;
mod endpoints;
mod facts;
mod store;
mod story;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use story::Story;
use world::{NoteKind, Plant};

/// Seeds that every run of the tests tries.
const SEEDS: u64 = 1_000;
/// Tests that share the seeds, so that they run side by side.
const SHARES: u64 = 2;

/// Plays a seed to its end; answers with a digest of all that the endpoints saw.
fn play(seed: u64, plant: Plant) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(Story::of(seed, plant).play())
}

/// The first seed that goes wrong, with what went wrong.
fn first_failure(seeds: impl Iterator<Item = u64>, plant: Plant) -> Option<(u64, String)> {
    seeds.into_iter().find_map(|seed| {
        let failure = catch_unwind(AssertUnwindSafe(|| play(seed, plant))).err()?;
        let text = failure.downcast_ref::<String>().cloned();
        Some((
            seed,
            text.or_else(|| failure.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default(),
        ))
    })
}

/// The seeds of one of the tests that share them.
fn share_of(share: u64) -> impl Iterator<Item = u64> {
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let seeds = match (std::env::var("SIMULATION_SEED"), std::env::var("SIMULATION_SEEDS")) {
        (Ok(seed), _) => number(&seed)..number(&seed) + 1,
        (Err(_), Ok(range)) => {
            let (first, end) = range.split_once("..").expect("a range such as 20000..40000");
            number(first)..number(end)
        }
        (Err(_), Err(_)) => 0..SEEDS,
    };
    seeds.filter(move |seed| seed % SHARES == share)
}

fn nothing_goes_wrong_in(share: u64) {
    if let Some((seed, what)) = first_failure(share_of(share), Plant::Nothing) {
        panic!("seed {seed}: {what}\nreplay it with SIMULATION_SEED={seed}");
    }
}

#[test]
fn nothing_is_lost_stuck_or_out_of_order_whatever_happens_in_even_seeds() {
    nothing_goes_wrong_in(0);
}

#[test]
fn nothing_is_lost_stuck_or_out_of_order_whatever_happens_in_odd_seeds() {
    nothing_goes_wrong_in(1);
}

#[test]
fn a_seed_is_the_same_story_each_time() {
    for seed in 0..20 {
        assert_eq!(play(seed, Plant::Nothing), play(seed, Plant::Nothing), "seed {seed}");
    }
}

/// Each planted fault must be found, or the simulation proves nothing.
fn is_found(plant: Plant) {
    // What goes wrong is expected here, and its backtrace is of no use to anyone.
    std::panic::set_hook(Box::new(|_| {}));
    let found = first_failure(0..SEEDS, plant);
    let _ = std::panic::take_hook();
    let (seed, what) = found.unwrap_or_else(|| panic!("{plant:?} was not found in {SEEDS} seeds"));
    println!("{plant:?} is found by seed {seed}: {what}");
}

#[test]
fn a_settlement_of_a_dead_start_that_is_accepted_is_found() {
    is_found(Plant::DeadStartSettles);
}

#[test]
fn a_note_of_a_dead_start_that_is_accepted_is_found() {
    for kind in [NoteKind::SteppedAside, NoteKind::FailingSince, NoteKind::SwitchedOff, NoteKind::Notice] {
        is_found(Plant::DeadStartNotes(kind));
    }
}

#[test]
fn a_settlement_that_is_skipped_is_found() {
    is_found(Plant::SettlementSkipped);
}

#[test]
fn a_number_given_twice_is_found() {
    is_found(Plant::NumberDoubled);
}

#[test]
fn a_held_lane_that_keeps_another_from_the_store_is_found() {
    is_found(Plant::HeldLaneStarves);
}

#[test]
fn a_lane_that_does_not_hold_is_found() {
    is_found(Plant::LaneDoesNotHold);
}
