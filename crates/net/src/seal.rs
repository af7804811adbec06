//! The one place through which every datagram passes, last on its way out and first on its way in.
//!
//! Today datagrams leave as the node wrote them: anybody who reaches the port can read and forge them, which is why
//! nodes belong on a loopback address or on a network that is trusted. Sealing replaces these two functions and nothing
//! else: under a key that is derived from the cluster's, with the sender's session and a counter that never falls in
//! front, and a tag behind. The node leaves 30 bytes of every datagram for that, which until then hold its own header.

/// Makes a datagram ready to be sent.
pub(crate) const fn seal(datagram: Vec<u8>) -> Vec<u8> {
    datagram
}

/// Takes a received datagram out of its seal.
pub(crate) const fn open(datagram: &[u8]) -> &[u8] {
    datagram
}
