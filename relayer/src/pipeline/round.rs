//! The round in which piles co-sign a root: pure. [`Round::step`] takes what happened and tells what to do; [`run`] does it.
//!
//! A signature is looked at once. While one part is being checked the next one gathers, so parts grow with the load. The round ends when
//! all have answered, or at its deadline, once nothing is being checked any more.

pub mod close;
#[cfg(test)]
pub mod fixtures;
pub mod plan;
pub mod run;

use std::collections::BTreeMap;

use cip22_wire::BlsSignature;

use crate::bls::Sum;

/// Group and index of a pile under a root.
pub type Seat = (u32, u8);

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A pile sent a signature.
    Signed(Seat, BlsSignature),
    /// A pile will not sign.
    Refused(Seat),
    /// A part was checked.
    Checked(Vec<(Seat, bool)>),
    /// It is this late, monotonic ms.
    Time(u64),
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Check these, and say so by [`Event::Checked`].
    Check(Vec<(Seat, BlsSignature)>),
    /// This pile signed wrongly: leave it out for a while.
    Quarantine(Seat),
    /// The round is over.
    Close,
}

/// What became of a pile's part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Awaited,
    Gathered(BlsSignature),
    Checking(BlsSignature),
    Good(BlsSignature),
    Bad,
    Refused,
}

/// One round.
#[derive(Debug, Clone)]
pub struct Round {
    parts: BTreeMap<Seat, Part>,
    deadline_ms: u64,
    is_late: bool,
    is_closed: bool,
    sum: Sum,
}

impl Round {
    /// A round of these piles until `deadline_ms`, monotonic.
    pub fn new(seats: impl IntoIterator<Item = Seat>, deadline_ms: u64) -> Self {
        let parts = seats.into_iter().map(|seat| (seat, Part::Awaited)).collect();
        Self { parts, deadline_ms, is_late: false, is_closed: false, sum: Sum::default() }
    }

    /// Takes in what happened.
    pub fn step(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Signed(seat, signature) => self.turn(seat, Part::Gathered(signature)),
            Event::Refused(seat) => self.turn(seat, Part::Refused),
            Event::Checked(verdicts) => {
                for (seat, is_good) in verdicts {
                    effects.extend(self.checked(seat, is_good));
                }
            }
            Event::Time(now_ms) => self.is_late = self.is_late || now_ms >= self.deadline_ms,
        }
        if self.is_closed || self.parts.values().any(|part| matches!(part, Part::Checking(_))) {
            return effects;
        }
        let gathered: Vec<(Seat, BlsSignature)> = self.gathered();
        if !gathered.is_empty() {
            effects.push(Effect::Check(gathered));
        } else if self.is_late || !self.parts.values().any(|part| *part == Part::Awaited) {
            self.is_closed = true;
            effects.push(Effect::Close);
        }
        effects
    }

    /// Who signed, with the signatures.
    pub fn signed(&self) -> impl Iterator<Item = (Seat, BlsSignature)> {
        self.parts.iter().filter_map(|(seat, part)| match part {
            Part::Good(signature) => Some((*seat, *signature)),
            _ => None,
        })
    }

    /// The sum of all good signatures.
    pub fn sum(&self) -> &Sum {
        &self.sum
    }

    /// Piles whose answer is awaited.
    pub fn awaited(&self) -> usize {
        self.parts.values().filter(|part| **part == Part::Awaited).count()
    }

    /// A pile's first answer, in time, counts; nothing after it.
    fn turn(&mut self, seat: Seat, next: Part) {
        if self.is_late || self.is_closed {
            return;
        }
        if let Some(part) = self.parts.get_mut(&seat).filter(|part| **part == Part::Awaited) {
            *part = next;
        }
    }

    fn checked(&mut self, seat: Seat, is_good: bool) -> Option<Effect> {
        let part = self.parts.get_mut(&seat)?;
        let Part::Checking(signature) = *part else { return None };
        if is_good {
            *part = Part::Good(signature);
            self.sum.add(&signature);
            return None;
        }
        *part = Part::Bad;
        Some(Effect::Quarantine(seat))
    }

    fn gathered(&mut self) -> Vec<(Seat, BlsSignature)> {
        let mut gathered = Vec::new();
        for (seat, part) in &mut self.parts {
            if let Part::Gathered(signature) = *part {
                *part = Part::Checking(signature);
                gathered.push((*seat, signature));
            }
        }
        gathered
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bls::tests::sign;

    const DEADLINE_MS: u64 = 3_000;
    const DIGEST: [u8; 32] = [1; 32];

    fn seat(index: u8) -> Seat {
        (1, index)
    }

    fn round(piles: u8) -> Round {
        Round::new((0..piles).map(seat), DEADLINE_MS)
    }

    fn signed(index: u8) -> Event {
        Event::Signed(seat(index), sign(index, &DIGEST))
    }

    fn checks(indices: &[u8]) -> Vec<Effect> {
        vec![Effect::Check(indices.iter().map(|index| (seat(*index), sign(*index, &DIGEST))).collect())]
    }

    #[test]
    fn what_comes_while_a_part_is_checked_is_the_next_part() {
        let mut round = round(4);
        assert_eq!(round.step(signed(0)), checks(&[0]));
        assert!(round.step(signed(2)).is_empty() && round.step(signed(1)).is_empty());
        assert_eq!(round.step(Event::Checked(vec![(seat(0), true)])), checks(&[1, 2]));
        assert!(round.step(Event::Refused(seat(3))).is_empty(), "a part is being checked");
        let verdicts = vec![(seat(1), true), (seat(2), false)];
        assert_eq!(round.step(Event::Checked(verdicts)), [Effect::Quarantine(seat(2)), Effect::Close]);
        assert_eq!(round.signed().map(|(seat, _)| seat.1).collect::<Vec<u8>>(), [0, 1]);
    }

    #[test]
    fn the_deadline_waits_for_what_came_before_it_and_takes_nothing_after() {
        let mut round = round(3);
        round.step(signed(0));
        round.step(signed(1));
        assert!(round.step(Event::Time(DEADLINE_MS)).is_empty());
        assert!(round.step(signed(2)).is_empty(), "too late");
        assert_eq!(round.step(Event::Checked(vec![(seat(0), true)])), checks(&[1]));
        assert_eq!(round.step(Event::Checked(vec![(seat(1), true)])), [Effect::Close]);
        assert!(round.step(signed(2)).is_empty() && round.step(Event::Time(u64::MAX)).is_empty());
        assert_eq!((round.signed().count(), round.awaited()), (2, 1));
    }

    #[test]
    fn only_a_piles_first_answer_counts() {
        let mut round = round(2);
        round.step(Event::Refused(seat(0)));
        assert!(round.step(signed(0)).is_empty());
        assert_eq!(round.step(signed(1)), checks(&[1]));
        assert!(round.step(Event::Refused(seat(1))).is_empty());
        assert_eq!(
            round.step(Event::Checked(vec![(seat(1), false)])),
            [Effect::Quarantine(seat(1)), Effect::Close]
        );
        assert!(round.sum().to_bytes().is_none());
    }

    #[test]
    fn a_round_of_absent_piles_closes_at_its_deadline_without_a_signer() {
        let mut round = round(2);
        assert!(round.step(Event::Time(DEADLINE_MS - 1)).is_empty());
        assert_eq!(round.step(Event::Time(DEADLINE_MS)), [Effect::Close]);
        assert_eq!(round.signed().count(), 0);
    }

    proptest! {
        /// Each pile signs well (0), badly (1), refuses (2) or is away (3), in any order; a check is answered at any later step.
        #[test]
        fn a_round_closes_once_with_exactly_those_who_signed_well_in_time(
            piles in proptest::collection::vec(0_u8..4, 1..12),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 0..40),
        ) {
            let size = piles.len() as u8;
            let mut round = round(size);
            let mut under_check: Vec<(Seat, bool)> = Vec::new();
            let (mut checked, mut closed, mut quarantined) = (Vec::new(), 0, Vec::new());
            let mut came = std::collections::BTreeSet::new();
            let mut events: Vec<usize> = order.iter().map(|index| index.index(piles.len() + 1)).collect();
            events.extend([usize::MAX, piles.len(), piles.len(), piles.len()]);
            for at in events {
                let event = if at == usize::MAX {
                    Event::Time(DEADLINE_MS)
                } else if at == piles.len() {
                    Event::Checked(std::mem::take(&mut under_check))
                } else {
                    match piles[at] {
                        0 | 1 => {
                            came.insert(at as u8);
                            Event::Signed(seat(at as u8), sign(at as u8, &DIGEST))
                        }
                        2 => Event::Refused(seat(at as u8)),
                        _ => Event::Time(0),
                    }
                };
                for effect in round.step(event) {
                    match effect {
                        Effect::Check(part) => {
                            prop_assert!(under_check.is_empty() && closed == 0);
                            for (seat, _) in part {
                                prop_assert!(!checked.contains(&seat), "looked at twice");
                                checked.push(seat);
                                under_check.push((seat, piles[usize::from(seat.1)] == 0));
                            }
                        }
                        Effect::Quarantine(seat) => quarantined.push(seat.1),
                        Effect::Close => closed += 1,
                    }
                }
            }
            prop_assert_eq!(closed, 1);
            let good: Vec<u8> = came.iter().filter(|at| piles[usize::from(**at)] == 0).copied().collect();
            prop_assert_eq!(round.signed().map(|(seat, _)| seat.1).collect::<Vec<u8>>(), good);
            quarantined.sort_unstable();
            let bad: Vec<u8> = came.iter().filter(|at| piles[usize::from(**at)] == 1).copied().collect();
            prop_assert_eq!(quarantined, bad);
        }
    }
}
