//! Precedence and refutation of claims under a model checker that we did not write (stateright): three members that suspect each
//! other, declare each other dead, leave, crash, are struck from the list, and start again, also from a backup. What decides is the core's own
//! ([`rumormill_core::precedence`]); the model only carries claims.
//!
//! All that was said stays in a heap from which anybody may take anything at any time, or never: that is loss, duplication and
//! reordering at once. In every state the heap is then heard to the end by all, in two orders, and what they believe after that has
//! to be true. Faults are put in deliberately, at the boundary between the model and the core, and the same check must find each.
//!
//! `RUMOR_MODEL_DEEPER=2 cargo test -p rumormill-lab --test membership_model` looks two steps deeper than CI does.
#![expect(clippy::print_stdout, reason = "how far was looked is the result")]

use std::cmp::Ordering;
use std::collections::BTreeSet;

use rumormill_core::precedence::{self, Rebuttal, Version};
use rumormill_core::{Incarnation, Seconds, State as Standing};
use stateright::{Checker, Model, Property};

/// A fault put in deliberately.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Flaw {
    None,
    /// Of one incarnation, alive supersedes suspect.
    SuspicionLoses,
    /// Who contradicts does not raise its incarnation.
    RefutationStays,
    /// A death supersedes any incarnation, as in SWIM §4.2.
    DeadWins,
    /// Of one incarnation, dead supersedes removed.
    RemovalLoses,
    /// Who hears of another life of its own takes that one's boot, and not one above it.
    BootStays,
}

const MEMBERS: usize = 3;
/// Sessions of lives one after the other: random in reality, so that a later one may be the smaller.
const SESSIONS: [u8; 5] = [5, 2, 8, 1, 9];
/// So many times all hear everything; more is never needed.
const HEARINGS_MAX: usize = 32;

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Claim {
    member: usize,
    incarnation: Incarnation,
    standing: Standing,
    session: u8,
}

impl Claim {
    fn version(&self) -> Version {
        let forget = if self.standing.is_live() { Seconds::NEVER } else { Seconds(1) };
        (self.incarnation, self.standing, forget)
    }
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Phase {
    Running,
    Left,
    Crashed,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Life {
    phase: Phase,
    /// The last boot that is durable.
    boot: u64,
    incarnation: Incarnation,
    /// Which of its lives this is.
    number: usize,
}

/// How often what may happen still, so that the search has an end.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Budget {
    suspicions: u8,
    restarts: u8,
    ends: u8,
    removals: u8,
    forgets: u8,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct State {
    lives: [Life; MEMBERS],
    /// What each holds of each.
    held: [[Option<Claim>; MEMBERS]; MEMBERS],
    said: BTreeSet<Claim>,
    /// A suspicion or a death was taken back by somebody else than its member.
    lifted: bool,
    budget: Budget,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Action {
    /// A probe failed, or seemed to.
    Suspect(usize, usize),
    /// Nobody contradicted in time.
    Declare(usize, usize),
    /// An operator strikes a member from the list, maybe one that runs.
    Remove(usize, usize),
    Hear(usize, Claim),
    Leave(usize),
    Crash(usize),
    /// With everything forgotten but the boot, or from a backup with even that behind.
    Restart(usize, bool),
    /// A certificate has had its time, everywhere.
    Forget(Claim),
}

#[derive(Clone, Debug)]
struct Membership {
    flaw: Flaw,
    budget: Budget,
}

impl Membership {
    fn supersedes(&self, claim: &Claim, held: &Claim) -> bool {
        let order = precedence::order((claim.version(), &[claim.session]), (held.version(), &[held.session]));
        let states = (claim.standing, held.standing);
        let turned = match self.flaw {
            Flaw::SuspicionLoses => Some((Standing::Alive, Standing::Suspect)),
            Flaw::RemovalLoses => Some((Standing::Dead, Standing::Removed)),
            Flaw::None | Flaw::RefutationStays | Flaw::DeadWins | Flaw::BootStays => None,
        };
        let is_turned = |(low, high)| states == (low, high) || states == (high, low);
        let order = match (self.flaw, states) {
            _ if claim.incarnation == held.incarnation && turned.is_some_and(is_turned) => order.reverse(),
            (Flaw::DeadWins, (Standing::Dead, Standing::Alive | Standing::Suspect)) => Ordering::Greater,
            (Flaw::DeadWins, (Standing::Alive | Standing::Suspect, Standing::Dead)) => Ordering::Less,
            _ => order,
        };
        order.is_gt()
    }

    fn rebut(&self, own: Incarnation, claimed: Incarnation, is_own: bool) -> Rebuttal {
        let rebuttal = precedence::rebut(own, claimed, is_own);
        match (self.flaw, rebuttal) {
            (Flaw::RefutationStays, Rebuttal::Contradict(_)) => Rebuttal::Contradict(own),
            (Flaw::BootStays, Rebuttal::RiseAbove(boot)) => Rebuttal::RiseAbove(boot - 1),
            _ => rebuttal,
        }
    }

    /// A node hears a claim. Whether that changed anything.
    fn hear(&self, state: &mut State, node: usize, claim: Claim) -> bool {
        let held = state.held[node][claim.member];
        if held.is_some_and(|held| !self.supersedes(&claim, &held)) {
            return false;
        }
        if claim.member == node {
            return self.answer(state, node, claim);
        }
        state.lifted |=
            held.is_some_and(|held| held.incarnation == claim.incarnation && held.standing > claim.standing);
        state.held[node][claim.member] = Some(claim);
        true
    }

    /// A node hears of itself.
    fn answer(&self, state: &mut State, node: usize, claim: Claim) -> bool {
        let life = &mut state.lives[node];
        let is_own = claim.session == SESSIONS[life.number];
        let incarnation = match self.rebut(life.incarnation, claim.incarnation, is_own) {
            Rebuttal::Refuse => return false,
            Rebuttal::Contradict(above) => above,
            Rebuttal::RiseAbove(boot) => {
                life.boot = life.boot.max(boot + 1);
                Incarnation::of_boot(life.boot)
            }
        };
        let has_risen = incarnation != life.incarnation;
        life.incarnation = incarnation;
        say_of_self(state, node, Standing::Alive);
        has_risen
    }

    /// Everybody who runs hears everything, in an order, until nothing is news any more; `None` if that never ends.
    fn at_rest(&self, state: &State, backwards: bool) -> Option<State> {
        let mut state = state.clone();
        for _ in 0..HEARINGS_MAX {
            let mut claims: Vec<Claim> = state.said.iter().copied().collect();
            if backwards {
                claims.reverse();
            }
            let mut is_news = false;
            for claim in claims {
                for node in running(&state) {
                    is_news |= self.hear(&mut state, node, claim);
                }
            }
            if !is_news {
                return Some(state);
            }
        }
        None
    }
}

fn running(state: &State) -> Vec<usize> {
    (0..MEMBERS).filter(|node| state.lives[*node].phase == Phase::Running).collect()
}

fn own_claim(life: &Life, member: usize, standing: Standing) -> Claim {
    Claim { member, incarnation: life.incarnation, standing, session: SESSIONS[life.number] }
}

fn say_of_self(state: &mut State, node: usize, standing: Standing) {
    let claim = own_claim(&state.lives[node], node, standing);
    state.held[node][node] = Some(claim);
    state.said.insert(claim);
}

/// Somebody who holds a member for something holds it for something worse, and says so.
fn degrade(state: &mut State, node: usize, member: usize, standing: Standing) {
    if let Some(held) = state.held[node][member] {
        let claim = Claim { standing, ..held };
        state.held[node][member] = Some(claim);
        state.said.insert(claim);
    }
}

/// What all who run believe of a member once all is heard is what is so.
///
/// A member that was restored from a backup and ends before it hears what it had said in its last life is believed in that one's
/// word, until somebody probes it: claims alone cannot tell.
fn is_true(state: &State, at_rest: &State) -> bool {
    (0..MEMBERS).all(|member| {
        let life = &at_rest.lives[member];
        let views = || running(at_rest).into_iter().filter_map(|node| at_rest.held[node][member]);
        let last = (life.incarnation, SESSIONS[life.number]);
        let of_it = || state.said.iter().filter(|claim| claim.member == member);
        let has_last_word =
            of_it().all(|claim| (claim.incarnation, claim.session) == last || claim.incarnation < last.0);
        match life.phase {
            Phase::Running => views().all(|claim| claim == own_claim(life, member, Standing::Alive)),
            Phase::Left | Phase::Crashed if !has_last_word => true,
            // Whoever has gone is not alive to one and dead to another: what is worst of what was said holds.
            Phase::Left | Phase::Crashed => {
                let is_said = |standing: &Standing| state.said.contains(&own_claim(life, member, *standing));
                let worst = [Standing::Removed, Standing::Left, Standing::Dead].into_iter().find(is_said);
                worst.is_none_or(|worst| views().all(|claim| claim.standing == worst))
            }
        }
    })
}

impl Model for Membership {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let life = Life { phase: Phase::Running, boot: 1, incarnation: Incarnation::of_boot(1), number: 0 };
        let lives = [life; MEMBERS];
        let claims: [Claim; MEMBERS] = std::array::from_fn(|member| own_claim(&life, member, Standing::Alive));
        let held = [claims.map(Some); MEMBERS];
        vec![State { lives, held, said: claims.into(), lifted: false, budget: self.budget }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let budget = state.budget;
        for node in 0..MEMBERS {
            if state.lives[node].phase != Phase::Running {
                if budget.restarts > 0 {
                    actions.extend([Action::Restart(node, false), Action::Restart(node, true)]);
                }
                continue;
            }
            for (member, held) in state.held[node].iter().enumerate().filter(|(member, _)| *member != node) {
                if budget.removals > 0 && held.is_some_and(|held| held.standing != Standing::Removed) {
                    actions.push(Action::Remove(node, member));
                }
                match held.map(|held| held.standing) {
                    Some(Standing::Alive) if budget.suspicions > 0 => actions.push(Action::Suspect(node, member)),
                    Some(Standing::Suspect) => actions.push(Action::Declare(node, member)),
                    // Revocations are not of this model: no claim says them.
                    Some(Standing::Alive | Standing::Dead | Standing::Left | Standing::Removed | Standing::Revoked)
                    | None => {}
                }
            }
            actions.extend(state.said.iter().map(|claim| Action::Hear(node, *claim)));
            if budget.ends > 0 {
                actions.extend([Action::Leave(node), Action::Crash(node)]);
            }
        }
        if budget.forgets > 0 {
            actions.extend(
                state.said.iter().filter(|claim| !claim.standing.is_live()).map(|claim| Action::Forget(*claim)),
            );
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Suspect(node, member) => {
                state.budget.suspicions -= 1;
                degrade(&mut state, node, member, Standing::Suspect);
            }
            Action::Declare(node, member) => degrade(&mut state, node, member, Standing::Dead),
            Action::Remove(node, member) => {
                state.budget.removals -= 1;
                degrade(&mut state, node, member, Standing::Removed);
            }
            Action::Hear(node, claim) => {
                if !self.hear(&mut state, node, claim) {
                    return None;
                }
            }
            Action::Leave(node) => {
                state.budget.ends -= 1;
                state.lives[node].phase = Phase::Left;
                say_of_self(&mut state, node, Standing::Left);
            }
            Action::Crash(node) => {
                state.budget.ends -= 1;
                state.lives[node].phase = Phase::Crashed;
            }
            Action::Restart(node, is_backup) => {
                state.budget.restarts -= 1;
                let Life { boot, number, .. } = state.lives[node];
                let boot = if is_backup { boot } else { boot + 1 };
                let incarnation = Incarnation::of_boot(boot);
                state.lives[node] = Life { phase: Phase::Running, boot, incarnation, number: number + 1 };
                state.held[node] = [None; MEMBERS];
                say_of_self(&mut state, node, Standing::Alive);
            }
            Action::Forget(certificate) => {
                state.budget.forgets -= 1;
                // What it superseded is gone for longer than any packet lives.
                let stays = |claim: &Claim| claim.member != certificate.member || self.supersedes(claim, &certificate);
                state.said.retain(stays);
                for held in state.held.iter_mut().flatten() {
                    *held = held.filter(|claim| claim.member != certificate.member || stays(claim));
                }
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let sound = Property::always("what all believe in the end is true", |model: &Self, state: &State| {
            let ends = [false, true].map(|backwards| model.at_rest(state, backwards));
            ends.iter().all(|end| end.as_ref().is_some_and(|end| is_true(state, end)))
        });
        let own_word = Property::always("only its member takes a suspicion back", |model: &Self, state: &State| {
            !state.lifted && model.at_rest(state, true).is_none_or(|end| !end.lifted)
        });
        let comes_back = Property::sometimes("who was wrongly declared dead comes back", |_, state: &State| {
            let life = &state.lives[0];
            let was_dead = state.said.iter().any(|claim| claim.member == 0 && claim.standing == Standing::Dead);
            let is_back = |node: usize| state.held[node][0] == Some(own_claim(life, 0, Standing::Alive));
            life.number == 0 && life.phase == Phase::Running && was_dead && is_back(1) && is_back(2)
        });
        if self.flaw == Flaw::None { vec![sound, own_word, comes_back] } else { vec![sound, own_word] }
    }
}

/// How much deeper than in an ordinary run of the tests: `RUMOR_MODEL_DEEPER`.
fn deeper() -> usize {
    let text = std::env::var("RUMOR_MODEL_DEEPER").unwrap_or_else(|_| "0".to_owned());
    text.parse().unwrap_or_else(|_| panic!("RUMOR_MODEL_DEEPER is {text:?}, must be a number"))
}

/// Looks at all states that up to so many steps lead to.
fn check(flaw: Flaw, budget: Budget, depth: usize) -> impl Checker<Membership> {
    let checker = Membership { flaw, budget }.checker().threads(2).target_max_depth(depth).spawn_bfs().join();
    println!("{flaw:?}, {budget:?}: {} states to a depth of {}", checker.unique_state_count(), checker.max_depth());
    checker
}

const ALL: Budget = Budget { suspicions: 2, restarts: 2, ends: 2, removals: 1, forgets: 1 };
const QUARRELS: Budget = Budget { suspicions: 3, restarts: 0, ends: 0, removals: 0, forgets: 0 };

#[test]
fn whatever_is_lost_or_comes_twice_all_believe_what_is_so_in_the_end() {
    let checker = check(Flaw::None, ALL, 8 + deeper());
    checker.assert_no_discovery("what all believe in the end is true");
    checker.assert_no_discovery("only its member takes a suspicion back");
}

#[test]
fn who_was_wrongly_declared_dead_comes_back() {
    let checker = check(Flaw::None, QUARRELS, 18 + deeper());
    checker.assert_no_discovery("what all believe in the end is true");
    checker.assert_no_discovery("only its member takes a suspicion back");
    checker.assert_any_discovery("who was wrongly declared dead comes back");
}

#[test]
fn a_suspicion_that_its_own_incarnation_lifts_is_found_out() {
    check(Flaw::SuspicionLoses, ALL, 6).assert_any_discovery("only its member takes a suspicion back");
}

#[test]
fn a_refutation_that_does_not_raise_the_incarnation_is_found_out() {
    check(Flaw::RefutationStays, ALL, 6).assert_any_discovery("what all believe in the end is true");
}

#[test]
fn a_death_that_supersedes_a_higher_incarnation_is_found_out() {
    check(Flaw::DeadWins, ALL, 6).assert_any_discovery("what all believe in the end is true");
}

#[test]
fn a_removal_that_a_death_supersedes_is_found_out() {
    check(Flaw::RemovalLoses, ALL, 6).assert_any_discovery("what all believe in the end is true");
}

#[test]
fn a_life_that_does_not_rise_above_another_of_its_own_is_found_out() {
    check(Flaw::BootStays, ALL, 6).assert_any_discovery("what all believe in the end is true");
}
