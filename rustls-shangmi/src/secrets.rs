//! Traffic secrets of a connection, to hand it over to another process or to the kernel. rustls 0.23 has no name for SM4's,
//! so `dangerous_extract_secrets` refuses them; [`TrafficSecrets::extract`] does not.

use std::{cell::Cell, fmt};

use rustls::{
    ConnectionTrafficSecrets, ExtractedSecrets,
    client::ClientConnection,
    crypto::cipher::{AeadKey, Iv, UnsupportedOperationError},
    server::ServerConnection,
};
use shangmi::sm4::{KEY_LENGTH, NONCE_LENGTH};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{Error, cipher_suite};

/// Both directions of a TLS_SM4_GCM_SM3 connection. Without the means to update keys: a KeyUpdate of the peer ends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrafficSecrets {
    /// What this side sends.
    pub sent: Direction,
    /// What it receives.
    pub received: Direction,
}

/// One direction. Wiped when dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Direction {
    /// Of the next record.
    pub sequence: u64,
    /// The key of SM4-GCM.
    pub key: [u8; KEY_LENGTH],
    /// The next record's nonce is this, XORed with the sequence number in its last eight bytes.
    pub iv: [u8; NONCE_LENGTH],
}

impl fmt::Debug for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Direction").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

impl Direction {
    /// The nonce of the next record.
    #[must_use]
    pub fn nonce(&self) -> [u8; NONCE_LENGTH] {
        rustls::crypto::cipher::Nonce::new(&Iv::from(self.iv), self.sequence).0
    }
}

/// A connection that can give its secrets away.
pub trait Extract: Sized {
    /// The suite in use, before the connection is consumed.
    fn suite(&self) -> Option<rustls::CipherSuite>;

    /// rustls's extraction.
    ///
    /// # Errors
    /// rustls's: the configuration forbids it, the handshake is unfinished, or plaintext waits.
    fn extract(self) -> Result<ExtractedSecrets, rustls::Error>;
}

impl Extract for ClientConnection {
    fn suite(&self) -> Option<rustls::CipherSuite> {
        self.negotiated_cipher_suite().map(|suite| suite.suite())
    }

    fn extract(self) -> Result<ExtractedSecrets, rustls::Error> {
        self.dangerous_extract_secrets()
    }
}

impl Extract for ServerConnection {
    fn suite(&self) -> Option<rustls::CipherSuite> {
        self.negotiated_cipher_suite().map(|suite| suite.suite())
    }

    fn extract(self) -> Result<ExtractedSecrets, rustls::Error> {
        self.dangerous_extract_secrets()
    }
}

impl TrafficSecrets {
    /// Takes the secrets out of a connection made with [`crate::Options::secret_extraction`].
    ///
    /// # Errors
    /// [`Error::OtherSecrets`] for another suite, and what rustls refuses.
    pub fn extract(connection: impl Extract) -> Result<Self, Error> {
        if connection.suite() != Some(cipher_suite::ID) {
            return Err(Error::OtherSecrets);
        }
        let _carrying = Carrying::start();
        let ExtractedSecrets { tx, rx } = connection.extract()?;
        Ok(Self { sent: direction(tx)?, received: direction(rx)? })
    }
}

fn direction((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Direction, Error> {
    let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secrets else { return Err(Error::OtherSecrets) };
    let (Ok(key), Ok(iv)) = (key.as_ref().try_into(), iv.as_ref().try_into()) else {
        return Err(Error::OtherSecrets);
    };
    Ok(Direction { sequence, key, iv })
}

thread_local! {
    static CARRYING: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, this thread's secrets travel under the name of AES-128-GCM, whose key and nonce are as long.
struct Carrying;

impl Carrying {
    fn start() -> Self {
        CARRYING.set(true);
        Self
    }
}

impl Drop for Carrying {
    fn drop(&mut self) {
        CARRYING.set(false);
    }
}

/// Never outside of [`TrafficSecrets::extract`]: nobody else may take an SM4 key for one of AES.
pub(crate) fn carry(key: AeadKey, iv: Iv) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
    if CARRYING.get() {
        Ok(ConnectionTrafficSecrets::Aes128Gcm { key, iv })
    } else {
        Err(UnsupportedOperationError)
    }
}
