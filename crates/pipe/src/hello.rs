//! The first thing that both say: 48 bytes, the same for every kind of address, with a key or without.
//!
//! | bytes | what |
//! |---|---|
//! | 0–7 | [`MAGIC`] |
//! | 8–9 | version of the handshake, little-endian |
//! | 10 | role: 1 client, 2 listener |
//! | 11 | 1 if it has a key and demands that the other has it too, else 0 |
//! | 12 | kind of address, as its sender sees it: 1 path, 2 abstract, 3 TCP |
//! | 13 | listener: 0 welcome, else why not ([`status`]); client: 0 |
//! | 14–15 | 0 |
//! | 16–47 | random |
//!
//! Whoever speaks another version still says so in the first ten bytes.

use crate::{Address, PipeError, auth};

/// The length of a hello.
pub(crate) const HELLO: usize = 48;

/// The length of what the listener says last, where there is a key: a [`status`], and its proof if that is welcome.
pub(crate) const VERDICT: usize = 1 + auth::PROOF;

/// What a hello begins with: what begins otherwise is foreign, before the rest is there.
pub(crate) const MAGIC: [u8; 8] = *b"procHi\r\n";

/// The version that is spoken here.
pub(crate) const VERSION: u16 = 1;

/// What a listener says to a client.
pub(crate) mod status {
    pub(crate) const WELCOME: u8 = 0;
    /// The client is of another user.
    pub(crate) const OTHER_USER: u8 = 1;
    /// The client has no key.
    pub(crate) const KEY_NEEDED: u8 = 2;
    /// The client demands a key, and there is none here.
    pub(crate) const NO_KEY_HERE: u8 = 3;
    /// The client's proof does not hold.
    pub(crate) const WRONG_KEY: u8 = 4;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Client,
    Listener,
}

impl Role {
    /// What a proof of this role begins with.
    pub(crate) fn label(self) -> &'static [u8; 20] {
        match self {
            Self::Client => b"procession client   ",
            Self::Listener => b"procession listener ",
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Client => 1,
            Self::Listener => 2,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) keyed: bool,
    pub(crate) kind: u8,
    pub(crate) status: u8,
}

/// Why 48 bytes are no hello to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strange {
    /// Not our protocol.
    Foreign,
    OtherVersion(u16),
}

/// The kind of an address, as a hello says it.
pub(crate) fn kind(address: &Address) -> u8 {
    match address {
        Address::Path(_) => 1,
        Address::Abstract(_) => 2,
        Address::Tcp(_) => 3,
    }
}

impl Hello {
    /// What is said, with new random bytes.
    pub(crate) fn say(self, role: Role) -> Result<[u8; HELLO], PipeError> {
        let mut bytes = [0; HELLO];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10..14].copy_from_slice(&[role.number(), self.keyed.into(), self.kind, self.status]);
        bytes[16..].copy_from_slice(&auth::random_bytes()?);
        Ok(bytes)
    }

    /// What was said by the one in this role.
    pub(crate) fn hear(bytes: &[u8; HELLO], role: Role) -> Result<Self, Strange> {
        if bytes[..8] != MAGIC {
            return Err(Strange::Foreign);
        }
        match u16::from_le_bytes([bytes[8], bytes[9]]) {
            VERSION => {}
            version => return Err(Strange::OtherVersion(version)),
        }
        match [bytes[10], bytes[11], bytes[12], bytes[13], bytes[14], bytes[15]] {
            [number, keyed @ 0..=1, kind, status, 0, 0] if number == role.number() => {
                Ok(Self { keyed: keyed == 1, kind, status })
            }
            _ => Err(Strange::Foreign),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn said_and_heard_in_one_role_only() {
        let hello = Hello { keyed: true, kind: 3, status: status::WRONG_KEY };
        let said = hello.say(Role::Client).unwrap();
        assert_eq!(said[..16], *b"procHi\r\n\x01\0\x01\x01\x03\x04\0\0");
        assert_eq!(Hello::hear(&said, Role::Client), Ok(hello));
        assert_eq!(Hello::hear(&said, Role::Listener), Err(Strange::Foreign));
        assert_ne!(said[16..], hello.say(Role::Client).unwrap()[16..]);
    }

    #[test]
    fn what_is_strange_is_named() {
        let said = Hello { keyed: false, kind: 1, status: 0 }.say(Role::Client).unwrap();
        let with = |at: usize, byte| {
            let mut changed = said;
            changed[at] = byte;
            Hello::hear(&changed, Role::Client)
        };
        assert_eq!(with(8, 2), Err(Strange::OtherVersion(2)));
        assert_eq!(with(9, 1), Err(Strange::OtherVersion(257)));
        for (at, byte) in [(0, b'P'), (7, 0), (10, 2), (11, 2), (14, 1), (15, 1)] {
            assert_eq!(with(at, byte), Err(Strange::Foreign), "{at}");
        }
    }
}
