//! Whether the network has the BLS12-381 precompiles of EIP-2537, without which nothing verifies a root.

use cip22_wire::Address;

use super::{Chain, ChainError};

/// BLS12_PAIRING_CHECK.
const PAIRING: Address = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0f];
/// A point of G1 and one of G2, padded.
const PAIR_BYTES: usize = 128 + 256;

/// Asks for the pairing of two points at infinity, which is one. A network without the precompile returns nothing, or refuses.
pub async fn has_bls(chain: &dyn Chain) -> Result<bool, ChainError> {
    let mut one = [0; 32];
    one[31] = 1;
    match chain.eth_call(PAIRING, &[0; PAIR_BYTES]).await {
        Ok(returned) => Ok(returned == one),
        Err(error) if error.is_refusal() => Ok(false),
        Err(error) => Err(error),
    }
}
