//! Leases on real nodes: who has one, who takes it over and when; and under everything at once, on monotonic clocks that drift
//! as far as is allowed, that nobody ever has one which another believes to have.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
#![expect(clippy::print_stdout, reason = "what was found is the result")]

use std::time::Duration;

use rumormill_core::config::ConfigBuilder;
use rumormill_core::io::Ticket;
use rumormill_core::rng::Rng;
use rumormill_core::{Event, Refusal, Reply};
use rumormill_lab::{Act, DiskFate, Failure, Link, Network, Options, Planned, seeds};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// How far monotonic clocks drift either way: one is faster than another by 10,000 millionths at most.
const RATE_PPM: u32 = 4_975;
const DRIFT_MAX: u32 = 10_000;

/// Seven nodes of which the first five vote.
fn network(seed: u64) -> Network {
    let mut net = Network::new(seed).nodes(7).start_joined().unwrap();
    net.agree_on(&[0, 1, 2, 3, 4]).unwrap();
    net
}

/// How a command ends.
#[track_caller]
fn result(net: &mut Network, ticket: Ticket) -> Result<Reply, Refusal> {
    net.run_until(|net| net.result(ticket).is_some(), secs(3_700)).unwrap();
    net.result(ticket).unwrap().clone()
}

/// The token with which a lease is held.
#[track_caller]
fn token(net: &mut Network, ticket: Ticket) -> u64 {
    let reply = result(net, ticket);
    let Ok(Reply::Leased { token, .. }) = reply else { panic!("{reply:?}") };
    token
}

#[test]
fn a_lease_is_held_by_one_renewed_with_its_token_and_released_for_the_next() {
    let mut net = network(1);
    let first = net.acquire(5, "l", 1, secs(10), secs(1));
    let reply = result(&mut net, first).unwrap();
    let Reply::Leased { token: first, held_for } = reply else { panic!("{reply:?}") };
    assert!(held_for < secs(10) && held_for > secs(9), "counted from before it asked: {held_for:?}");
    let other = net.acquire(6, "l", 2, secs(10), secs(3));
    let refusal = result(&mut net, other).unwrap_err();
    assert_eq!(refusal, Refusal::Held { by: "h1".to_owned(), token: first });
    let renewed = net.renew(0, "l", (1, first), secs(10));
    assert_eq!(token(&mut net, renewed), first);
    let again = net.acquire(4, "l", 1, secs(10), secs(1));
    assert_eq!(token(&mut net, again), first, "who has it gets it again, with its token");
    let waiting = net.acquire(6, "l", 2, secs(10), secs(60));
    net.run_for(secs(1)).unwrap();
    let released = net.release(5, "l", (1, first));
    let begin = net.now();
    assert_eq!(result(&mut net, released), Ok(Reply::Accepted));
    let second = token(&mut net, waiting);
    assert!(second > first && net.now() < begin + secs(1), "{second} after {first}");
    for lost in [net.renew(5, "l", (1, first), secs(10)), net.release(5, "l", (1, first))] {
        assert_eq!(result(&mut net, lost), Err(Refusal::NotHeld));
    }
    let released = net.release(5, "l", (2, second));
    assert_eq!(result(&mut net, released), Ok(Reply::Accepted));
    let third = net.acquire(1, "l", 1, secs(10), secs(1));
    assert!(token(&mut net, third) > second, "also after a release");
}

/// Lets the time go by until others have a lease, if nobody has it.
#[track_caller]
fn assert_is_free(net: &mut Network, lease: &str) {
    let asked = net.acquire(4, lease, 99, secs(10), ms(900));
    token(net, asked);
}

#[test]
fn what_nobody_waits_for_any_more_is_neither_waited_for_nor_kept() {
    let mut net = network(10);
    let first = net.acquire(5, "l", 1, secs(60), secs(1));
    let first = token(&mut net, first);
    let gone = net.acquire(6, "l", 2, secs(3_600), secs(300));
    net.run_for(secs(2)).unwrap();
    net.abandon(6, gone);
    let released = net.release(5, "l", (1, first));
    assert_eq!(result(&mut net, released), Ok(Reply::Accepted));
    net.run_for(secs(5)).unwrap();
    assert_is_free(&mut net, "l");
    // Its swap is on its way, to voters or to the proposer that succeeded last, when whoever asked goes.
    for (lease, node, wait) in [("m", 0, ms(0)), ("n", 5, ms(0)), ("o", 6, ms(1)), ("l", 6, ms(1))] {
        if lease == "l" {
            let mine = net.node(4).unwrap().lease("l").unwrap().token;
            let released = net.release(4, "l", (99, mine));
            assert_eq!(result(&mut net, released), Ok(Reply::Accepted));
        }
        let gone = net.acquire(node, lease, 3, secs(3_600), secs(300));
        net.run_for(wait).unwrap();
        assert_eq!(net.result(gone), None, "{lease}");
        net.abandon(node, gone);
        net.run_for(secs(5)).unwrap();
        assert_eq!(net.node(1).unwrap().lease(lease).map(|lease| lease.is_held()), Some(false), "{lease}");
        assert_is_free(&mut net, lease);
    }
}

#[test]
fn whoever_asked_twice_and_gave_up_one_of_them_keeps_what_the_other_won() {
    let mut net = network(11);
    let (first, again) = (net.acquire(5, "l", 1, secs(60), secs(9)), net.acquire(6, "l", 1, secs(60), secs(9)));
    net.abandon(5, first);
    let mine = token(&mut net, again);
    net.run_for(secs(9)).unwrap();
    let renewed = net.renew(6, "l", (1, mine), secs(60));
    assert_eq!(token(&mut net, renewed), mine);
}

#[test]
fn everybody_comes_to_know_who_has_a_lease_and_registers_for_everybody_are_others() {
    let mut net = network(2);
    let first = net.acquire(5, "l", 1, secs(30), secs(1));
    let first = token(&mut net, first);
    let knows = |net: &Network, node| net.node(node).unwrap().lease("l").is_some_and(|lease| lease.token == first);
    net.run_until(|net| net.up().all(|node| knows(net, node)), secs(60)).unwrap();
    let node = net.node(3).unwrap();
    let lease = node.lease("l").unwrap();
    assert_eq!((lease.is_held(), &*lease.label, lease.ttl), (true, "h1", secs(30)));
    assert_eq!(node.leases().map(|(name, _)| name).collect::<Vec<_>>(), ["l"]);
    assert_eq!(node.registers().count(), 0);
    let is_it = |event: &Event| matches!(event, Event::Lease { lease, label, token, is_held: true } if lease == "l" && label == "h1" && *token == first);
    let told = net.measured().notes.iter().filter(|note| is_it(&note.event));
    assert_eq!(told.count(), 7, "each node once");
    net.run_for(secs(4)).unwrap();
    let renewed = net.renew(5, "l", (1, first), secs(30));
    token(&mut net, renewed);
    net.run_for(secs(1)).unwrap();
    let heard = net.node(5).unwrap().lease_heard("l").unwrap();
    let span = heard.renewed.as_micros() - heard.since.as_micros();
    assert!((4_000_000..6_000_000).contains(&span), "{heard:?}");
    let set = net.set_register(0, ">lease/l", b"x");
    assert!(matches!(result(&mut net, set), Err(Refusal::Invalid { .. })), "nobody sets it by hand");
}

#[test]
fn errands_that_make_no_sense_are_refused_at_once() {
    let mut net = network(3);
    let long = "l".repeat(201);
    let refused = [
        net.acquire(5, "", 1, secs(10), secs(1)),
        net.acquire(5, &long, 1, secs(10), secs(1)),
        net.acquire(5, "l", 0, secs(10), secs(1)),
        net.acquire(5, "l", 1, ms(999), secs(1)),
        net.acquire(5, "l", 1, secs(3_601), secs(1)),
        net.acquire(5, "l", 1, secs(10), secs(0)),
    ];
    for ticket in refused {
        assert!(matches!(net.result(ticket), Some(Err(Refusal::Invalid { .. }))), "{:?}", net.result(ticket));
    }
    let waiting: Vec<Ticket> = (1..=257).map(|holder| net.acquire(5, "l", holder, secs(10), secs(60))).collect();
    assert!(matches!(net.result(waiting[256]), Some(Err(Refusal::OperationsWaiting { waiting: 256 }))));
}

#[test]
fn without_a_quorum_a_lease_is_not_renewed_and_nobody_gets_it() {
    let mut net = network(4);
    let first = net.acquire(5, "l", 1, secs(5), secs(1));
    let first = token(&mut net, first);
    for voter in 0..3 {
        net.crash(voter);
    }
    let lost = [net.renew(5, "l", (1, first), secs(5)), net.acquire(6, "l", 2, secs(5), secs(20))];
    for ticket in lost {
        let refusal = result(&mut net, ticket).unwrap_err();
        assert!(matches!(refusal, Refusal::NoQuorum { .. }), "{refusal}");
    }
}

#[test]
fn what_a_holder_that_died_had_is_taken_over_a_second_after_its_time_at_the_latest() {
    for (seed, holder, ttl) in [(5, 5, secs(1)), (6, 0, secs(2)), (7, 5, secs(10)), (8, 3, secs(10)), (9, 5, secs(60))]
    {
        let mut net = network(seed);
        let first = net.acquire(holder, "l", 1, ttl, secs(1));
        let first = token(&mut net, first);
        let waiting = net.acquire(6, "l", 2, ttl, secs(300));
        for _ in 0..4 {
            net.run_for(ttl / 3).unwrap();
            let renewed = net.renew(holder, "l", (1, first), ttl);
            assert_eq!(token(&mut net, renewed), first);
        }
        let renewed = net.now();
        net.kill(holder);
        let second = token(&mut net, waiting);
        let took = net.now().saturating_sub(renewed);
        assert!(second > first && took <= ttl.mul_f64(1.01) + secs(1), "seed {seed}: {took:?}");
        assert!(took + ms(100) >= ttl, "seed {seed}: {took:?}, long before its time");
    }
}

#[test]
fn whoever_asks_again_and_again_waits_no_longer_than_who_asks_once() {
    let mut net = network(1);
    let ttl = secs(10);
    let first = net.acquire(5, "l", 1, ttl, secs(1));
    let first = token(&mut net, first);
    let renewed = net.now();
    net.kill(5);
    // Each time as another, as processes are that come and go.
    let second = (2..9).find_map(|holder| {
        let asked = net.acquire(6, "l", holder, ttl, secs(3));
        match result(&mut net, asked) {
            Ok(Reply::Leased { token, .. }) => Some(token),
            Err(Refusal::Held { .. }) => None,
            other => panic!("{other:?}"),
        }
    });
    let took = net.now().saturating_sub(renewed);
    assert!(second > Some(first) && took <= ttl.mul_f64(1.01) + secs(1), "{took:?}");
}

/// A time in which somebody believes to have the lease.
#[derive(Clone, Debug)]
struct Belief {
    holder: u64,
    token: u64,
    from: Duration,
    until: Duration,
}

/// What a contender is about.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Idle,
    Acquires(Ticket),
    /// With which token, what it does next, and when.
    Holds(u64, Duration),
    Renews(u64, Ticket),
    Releases(Ticket),
}

/// One that wants the lease, at one node in one of its lives.
#[derive(Debug)]
struct Contender {
    life: u64,
    holder: u64,
    stage: Stage,
}

/// All contenders, and what they believed.
struct Run {
    ttl: Duration,
    contenders: Vec<Contender>,
    beliefs: Vec<Belief>,
    /// How many notes were looked at.
    looked: usize,
    holders: u64,
    /// What must not be.
    breach: Option<String>,
}

impl Run {
    fn new(net: &Network, ttl: Duration) -> Self {
        let contender = |node| Contender { life: net.life(node), holder: node as u64 + 1, stage: Stage::Idle };
        let contenders: Vec<Contender> = (0..net.len()).map(contender).collect();
        let holders = net.len() as u64;
        Self { ttl, contenders, beliefs: Vec::new(), looked: 0, holders, breach: None }
    }

    /// What was told since it looked last.
    fn look(&mut self, net: &Network) {
        let notes = &net.measured().notes;
        for note in &notes[self.looked..] {
            if let Event::Done { ticket, result } = &note.event {
                self.told(net, note.node, note.at, *ticket, result);
            }
        }
        self.looked = notes.len();
    }

    fn told(&mut self, net: &Network, node: usize, at: Duration, ticket: Ticket, result: &Result<Reply, Refusal>) {
        let contender = &mut self.contenders[node];
        let (Stage::Acquires(open) | Stage::Renews(_, open) | Stage::Releases(open)) = contender.stage else { return };
        if open != ticket {
            return;
        }
        let holder = contender.holder;
        match (contender.stage, result) {
            (Stage::Acquires(_) | Stage::Renews(..), Ok(Reply::Leased { token, held_for })) => {
                let until = net.passed_at(node, at, *held_for);
                self.beliefs.push(Belief { holder, token: *token, from: at, until });
                contender.stage = Stage::Holds(*token, at + self.ttl / 3);
            }
            (Stage::Renews(token, _), Err(Refusal::NotHeld)) => {
                let believed = self.beliefs.iter().rfind(|belief| belief.holder == holder);
                if believed.is_some_and(|belief| belief.until > at) {
                    self.breach = Some(format!("h{holder} lost token {token} at {at:?}, and believed in it"));
                }
                contender.stage = Stage::Idle;
            }
            (Stage::Renews(token, _), _) => contender.stage = Stage::Holds(token, at),
            (Stage::Releases(_), _) => {
                self.holders += 1;
                (contender.holder, contender.stage) = (self.holders, Stage::Idle);
            }
            // It asks again, as the same: it may have it.
            _ => contender.stage = Stage::Idle,
        }
    }

    /// Lets a contender do something, if its time has come.
    fn act(&mut self, net: &mut Network, rng: &mut Rng, node: usize) {
        let contender = &mut self.contenders[node];
        if contender.life != net.life(node) {
            self.holders += 1;
            *contender = Contender { life: net.life(node), holder: self.holders, stage: Stage::Idle };
        }
        if !net.takes_commands(node) {
            return;
        }
        let holder = contender.holder;
        match contender.stage {
            Stage::Idle if rng.chance(0.05) => {
                let timeout = [self.ttl * 2, secs(1), secs(30)][rng.below(3)];
                contender.stage = Stage::Acquires(net.acquire(node, "l", holder, self.ttl, timeout));
            }
            Stage::Holds(token, due) if net.now() >= due => match rng.below(10) {
                0..7 => contender.stage = Stage::Renews(token, net.renew(node, "l", (holder, token), self.ttl)),
                // Whoever releases believes in it no more.
                7 => {
                    let now = net.now();
                    for belief in self.beliefs.iter_mut().filter(|belief| belief.holder == holder) {
                        belief.until = belief.until.min(now);
                    }
                    contender.stage = Stage::Releases(net.release(node, "l", (holder, token)));
                }
                // It forgets it.
                _ => {
                    self.holders += 1;
                    (contender.holder, contender.stage) = (self.holders, Stage::Idle);
                }
            },
            Stage::Idle | Stage::Holds(..) | Stage::Acquires(_) | Stage::Renews(..) | Stage::Releases(_) => {}
        }
    }

    /// Two that believed in it at once, or a token that did not rise.
    fn found(mut self) -> Option<String> {
        if self.breach.is_some() {
            return self.breach;
        }
        self.beliefs.sort_by_key(|belief| belief.from);
        let mut last: Option<&Belief> = None;
        let mut until = Duration::ZERO;
        for belief in &self.beliefs {
            let other = last.filter(|last| (last.holder, last.token) != (belief.holder, belief.token));
            if let Some(last) = other.filter(|last| belief.from < until || belief.token <= last.token) {
                return Some(format!("{belief:?} after {last:?}"));
            }
            until = until.max(belief.until);
            last = Some(belief);
        }
        None
    }
}

/// Seven contenders, each at a node of its own, for so long. Which breach there was, if any, and how many holders.
fn contend(mut net: Network, ttl: Duration, span: Duration, rng: &mut Rng) -> Result<(Option<String>, usize), Failure> {
    net.agree_on(&[0, 1, 2, 3, 4])?;
    let mut run = Run::new(&net, ttl);
    let end = net.now() + span;
    while net.now() < end {
        net.run_for((ttl / 50).mul_f64(rng.fraction()))?;
        run.look(&net);
        for node in 0..net.len() {
            run.act(&mut net, rng, node);
        }
        run.look(&net);
    }
    let holders = run.beliefs.iter().map(|belief| belief.token).collect::<std::collections::BTreeSet<_>>().len();
    Ok((run.found(), holders))
}

/// What befalls the nodes, drawn; each kind of trouble is left out of some runs, so that none hides another.
fn troubles(nodes: usize, span: Duration, rng: &mut Rng) -> Vec<Planned> {
    let kinds: Vec<usize> = (0..5).filter(|_| rng.chance(0.5)).collect();
    let (mut plan, mut at) = (Vec::new(), secs(5));
    while at < span && !kinds.is_empty() {
        let node = rng.below(nodes);
        let length = [ms(50), ms(800), secs(3), secs(8)][rng.below(4)];
        let end = at + length;
        let act = match kinds[rng.below(kinds.len())] {
            0 => Act::Crash(node),
            1 => Act::Pause(node, length),
            2 => Act::Partition(vec![(0..nodes).filter(|_| rng.chance(0.4)).collect()]),
            3 => Act::OneWay(node, (node + 1 + rng.below(nodes - 1)) % nodes),
            _ => Act::Kill(node),
        };
        let last =
            if matches!(act, Act::Crash(_) | Act::Kill(_)) { Act::Restart(node, DiskFate::Kept) } else { Act::Heal };
        plan.extend([Planned { at, act }, Planned { at: end, act: last }]);
        at += ms(rng.below(6_000) as u64);
    }
    plan
}

fn survive(seed: u64) -> Result<(), Failure> {
    let rng = &mut Rng::new(!seed);
    let (ttl, span) = ([secs(1), secs(2), secs(6)][rng.below(3)], secs(90));
    let link = Link {
        latency: Duration::from_micros([50, 500, 5_000, 40_000][rng.below(4)]),
        jitter: Duration::from_micros([0, 100, 2_000][rng.below(3)]),
        loss: [0.0, 0.0, 0.01, 0.1][rng.below(4)],
        duplication: [0.0, 0.2][rng.below(2)],
        reordering: [0.0, 0.3][rng.below(2)],
        ..Link::default()
    };
    let plan = troubles(7, span, rng);
    let options = Options { nodes: 7, link, plan, rate_drift_ppm: RATE_PPM, ..Options::default() };
    let replay = seeds::replay_line(env!("CARGO_CRATE_NAME"), seed);
    let net = Network::new(seed).options(options).replay(replay.clone()).start_joined()?;
    let (breach, holders) = contend(net, ttl, span, rng)?;
    assert_eq!(breach, None, "replay: {replay}");
    assert!(holders > 3, "{holders} holders only; replay: {replay}");
    Ok(())
}

#[test]
fn never_do_two_believe_in_a_lease_whatever_these_seeds_draw() {
    for seed in seeds::chosen(&(1..=20).collect::<Vec<_>>()) {
        survive(seed).unwrap();
    }
}

/// The first seed that shows a breach where nodes are told that clocks differ by so much, of a few.
fn first_breach(drift_max: u32) -> Option<(u64, String)> {
    (1..=2).find_map(|seed| {
        let config = ConfigBuilder { clock_drift_max: drift_max, ..ConfigBuilder::lan() };
        let options = Options { nodes: 7, rate_drift_ppm: RATE_PPM, config, ..Options::default() };
        let net = Network::new(seed).options(options).start_joined().unwrap();
        let (breach, _) = contend(net, secs(300), secs(1_000), &mut Rng::new(!seed)).unwrap();
        Some((seed, breach?))
    })
}

#[test]
fn a_lease_without_a_margin_for_drift_is_found_out() {
    assert_eq!(first_breach(DRIFT_MAX), None);
    let (seed, breach) = first_breach(0).expect("clocks differ");
    println!("without a margin, seed {seed}: {breach}");
}
