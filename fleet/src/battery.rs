//! A simulated battery pack: what a BMS would report while it charges.

use cip22_device_sdk::Sample;

/// A 96-cell pack of about 60 kWh.
#[derive(Clone, Debug)]
pub struct SimulatedBattery {
    soc: f64,
    temperature_c: f64,
    energy_wh: f64,
    current_a: f64,
}

impl SimulatedBattery {
    /// A pack whose first state follows from `seed`.
    #[must_use]
    pub fn new(seed: u8) -> Self {
        let spread = f64::from(seed) / 255.0;
        Self { soc: 0.1 + 0.4 * spread, temperature_c: 18.0 + 8.0 * spread, energy_wh: 0.0, current_a: 0.0 }
    }

    /// `hours` pass, charging or resting.
    pub fn advance(&mut self, hours: f64, charging: bool) {
        // Constant current up to 80 %, then less and less.
        let wanted = if charging { 150.0 * ((1.0 - self.soc) / 0.2).clamp(0.0, 1.0) } else { 0.0 };
        self.current_a += (wanted - self.current_a) * 0.5;
        let wh = self.current_a * self.voltage_v() * hours;
        self.energy_wh += wh;
        self.soc = (self.soc + wh * 0.95 / CAPACITY_WH).min(1.0);
        let heating = self.current_a.powi(2) * 0.000_4;
        self.temperature_c += (22.0 + heating - self.temperature_c) * (hours * 4.0).min(1.0);
        if !charging && self.soc > 0.9 {
            // The vehicle leaves and another one comes.
            self.soc = 0.2;
        }
    }

    /// Energy taken from the pile since the beginning, Wh.
    #[must_use]
    pub fn energy_wh(&self) -> u32 {
        whole(self.energy_wh)
    }

    /// What the BMS reports at `time_ms`, Unix.
    #[must_use]
    pub fn sample(&self, time_ms: u64) -> Sample {
        Sample {
            time_ms,
            voltage_mv: whole(self.voltage_v() * 1_000.0),
            current_ma: i32::try_from(whole(self.current_a * 1_000.0)).unwrap_or(i32::MAX),
            soc_centi_percent: u16::try_from(whole(self.soc * 10_000.0)).unwrap_or(10_000),
            temperature_centi_c: i16::try_from(whole(self.temperature_c * 100.0)).unwrap_or(i16::MAX),
            energy_wh: self.energy_wh(),
        }
    }

    fn voltage_v(&self) -> f64 {
        96.0 * (3.4 + 0.75 * self.soc) + self.current_a * 0.05
    }
}

fn whole(value: f64) -> u32 {
    // `as` saturates, which is what a gauge does.
    value.round() as u32
}

const CAPACITY_WH: f64 = 60_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charging_battery_gains_energy_and_charge_and_ends_its_current_when_full() {
        let mut battery = SimulatedBattery::new(10);
        let before = battery.sample(1);
        for _ in 0..600 {
            battery.advance(0.01, true);
        }
        let after = battery.sample(2);
        assert!(after.energy_wh > before.energy_wh + 20_000);
        assert!(after.soc_centi_percent > 9_500 && after.soc_centi_percent <= 10_000);
        assert!(after.voltage_mv > before.voltage_mv);
        assert!(after.current_ma < 30_000, "{}", after.current_ma);
    }
}
