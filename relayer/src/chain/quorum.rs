//! What the answers of several endpoints to one question add up to. Pure.
//!
//! A refusal is an answer, a failed call is none. As soon as the outcome cannot change any more, it is told: nobody waits for an
//! endpoint that is not needed.

use super::Receipt;
use crate::error::ChainError;

/// Estimates agree if the highest is at most this much above the lowest, in percent: versions of the node differ in their margins.
const ESTIMATE_SPREAD_PERCENT: u64 = 10;

/// The answers so far.
#[derive(Debug)]
pub struct Tally<T> {
    quorum: usize,
    waiting: usize,
    answers: Vec<(usize, Result<T, ChainError>)>,
}

/// What they come to.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict<T> {
    /// Answers that are still to come may decide.
    Open,
    /// As many endpoints as the quorum asks for say this.
    Agreed(T),
    /// As many refuse: position of the first refusal among the answers.
    Refused(usize),
    /// Enough endpoints answered, and they say different things.
    Disputed,
    /// Too few answered.
    TooFew,
}

impl<T> Tally<T> {
    /// Nobody of the `asked` endpoints has answered; `quorum` of them have to agree.
    pub fn new(quorum: usize, asked: usize) -> Self {
        Self { quorum: quorum.max(1), waiting: asked, answers: Vec::with_capacity(asked) }
    }

    /// Takes in an endpoint's answer.
    pub fn add(&mut self, endpoint: usize, answer: Result<T, ChainError>) {
        self.waiting = self.waiting.saturating_sub(1);
        self.answers.push((endpoint, answer));
    }

    /// Endpoints whose calls succeeded, with what they said.
    pub fn values(&self) -> impl Iterator<Item = (usize, &T)> {
        self.answers.iter().filter_map(|(endpoint, answer)| Some((*endpoint, answer.as_ref().ok()?)))
    }

    /// Takes out the error at a position of the answers.
    pub fn into_error(self, at: usize) -> Option<ChainError> {
        self.answers.into_iter().nth(at).and_then(|(_, answer)| answer.err())
    }

    /// The last call that failed.
    pub fn into_failure(self) -> Option<ChainError> {
        self.answers.into_iter().rev().find_map(|(_, answer)| answer.err())
    }

    /// `best`: most endpoints behind one value; `disputed`: whether what was said contradicts itself.
    fn unsettled(&self, best: usize, disputed: bool) -> Verdict<T> {
        let refusals = self.refusals();
        if let Some(&first) = refusals.first().filter(|_| refusals.len() >= self.quorum) {
            return Verdict::Refused(first);
        }
        if self.waiting > 0 && best.max(refusals.len()) + self.waiting >= self.quorum {
            return Verdict::Open;
        }
        let reverted =
            self.answers.iter().any(|(_, answer)| matches!(answer, Err(ChainError::Reverted { .. })));
        if disputed || (reverted && best > 0) { Verdict::Disputed } else { Verdict::TooFew }
    }

    fn refusals(&self) -> Vec<usize> {
        let refused = |answer: &Result<T, ChainError>| answer.as_ref().is_err_and(ChainError::is_refusal);
        (0..self.answers.len()).filter(|&at| self.answers.get(at).is_some_and(|(_, a)| refused(a))).collect()
    }
}

impl<T: Clone> Tally<T> {
    /// A fact that the endpoints have to state alike.
    pub fn equal(&self, same: impl Fn(&T, &T) -> bool) -> Verdict<T> {
        let (mut best, mut disputed) = (0, false);
        for (_, value) in self.values() {
            let alike = self.values().filter(|(_, other)| same(value, other)).count();
            if alike >= self.quorum {
                return Verdict::Agreed(value.clone());
            }
            best = best.max(alike);
            disputed |= alike < self.values().count();
        }
        self.unsettled(best, disputed)
    }
}

impl Tally<Option<Receipt>> {
    /// A receipt. None is *unknown*, so it contradicts no receipt; it is the outcome when too few have seen the same one.
    pub fn receipt(&self) -> Verdict<Option<Receipt>> {
        let seen = || self.values().filter_map(|(_, receipt)| receipt.as_ref());
        let (mut best, mut disputed) = (0, false);
        for receipt in seen() {
            let alike = seen().filter(|other| receipt.is_same_inclusion(other)).count();
            if alike >= self.quorum {
                return Verdict::Agreed(Some(*receipt));
            }
            best = best.max(alike);
            disputed |= alike < seen().count();
        }
        let answered = self.values().count();
        let undecided = self.waiting > 0 && best > 0 && best + self.waiting >= self.quorum;
        if answered >= self.quorum && !disputed && !undecided {
            return Verdict::Agreed(None);
        }
        let reachable = if best > 0 { best } else { answered };
        self.unsettled(reachable, disputed)
    }
}

impl Tally<u64> {
    /// An estimate: the highest of `quorum` values that are close to each other, so that no single endpoint makes a call dear or too tight.
    pub fn estimate(&self) -> Verdict<u64> {
        let mut values: Vec<u64> = self.values().map(|(_, value)| *value).collect();
        values.sort_unstable();
        let near = |low: u64, high: u64| {
            u128::from(high) * 100 <= u128::from(low) * u128::from(100 + ESTIMATE_SPREAD_PERCENT)
        };
        let close = values.windows(self.quorum).find_map(|window| {
            let (low, high) = (*window.first()?, *window.last()?);
            near(low, high).then_some(high)
        });
        if let Some(estimate) = close {
            return Verdict::Agreed(estimate);
        }
        let best = values
            .iter()
            .map(|low| values.iter().filter(|high| *high >= low && near(*low, **high)).count())
            .max()
            .unwrap_or(0);
        self.unsettled(best, best < values.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEIPT: Receipt =
        Receipt { succeeded: true, block: 10, block_hash: [1; 32], gas_used: 50_000, fee_drip: 7 };

    fn failure() -> ChainError {
        ChainError::Malformed { method: "test", what: "garbage".to_owned() }
    }

    fn refusal() -> ChainError {
        ChainError::Refused { method: "test", code: -32_003, message: "nonce too low".to_owned() }
    }

    fn reverted() -> ChainError {
        ChainError::Reverted { method: "test", data: vec![1] }
    }

    fn tally<T>(quorum: usize, asked: usize, answers: Vec<Result<T, ChainError>>) -> Tally<T> {
        let mut tally = Tally::new(quorum, asked);
        answers.into_iter().enumerate().for_each(|(endpoint, answer)| tally.add(endpoint, answer));
        tally
    }

    fn equal(quorum: usize, asked: usize, answers: Vec<Result<u64, ChainError>>) -> Verdict<u64> {
        tally(quorum, asked, answers).equal(|a, b| a == b)
    }

    #[test]
    fn a_fact_is_told_as_soon_as_the_quorum_agrees() {
        assert_eq!(equal(2, 3, vec![Ok(5)]), Verdict::Open);
        assert_eq!(equal(2, 3, vec![Ok(5), Ok(5)]), Verdict::Agreed(5));
        assert_eq!(equal(2, 3, vec![Ok(4), Ok(5), Ok(5)]), Verdict::Agreed(5));
        assert_eq!(equal(1, 3, vec![Ok(4)]), Verdict::Agreed(4));
    }

    #[test]
    fn two_that_differ_are_disputed_once_nobody_else_can_decide() {
        assert_eq!(equal(2, 3, vec![Ok(4), Ok(5)]), Verdict::Open);
        assert_eq!(equal(2, 3, vec![Ok(4), Ok(5), Err(failure())]), Verdict::Disputed);
        assert_eq!(equal(2, 2, vec![Ok(4), Ok(5)]), Verdict::Disputed);
        assert_eq!(equal(3, 3, vec![Ok(4), Ok(5)]), Verdict::Disputed, "the third could not make three");
    }

    #[test]
    fn one_answer_is_no_quorum_of_two() {
        assert_eq!(equal(2, 3, vec![Ok(5), Err(failure()), Err(failure())]), Verdict::TooFew);
        assert_eq!(
            equal(2, 3, vec![Err(failure()), Err(failure())]),
            Verdict::TooFew,
            "told before the third"
        );
        assert_eq!(equal(2, 0, vec![]), Verdict::TooFew);
    }

    #[test]
    fn a_refusal_counts_as_refused_only_at_quorum() {
        assert_eq!(equal(2, 2, vec![Err(refusal()), Err(refusal())]), Verdict::Refused(0));
        assert_eq!(equal(1, 1, vec![Err(refusal())]), Verdict::Refused(0));
        assert_eq!(equal(2, 3, vec![Err(refusal()), Ok(5), Ok(5)]), Verdict::Agreed(5));
        assert_eq!(equal(2, 2, vec![Err(refusal()), Ok(5)]), Verdict::TooFew);
        assert_eq!(equal(2, 2, vec![Err(reverted()), Ok(5)]), Verdict::Disputed);
    }

    fn receipts(answers: Vec<Option<Receipt>>, quorum: usize, asked: usize) -> Verdict<Option<Receipt>> {
        tally(quorum, asked, answers.into_iter().map(Ok).collect()).receipt()
    }

    #[test]
    fn a_receipt_that_too_few_have_seen_is_unknown_and_never_absent() {
        assert_eq!(receipts(vec![Some(RECEIPT), None], 2, 2), Verdict::Agreed(None));
        assert_eq!(receipts(vec![Some(RECEIPT), None], 2, 3), Verdict::Open);
        assert_eq!(receipts(vec![None, None], 2, 3), Verdict::Agreed(None));
        assert_eq!(receipts(vec![None], 2, 3), Verdict::Open);
        assert_eq!(receipts(vec![Some(RECEIPT), None, Some(RECEIPT)], 2, 3), Verdict::Agreed(Some(RECEIPT)));
        let alone: Vec<Result<Option<Receipt>, ChainError>> = vec![Ok(Some(RECEIPT)), Err(failure())];
        assert_eq!(tally(2, 2, alone).receipt(), Verdict::TooFew);
    }

    #[test]
    fn receipts_of_different_blocks_or_outcomes_are_disputed() {
        let moved = Receipt { block: 12, block_hash: [2; 32], ..RECEIPT };
        let failed = Receipt { succeeded: false, ..RECEIPT };
        for other in [moved, failed] {
            assert_eq!(receipts(vec![Some(RECEIPT), Some(other)], 2, 2), Verdict::Disputed);
            assert_eq!(
                receipts(vec![Some(other), Some(RECEIPT), Some(RECEIPT)], 2, 3),
                Verdict::Agreed(Some(RECEIPT))
            );
        }
        let dearer = Receipt { fee_drip: 8, ..RECEIPT };
        assert_eq!(
            receipts(vec![Some(RECEIPT), Some(dearer)], 2, 2),
            Verdict::Agreed(Some(RECEIPT)),
            "the fee is for people"
        );
    }

    #[test]
    fn an_estimate_is_the_highest_of_a_close_quorum() {
        let estimate = |quorum, asked, answers| tally(quorum, asked, answers).estimate();
        assert_eq!(estimate(2, 3, vec![Ok(100), Ok(105)]), Verdict::Agreed(105));
        assert_eq!(estimate(2, 3, vec![Ok(100), Ok(15_000)]), Verdict::Open);
        assert_eq!(estimate(2, 3, vec![Ok(100), Ok(15_000), Ok(104)]), Verdict::Agreed(104));
        assert_eq!(estimate(2, 2, vec![Ok(100), Ok(15_000)]), Verdict::Disputed);
        assert_eq!(estimate(2, 3, vec![Err(reverted()), Err(reverted())]), Verdict::Refused(0));
        assert_eq!(estimate(2, 3, vec![Err(reverted()), Ok(100), Ok(100)]), Verdict::Agreed(100));
    }
}
