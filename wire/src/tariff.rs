//! The bytes of a policy (§10): one tariff by the time of day. The encoding is canonical.

use core::fmt;

use crate::{
    error::EncodeError,
    limits::{
        DAY_MINUTES, TARIFF_HEADER_BYTES, TARIFF_PERIOD_BYTES, TARIFF_PERIODS_MAX, UTC_OFFSET_MINUTES_MAX,
        UTC_OFFSET_MINUTES_MIN,
    },
    tlv::Writer,
};

/// First byte of every tariff.
pub const FORMAT: u8 = 1;

/// What a tariff says besides its prices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    /// ISO 4217 code, upper-case ASCII.
    pub currency: [u8; 3],
    /// Time zone, minutes east of UTC.
    pub utc_offset_minutes: i16,
    /// Largest credit of one grant, Wh, above 0.
    pub credit_wh: u32,
    /// Largest credit of one grant, minutes, above 0.
    pub credit_minutes: u16,
}

/// Prices from `start_minute` until the next period, or the end of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Period {
    /// Minute of the local day, below 1,440.
    pub start_minute: u16,
    /// Price of the energy, millionths of the currency unit per kWh.
    pub energy_price: u32,
    /// Price of the service, millionths of the currency unit per kWh.
    pub service_price: u32,
}

/// A valid tariff over the caller's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tariff<'a> {
    bytes: &'a [u8],
    terms: Terms,
    periods: &'a [[u8; TARIFF_PERIOD_BYTES]],
}

impl<'a> Tariff<'a> {
    /// Reads and validates a whole tariff.
    ///
    /// # Errors
    /// The bytes are no tariff in the one encoding that is accepted.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, TariffError> {
        let (header, rest) = bytes.split_first_chunk::<TARIFF_HEADER_BYTES>().ok_or(TariffError::Length)?;
        let [format, c0, c1, c2, z0, z1, w0, w1, w2, w3, m0, m1, count] = *header;
        if format != FORMAT {
            return Err(TariffError::Format);
        }
        let terms = Terms {
            currency: [c0, c1, c2],
            utc_offset_minutes: i16::from_be_bytes([z0, z1]),
            credit_wh: u32::from_be_bytes([w0, w1, w2, w3]),
            credit_minutes: u16::from_be_bytes([m0, m1]),
        };
        check_terms(&terms)?;
        let (periods, odd) = rest.as_chunks::<TARIFF_PERIOD_BYTES>();
        if !(1..=TARIFF_PERIODS_MAX).contains(&count) {
            return Err(TariffError::Periods);
        }
        if periods.len() != usize::from(count) || !odd.is_empty() {
            return Err(TariffError::Length);
        }
        check_starts(periods.iter().map(|period| read_period(period).start_minute))?;
        Ok(Self { bytes, terms, periods })
    }

    /// The whole encoding.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What the tariff says besides its prices.
    #[must_use]
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The periods in the order of the day.
    pub fn periods(&self) -> impl ExactSizeIterator<Item = Period> + DoubleEndedIterator + Clone + use<'a> {
        self.periods.iter().map(read_period)
    }

    /// The period of a minute of the local day; `None` from 1,440 on.
    #[must_use]
    pub fn period_at(&self, minute: u16) -> Option<Period> {
        if minute >= DAY_MINUTES {
            return None;
        }
        self.periods().rev().find(|period| period.start_minute <= minute)
    }

    /// Minute of the local day, below 1,440, at a Unix time.
    #[must_use]
    pub fn local_minute(&self, time_ms: u64) -> u16 {
        let day = i64::from(DAY_MINUTES);
        let utc = i64::try_from(time_ms / MINUTE_MS).unwrap_or(0).rem_euclid(day);
        let local = utc.saturating_add(i64::from(self.terms.utc_offset_minutes)).rem_euclid(day);
        u16::try_from(local).unwrap_or(0)
    }
}

/// Writes a tariff to the start of `out`; returns its length, bytes.
///
/// # Errors
/// The values are no valid tariff, or `out` is too short.
pub fn encode(terms: &Terms, periods: &[Period], out: &mut [u8]) -> Result<usize, TariffError> {
    check_terms(terms)?;
    let count = u8::try_from(periods.len())
        .ok()
        .filter(|count| (1..=TARIFF_PERIODS_MAX).contains(count))
        .ok_or(TariffError::Periods)?;
    check_starts(periods.iter().map(|period| period.start_minute))?;

    let mut writer = Writer::new(out);
    writer.put(&[FORMAT])?;
    writer.put(&terms.currency)?;
    writer.put(&terms.utc_offset_minutes.to_be_bytes())?;
    writer.put(&terms.credit_wh.to_be_bytes())?;
    writer.put(&terms.credit_minutes.to_be_bytes())?;
    writer.put(&[count])?;
    for period in periods {
        writer.put(&period.start_minute.to_be_bytes())?;
        writer.put(&period.energy_price.to_be_bytes())?;
        writer.put(&period.service_price.to_be_bytes())?;
    }
    Ok(writer.written())
}

/// Why bytes or values are no tariff.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TariffError {
    /// The length is not what the count of periods asks for.
    Length,
    /// The format is not 1.
    Format,
    /// The currency is not three upper-case letters.
    Currency,
    /// The time zone is outside −720..840 minutes.
    UtcOffset,
    /// A credit is zero.
    Credit,
    /// There are no periods, or more than 48.
    Periods,
    /// The first period does not start at 0, or starts do not increase, or one is past the day.
    Starts,
    /// `out` is shorter than the tariff.
    BufferTooSmall,
}

impl fmt::Display for TariffError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "the length of the tariff is not that of its periods",
            Self::Format => "the tariff has another format",
            Self::Currency => "the currency is not three upper-case letters",
            Self::UtcOffset => "the time zone is out of range",
            Self::Credit => "a credit is zero",
            Self::Periods => "the count of periods is out of range",
            Self::Starts => "the periods do not start at 0 and increase within the day",
            Self::BufferTooSmall => "the buffer is shorter than the tariff",
        })
    }
}

impl core::error::Error for TariffError {}

impl From<EncodeError> for TariffError {
    fn from(_: EncodeError) -> Self {
        Self::BufferTooSmall
    }
}

fn check_terms(terms: &Terms) -> Result<(), TariffError> {
    if !terms.currency.iter().all(u8::is_ascii_uppercase) {
        return Err(TariffError::Currency);
    }
    if !(UTC_OFFSET_MINUTES_MIN..=UTC_OFFSET_MINUTES_MAX).contains(&terms.utc_offset_minutes) {
        return Err(TariffError::UtcOffset);
    }
    if terms.credit_wh == 0 || terms.credit_minutes == 0 {
        return Err(TariffError::Credit);
    }
    Ok(())
}

fn check_starts(starts: impl Iterator<Item = u16>) -> Result<(), TariffError> {
    let mut last = None;
    for start in starts {
        let in_order = match last {
            None => start == 0,
            Some(last) => start > last && start < DAY_MINUTES,
        };
        if !in_order {
            return Err(TariffError::Starts);
        }
        last = Some(start);
    }
    Ok(())
}

const fn read_period(bytes: &[u8; TARIFF_PERIOD_BYTES]) -> Period {
    let [s0, s1, e0, e1, e2, e3, v0, v1, v2, v3] = *bytes;
    Period {
        start_minute: u16::from_be_bytes([s0, s1]),
        energy_price: u32::from_be_bytes([e0, e1, e2, e3]),
        service_price: u32::from_be_bytes([v0, v1, v2, v3]),
    }
}

const MINUTE_MS: u64 = 60_000;
