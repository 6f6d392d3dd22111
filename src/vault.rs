//! The vault: what only few may read is encrypted, by a ring of keys of which the first encrypts and every one decrypts.
//!
//! XChaCha20-Poly1305: nonces are long enough to be random. What a text is about is authenticated with it, so no row can be
//! passed off as another. Must never: show a key or what it hides; `Debug` names keys by their ids alone.

use std::fmt;
use std::sync::Arc;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};

/// Bytes of a nonce; it stands before what it was used for.
pub const NONCE: usize = 24;
/// Bytes of a key.
const KEY: usize = 32;

/// Why something is not decrypted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The ring's text is no ring.
    #[error("line {0} is no key; a key is 64 hexadecimal digits, as `openssl rand -hex 32` writes them")]
    NoKey(usize),
    /// The ring's text has no key.
    #[error("there is no key; write one of 64 hexadecimal digits, as `openssl rand -hex 32` does")]
    Empty,
    /// The key that it was encrypted with is not in the ring.
    #[error("it is encrypted with the key {0}, which is not in the key ring; restore the ring from a backup")]
    UnknownKey(String),
    /// The key is there, and the bytes are not what it encrypted.
    #[error("the stored bytes are not what the key {0} encrypted there; somebody changed them")]
    Tampered(String),
}

/// Keys, the newest first.
#[derive(Clone)]
pub struct Ring(Arc<[Key]>);

struct Key {
    id: String,
    cipher: XChaCha20Poly1305,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

impl Ring {
    /// A ring from text: a key a line, the newest first; what follows a `#` is a comment.
    ///
    /// # Errors
    /// When a line is no key, or there is none.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut keys: Vec<Key> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let key = key(line).ok_or(Error::NoKey(number))?;
            if keys.iter().all(|known| known.id != key.id) {
                keys.push(key);
            }
        }
        if keys.is_empty() { Err(Error::Empty) } else { Ok(Self(keys.into())) }
    }

    /// The id of the key that encrypts.
    #[must_use]
    pub fn newest(&self) -> &str {
        // unwrap safety: `parse` makes no ring without a key.
        self.0.first().map_or("", |key| key.id.as_str())
    }

    /// The ids of all keys, the newest first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| key.id.as_str())
    }

    /// Encrypt with the newest key. The nonce must be random and is never used again.
    #[must_use]
    pub fn seal(&self, about: &[&str], plain: &[u8], nonce: [u8; NONCE]) -> Vec<u8> {
        let context = context(about);
        let payload = Payload { msg: plain, aad: &context };
        let sealed = self.0.first().and_then(|key| key.cipher.encrypt(&XNonce::from(nonce), payload).ok());
        // unwrap safety: encryption fails for texts of 256 GB only.
        let mut bytes = nonce.to_vec();
        bytes.extend(sealed.unwrap_or_default());
        bytes
    }

    /// Decrypt what was encrypted about the same.
    ///
    /// # Errors
    /// When the ring lacks the key, or the bytes or what they are about have been changed.
    pub fn open(&self, key_id: &str, about: &[&str], bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let key = self.0.iter().find(|key| key.id == key_id).ok_or_else(|| Error::UnknownKey(key_id.to_owned()))?;
        let tampered = || Error::Tampered(key_id.to_owned());
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE>().ok_or_else(tampered)?;
        let context = context(about);
        key.cipher.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: &context }).map_err(|_| tampered())
    }
}

fn key(text: &str) -> Option<Key> {
    if !text.is_ascii() || text.len() != 2 * KEY {
        return None;
    }
    let mut bytes = [0; KEY];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()?;
    }
    let mut hasher = Sha256::new();
    hasher.update(b"dosimeter key id");
    hasher.update(bytes);
    let id = hasher.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Key { id, cipher: XChaCha20Poly1305::new(&bytes.into()) })
}

/// What something is about, as bytes that cannot run together.
fn context(about: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in about {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const NEW: &str = "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f";

    fn ring(text: &str) -> Ring {
        Ring::parse(text).expect("a ring")
    }

    #[test]
    fn what_is_sealed_opens_about_the_same_alone() {
        let ring = ring(OLD);
        let sealed = ring.seal(&["case", "p1"], b"1.2.840", [7; NONCE]);
        assert!(!sealed.windows(7).any(|part| part == b"1.2.840"));
        assert_eq!(ring.open(ring.newest(), &["case", "p1"], &sealed), Ok(b"1.2.840".to_vec()));
        for about in [["case", "p2"], ["subject", "p1"], ["casep", "1"]] {
            let told = ring.open(ring.newest(), &about, &sealed).expect_err("about something else");
            assert_eq!(told, Error::Tampered(ring.newest().to_owned()));
        }
        for place in [0, NONCE, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(ring.open(ring.newest(), &["case", "p1"], &changed).is_err(), "byte {place}");
        }
        assert!(ring.open(ring.newest(), &["case", "p1"], &sealed[..10]).is_err());
    }

    #[test]
    fn the_cipher_is_the_published_one() {
        // draft-irtf-cfrg-xchacha, A.3.1, with its associated data.
        let cipher = key(NEW).expect("a key").cipher;
        let nonce: [u8; NONCE] = std::array::from_fn(|place| 0x40 + u8::try_from(place).expect("small"));
        let text =
            b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen \
                     would be it.";
        let aad = [0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7];
        let sealed = cipher.encrypt(&XNonce::from(nonce), Payload { msg: text, aad: &aad }).expect("encrypts");
        assert_eq!(sealed[..8], [0xbd, 0x6d, 0x17, 0x9d, 0x3e, 0x83, 0xd4, 0x3b]);
        assert_eq!(sealed[text.len()..][..4], [0xc0, 0x87, 0x59, 0x24]);
    }

    #[test]
    fn a_new_key_encrypts_and_the_old_one_still_decrypts() {
        let before = ring(OLD);
        let sealed = before.seal(&["x"], b"y", [1; NONCE]);
        let after = ring(&format!("# newest first\n{NEW}\n\n{OLD} # until everything is encrypted anew\n"));
        assert_ne!(after.newest(), before.newest());
        assert_eq!(after.open(before.newest(), &["x"], &sealed), Ok(b"y".to_vec()));
        let told = ring(NEW).open(before.newest(), &["x"], &sealed).expect_err("the key is gone");
        assert!(told.to_string().contains(before.newest()) && told.to_string().contains("backup"), "{told}");
    }

    #[test]
    fn mistakes_in_a_ring_name_the_line_and_no_key_is_ever_shown() {
        assert_eq!(Ring::parse("# nothing\n").err(), Some(Error::Empty));
        assert_eq!(Ring::parse(&format!("{OLD}\nabc\n")).err(), Some(Error::NoKey(2)));
        assert_eq!(Ring::parse(&OLD.replace('0', "g")).err(), Some(Error::NoKey(1)));
        let shown = format!("{:?}", ring(&format!("{OLD}\n{NEW}\n{OLD}")));
        assert!(!shown.contains(OLD) && !shown.contains("cipher") && shown.matches('"').count() == 4, "{shown}");
    }
}
