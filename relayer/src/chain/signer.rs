//! The account that pays: signs EIP-1559 calls to contracts.

use std::fmt;

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{B256, Bytes, TxKind, U256};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use cip22_wire::{Address, Hash};
use zeroize::{Zeroize, Zeroizing};

use super::fees::Fees;
pub use crate::error::SignerError;

/// A call to be signed.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Nonce.
    pub nonce: u64,
    /// Gas limit.
    pub gas_limit: u64,
    /// Fees.
    pub fees: Fees,
    /// Contract.
    pub to: Address,
    /// Calldata.
    pub calldata: &'a [u8],
}

/// A secp256k1 key and the chain it signs for. The key is wiped on drop and never shown.
pub struct TransactionSigner {
    key: PrivateKeySigner,
    chain_id: u64,
}

impl TransactionSigner {
    /// Takes the content of a key file: 64 hex digits, with or without 0x, white space around them ignored.
    pub fn from_hex(text: &Zeroizing<String>, chain_id: u64) -> Result<Self, SignerError> {
        let digits = text.trim();
        let digits = digits.strip_prefix("0x").unwrap_or(digits);
        let mut bytes = Zeroizing::new([0_u8; 32]);
        hex::decode_to_slice(digits, bytes.as_mut())
            .map_err(|_| SignerError::Key { expected: "32 bytes in hex" })?;
        let mut scalar = B256::from(*bytes);
        let key = PrivateKeySigner::from_bytes(&scalar);
        scalar.0.zeroize();
        let key = key.map_err(|_| SignerError::Key { expected: "a secp256k1 scalar" })?;
        Ok(Self { key, chain_id })
    }

    /// Its account.
    pub fn address(&self) -> Address {
        self.key.address().into_array()
    }

    /// Signs a call that carries no value. Returns the bytes to broadcast and the transaction's hash.
    pub fn sign(&self, call: &Call<'_>) -> Result<(Vec<u8>, Hash), SignerError> {
        let transaction = TxEip1559 {
            chain_id: self.chain_id,
            nonce: call.nonce,
            gas_limit: call.gas_limit,
            max_fee_per_gas: call.fees.max_fee_per_gas,
            max_priority_fee_per_gas: call.fees.max_priority_fee_per_gas,
            to: TxKind::Call(call.to.into()),
            value: U256::ZERO,
            access_list: Default::default(),
            input: Bytes::copy_from_slice(call.calldata),
        };
        let signature = self
            .key
            .sign_hash_sync(&transaction.signature_hash())
            .map_err(|error| SignerError::Sign { what: error.to_string() })?;
        let envelope = TxEnvelope::from(transaction.into_signed(signature));
        Ok((envelope.encoded_2718(), envelope.tx_hash().0))
    }
}

/// An account that has transactions of ours under way.
#[derive(Debug)]
pub enum Account {
    /// Its key is configured.
    Signing(TransactionSigner),
    /// Its key is not configured any more: what is stored is sent and judged, nothing new is signed.
    Watched(Address),
}

impl Account {
    /// Its address.
    pub fn address(&self) -> Address {
        match self {
            Self::Signing(signer) => signer.address(),
            Self::Watched(address) => *address,
        }
    }

    /// Its key, if configured.
    pub fn signer(&self) -> Option<&TransactionSigner> {
        match self {
            Self::Signing(signer) => Some(signer),
            Self::Watched(_) => None,
        }
    }
}

impl fmt::Debug for TransactionSigner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TransactionSigner")
            .field("address", &hex::encode(self.address()))
            .field("chain_id", &self.chain_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use alloy::eips::eip2718::Decodable2718;
    use alloy::primitives::keccak256;

    use super::*;

    const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

    fn signer() -> TransactionSigner {
        TransactionSigner::from_hex(&Zeroizing::new(format!("{KEY}\n")), 1235).unwrap()
    }

    #[test]
    fn the_signed_bytes_carry_the_call_and_hash_to_its_name() {
        let fees = Fees { max_fee_per_gas: 40, max_priority_fee_per_gas: 1 };
        let call = Call { nonce: 7, gas_limit: 50_000, fees, to: [9; 20], calldata: &[1, 2, 3] };
        let (raw, hash) = signer().sign(&call).unwrap();
        assert_eq!(keccak256(&raw).0, hash);
        let envelope = TxEnvelope::decode_2718(&mut raw.as_slice()).unwrap();
        let TxEnvelope::Eip1559(signed) = envelope else { panic!("not EIP-1559") };
        let recovered = signed.signature().recover_address_from_prehash(&signed.signature_hash()).unwrap();
        assert_eq!(recovered.into_array(), signer().address());
        assert_eq!((signed.tx().nonce, signed.tx().chain_id, signed.tx().gas_limit), (7, 1235, 50_000));
    }

    #[test]
    fn debug_output_does_not_show_the_key() {
        let shown = format!("{:?}", signer());
        assert!(shown.contains("f39fd6e51aad88f6f4ce6ab8827279cfffb92266"));
        assert!(!shown.contains("ac0974"));
    }

    #[test]
    fn a_key_that_is_none_is_refused_without_repeating_it() {
        for text in ["", "0x12", "zz", &"0".repeat(64)] {
            let error = TransactionSigner::from_hex(&Zeroizing::new(text.to_owned()), 1).unwrap_err();
            assert!(text.is_empty() || !error.to_string().contains(text));
        }
    }
}
