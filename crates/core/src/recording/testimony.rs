//! What a node that signs asked of its [`Signatures`], and what it was answered: recorded beside its inputs, so that the same life
//! can be run again where the private key is not.
//!
//! Signatures that a node makes go out in what it says, and checks are of what others said. So the answers hold nothing that is
//! secret. The questions are not kept, only their fingerprint: a node that asks the same is told the same.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::Fingerprint;
use crate::credentials::{DIGEST_BYTES, PublicKey, Signature, Signatures};
use crate::identity::NodeId;

/// What was asked while a node took one input.
#[derive(Clone, Debug, Default)]
pub struct Testimony {
    questions: Fingerprint,
    answers: Vec<u8>,
}

impl Testimony {
    /// The answers, one behind the other.
    pub fn answers(&self) -> &[u8] {
        &self.answers
    }

    /// Takes the questions into the fingerprint of what the node did; a node that asked none leaves it as it is.
    pub fn note(&self, outputs: &mut Fingerprint) {
        if !self.answers.is_empty() {
            outputs.note(&self.questions.get().to_le_bytes());
        }
    }

    fn note_question(&mut self, question: Question, parts: &[&[u8]], answer: &[u8]) {
        self.questions.note(&[question as u8]);
        for part in parts {
            self.questions.note(part);
        }
        self.answers.extend_from_slice(answer);
    }
}

/// Which of the five functions was asked.
#[derive(Clone, Copy, Debug)]
enum Question {
    PublicKey,
    Sign,
    Verify,
    Id,
    Digest,
}

/// Where a recorder finds what its node asked.
#[derive(Debug, Default)]
pub struct Notes(Mutex<Testimony>);

impl Notes {
    /// What answers as `signatures` does, and notes it here for as long as these notes are kept.
    pub fn of(self: &Arc<Self>, signatures: Arc<dyn Signatures>) -> Arc<dyn Signatures> {
        Arc::new(Witness { signatures, notes: Arc::downgrade(self) })
    }

    /// What was asked since this was called last.
    pub fn take(&self) -> Testimony {
        std::mem::take(&mut *lock(&self.0))
    }
}

/// Signatures that somebody notes.
#[derive(Debug)]
struct Witness {
    signatures: Arc<dyn Signatures>,
    /// Gone when the recording ends.
    notes: Weak<Notes>,
}

impl Witness {
    fn note(&self, question: Question, parts: &[&[u8]], answer: &[u8]) {
        if let Some(notes) = self.notes.upgrade() {
            lock(&notes.0).note_question(question, parts, answer);
        }
    }
}

impl Signatures for Witness {
    fn public_key(&self) -> PublicKey {
        let key = self.signatures.public_key();
        self.note(Question::PublicKey, &[], &key);
        key
    }

    fn sign(&self, bytes: &[u8]) -> Signature {
        let signature = self.signatures.sign(bytes);
        self.note(Question::Sign, &[bytes], &signature);
        signature
    }

    fn verify(&self, key: &PublicKey, bytes: &[u8], signature: &Signature) -> bool {
        let is_valid = self.signatures.verify(key, bytes, signature);
        self.note(Question::Verify, &[key, bytes, signature], &[u8::from(is_valid)]);
        is_valid
    }

    fn id_of(&self, key: &PublicKey) -> NodeId {
        let id = self.signatures.id_of(key);
        self.note(Question::Id, &[key], &id.0.to_le_bytes());
        id
    }

    fn digest(&self, bytes: &[u8]) -> [u8; DIGEST_BYTES] {
        let digest = self.signatures.digest(bytes);
        self.note(Question::Digest, &[bytes], &digest);
        digest
    }
}

/// Answers once more what was answered, in the same order, and zeros where nothing is left.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Recall>);

#[derive(Debug, Default)]
struct Recall {
    /// What was answered when this was recorded,
    recorded: Vec<u8>,
    /// and how much of it was answered again.
    given: usize,
    testimony: Testimony,
}

impl Memory {
    /// The node is about to be given an input, and was answered this when it had that before.
    pub fn begin(&self, answers: &[u8]) {
        *lock(&self.0) = Recall { recorded: answers.to_vec(), ..Recall::default() };
    }

    /// What it asked this time.
    pub fn end(&self) -> Testimony {
        std::mem::take(&mut *lock(&self.0)).testimony
    }

    fn answer<const N: usize>(&self, question: Question, parts: &[&[u8]]) -> [u8; N] {
        let Recall { recorded, given, testimony } = &mut *lock(&self.0);
        let answer = recorded[*given..].first_chunk().copied().unwrap_or([0; N]);
        *given = recorded.len().min(*given + N);
        testimony.note_question(question, parts, &answer);
        answer
    }
}

impl Signatures for Memory {
    fn public_key(&self) -> PublicKey {
        self.answer(Question::PublicKey, &[])
    }

    fn sign(&self, bytes: &[u8]) -> Signature {
        self.answer(Question::Sign, &[bytes])
    }

    fn verify(&self, key: &PublicKey, bytes: &[u8], signature: &Signature) -> bool {
        self.answer(Question::Verify, &[key, bytes, signature]) == [1]
    }

    fn id_of(&self, key: &PublicKey) -> NodeId {
        NodeId(u64::from_le_bytes(self.answer(Question::Id, &[key])))
    }

    fn digest(&self, bytes: &[u8]) -> [u8; DIGEST_BYTES] {
        self.answer(Question::Digest, &[bytes])
    }
}

/// Nothing panics while it holds one of these.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signs by repeating a byte.
    #[derive(Debug)]
    struct Toy(u8);

    impl Signatures for Toy {
        fn public_key(&self) -> PublicKey {
            [self.0; 32]
        }

        fn sign(&self, bytes: &[u8]) -> Signature {
            [bytes[0] ^ self.0; 64]
        }

        fn verify(&self, _: &PublicKey, bytes: &[u8], signature: &Signature) -> bool {
            signature[0] ^ bytes[0] == self.0
        }

        fn id_of(&self, key: &PublicKey) -> NodeId {
            NodeId(key[0].into())
        }

        fn digest(&self, bytes: &[u8]) -> [u8; DIGEST_BYTES] {
            [bytes[0]; DIGEST_BYTES]
        }
    }

    /// Everything that can be asked, about that byte.
    fn ask(signatures: &dyn Signatures, byte: u8) -> String {
        let (key, signature) = (signatures.public_key(), signatures.sign(&[byte]));
        let (good, bad) = (signatures.verify(&key, &[byte], &signature), signatures.verify(&key, &[9], &signature));
        format!("{key:?} {signature:?} {good} {bad} {} {:?}", signatures.id_of(&key), signatures.digest(&[byte]))
    }

    fn fingerprint(testimony: &Testimony) -> u64 {
        let mut outputs = Fingerprint::default();
        testimony.note(&mut outputs);
        outputs.get()
    }

    #[test]
    fn who_asks_the_same_is_answered_the_same_and_who_asks_something_else_is_found_out() {
        let (notes, memory) = (Arc::new(Notes::default()), Memory::default());
        let signatures = notes.of(Arc::new(Toy(5)));
        let mut before = Vec::new();
        for byte in [1, 2] {
            let said = ask(&*signatures, byte);
            let testimony = notes.take();
            assert!(said.contains("true false"), "{said}");
            memory.begin(testimony.answers());
            assert_eq!(ask(&memory, byte), said);
            assert_eq!(fingerprint(&memory.end()), fingerprint(&testimony));
            memory.begin(testimony.answers());
            ask(&memory, 7);
            assert_ne!(fingerprint(&memory.end()), fingerprint(&testimony));
            memory.begin(testimony.answers());
            assert_ne!(fingerprint(&memory.end()), fingerprint(&testimony), "it asked nothing");
            before.push(testimony);
        }
        assert_ne!(before[0].answers(), before[1].answers(), "what was taken is not there again");
        // Where nothing is left there are answers nevertheless: a recording may be anybody's.
        assert_eq!(memory.sign(&[1]), [0; 64]);
    }

    #[test]
    fn nothing_is_noted_once_the_recording_has_ended() {
        let notes = Arc::new(Notes::default());
        let signatures = notes.of(Arc::new(Toy(5)));
        let weak = Arc::downgrade(&notes);
        assert!(notes.take().answers().is_empty());
        drop(notes);
        assert_eq!(signatures.sign(&[1]), [4; 64]);
        assert!(weak.upgrade().is_none(), "the witness keeps its notes");
    }
}
