//! Two and more sealers that talk to each other, and everything that must not be opened.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rumormill_core::wire::VERSION;

use super::*;
use crate::keyring::{KEYS_MAX, Key, Keyring};

const CLUSTER: u32 = 0x0403_0201;
const NOON: u64 = 1_800_000_000_000_000;
const HOUR: u64 = 3_600_000_000;
const WINDOW: Duration = Duration::from_hours(1);
const ALICE: NodeId = NodeId(0xa);
const BOB: NodeId = NodeId(0xb);
const CAROL: NodeId = NodeId(0xc);

struct Keys {
    keyring: Keyring,
    sender: watch::Sender<Arc<Ring>>,
}

impl Keys {
    fn new() -> Self {
        let keyring = Keyring::generate().unwrap();
        let sender = watch::Sender::new(Arc::new(Ring::of(&keyring)));
        Self { keyring, sender }
    }

    fn sealer(&self, node: NodeId) -> Sealer {
        self.sealer_of(node, CLUSTER)
    }

    fn sealer_of(&self, node: NodeId, cluster: u32) -> Sealer {
        Sealer::new(node, cluster, WINDOW, self.sender.subscribe(), || crate::key::random_bits().ok()).unwrap()
    }
}

fn at(micros: u64) -> Wall {
    Wall::from_micros(micros)
}

/// A datagram as a node writes it.
fn datagram(sender: NodeId, target: NodeId, content: &[u8]) -> Vec<u8> {
    let header = Header { cluster: CLUSTER, sender, target, session: 1, clock: 2 };
    [&header.to_bytes()[..], &[VERSION.major << 4], content].concat()
}

/// What a sealer makes of what came in.
fn open(sealer: &mut Sealer, sealed: &[u8], now: u64) -> Result<Vec<u8>, Unsealed> {
    let mut buffer = [&[0; HEADROOM][..], sealed].concat();
    let range = sealer.open(&mut buffer, at(now))?;
    Ok(buffer[range].to_vec())
}

fn content(opened: &[u8]) -> (Header, &[u8]) {
    let (header, rest) = Header::split(opened).unwrap();
    (header, &rest[1..])
}

/// Sends one from `a` to `b`, and says how many bytes longer it was under seal.
fn pass(a: &mut Sealer, b: &mut Sealer, now: u64, text: &[u8]) -> usize {
    let sealed = a.seal(&datagram(a.node, b.node, text), at(now));
    let opened = open(b, &sealed, now).unwrap();
    let (header, got) = content(&opened);
    assert_eq!((header.sender, header.target, header.cluster), (a.node, b.node, CLUSTER));
    assert_eq!(u64::from(header.clock), (now / 1_000_000) & 0xffff);
    assert_eq!(got, text);
    sealed.len() - opened.len()
}

/// Two that know each other.
fn acquainted(keys: &Keys) -> (Sealer, Sealer) {
    let (mut a, mut b) = (keys.sealer(ALICE), keys.sealer(BOB));
    assert_eq!(pass(&mut a, &mut b, NOON, b"who are you"), DATAGRAM_OVERHEAD);
    assert_eq!(pass(&mut b, &mut a, NOON, b"bob"), DATAGRAM_OVERHEAD);
    a.settle();
    (a, b)
}

#[test]
fn nodes_introduce_themselves_once_and_then_a_datagram_is_four_bytes_longer() {
    let (mut a, mut b) = acquainted(&Keys::new());
    for now in [NOON + 1_000_000, NOON + HOUR] {
        assert_eq!(pass(&mut a, &mut b, now, b"ping"), 4);
        assert_eq!(pass(&mut b, &mut a, now, b"ack"), 4);
    }
    // Whoever answered last may ask next.
    assert_eq!(pass(&mut b, &mut a, NOON + HOUR, b"ping"), 4);
    assert_eq!(pass(&mut b, &mut a, NOON + HOUR, b"still there?"), DATAGRAM_OVERHEAD);
}

#[test]
fn a_reply_is_never_longer_than_what_it_answers() {
    let keys = Keys::new();
    let (mut a, mut b) = (keys.sealer(ALICE), keys.sealer(BOB));
    for now in NOON..NOON + 20 {
        let asked = a.seal(&datagram(ALICE, BOB, b"1234"), at(now));
        open(&mut b, &asked, now).unwrap();
        let answer = b.seal(&datagram(BOB, ALICE, b"1234"), at(now));
        assert!(answer.len() <= asked.len());
        if now % 3 != 0 {
            open(&mut a, &answer, now).unwrap();
        }
    }
}

#[test]
fn who_has_started_anew_is_reached_by_the_second_datagram() {
    let keys = Keys::new();
    let (mut a, _) = acquainted(&keys);
    let mut b = keys.sealer(BOB);
    let first = a.seal(&datagram(ALICE, BOB, b"ping"), at(NOON + 5));
    assert_eq!(open(&mut b, &first, NOON + 5), Err(Unsealed::UnknownSession));
    pass(&mut a, &mut b, NOON + 6, b"ping again");
}

#[test]
fn who_has_forgotten_a_session_is_introduced_to_again() {
    let keys = Keys::new();
    let (mut a, mut b) = acquainted(&keys);
    pass(&mut a, &mut b, NOON + 1, b"ping");
    b.sessions = Sessions::default();
    // It does not pretend to know who answers.
    let asked = b.seal(&datagram(BOB, ALICE, b"ping"), at(NOON + 2));
    open(&mut a, &asked, NOON + 2).unwrap();
    pass(&mut a, &mut b, NOON + 3, b"ack");
}

#[test]
fn ciphers_of_so_many_sessions_are_kept_and_those_that_were_not_are_derived_again() {
    let keys = Keys::new();
    let mut bob = keys.sealer(BOB);
    let held = |sealer: &Sealer| {
        let mut limits = Limits::new();
        sealer.limits(&mut limits);
        *limits.iter().find(|limit| limit.what == "ciphers").unwrap()
    };
    let mut others: Vec<Sealer> = (0..3_000).map(|number| keys.sealer(NodeId(100 + number))).collect();
    for round in 0..2 {
        for (number, other) in others.iter_mut().enumerate() {
            let now = NOON + round * 1_000_000 + number as u64;
            let sealed = other.seal(&datagram(other.node, BOB, b"hello"), at(now));
            assert!(open(&mut bob, &sealed, now).is_ok());
            assert!(held(&bob).held <= held(&bob).most);
        }
    }
    assert_eq!(held(&bob).held, held(&bob).most);
}

#[test]
fn a_bit_flipped_anywhere_is_noticed() {
    let keys = Keys::new();
    let (mut a, mut b) = acquainted(&keys);
    for name in ["short", "introduction"] {
        let sealed = a.seal(&datagram(ALICE, BOB, b"ping"), at(NOON + 5));
        for bit in 0..8 * sealed.len() {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&mut b, &changed, NOON + 5).is_err(), "bit {bit} of the {name}");
        }
        assert!(open(&mut b, &sealed, NOON + 5).is_ok(), "{name}");
    }
}

#[test]
fn what_is_cut_short_is_malformed_or_forged() {
    let keys = Keys::new();
    let (mut a, mut b) = (keys.sealer(ALICE), keys.sealer(BOB));
    let sealed = a.seal(&datagram(ALICE, BOB, b"ping"), at(NOON));
    for length in 0..sealed.len() {
        let cause = open(&mut b, &sealed[..length], NOON).unwrap_err();
        assert!(matches!(cause, Unsealed::Malformed | Unsealed::Forged), "{length}: {cause:?}");
    }
}

#[test]
fn nothing_comes_twice() {
    let (mut a, mut b) = acquainted(&Keys::new());
    let short = a.seal(&datagram(ALICE, BOB, b"one"), at(NOON + 5));
    let long = a.seal(&datagram(ALICE, BOB, b"two"), at(NOON + 5));
    // The second overtakes the first.
    open(&mut b, &long, NOON + 5).unwrap();
    open(&mut b, &short, NOON + 5).unwrap();
    for sealed in [short, long] {
        assert_eq!(open(&mut b, &sealed, NOON + 6), Err(Unsealed::Replayed));
    }
}

#[test]
fn nothing_comes_that_is_older_or_further_ahead_than_the_window_also_right_after_a_start() {
    let keys = Keys::new();
    let mut a = keys.sealer(ALICE);
    let sealed = a.seal(&datagram(ALICE, BOB, b"ping"), at(NOON));
    for (now, result) in [
        (NOON + HOUR + 1, Some(Unsealed::Old)),
        (NOON + 50 * HOUR, Some(Unsealed::Old)),
        (NOON - HOUR - 1, Some(Unsealed::Ahead)),
        (NOON + HOUR, None),
        (NOON - HOUR, None),
    ] {
        assert_eq!(open(&mut keys.sealer(BOB), &sealed, now).err(), result, "{now}");
    }
    // The low bits of the counter come round: then another nonce is tried, and nothing opens.
    let round = NOON + (1 << COUNTER_BITS);
    assert_eq!(open(&mut keys.sealer(BOB), &sealed, round), Err(Unsealed::Forged));
}

#[test]
fn what_was_meant_for_another_node_is_not_opened_as_ones_own() {
    let keys = Keys::new();
    let (mut a, mut b) = acquainted(&keys);
    let mut c = keys.sealer(CAROL);
    pass(&mut a, &mut c, NOON, b"hello");
    let short = a.seal(&datagram(ALICE, BOB, b"ping"), at(NOON + 5));
    assert_eq!(open(&mut c, &short, NOON + 5), Err(Unsealed::Forged));
    // An introduction says whom it was meant for, so that the node can say who lives here.
    let long = a.seal(&datagram(ALICE, BOB, b"ping"), at(NOON + 5));
    assert_eq!(content(&open(&mut c, &long, NOON + 5).unwrap()).0.target, BOB);
    open(&mut b, &short, NOON + 5).unwrap();
}

#[test]
fn another_cluster_key_or_sender_is_refused_by_its_name() {
    let keys = Keys::new();
    let mut b = keys.sealer(BOB);
    let mut other = keys.sealer_of(ALICE, CLUSTER + 1);
    let sealed = other.seal(&datagram(ALICE, BOB, b"ping"), at(NOON));
    assert_eq!(open(&mut b, &sealed, NOON), Err(Unsealed::Foreign));

    let mut forged = sealed.clone();
    forged[..4].copy_from_slice(&CLUSTER.to_le_bytes());
    assert_eq!(open(&mut b, &forged, NOON), Err(Unsealed::Forged), "the cluster is authenticated");

    let renewed =
        Keys { keyring: keys.keyring.renewed().unwrap(), sender: watch::Sender::new(keys.sender.borrow().clone()) };
    renewed.sender.send_replace(Arc::new(Ring::of(&renewed.keyring)));
    let sealed = renewed.sealer(ALICE).seal(&datagram(ALICE, BOB, b"ping"), at(NOON));
    assert_eq!(open(&mut b, &sealed, NOON), Err(Unsealed::UnknownKey));

    // One session, two senders: a member that lies about who it is.
    let mut a = keys.sealer(ALICE);
    pass(&mut a, &mut b, NOON, b"ping");
    let sealed = a.seal(&datagram(CAROL, BOB, b"ping"), at(NOON));
    assert_eq!(open(&mut b, &sealed, NOON), Err(Unsealed::Malformed));
}

#[test]
fn counters_rise_whatever_the_clock_does_and_a_large_step_back_begins_a_new_session() {
    let keys = Keys::new();
    let (mut a, mut b) = acquainted(&keys);
    let session = a.own.session;
    let mut counters = Vec::new();
    for now in [NOON + 10, NOON + 10, NOON + 9, NOON, NOON - 50_000_000] {
        counters.push(a.count(at(now)));
    }
    assert!(counters.is_sorted_by(|x, y| x < y), "{counters:?}");
    assert_eq!(a.own.session, session);

    let now = NOON - 2 * HOUR + 30_000_000;
    let sealed = a.seal(&datagram(ALICE, BOB, b"ping"), at(now));
    assert_ne!(a.own.session, session, "the old session would run far ahead of the clock");
    // The others' clocks may have been set back as well.
    assert!(open(&mut b, &sealed, now).is_ok());
    assert_eq!(content(&open(&mut keys.sealer(BOB), &sealed, now).unwrap()).1, b"ping");
}

#[test]
fn a_restarted_node_never_repeats_a_nonce_under_a_key() {
    let keys = Keys::new();
    let sealed = |sealer: &mut Sealer| sealer.seal(&datagram(ALICE, BOB, b"same"), at(NOON));
    let (first, second) = (sealed(&mut keys.sealer(ALICE)), sealed(&mut keys.sealer(ALICE)));
    // One clock, one content, two lives: the sessions differ, and so do the keys.
    assert_ne!(first[5..13], second[5..13]);
    assert_ne!(first[CLEAR_BYTES..], second[CLEAR_BYTES..]);
}

#[test]
fn no_life_repeats_a_nonce_under_a_key_wherever_its_clock_was_set() {
    let keys = Keys::new();
    let minute = 60_000_000;
    let (mut nonces, mut sealed) = (BTreeSet::new(), BTreeSet::new());
    // Each life begins with the clock at one of these, and has it set back under way: by a little, then by much.
    for begun in [NOON, NOON, NOON - 1, NOON - HOUR, NOON, NOON + 1] {
        let mut sealer = keys.sealer(ALICE);
        for now in [begun, begun, begun - minute / 60, begun, begun - 3 * minute, begun, begun - 3 * minute, begun] {
            let bytes = sealer.seal(&datagram(ALICE, BOB, b"same"), at(now));
            let (clear, content) = bytes.split_at(CLEAR_BYTES);
            assert!(nonces.insert(clear[4..].to_vec()), "a session of a key has a counter twice: {clear:02x?}");
            // Sessions have keys of their own: one counter in two of them does not give one stream of bits.
            assert!(sealed.insert(content.to_vec()), "the same was sealed in the same way");
        }
    }
}

#[test]
fn who_proves_nothing_costs_one_opening_at_most_however_many_keys_are_accepted() {
    let first = Keyring::generate().unwrap();
    let mut kept = first.keys().to_vec();
    while kept.len() < KEYS_MAX {
        let key = first.renewed().unwrap().keys()[0].clone();
        if kept.iter().all(|known| known.id().byte() != key.id().byte()) {
            kept.push(key);
        }
    }
    let keyring = Keyring::new(first.secret(), kept).unwrap();
    let keys = Keys { sender: watch::Sender::new(Arc::new(Ring::of(&keyring))), keyring };
    let (mut a, mut b) = acquainted(&keys);
    let short = a.seal(&datagram(ALICE, BOB, b"short"), at(NOON + 1));
    let known = a.seal(&datagram(ALICE, BOB, b"known"), at(NOON + 2));
    open(&mut b, &known, NOON + 2).unwrap();
    let mut stranger = keys.sealer(CAROL);
    let introduction = stranger.seal(&datagram(CAROL, BOB, b"hello"), at(NOON + 3));
    open(&mut b, &introduction, NOON + 3).unwrap();
    let under_two_names = stranger.seal(&datagram(ALICE, BOB, b"hello"), at(NOON + 4));
    let changed = |sealed: &[u8], place: usize, byte: u8| {
        let mut changed = sealed.to_vec();
        changed[place] = byte;
        changed
    };
    let unknown = (0..=255).find(|byte| keyring_has_none(&keys.keyring, *byte)).unwrap();
    let last = short.len() - 1;
    let mut refused = vec![
        (short[..CLEAR_BYTES + 3].to_vec(), NOON, Unsealed::Malformed, 0),
        (changed(&short, 0, !short[0]), NOON, Unsealed::Foreign, 0),
        (changed(&short, 4, unknown), NOON, Unsealed::UnknownKey, 0),
        (short.clone(), NOON + 2 * HOUR, Unsealed::Old, 0),
        (short.clone(), NOON - 2 * HOUR, Unsealed::Ahead, 0),
        (changed(&short, 5, !short[5]), NOON, Unsealed::UnknownSession, 0),
        (known, NOON, Unsealed::Replayed, 0),
        (changed(&short, last, !short[last]), NOON, Unsealed::Forged, 1),
        (under_two_names, NOON, Unsealed::Malformed, 1),
    ];
    // A datagram that says in turn that it is under each of the other keys: only the one that it names is tried.
    let others = keys.keyring.keys().iter().map(|key| key.id().byte()).filter(|byte| *byte != short[4]);
    refused.extend(others.map(|byte| (changed(&short, 4, byte), NOON, Unsealed::Forged, 1)));
    for (bytes, now, cause, openings) in refused {
        let before = ciphers::openings();
        assert_eq!(open(&mut b, &bytes, now), Err(cause));
        assert_eq!(ciphers::openings() - before, openings, "{cause:?}");
    }
    open(&mut b, &short, NOON).unwrap();
}

fn keyring_has_none(keyring: &Keyring, byte: u8) -> bool {
    keyring.keys().iter().all(|key| key.id().byte() != byte)
}

#[test]
fn a_key_is_changed_under_way_without_a_datagram_lost() {
    let keys = Keys::new();
    let (mut a, mut b) = acquainted(&keys);
    let new = keys.keyring.renewed().unwrap().keys()[0].clone();
    let old = keys.keyring.keys()[0].clone();
    let rings: [&[&Key]; 4] = [&[&old, &new], &[&new, &old], &[&new], &[&new]];
    let ring = |keys_: &[&Key]| {
        let kept = keys_.iter().map(|key| (*key).clone()).collect();
        Arc::new(Ring::of(&Keyring::new(keys.keyring.secret(), kept).unwrap()))
    };
    let mut late = Vec::new();
    for (step, accepted) in (0..).zip(rings) {
        let now = NOON + 1_000 * (step + 1);
        late = a.seal(&datagram(ALICE, BOB, b"under way"), at(now));
        if step < 2 {
            open(&mut b, &late, now).unwrap();
        }
        keys.sender.send_replace(ring(accepted));
        pass(&mut a, &mut b, now + 1, b"ping");
        pass(&mut b, &mut a, now + 2, b"ack");
        assert_eq!(a.own.key, accepted[0].id());
    }
    assert_eq!(late[4], new.id().byte());
    let with_old = Keys { keyring: keys.keyring.clone(), sender: watch::Sender::new(ring(&[&old])) };
    let sealed = with_old.sealer(CAROL).seal(&datagram(CAROL, BOB, b"ping"), at(NOON));
    assert_eq!(open(&mut b, &sealed, NOON), Err(Unsealed::UnknownKey), "it was removed");
}

#[test]
fn low_bits_of_a_counter_are_completed_to_the_nearest_moment() {
    for now in [NOON, 5, (1 << COUNTER_BITS) - 1, 1 << COUNTER_BITS, (7 << COUNTER_BITS) + 3] {
        for offset in [0, 1, 1_000_000, HOUR] {
            for counter in [now + offset, now.saturating_sub(offset)] {
                assert_eq!(nearest(counter & COUNTER_MASK, now), counter);
            }
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused_and_change_nothing(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        resembles in any::<bool>(),
    ) {
        let keys = Keys::new();
        let (mut a, mut b) = acquainted(&keys);
        if resembles && bytes.len() > CLEAR_BYTES {
            let sealed = a.seal(&datagram(ALICE, BOB, b"ping"), at(NOON + 1));
            bytes[..CLEAR_BYTES].copy_from_slice(&sealed[..CLEAR_BYTES]);
        }
        prop_assert!(open(&mut b, &bytes, NOON + 1).is_err());
        prop_assert_eq!(b.sessions(), 1);
        pass(&mut a, &mut b, NOON + 2, b"ping");
        prop_assert_eq!(pass(&mut b, &mut a, NOON + 3, b"ack"), 4);
    }

    #[test]
    fn whatever_is_sealed_opens(content in prop::collection::vec(any::<u8>(), 0..1_300), delay in 0_u64..HOUR) {
        let keys = Keys::new();
        let (mut a, mut b) = acquainted(&keys);
        for _ in 0..2 {
            let sealed = a.seal(&datagram(ALICE, BOB, &content), at(NOON + 5));
            let opened = open(&mut b, &sealed, NOON + 5 + delay).unwrap();
            prop_assert_eq!(self::content(&opened).1, &content[..]);
        }
    }
}
