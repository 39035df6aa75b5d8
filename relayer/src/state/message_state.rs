//! The states of a message, and which may follow which.

use serde::Serialize;

/// Where a statement stands. `Received` has no record of its own: a frame that is not verified leaves no trace on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    /// Read from the socket.
    Received,
    /// Signature and chain position verified, durable.
    Verified,
    /// Credit reserved and the answer durable.
    Granted,
    /// Member of a batch.
    Batched,
    /// Its batch has a signed transaction.
    Submitted,
    /// Its batch has a receipt.
    Mined,
    /// A head under `safe` covers it.
    Safe,
    /// A head under `finalized` covers it.
    Final,
    /// Refused off chain.
    RejectedLocal,
    /// The contract would not take it.
    RejectedByContract,
    /// Another record of the pile made it moot.
    Superseded,
    /// Its epoch left the ring.
    Expired,
    /// The challenge or the policy that it was signed under was reorganised away.
    ReorgedOut,
}

impl MessageState {
    /// Whether `next` may follow. A reorganisation leads from Mined or Safe back to Submitted where the transaction is known, else
    /// to where the statement came from; a head that a stranger sent may lead from any unfinished state to Safe.
    pub fn can_become(self, next: Self) -> bool {
        use MessageState::{
            Batched, Expired, Final, Granted, Mined, Received, RejectedByContract, RejectedLocal, ReorgedOut,
            Safe, Submitted, Superseded, Verified,
        };
        let given_up = matches!(next, Expired | RejectedByContract | Superseded | ReorgedOut);
        match self {
            Received => matches!(next, Verified | Granted | RejectedLocal),
            Verified | Granted => given_up || matches!(next, Batched | Safe),
            Batched => given_up || matches!(next, Submitted | Safe),
            Submitted => given_up || matches!(next, Batched | Mined | Safe),
            Mined => given_up || matches!(next, Submitted | Batched | Safe),
            Safe => matches!(next, Final | Submitted | Granted | Verified | ReorgedOut),
            // A stranger may still carry what we gave up, and the chain may come back to blocks that it had left.
            RejectedByContract | Expired | ReorgedOut => matches!(next, Safe),
            Final | RejectedLocal | Superseded => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MessageState::{
        self, Batched, Final, Granted, Mined, Received, ReorgedOut, Safe, Submitted, Verified,
    };

    #[test]
    fn the_ordinary_way_is_legal_and_has_no_shortcut_back() {
        let way = [Received, Granted, Batched, Submitted, Mined, Safe, Final];
        for pair in way.windows(2) {
            assert!(pair[0].can_become(pair[1]), "{:?} -> {:?}", pair[0], pair[1]);
        }
        assert!(Received.can_become(Verified));
        assert!(!Granted.can_become(Received));
        assert!(!Final.can_become(Safe));
    }

    #[test]
    fn a_reorganisation_leads_back_to_what_can_be_carried_again_and_never_from_final() {
        for from in [Mined, Safe] {
            assert!(from.can_become(Submitted));
            assert!(from.can_become(ReorgedOut));
        }
        assert!(Safe.can_become(Granted) && Safe.can_become(Verified));
        for next in [Submitted, Granted, Verified, ReorgedOut] {
            assert!(!Final.can_become(next));
        }
        assert!(ReorgedOut.can_become(Safe), "the chain may come back");
        assert!(!ReorgedOut.can_become(Submitted));
    }

    #[test]
    fn nothing_follows_a_local_rejection() {
        let all = [Received, Verified, Granted, Batched, Submitted, Mined, Safe, Final];
        assert!(all.iter().all(|next| !MessageState::RejectedLocal.can_become(*next)));
    }
}
