//! BLS12-381 with keys in G2 and signatures in G1: parts of a round checked at once, and what is left of them summed.
//!
//! A part is checked as one: each signature and its key are multiplied by one random weight, so that signatures which are wrong by
//! themselves and right together do not pass, and any subset of what passed is good by itself.

use blst::BLST_ERROR;
use blst::min_sig::{AggregatePublicKey, AggregateSignature, PublicKey, Signature};
use cip22_wire::{BlsSignature, Hash, ROOT_DST};

use crate::chain::BlsKeyBytes;
use crate::gateway::fill_random;

/// Bits of a weight: a wrong part passes once in 2^64 tries.
const WEIGHT_BITS: usize = 64;
const COORDINATE_BYTES: usize = 48;
/// The sign of y in a compressed point.
const SIGN_BIT: u8 = 0x20;

/// A key in G2 that the registry has checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(PublicKey);

impl Key {
    /// From x.c0 ‖ x.c1 ‖ y.c0 ‖ y.c1. `None` if it is not on the curve, not in the subgroup, or infinity.
    pub fn from_bytes(bytes: &BlsKeyBytes) -> Option<Self> {
        // The library wants c1 before c0.
        let mut swapped = Vec::with_capacity(bytes.len());
        for pair in bytes.chunks_exact(2 * COORDINATE_BYTES) {
            let (c0, c1) = pair.split_at(COORDINATE_BYTES);
            swapped.extend_from_slice(c1);
            swapped.extend_from_slice(c0);
        }
        let key = PublicKey::deserialize(&swapped).ok()?;
        key.validate().ok().map(|()| Self(key))
    }
}

/// A signature that a pile sent, with the key that it should be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The signature, compressed.
    pub signature: BlsSignature,
    /// The pile's key.
    pub key: Key,
}

/// Checks claims over one digest, in one pairing where all are good; a part that is not is halved until each bad one is alone.
/// Returns whether each is good.
pub fn check(digest: &Hash, claims: &[Claim]) -> Vec<bool> {
    let parsed: Vec<Option<(Signature, PublicKey)>> = claims
        .iter()
        .map(|claim| Some((Signature::sig_validate(&claim.signature, true).ok()?, claim.key.0)))
        .collect();
    let sound: Vec<usize> =
        parsed.iter().enumerate().filter(|(_, one)| one.is_some()).map(|(at, _)| at).collect();
    let mut good = vec![false; claims.len()];
    let mut parts = vec![sound];
    while let Some(part) = parts.pop() {
        let (signatures, keys): (Vec<Signature>, Vec<PublicKey>) =
            part.iter().filter_map(|at| parsed.get(*at).copied().flatten()).unzip();
        if holds(digest, &signatures, &keys) {
            for at in part {
                if let Some(good) = good.get_mut(at) {
                    *good = true;
                }
            }
        } else if part.len() > 1 {
            let (low, high) = part.split_at(part.len() / 2);
            parts.extend([low.to_vec(), high.to_vec()]);
        }
    }
    good
}

/// Whether a part holds, each of it weighed at random.
fn holds(digest: &Hash, signatures: &[Signature], keys: &[PublicKey]) -> bool {
    let verified = |signature: &Signature, key: &PublicKey| {
        signature.verify(false, digest, ROOT_DST, &[], key, false) == BLST_ERROR::BLST_SUCCESS
    };
    if let ([signature], [key]) = (signatures, keys) {
        return verified(signature, key);
    }
    let mut weights = vec![0; signatures.len() * (WEIGHT_BITS / 8)];
    fill_random(&mut weights);
    for weight in weights.chunks_exact_mut(WEIGHT_BITS / 8) {
        // Never zero: a signature that weighs nothing would not be looked at.
        weight[0] |= 1;
    }
    let signature = AggregateSignature::aggregate_with_randomness(signatures, &weights, WEIGHT_BITS, false);
    let key = AggregatePublicKey::aggregate_with_randomness(keys, &weights, WEIGHT_BITS, false);
    match (signature, key) {
        (Ok(signature), Ok(key)) => verified(&signature.to_signature(), &key.to_public_key()),
        _ => signatures.is_empty(),
    }
}

/// A running sum of checked signatures.
#[derive(Debug, Clone, Default)]
pub struct Sum(Option<AggregateSignature>);

impl Sum {
    /// Adds a checked signature.
    pub fn add(&mut self, signature: &BlsSignature) {
        let Ok(one) = Signature::from_bytes(signature) else { return };
        match &mut self.0 {
            Some(sum) => sum.add_aggregate(&AggregateSignature::from_signature(&one)),
            None => self.0 = Some(AggregateSignature::from_signature(&one)),
        }
    }

    /// Takes a signature out that was added.
    pub fn subtract(&mut self, signature: &BlsSignature) {
        let mut negated = *signature;
        negated[0] ^= SIGN_BIT;
        self.add(&negated);
    }

    /// The sum as the contract takes it, x ‖ y; `None` where it is infinity.
    pub fn to_bytes(&self) -> Option<[u8; 96]> {
        let sum = self.0.as_ref()?.to_signature();
        sum.validate(true).ok().map(|()| sum.serialize())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use blst::min_sig::SecretKey;
    use proptest::prelude::*;

    use super::*;

    const DIGEST: Hash = [0x42; 32];

    /// The secret of a device number.
    pub(crate) fn secret(device: u8) -> SecretKey {
        SecretKey::key_gen(&[device; 32], &[]).unwrap()
    }

    /// Its key as it stands on chain.
    pub(crate) fn key_bytes(device: u8) -> BlsKeyBytes {
        let wire = secret(device).sk_to_pk().serialize();
        let mut bytes = [0; 192];
        for (to, from) in [(0, 48), (48, 0), (96, 144), (144, 96)] {
            bytes[to..to + 48].copy_from_slice(&wire[from..from + 48]);
        }
        bytes
    }

    /// Its signature over a digest.
    pub(crate) fn sign(device: u8, digest: &Hash) -> BlsSignature {
        secret(device).sign(digest, ROOT_DST, &[]).compress()
    }

    fn claim(device: u8) -> Claim {
        Claim { signature: sign(device, &DIGEST), key: Key::from_bytes(&key_bytes(device)).unwrap() }
    }

    /// The ways in which a signature may be wrong.
    fn spoil(claim: &mut Claim, device: u8, how: u8) {
        claim.signature = match how % 4 {
            0 => sign(device, &[0x43; 32]),
            1 => sign(device.wrapping_add(100), &DIGEST),
            2 => {
                let mut infinity = [0; 48];
                infinity[0] = 0xc0;
                infinity
            }
            _ => [0xff; 48],
        };
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn every_bad_signature_is_found_and_no_good_one_is_blamed(
            size in 1_usize..24,
            bad in proptest::collection::btree_map(0_usize..24, 0_u8..4, 0..6),
        ) {
            let mut claims: Vec<Claim> = (0..size as u8).map(claim).collect();
            for (at, how) in bad.iter().filter(|(at, _)| **at < size) {
                spoil(&mut claims[*at], *at as u8, *how);
            }
            let expected: Vec<bool> = (0..size).map(|at| !bad.contains_key(&at)).collect();
            prop_assert_eq!(check(&DIGEST, &claims), expected);
        }
    }

    #[test]
    fn signatures_that_are_right_only_together_are_both_found() {
        // Each has the other's: their sum is that of the good ones.
        let mut claims: Vec<Claim> = (0..6).map(claim).collect();
        (claims[1].signature, claims[4].signature) = (claims[4].signature, claims[1].signature);
        assert_eq!(check(&DIGEST, &claims), [true, false, true, true, false, true]);
    }

    #[test]
    fn a_point_outside_the_subgroup_is_no_signature() {
        // x = 4 is on the curve, and not in the group of prime order.
        let mut outside = [0; 48];
        (outside[0], outside[47]) = (0x80, 4);
        let parsed = Signature::from_bytes(&outside).unwrap();
        assert!(!parsed.subgroup_check());
        let mut claims = vec![claim(1), claim(2)];
        claims[0].signature = outside;
        assert_eq!(check(&DIGEST, &claims), [false, true]);
    }

    #[test]
    fn a_sum_without_one_is_the_sum_of_the_others() {
        let mut sum = Sum::default();
        assert_eq!(sum.to_bytes(), None);
        for device in 1..=3 {
            sum.add(&sign(device, &DIGEST));
        }
        sum.subtract(&sign(2, &DIGEST));
        let mut others = Sum::default();
        others.add(&sign(1, &DIGEST));
        others.add(&sign(3, &DIGEST));
        assert_eq!(sum.to_bytes(), others.to_bytes());
        let key =
            AggregatePublicKey::aggregate(&[&secret(1).sk_to_pk(), &secret(3).sk_to_pk()], true).unwrap();
        let whole = Signature::deserialize(&sum.to_bytes().unwrap()).unwrap();
        let verdict = whole.verify(true, &DIGEST, ROOT_DST, &[], &key.to_public_key(), true);
        assert_eq!(verdict, BLST_ERROR::BLST_SUCCESS);
        sum.subtract(&sign(1, &DIGEST));
        sum.subtract(&sign(3, &DIGEST));
        assert_eq!(sum.to_bytes(), None, "nobody is left");
    }

    #[test]
    fn a_key_off_the_curve_or_at_infinity_is_none() {
        let mut bytes = key_bytes(1);
        assert!(Key::from_bytes(&bytes).is_some());
        bytes[191] ^= 1;
        assert!(Key::from_bytes(&bytes).is_none() && Key::from_bytes(&[0; 192]).is_none());
    }
}
