//! Look-ups that hang until the test lets them go, on a clock that it moves.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

use super::*;

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
/// What should come in a moment has not come at all.
const FAIL_SAFE: Duration = Duration::from_secs(10);

/// Look-ups of names that start with `hung` wait until they are let go; so do those of names that start with
/// `turns`, once silence has fallen.
struct Bench {
    resolver: SystemResolver,
    clock: Arc<AtomicU64>,
    is_silent: Arc<AtomicBool>,
    started: mpsc::Receiver<String>,
    release: mpsc::Sender<()>,
}

fn bench(threads_max: usize) -> Bench {
    let (release, held) = mpsc::channel::<()>();
    let (tell, started) = mpsc::channel();
    let (held, clock, is_silent) =
        (Mutex::new(held), Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
    let (now, silence) = (Arc::clone(&clock), Arc::clone(&is_silent));
    let lookup = move |name: &str| {
        tell.send(name.to_owned()).expect("the test listens");
        assert_ne!(name, "bad.test", "the test wants this to die");
        if name.starts_with("hung") || (name.starts_with("turns") && silence.load(Ordering::SeqCst)) {
            held.lock().expect("not poisoned").recv().ok();
        }
        Ok(if name == "empty.test" { Vec::new() } else { vec![ADDRESS] })
    };
    let elapsed = move || Duration::from_secs(now.load(Ordering::SeqCst));
    let resolver = SystemResolver::with_lookup(threads_max, Box::new(lookup), Box::new(elapsed));
    Bench { resolver, clock, is_silent, started, release }
}

impl Bench {
    fn ask(&self, name: &str) -> watch::Receiver<Progress> {
        self.resolver.ask(name).expect("asked").0
    }

    fn next_started(&self) -> String {
        self.started.recv_timeout(FAIL_SAFE).expect("a look-up begins")
    }

    fn let_go(&self) {
        self.release.send(()).expect("the look-ups listen");
    }

    /// Makes names known as slow: the clock moves while each is looked up.
    async fn make_slow(&self, names: &[&str]) {
        for name in names {
            let mut asked = self.ask(name);
            assert_eq!(&self.next_started(), name);
            self.clock.fetch_add(2, Ordering::SeqCst);
            self.let_go();
            answer(&mut asked).await.expect("an address");
        }
    }
}

async fn resolve(bench: &Bench, name: &str) -> Resolved {
    timeout(FAIL_SAFE, bench.resolver.resolve(name)).await.expect("an answer in time")
}

fn found() -> Resolved {
    Ok([ADDRESS].into())
}

#[tokio::test]
async fn callers_of_one_name_share_one_look_up() {
    let bench = bench(4);
    let both = [bench.ask("hung.test"), bench.ask("hung.test")];
    bench.let_go();
    for mut asked in both {
        assert_eq!(answer(&mut asked).await, found());
    }
    assert_eq!(bench.started.try_iter().count(), 1);
}

#[tokio::test]
async fn a_hung_name_does_not_hold_up_others() {
    let bench = bench(4);
    let mut hung = bench.ask("hung.test");
    for name in ["a.test", "b.test", "a.test"] {
        assert_eq!(resolve(&bench, name).await, found());
    }
    assert!(!matches!(*hung.borrow(), Progress::Answered(_)));
    bench.let_go();
    assert_eq!(answer(&mut hung).await, found());
}

#[tokio::test]
async fn a_look_up_that_dies_is_an_answer_and_the_thread_lives() {
    let bench = bench(1);
    assert_eq!(resolve(&bench, "bad.test").await, Err("the look-up died".to_owned()));
    assert_eq!(resolve(&bench, "empty.test").await, Err("no addresses".to_owned()));
}

#[tokio::test]
async fn new_names_that_hang_leave_half_of_the_threads_to_names_that_were_quick() {
    let bench = bench(THREADS_MAX);
    assert_eq!(resolve(&bench, "known.test").await, found());
    assert_eq!(bench.next_started(), "known.test");
    let hung: Vec<_> = (0..2 * THREADS_MAX).map(|nth| bench.ask(&format!("hung-{nth}"))).collect();
    for _ in 0..THREADS_MAX / 2 {
        assert!(bench.next_started().starts_with("hung-"));
    }
    assert_eq!(resolve(&bench, "known.test").await, found());
    assert_eq!(bench.next_started(), "known.test", "it is looked up afresh, and nothing new has begun");
    hung.iter().for_each(|_| bench.let_go());
    for mut asked in hung {
        assert_eq!(answer(&mut asked).await, found(), "each has its turn");
    }
}

#[tokio::test]
async fn names_known_to_hang_hold_at_most_a_quarter_of_the_threads() {
    let bench = bench(8);
    let names = ["hung-1", "hung-2", "hung-3", "hung-4", "hung-5"];
    bench.make_slow(&names).await;
    let hung: Vec<_> = names.map(|name| bench.ask(name)).into();
    let mut started = [(); 2].map(|()| bench.next_started());
    started.sort();
    assert_eq!(started, ["hung-1", "hung-2"]);
    let others = ["new-1", "new-2", "new-3"];
    for name in others {
        assert_eq!(resolve(&bench, name).await, found());
    }
    assert_eq!(bench.started.try_iter().collect::<Vec<_>>(), others, "two of eight threads hang");
    // Each gets its turn, in the order in which they were asked for.
    for next in ["hung-3", "hung-4", "hung-5"] {
        bench.let_go();
        assert_eq!(bench.next_started(), next);
    }
    [(); 2].iter().for_each(|()| bench.let_go());
    for mut asked in hung {
        answer(&mut asked).await.expect("an address");
    }
}

#[tokio::test]
async fn a_quick_name_that_turns_out_slow_counts_among_the_slow_ones() {
    let bench = bench(8);
    bench.make_slow(&["hung-1"]).await;
    let mut asked = Vec::new();
    for name in ["turns-1", "turns-2"] {
        assert_eq!(resolve(&bench, name).await, found());
        assert_eq!(bench.next_started(), name);
    }
    bench.is_silent.store(true, Ordering::SeqCst);
    for name in ["turns-1", "turns-2"] {
        asked.push(bench.ask(name));
        assert_eq!(bench.next_started(), name);
    }
    bench.clock.fetch_add(2, Ordering::SeqCst);
    asked.push(bench.ask("hung-1"));
    assert_eq!(resolve(&bench, "a.test").await, found());
    assert_eq!(bench.started.try_iter().collect::<Vec<_>>(), ["a.test"], "a quarter of the threads hangs");
    asked.iter().for_each(|_| bench.let_go());
    for mut asked in asked {
        answer(&mut asked).await.expect("an address");
    }
}

#[tokio::test]
async fn a_name_that_is_quick_again_is_like_any_other() {
    let bench = bench(4);
    bench.make_slow(&["hung-1", "hung-2"]).await;
    // Quick this time: the clock stands still.
    let mut quick = bench.ask("hung-2");
    bench.let_go();
    answer(&mut quick).await.expect("an address");
    let both = [bench.ask("hung-1"), bench.ask("hung-2")];
    let mut started: Vec<_> = (0..3).map(|_| bench.next_started()).collect();
    started.sort();
    assert_eq!(started, ["hung-1", "hung-2", "hung-2"], "both at once");
    both.iter().for_each(|_| bench.let_go());
}

#[tokio::test]
async fn a_name_whose_look_up_hangs_leads_where_it_led_before() {
    let bench = bench(4);
    assert_eq!(resolve(&bench, "turns.test").await, found());
    bench.is_silent.store(true, Ordering::SeqCst);
    tokio::time::pause();
    assert_eq!(resolve(&bench, "turns.test").await, found());
    assert_eq!([(); 2].map(|()| bench.next_started()), ["turns.test", "turns.test"]);
    // Once that is too long ago, there is nothing to stand in: the look-up under way is waited for.
    bench.clock.fetch_add(2 * known::ANSWER_AGE_MAX.as_secs(), Ordering::SeqCst);
    let waits = timeout(SLOW_AFTER + THREAD_WAIT_MAX, bench.resolver.resolve("turns.test")).await;
    assert!(waits.is_err(), "not {waits:?}");
    bench.let_go();
}

#[tokio::test]
async fn who_left_with_the_last_answer_finds_a_fresh_one_next_time() {
    let bench = bench(4);
    bench.make_slow(&["hung-1", "hung-2"]).await;
    let _first = bench.ask("hung-1");
    assert_eq!(bench.next_started(), "hung-1");
    tokio::time::pause();
    assert_eq!(resolve(&bench, "hung-2").await, found());
    bench.let_go();
    assert_eq!(bench.next_started(), "hung-2", "it is looked up though nobody waits any more");
    bench.let_go();
}

#[tokio::test]
async fn a_new_name_for_which_no_thread_comes_free_is_told_so() {
    let bench = bench(4);
    let hung = ["hung-1", "hung-2"].map(|name| bench.ask(name));
    assert_eq!([(); 2].map(|()| bench.next_started()).len(), 2);
    tokio::time::pause();
    assert_eq!(resolve(&bench, "new.test").await, Err(NO_THREAD.to_owned()));
    hung.iter().for_each(|_| bench.let_go());
}
