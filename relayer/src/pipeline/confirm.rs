//! What receipts mean. Pure: receipts are judged by the hash of our own bytes and the hash of their block, never by an error's text.

use cip22_wire::Hash;

use crate::chain::Receipt;

/// Where a transaction was executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inclusion {
    /// Transaction.
    pub transaction: Hash,
    /// Block number.
    pub block: u64,
    /// Block hash.
    pub block_hash: Hash,
    /// Whether execution succeeded.
    pub succeeded: bool,
}

/// What the endpoint says about the attempts of one batch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sighting {
    /// Each attempt's transaction with its receipt, if there is one.
    pub receipts: Vec<(Hash, Option<Receipt>)>,
    /// The hash that the block of the known inclusion has now; asked only when that inclusion's receipt is missing.
    pub canonical: Option<Hash>,
}

/// What a sighting means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing new. A missing receipt alone says nothing: the endpoint may trail behind its own state.
    Unknown,
    /// A first receipt.
    Mined(Inclusion, Receipt),
    /// The known receipt is gone and another stands: a reorganisation.
    Moved(Inclusion, Receipt),
    /// The block of the known receipt is gone: a reorganisation.
    Gone,
    /// The known receipt stands in a block that `safe` covers.
    Safe(Inclusion, Receipt),
}

/// Judges a sighting of a batch whose known inclusion is `known`.
pub fn judge(known: Option<&Inclusion>, sighting: &Sighting, safe: u64) -> Verdict {
    let seen = sighting.receipts.iter().find_map(|(transaction, receipt)| {
        let receipt = (*receipt)?;
        let inclusion = Inclusion {
            transaction: *transaction,
            block: receipt.block,
            block_hash: receipt.block_hash,
            succeeded: receipt.succeeded,
        };
        Some((inclusion, receipt))
    });
    match (known, seen) {
        (None, None) => Verdict::Unknown,
        (None, Some((inclusion, receipt))) => Verdict::Mined(inclusion, receipt),
        (Some(known), Some((inclusion, receipt))) if *known == inclusion => {
            if known.block <= safe {
                Verdict::Safe(inclusion, receipt)
            } else {
                Verdict::Unknown
            }
        }
        (Some(_), Some((inclusion, receipt))) => Verdict::Moved(inclusion, receipt),
        (Some(known), None) => match sighting.canonical {
            Some(hash) if hash != known.block_hash => Verdict::Gone,
            _ => Verdict::Unknown,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEIPT: Receipt =
        Receipt { succeeded: true, block: 10, block_hash: [1; 32], gas_used: 50_000, fee_drip: 1 };
    const KNOWN: Inclusion =
        Inclusion { transaction: [7; 32], block: 10, block_hash: [1; 32], succeeded: true };

    fn sighting(receipt: Option<Receipt>, canonical: Option<Hash>) -> Sighting {
        Sighting { receipts: vec![([6; 32], None), ([7; 32], receipt)], canonical }
    }

    #[test]
    fn a_missing_receipt_is_unknown_and_never_failure() {
        assert_eq!(judge(None, &sighting(None, None), 100), Verdict::Unknown);
        assert_eq!(judge(Some(&KNOWN), &sighting(None, None), 100), Verdict::Unknown);
        assert_eq!(judge(Some(&KNOWN), &sighting(None, Some([1; 32])), 100), Verdict::Unknown);
    }

    #[test]
    fn a_receipt_of_any_attempt_counts() {
        assert_eq!(judge(None, &sighting(Some(RECEIPT), None), 9), Verdict::Mined(KNOWN, RECEIPT));
    }

    #[test]
    fn only_a_known_receipt_under_safe_is_safe() {
        assert_eq!(judge(Some(&KNOWN), &sighting(Some(RECEIPT), None), 9), Verdict::Unknown);
        assert_eq!(judge(Some(&KNOWN), &sighting(Some(RECEIPT), None), 10), Verdict::Safe(KNOWN, RECEIPT));
        assert!(matches!(judge(None, &sighting(Some(RECEIPT), None), 10), Verdict::Mined(..)));
    }

    #[test]
    fn the_same_transaction_in_another_block_has_moved() {
        let receipt = Receipt { block: 12, block_hash: [2; 32], ..RECEIPT };
        assert!(matches!(judge(Some(&KNOWN), &sighting(Some(receipt), None), 100), Verdict::Moved(..)));
    }

    #[test]
    fn a_missing_receipt_in_a_replaced_block_is_gone() {
        assert_eq!(judge(Some(&KNOWN), &sighting(None, Some([2; 32])), 9), Verdict::Gone);
    }
}
