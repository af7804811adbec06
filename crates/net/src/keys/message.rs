//! What is said about keys, as bytes: questions that only who has the key in use can read, and answers.

use ring::aead::{Aad, Nonce};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::KeyHolder;
use crate::gathering::Answer;
use crate::keyring::derived::Ring;
use crate::keyring::holder::{Change, Unchanged};
use crate::keyring::{KEY_BYTES, KEYS_MAX, Key, KeyId, Keyring};

const NONCE_BYTES: usize = 16;
const TAG_BYTES: usize = 16;
const ID_BYTES: usize = 8;

const NOTHING: u8 = 0;
const ADD: u8 = 1;
const USE: u8 = 2;
const REMOVE: u8 = 3;

/// What is asked, readable only for who has the key that is used. `None` if the system gives no random numbers.
pub(super) fn wrap(ring: &Ring, change: &Change) -> Option<Vec<u8>> {
    let mut content = Zeroizing::new(Vec::with_capacity(1 + KEY_BYTES + TAG_BYTES));
    match change {
        Change::Nothing => content.push(NOTHING),
        Change::Add(key) => {
            content.push(ADD);
            content.extend_from_slice(key.bytes());
        }
        Change::Use(id) => {
            content.push(USE);
            content.extend_from_slice(&id.0.to_be_bytes());
        }
        Change::Remove(id) => {
            content.push(REMOVE);
            content.extend_from_slice(&id.0.to_be_bytes());
        }
    }
    let mut nonce = [0; NONCE_BYTES];
    SystemRandom::new().fill(&mut nonce).ok()?;
    let key = ring.used();
    let cipher = key.wrapping(&nonce);
    cipher.seal_in_place_append_tag(no_nonce(), Aad::empty(), &mut *content).ok()?;
    Some([&key.id().0.to_be_bytes()[..], &nonce, &content].concat())
}

pub(super) fn unwrap(ring: &Ring, payload: &[u8]) -> Option<Change> {
    let (id, rest) = payload.split_first_chunk::<ID_BYTES>()?;
    let (nonce, content) = rest.split_first_chunk::<NONCE_BYTES>()?;
    let key = ring.get(id[0]).filter(|key| key.id() == KeyId(u64::from_be_bytes(*id)))?;
    let mut content = Zeroizing::new(content.to_vec());
    let opened = key.wrapping(nonce).open_in_place(no_nonce(), Aad::empty(), &mut content).ok()?;
    let (what, about) = opened.split_first()?;
    let id = || about.try_into().ok().map(|id| KeyId(u64::from_be_bytes(id)));
    match *what {
        NOTHING if about.is_empty() => Some(Change::Nothing),
        ADD => about.try_into().ok().map(|bytes: &[u8; KEY_BYTES]| Change::Add(Key::new(bytes))),
        USE => id().map(Change::Use),
        REMOVE => id().map(Change::Remove),
        _ => None,
    }
}

/// Each wrapping has a key of its own, derived from a random number: there is nothing else to tell two apart by.
fn no_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// How it ended, and the keys that this node accepts by then.
pub(super) fn write_answer(keyring: &Keyring, result: Result<(), Unchanged>) -> Vec<u8> {
    let mut bytes = vec![result.err().map_or(0, |unchanged| unchanged as u8)];
    for key in keyring.keys() {
        bytes.extend_from_slice(&key.id().0.to_be_bytes());
    }
    bytes
}

pub(super) fn read_answer(answer: Answer) -> Option<KeyHolder> {
    let (code, ids) = answer.payload.split_first()?;
    let (ids, rest) = ids.as_chunks::<ID_BYTES>();
    if ids.is_empty() || ids.len() > KEYS_MAX || !rest.is_empty() {
        return None;
    }
    let keys = ids.iter().map(|id| KeyId(u64::from_be_bytes(*id))).collect();
    let refused = (*code != 0).then(|| Unchanged::of_code(*code).into());
    Some(KeyHolder { id: answer.from, name: answer.name, keys, refused })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(key: &Key) -> [Change; 4] {
        [Change::Nothing, Change::Add(key.clone()), Change::Use(key.id()), Change::Remove(key.id())]
    }

    #[test]
    fn a_question_is_read_by_who_has_its_key_and_shows_none() {
        let keyring = Keyring::generate().unwrap();
        let (ring, new) = (Ring::of(&keyring), Key::generate().unwrap());
        for change in all(&new) {
            let payload = wrap(&ring, &change).unwrap();
            assert_eq!(format!("{:?}", unwrap(&ring, &payload).unwrap()), format!("{change:?}"));
            assert!(unwrap(&Ring::of(&keyring.renewed().unwrap()), &payload).is_none());
            for key in [&new, &keyring.keys()[0]] {
                assert!(!payload.windows(8).any(|window| key.bytes().windows(8).any(|part| part == window)));
            }
            for bit in 0..8 * payload.len() {
                let mut changed = payload.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert!(unwrap(&ring, &changed).is_none(), "bit {bit} of {change:?}");
            }
        }
    }

    #[test]
    fn an_answer_reads_back() {
        let keyring = Keyring::generate().unwrap();
        for result in [Ok(()), Err(Unchanged::Unknown), Err(Unchanged::InUse), Err(Unchanged::NoPlace)] {
            let payload = write_answer(&keyring, result);
            let answer = Answer {
                from: rumormill_core::NodeId(1),
                name: "a".to_owned(),
                payload,
                after: std::time::Duration::ZERO,
            };
            let holder = read_answer(answer).unwrap();
            assert_eq!(holder.keys, [keyring.keys()[0].id()]);
            assert_eq!(holder.refused, result.err().map(Into::into));
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_question_and_never_too_many_keys(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(unwrap(&Ring::of(&Keyring::generate().unwrap()), &payload).is_none());
            let answer = Answer { from: rumormill_core::NodeId(1), name: "a".to_owned(), payload, after: std::time::Duration::ZERO };
            prop_assert!(read_answer(answer).is_none_or(|holder| (1..=KEYS_MAX).contains(&holder.keys.len())));
        }
    }
}
