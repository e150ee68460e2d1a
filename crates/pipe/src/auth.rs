//! Keys by which a listener and its clients know each other, and what is proved with one.
//!
//! A proof is HMAC-SHA-256 of the key over a label of the prover's role, the client's hello and the listener's hello. Each
//! hello holds 32 random bytes of its sender, so a recorded proof is worth nothing; both hold the role and the kind of
//! address, so a proof is worth nothing in the other role, or passed on to a listener of another kind.

use std::error::Error;
use std::fmt;
use std::hint::black_box;

use hmac::{Hmac, KeyInit, Mac};
use procession_sys::random;
use sha2::Sha256;

use crate::PipeError;
use crate::hello::{HELLO, Role};

/// The length of a proof.
pub(crate) const PROOF: usize = 32;

/// A secret that a [`Listener`](crate::Listener) and its clients share; each proves to the other that it has it, without
/// sending it.
///
/// Send, Sync, Clone. It is not serialized, so it does not travel by accident; [`as_bytes`](Self::as_bytes) is for passing
/// it on by a way that others cannot read: an argument or a pipe to a process of ours, a file of mode 600. Its memory is
/// overwritten when it is dropped, and `Debug` does not show it.
///
/// ```
/// use procession_pipe::AuthKey;
/// let key = AuthKey::random()?;
/// let same = AuthKey::from_bytes(key.as_bytes())?;
/// assert_eq!(format!("{same:?}"), "AuthKey");
/// assert!(AuthKey::from_bytes(b"too short").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[doc(alias = "authkey")]
pub struct AuthKey(Box<[u8]>);

/// A key so short that it could be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyTooShort {
    /// Its length in bytes.
    pub len: usize,
}

impl AuthKey {
    /// The least length of a key, in bytes.
    pub const LEAST: usize = 16;

    /// A key of 32 random bytes.
    ///
    /// # Errors
    /// The system gives no random number.
    pub fn random() -> Result<Self, PipeError> {
        Ok(Self(random_bytes()?.into()))
    }

    /// A key of these bytes, which should be random: words that people think of can be guessed by whoever has recorded one
    /// handshake.
    ///
    /// # Errors
    /// They are fewer than [`LEAST`](Self::LEAST).
    pub fn from_bytes(bytes: impl AsRef<[u8]>) -> Result<Self, KeyTooShort> {
        match bytes.as_ref() {
            short if short.len() < Self::LEAST => Err(KeyTooShort { len: short.len() }),
            bytes => Ok(Self(bytes.into())),
        }
    }

    /// The secret itself.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What shows that who is in this role has the key.
    pub(crate) fn prove(&self, role: Role, client: &[u8; HELLO], listener: &[u8; HELLO]) -> [u8; PROOF] {
        self.mac(role, client, listener).finalize().into_bytes().into()
    }

    /// Whether `proof` shows that who is in this role has the key. Takes the same time for each wrong one.
    pub(crate) fn verify(
        &self,
        proof: &[u8],
        role: Role,
        client: &[u8; HELLO],
        listener: &[u8; HELLO],
    ) -> bool {
        self.mac(role, client, listener).verify_slice(proof).is_ok()
    }

    fn mac(&self, role: Role, client: &[u8; HELLO], listener: &[u8; HELLO]) -> Hmac<Sha256> {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            unreachable!("keys of every length are keys of HMAC");
        };
        // All three have a fixed length, so their boundaries are no matter of interpretation.
        mac.update(role.label());
        mac.update(client);
        mac.update(listener);
        mac
    }
}

/// Bytes that nobody can know beforehand.
pub(crate) fn random_bytes() -> Result<[u8; 32], PipeError> {
    let mut bytes = [0; 32];
    for part in bytes.chunks_mut(16) {
        part.copy_from_slice(&random::number().map_err(PipeError)?.to_le_bytes());
    }
    Ok(bytes)
}

impl Drop for AuthKey {
    fn drop(&mut self) {
        self.0.fill(0);
        black_box(&self.0);
    }
}

impl fmt::Debug for AuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthKey")
    }
}

impl fmt::Display for KeyTooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { len } = self;
        write!(f, "a key of {len} bytes can be guessed: use {} random ones or more", AuthKey::LEAST)
    }
}

impl Error for KeyTooShort {}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> AuthKey {
        AuthKey::from_bytes([7; 32]).unwrap()
    }

    #[test]
    fn a_proof_holds_for_its_role_its_hellos_and_its_key() {
        let (client, listener) = ([1; HELLO], [2; HELLO]);
        let proof = key().prove(Role::Client, &client, &listener);
        assert!(key().verify(&proof, Role::Client, &client, &listener));
        assert!(!key().verify(&proof, Role::Listener, &client, &listener));
        assert!(!key().verify(&proof, Role::Client, &listener, &client));
        let other = AuthKey::from_bytes([8; 32]).unwrap();
        assert!(!other.verify(&proof, Role::Client, &client, &listener));
        for i in 0..HELLO {
            let mut changed = client;
            changed[i] ^= 1;
            assert!(!key().verify(&proof, Role::Client, &changed, &listener));
            assert!(!key().verify(&proof, Role::Client, &client, &changed));
        }
        assert!(!key().verify(&proof[1..], Role::Client, &client, &listener));
        assert!(!key().verify(&[], Role::Client, &client, &listener));
    }

    /// By RFC 2104, with the hash of another implementation of it: `hmac.new(bytes([7] * 32), b"procession client   " +
    /// bytes([1] * 48) + bytes([2] * 48), "sha256")` in Python.
    #[test]
    fn a_proof_is_what_others_compute() {
        let proof = key().prove(Role::Client, &[1; HELLO], &[2; HELLO]);
        let hex: String = proof.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "24377864d05bce1e90f26947b8036e191032534949e80763ddfd6cdc0e38c256");
    }

    #[test]
    fn random_keys_differ() {
        assert_ne!(AuthKey::random().unwrap().as_bytes(), AuthKey::random().unwrap().as_bytes());
    }
}
