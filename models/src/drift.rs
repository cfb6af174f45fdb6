//! Whether what comes has drifted away from what was forecast: a level that has shifted and stays there, told apart from days that are merely off.
//!
//! Residuals are shares: what came beside its forecast, less 1. Days that are off come in runs, so each residual is freed of what the one before it told (an autoregression of
//! order one), and sums of what is left, above what may be and below it, are held against a threshold (two-sided CUSUM: Page, Continuous inspection schemes, Biometrika 41,
//! 1954). The threshold is that of the residuals' own past: it is found by drawing weeks from them, so that a false alarm is as rare as is asked for, whatever their distribution.

use chrono::{Days, NaiveDate};
use domain::forecast::ForecastDay;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Days that are held against those before them, the newest ones: however often models are made, a drift has time to show.
const RECENT: u64 = 14;
/// Residuals that a past must have.
pub const FEWEST: usize = 56;
/// The share of weeks that may give a false alarm.
const FALSE_ALARMS: f64 = 0.005;
/// The shift that is looked for, as a share of the forecast.
const SHIFT: f64 = 0.15;
/// Bounds of the slack, in spreads: half of the shift lies between.
const SLACK: (f64, f64) = (0.25, 1.0);
/// Bounds of what a residual tells of the next one.
const MOST_MEMORY: f64 = 0.9;
/// A residual counts for no more than so many spreads: one day is no drift.
const MOST_SPREADS: f64 = 3.0;
/// A spread below which nothing can be told.
const LEAST_SPREAD: f64 = 1e-6;
/// Weeks that are drawn, and where drawing begins.
const WEEKS: usize = 10_000;
const SEED: u64 = 13;
const WEEK: usize = 7;

/// What residuals were like while nothing drifted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Watch {
    mean: f64,
    memory: f64,
    spread: f64,
    slack: f64,
    threshold: f64,
}

/// A drift.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift {
    /// How many residuals had come when it was found.
    pub found_after: usize,
    /// How many of them lie behind its beginning, about.
    pub lasts: usize,
    /// How far they lie from what residuals were like; half of them farther.
    pub shift: f64,
}

impl Watch {
    /// By residuals of the past, in order, and the share of weeks that may give a false alarm; none where they are too few or hold no number.
    #[must_use]
    pub fn of(past: &[f64], false_alarms: f64) -> Option<Self> {
        if past.len() < FEWEST || !past.iter().all(|residual| residual.is_finite()) {
            return None;
        }
        let count = past.len() as f64;
        let mean = past.iter().sum::<f64>() / count;
        let off: Vec<f64> = past.iter().map(|residual| residual - mean).collect();
        let squares: f64 = off.iter().map(|off| off * off).sum();
        let products: f64 = off.windows(2).map(|pair| pair[0] * pair[1]).sum();
        // Of few residuals the memory is told too low (Kendall, Note on bias in the estimation of autocorrelation, Biometrika 41, 1954).
        let told = if squares > 0.0 { products / squares } else { 0.0 };
        let memory = (told + (1.0 + 3.0 * told) / count).clamp(0.0, MOST_MEMORY);
        let fresh: Vec<f64> = off.windows(2).map(|pair| pair[1] - memory * pair[0]).collect();
        let spread = (fresh.iter().map(|off| off * off).sum::<f64>() / fresh.len() as f64).sqrt();
        // What hardly moves is no measure of what moves.
        if spread <= LEAST_SPREAD {
            return None;
        }
        let slack = (SHIFT * (1.0 - memory) / spread / 2.0).clamp(SLACK.0, SLACK.1);
        let mut watch = Self { mean, memory, spread, slack, threshold: f64::INFINITY };
        watch.threshold = watch.threshold(&fresh, false_alarms);
        Some(watch)
    }

    /// The first drift in residuals that have come since.
    #[must_use]
    pub fn drift(&self, residuals: &[f64]) -> Option<Drift> {
        let (mut sums, mut begun, mut before) = (Sums::default(), [0; 2], 0.0);
        let most = MOST_SPREADS * self.spread / (1.0 - self.memory * self.memory).sqrt();
        let off: Vec<f64> =
            residuals.iter().map(|residual| (residual - self.mean).clamp(-most, most)).collect();
        for at in 0..off.len() {
            let greatest = sums.add((off[at] - self.memory * before) / self.spread, self.slack);
            before = off[at];
            for (begun, sum) in begun.iter_mut().zip(sums.0) {
                if sum == 0.0 {
                    *begun = at + 1;
                }
            }
            if greatest > self.threshold {
                let begun = begun[usize::from(sums.0[1] > sums.0[0])];
                let lasts = at + 1 - begun;
                let mut off: Vec<f64> =
                    residuals[begun..=at].iter().map(|residual| residual - self.mean).collect();
                off.sort_unstable_by(f64::total_cmp);
                return Some(Drift { found_after: at + 1, lasts, shift: off[lasts / 2] });
            }
        }
        None
    }

    /// The least threshold above which no more than a share of drawn weeks give an alarm, each alarm beginning the sums anew.
    fn threshold(&self, fresh: &[f64], false_alarms: f64) -> f64 {
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let drawn: Vec<f64> =
            (0..WEEKS * WEEK).map(|_| fresh[random.random_range(0..fresh.len())] / self.spread).collect();
        let alarms = |threshold: f64| {
            let mut sums = Sums::default();
            let mut week = |days: &[f64]| {
                let mut is_alarmed = false;
                for off in days {
                    if sums.add(*off, self.slack) > threshold {
                        (is_alarmed, sums) = (true, Sums::default());
                    }
                }
                usize::from(is_alarmed)
            };
            drawn.chunks(WEEK).map(&mut week).sum::<usize>() as f64 / WEEKS as f64
        };
        let (mut low, mut high) = (0.0, 64.0);
        for _ in 0..24 {
            let middle = f64::midpoint(low, high);
            if alarms(middle) > false_alarms { low = middle } else { high = middle }
        }
        high
    }
}

/// What was found of a business.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Found {
    /// So few forecast days have come, of those that a past must have, that nothing can be told.
    TooFew(usize),
    /// So many days that came last are like those before.
    Steady(usize),
    /// It is not.
    Drifted {
        /// The first day of the drift, about.
        since: NaiveDate,
        /// How far what comes lies from its forecast, as a share of it, beside what was usual.
        shift: f64,
    },
}

impl Found {
    /// By the days of a business that have come, in order, each with what was forecast of it by the newest of the models that were served before it. The last
    /// fortnight is held against all days before it.
    #[must_use]
    pub fn of(days: &[ForecastDay]) -> Self {
        let newest = days.iter().map(|day| day.date).max();
        let first = newest.and_then(|newest| newest.checked_sub_days(Days::new(RECENT - 1)));
        let told = days.iter().filter(|day| day.mean > 0.0);
        let (recent, past): (Vec<&ForecastDay>, Vec<&ForecastDay>) =
            told.partition(|day| first.is_some_and(|first| day.date >= first));
        let residuals =
            |days: &[&ForecastDay]| days.iter().map(|day| day.units / day.mean - 1.0).collect::<Vec<f64>>();
        let Some(watch) = Watch::of(&residuals(&past), FALSE_ALARMS) else { return Self::TooFew(past.len()) };
        match watch.drift(&residuals(&recent)) {
            None => Self::Steady(recent.len()),
            Some(Drift { found_after, lasts, shift }) => {
                Self::Drifted { since: recent[found_after - lasts].date, shift }
            }
        }
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooFew(days) => {
                write!(f, "not watched yet: {days} forecast days have come, {FEWEST} that move are needed")
            }
            Self::Steady(days) => write!(f, "none in the last {days} days"),
            Self::Drifted { since, shift } => {
                let direction = if *shift > 0.0 { "above" } else { "below" };
                write!(
                    f,
                    "sales lie {:.0} % {direction} what was forecast since {since}",
                    shift.abs() * 100.0
                )
            }
        }
    }
}

/// How far residuals have lain above what may be, and below it.
#[derive(Debug, Clone, Copy, Default)]
struct Sums([f64; 2]);

impl Sums {
    /// Adds what a day is off, in spreads; gives the greater of the sums.
    fn add(&mut self, off: f64, slack: f64) -> f64 {
        let off = off.clamp(-MOST_SPREADS, MOST_SPREADS);
        let [above, below] = self.0;
        self.0 = [(above + off - slack).max(0.0), (below - off - slack).max(0.0)];
        self.0[0].max(self.0[1])
    }
}

#[cfg(test)]
mod tests {
    use rand_distr::{Distribution, StandardNormal};

    use super::*;

    const SKUS: usize = 50;
    const CV: f64 = 0.3;
    const AR: f64 = 0.5;
    const SEEDS: u64 = 20;
    /// Days before the first forecast, of which eight weeks give forecasts and the others residuals.
    const HISTORY: usize = 56 + 140;

    /// Days of a business of fifty articles with a week of their own and runs of good and bad days; from `shift_at` on all sell so much more.
    fn business(seed: u64, days: usize, shift_at: usize, shift: f64) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut totals = vec![0.0; days];
        for _ in 0..SKUS {
            let size = 10.0 * random.random_range(0.5..5.0);
            let week: [f64; WEEK] = std::array::from_fn(|_| random.random_range(0.6..1.4));
            let mut mood = 0.0;
            for (day, total) in totals.iter_mut().enumerate() {
                let noise: f64 = StandardNormal.sample(&mut random);
                mood = AR * mood + CV * (1.0 - AR * AR).sqrt() * noise;
                let factor = if day >= shift_at { 1.0 + shift } else { 1.0 };
                *total += (size * week[day % WEEK] * factor * (1.0 + mood)).max(0.0);
            }
        }
        totals
    }

    /// Of each day from the ninth week on, its residual beside the weekday's mean of the eight weeks before its origin, origins being a week apart up to
    /// `last_origin`.
    fn residuals(totals: &[f64], last_origin: usize) -> Vec<f64> {
        let of_day = |day: usize| {
            let origin = (day - day % WEEK).min(last_origin);
            let back = day - origin;
            let newest = origin + back % WEEK;
            let mean = (1..=8).map(|weeks| totals[newest - weeks * WEEK]).sum::<f64>() / 8.0;
            totals[day] / mean - 1.0
        };
        (56..totals.len()).map(of_day).collect()
    }

    #[test]
    fn false_alarms_are_rare_and_a_shift_is_found_within_ten_days() {
        let (mut alarms, mut weeks, mut found, mut shifts) = (0_usize, 0_usize, 0_usize, 0_usize);
        for seed in 0..SEEDS {
            // A year without a drift, watched week by week with what is known by then.
            let totals = business(seed, HISTORY + 52 * WEEK, usize::MAX, 0.0);
            for week in 0..52 {
                let origin = HISTORY + week * WEEK;
                let told = residuals(&totals[..origin + WEEK], origin);
                let (past, recent) = told.split_at(told.len() - WEEK);
                let watch = Watch::of(past, FALSE_ALARMS).expect("a past");
                alarms += usize::from(watch.drift(recent).is_some());
                weeks += 1;
            }
            for (shift, offset) in [(0.15, 0), (-0.15, 3), (0.15, 5)] {
                let at = HISTORY + offset;
                let totals = business(100 + seed, at + 10, at, shift);
                let told = residuals(&totals, HISTORY);
                let (past, recent) = told.split_at(HISTORY - 56);
                let drift = Watch::of(past, FALSE_ALARMS).expect("a past").drift(recent);
                found += usize::from(
                    drift.is_some_and(|drift| drift.found_after > offset && drift.shift * shift > 0.0),
                );
                shifts += 1;
            }
        }
        let (false_share, found_share) = (alarms as f64 / weeks as f64, found as f64 / shifts as f64);
        eprintln!("{alarms} false alarms in {weeks} weeks, {found} of {shifts} shifts found within ten days");
        assert!(false_share <= 0.01 && found_share >= 0.9, "{false_share} {found_share}");
    }

    #[test]
    fn a_drift_is_told_with_its_size_and_single_days_are_none() {
        let totals = business(2, HISTORY + 21, usize::MAX, 0.0);
        let told = residuals(&totals, HISTORY);
        let (past, recent) = told.split_at(HISTORY - 56);
        let watch = Watch::of(past, FALSE_ALARMS).expect("a past");
        assert_eq!(watch.drift(recent), None);
        let mut off = vec![0.0; recent.len()];
        off[5] = 30.0;
        assert_eq!(watch.drift(&off), None, "one day, however far off, is no drift");
        let shifted: Vec<f64> =
            recent.iter().enumerate().map(|(at, off)| if at < 7 { *off } else { off - 0.3 }).collect();
        let drift = watch.drift(&shifted).expect("a drift");
        assert!((-0.4..-0.15).contains(&drift.shift) && (8..=12).contains(&drift.found_after), "{drift:?}");
        assert!(drift.lasts <= 6, "{drift:?}");
    }

    #[test]
    fn the_last_fortnight_is_held_against_the_days_before_it() {
        let totals = business(3, HISTORY + 12, HISTORY, 0.3);
        let first: NaiveDate = "2024-01-01".parse().expect("a date");
        let at = |day: usize| first + chrono::Days::new(day as u64);
        let told = residuals(&totals, HISTORY);
        let days: Vec<ForecastDay> = (56..)
            .zip(&told)
            .map(|(day, off)| ForecastDay {
                date: at(day),
                origin: at((day - day % WEEK).min(HISTORY)),
                mean: 100.0,
                units: 100.0 * (1.0 + off),
            })
            .collect();
        let Found::Drifted { since, shift } = Found::of(&days) else { panic!("{:?}", Found::of(&days)) };
        assert!(
            (0..=2).contains(&(since - at(HISTORY)).num_days()) && (0.2..0.4).contains(&shift),
            "{since} {shift}"
        );
        let said = Found::Drifted { since, shift: -0.152 }.to_string();
        assert_eq!(said, format!("sales lie 15 % below what was forecast since {since}"));
        let before: Vec<ForecastDay> = days[..days.len() - 12].to_vec();
        assert_eq!(Found::of(&before), Found::Steady(14));
        assert_eq!(Found::of(&days[..30]), Found::TooFew(16));
        assert_eq!(Found::of(&[]), Found::TooFew(0));
    }

    #[test]
    fn what_cannot_be_watched_is_not() {
        assert_eq!(Watch::of(&[0.1; FEWEST - 1], 0.01), None);
        assert_eq!(Watch::of(&[0.1; FEWEST], 0.01), None, "what never moves has no spread");
        let mut broken = vec![0.0; FEWEST];
        broken[3] = f64::NAN;
        assert_eq!(Watch::of(&broken, 0.01), None);
    }
}
