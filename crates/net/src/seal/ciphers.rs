//! The ciphers of other nodes' sessions, ready for their next datagrams.

use ring::aead::{Aad, LessSafeKey, Nonce};
use rumormill_core::limits::Limits;

use super::{Authenticated, Unsealed};
use crate::keyring::KeyId;
use crate::keyring::derived::Derived;

/// How many are kept, a power of two. They take half a kilobyte each; to derive one again takes as long as to open three
/// datagrams.
const CIPHERS_MAX: usize = 256;

#[derive(Debug)]
struct Known {
    key: KeyId,
    session: u64,
    cipher: LessSafeKey,
}

/// One place for each of the lowest bits of a session, which is a random number: whoever comes last has it.
#[derive(Debug)]
pub(super) struct Ciphers(Vec<Option<Box<Known>>>);

impl Default for Ciphers {
    fn default() -> Self {
        Self((0..CIPHERS_MAX).map(|_| None).collect())
    }
}

impl Ciphers {
    /// Opens the content of a datagram, tag included, where it lies. Only what was authentic once takes a place.
    pub(super) fn open<'a>(
        &mut self,
        key: &Derived,
        session: u64,
        nonce: Nonce,
        authenticated: Authenticated,
        content: &'a mut [u8],
    ) -> Result<&'a [u8], Unsealed> {
        let place = usize::try_from(session % CIPHERS_MAX as u64).expect("far below 2^32");
        if let Some(known) = &self.0[place]
            && (known.key, known.session) == (key.id(), session)
        {
            return open(&known.cipher, nonce, authenticated, content);
        }
        let cipher = key.datagrams(session);
        let opened = open(&cipher, nonce, authenticated, content)?;
        self.0[place] = Some(Box::new(Known { key: key.id(), session, cipher }));
        Ok(opened)
    }

    /// What is bounded here.
    pub(super) fn limits(&self, to: &mut Limits) {
        let Self(places) = self;
        to.entries("ciphers", places.iter().flatten().count(), places.len());
    }
}

fn open<'a>(
    cipher: &LessSafeKey,
    nonce: Nonce,
    authenticated: Authenticated,
    content: &'a mut [u8],
) -> Result<&'a [u8], Unsealed> {
    #[cfg(test)]
    OPENINGS.with(|openings| openings.set(openings.get() + 1));
    cipher.open_in_place(nonce, Aad::from(authenticated), content).map(|opened| &*opened).map_err(|_| Unsealed::Forged)
}

#[cfg(test)]
thread_local! {
    static OPENINGS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// How often something was opened, or tried to be, by this thread.
#[cfg(test)]
pub(super) fn openings() -> usize {
    OPENINGS.with(std::cell::Cell::get)
}
