//! Block numbers under the three tags, as several endpoints claim them. Pure.
//!
//! What [`HeadQuorum::agree`] tells of each tag is the q-th highest claim: at least q endpoints are that far.
//! - One endpoint, or fewer than the quorum, moves nothing back: not by failing, not by lagging, not by taking back what it claimed.
//! - `latest` and `safe` go back when at least q endpoints that had come as far now claim less: that is a reorganisation.
//! - `finalized` never goes back. What is taken back is counted by the caller.

use super::Heads;

/// A block tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// `latest`.
    Latest,
    /// `safe`.
    Safe,
    /// `finalized`.
    Finalized,
}

impl Tag {
    /// Every tag.
    pub const ALL: [Self; 3] = [Self::Latest, Self::Safe, Self::Finalized];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Latest => "latest",
            Self::Safe => "safe",
            Self::Finalized => "finalized",
        }
    }

    fn of(self, heads: &Heads) -> u64 {
        match self {
            Self::Latest => heads.latest,
            Self::Safe => heads.safe,
            Self::Finalized => heads.finalized,
        }
    }

    fn of_mut(self, heads: &mut Heads) -> &mut u64 {
        match self {
            Self::Latest => &mut heads.latest,
            Self::Safe => &mut heads.safe,
            Self::Finalized => &mut heads.finalized,
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Claim {
    /// `None` until it answered.
    now: Option<Heads>,
    /// The highest number that it ever claimed under each tag.
    highest: Heads,
}

/// The claims of every endpoint, and what was made of them.
#[derive(Debug)]
pub struct HeadQuorum {
    quorum: usize,
    claims: Vec<Claim>,
    held: Heads,
}

impl HeadQuorum {
    /// `endpoints` that have claimed nothing yet.
    pub fn new(quorum: usize, endpoints: usize) -> Self {
        Self { quorum: quorum.max(1), claims: vec![Claim::default(); endpoints], held: Heads::default() }
    }

    /// Endpoints that have to agree.
    pub fn quorum(&self) -> usize {
        self.quorum
    }

    /// An endpoint claims these heads; returns the tags under which it takes back what it claimed last.
    pub fn claim(&mut self, endpoint: usize, heads: Heads) -> Vec<Tag> {
        let Some(claim) = self.claims.get_mut(endpoint) else { return Vec::new() };
        let before = claim.now.replace(heads).unwrap_or_default();
        for tag in Tag::ALL {
            let highest = tag.of_mut(&mut claim.highest);
            *highest = tag.of(&heads).max(*highest);
        }
        Tag::ALL.into_iter().filter(|tag| tag.of(&heads) < tag.of(&before)).collect()
    }

    /// What an endpoint claimed last.
    pub fn claimed(&self, endpoint: usize) -> Option<Heads> {
        self.claims.get(endpoint).and_then(|claim| claim.now)
    }

    /// What was agreed on last.
    pub fn held(&self) -> Heads {
        self.held
    }

    /// The q-th highest `latest` of the endpoints of the right chain: what the lag of each is measured against. No single endpoint can
    /// make the others look late.
    pub fn reference(&self, counted: impl Fn(usize) -> bool) -> u64 {
        self.ranked(Tag::Latest, &counted).unwrap_or(0)
    }

    /// Agrees on the heads by the claims of the endpoints that count; `None` if they are too few.
    pub fn agree(&mut self, counted: impl Fn(usize) -> bool) -> Option<Heads> {
        for tag in Tag::ALL {
            let candidate = self.ranked(tag, &counted)?;
            let held = tag.of(&self.held);
            if candidate >= held || self.is_taken_back(tag, held, &counted) {
                *tag.of_mut(&mut self.held) = candidate;
            }
        }
        Some(self.held)
    }

    fn ranked(&self, tag: Tag, counted: &impl Fn(usize) -> bool) -> Option<u64> {
        let claims = self.claims.iter().enumerate().filter(|(endpoint, _)| counted(*endpoint));
        let mut numbers: Vec<u64> = claims.filter_map(|(_, claim)| Some(tag.of(&claim.now?))).collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        numbers.get(self.quorum - 1).copied()
    }

    /// Whether q endpoints that had come as far as `held` now claim less.
    fn is_taken_back(&self, tag: Tag, held: u64, counted: &impl Fn(usize) -> bool) -> bool {
        let takes_back = |claim: &Claim| {
            claim.now.is_some_and(|now| tag.of(&now) < held) && tag.of(&claim.highest) >= held
        };
        let claims = self.claims.iter().enumerate().filter(|(endpoint, _)| counted(*endpoint));
        tag != Tag::Finalized && claims.filter(|(_, claim)| takes_back(claim)).count() >= self.quorum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(latest: u64) -> Heads {
        Heads { latest, safe: latest.saturating_sub(10), finalized: latest.saturating_sub(20) }
    }

    fn after(quorum: usize, rounds: &[&[u64]]) -> Vec<u64> {
        let mut heads = HeadQuorum::new(quorum, rounds[0].len());
        let round = |claims: &&[u64]| {
            claims.iter().enumerate().for_each(|(endpoint, latest)| drop(heads.claim(endpoint, at(*latest))));
            heads.agree(|_| true).unwrap().latest
        };
        rounds.iter().map(round).collect()
    }

    #[test]
    fn the_head_is_as_high_as_the_quorum_has_come() {
        assert_eq!(after(2, &[&[100, 90, 50]]), [90]);
        assert_eq!(after(1, &[&[100, 90, 50]]), [100]);
        assert_eq!(after(3, &[&[100, 90, 50]]), [50]);
        assert_eq!(after(2, &[&[1_000_000, 90, 89]]), [90], "one endpoint that runs ahead moves nothing");
    }

    #[test]
    fn one_endpoint_that_goes_back_takes_nothing_back() {
        assert_eq!(after(2, &[&[100, 100, 100], &[100, 40, 100]]), [100, 100]);
        assert_eq!(after(2, &[&[100, 100], &[101, 40]]), [100, 100]);
    }

    #[test]
    fn a_quorum_that_goes_back_is_a_reorganisation() {
        assert_eq!(after(2, &[&[100, 100, 100], &[100, 95, 94]]), [100, 95]);
        assert_eq!(after(1, &[&[100], &[90], &[101]]), [100, 90, 101]);
    }

    #[test]
    fn the_end_of_an_endpoint_leaves_no_reorganisation_behind() {
        let mut heads = HeadQuorum::new(1, 2);
        assert!(heads.claim(0, at(100)).is_empty());
        assert!(heads.claim(1, at(60)).is_empty());
        assert_eq!(heads.agree(|_| true), Some(at(100)));
        assert_eq!(heads.agree(|endpoint| endpoint == 1), Some(at(100)), "the slower one was never there");
        assert_eq!(heads.agree(|_| false), None);
    }

    #[test]
    fn finalized_never_goes_back_even_when_every_endpoint_takes_it_back() {
        let mut heads = HeadQuorum::new(1, 1);
        assert!(heads.claim(0, at(100)).is_empty());
        assert_eq!(heads.agree(|_| true), Some(at(100)));
        assert_eq!(heads.claim(0, Heads { finalized: 3, ..at(100) }), [Tag::Finalized]);
        assert_eq!(heads.agree(|_| true), Some(at(100)));
        assert!(heads.claim(0, at(130)).is_empty());
        assert_eq!(heads.agree(|_| true).unwrap().finalized, 110);
    }

    #[test]
    fn the_reference_of_lag_is_not_set_by_one_endpoint() {
        let mut heads = HeadQuorum::new(2, 3);
        for (endpoint, latest) in [(0, 1_000), (1, 100), (2, 99)] {
            assert!(heads.claim(endpoint, at(latest)).is_empty());
        }
        assert_eq!(heads.reference(|_| true), 100);
        assert_eq!(heads.reference(|endpoint| endpoint == 0), 0, "too few to measure by");
    }
}
